"""A transformer over the steps of a chunk, conditioned through its layer norms (adaLN-zero,
arXiv 2212.09748), with one condition per step.

Steps of one chunk exchange information, samples of a batch never do.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoid(value: Float[Tensor, "*shape"], width: int) -> Float[Tensor, "*shape w"]:
    """`value` in [0, 1] as sines and cosines of rising frequency."""
    frequency = torch.exp(
        torch.linspace(0.0, math.log(1000.0), width // 2, device=value.device, dtype=value.dtype)
    )
    angle = value[..., None] * frequency
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class Block(nn.Module):
    """Attention over steps, then a perceptron per step, each gated by the condition."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulate = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.wide = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)
        # Zero gates: at the start every block passes its input through, which trains fastest.
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(
        self, x: Float[Tensor, "b h w"], condition: Float[Tensor, "b k w"], pick: Tensor | None
    ) -> Float[Tensor, "b h w"]:
        """`condition` holds K different conditions and `pick` [b, h] says which each step has
        (None: all the first), because computing the modulation once per condition rather than once
        per step saves most of a block's work."""
        parts = self.modulate(condition)
        if pick is not None:
            parts = parts.gather(1, pick[..., None].expand(-1, -1, parts.shape[-1]))
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = parts.chunk(6, dim=-1)
        width = x.shape[-1:]
        y = F.layer_norm(x, width) * (1 + scale_a) + shift_a
        q, k, v = (
            p.transpose(1, 2) for p in self.qkv(y).unflatten(2, (3, self.heads, -1)).unbind(2)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate_a * self.out(y)
        y = F.layer_norm(x, width) * (1 + scale_m) + shift_m
        y = self.narrow(F.gelu(self.wide(y), approximate="tanh"))
        out: Tensor = x + gate_m * y
        return out


class ChunkTransformer(nn.Module):
    """[b, H, A] to [b, H, A] under a condition."""

    def __init__(self, *, steps: int, actions: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Linear(actions, width)
        self.place = nn.Parameter(torch.randn(steps, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.leave = nn.Linear(width, actions)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self,
        actions: Float[Tensor, "b h a"],
        condition: Float[Tensor, "b k w"],
        pick: Tensor | None = None,
    ) -> Float[Tensor, "b h a"]:
        x = self.enter(actions) + self.place
        for block in self.blocks:
            x = block(x, condition, pick)
        out: Tensor = self.leave(F.layer_norm(x, x.shape[-1:]))
        return out
