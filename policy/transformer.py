"""A transformer over a chunk, conditioned through its layer norms (adaLN, arXiv 2212.09748).

Neighbouring steps share one token, which costs less than a token per step without a loss at these
rates. Attention is within a chunk; samples of a batch do not interact.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoid(value: Float[Tensor, " b"], width: int) -> Float[Tensor, "b width"]:
    """`value` in [0, 1] as sines and cosines of rising frequency."""
    frequency = torch.exp(
        torch.linspace(0.0, math.log(1000.0), width // 2, device=value.device, dtype=value.dtype)
    )
    angle = value[:, None] * frequency
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class Block(nn.Module):
    """Attention over tokens, then a perceptron per token, each shifted, scaled and gated by the
    condition."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulate = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.wide = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)
        # Gates of 0.5. The usual gates of 0 (adaLN-zero) train deeper networks more steadily, but
        # take many of our few thousand steps to grow.
        nn.init.normal_(self.modulate.weight, std=0.03)
        with torch.no_grad():
            self.modulate.bias.zero_()
            self.modulate.bias[2 * width : 3 * width] = 0.5
            self.modulate.bias[5 * width :] = 0.5

    def forward(
        self, x: Float[Tensor, "b n width"], condition: Float[Tensor, "b width"]
    ) -> Float[Tensor, "b n width"]:
        parts = self.modulate(condition)[:, None].chunk(6, dim=-1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = parts
        width = x.shape[-1:]
        y = F.layer_norm(x, width) * (1 + scale_a) + shift_a
        qkv = self.qkv(y).view(*x.shape[:2], 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate_a * self.out(y)
        y = F.layer_norm(x, width) * (1 + scale_m) + shift_m
        y = self.narrow(F.gelu(self.wide(y), approximate="tanh"))
        out: Tensor = x + gate_m * y
        return out


class ChunkTransformer(nn.Module):
    """[b, H, C] channels per step to [b, H, A] under a condition, `patch` steps to a token."""

    def __init__(
        self,
        *,
        steps: int,
        channels: int,
        actions: int,
        patch: int,
        width: int,
        layers: int,
        heads: int,
    ) -> None:
        super().__init__()
        if steps % patch:
            raise ValueError(f"a chunk of {steps} steps does not divide into patches of {patch}")
        self.tokens = steps // patch
        self.enter = nn.Linear(channels * patch, width)
        self.place = nn.Parameter(torch.randn(self.tokens, width) * 0.1)
        self.context = nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.leave = nn.Linear(width, actions * patch)
        nn.init.normal_(self.leave.weight, std=0.02)
        # A first prediction from the context alone, which is most of a chunk and learned first.
        # The tokens learn the correction.
        self.guess = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, steps * actions)
        )

    def forward(
        self,
        steps: Float[Tensor, "b h c"],
        context: Float[Tensor, "b width"],
        condition: Float[Tensor, "b width"],
    ) -> Float[Tensor, "b h a"]:
        """`context` is added to every token; `condition` modulates every block."""
        batch, horizon, _ = steps.shape
        x = self.enter(steps.reshape(batch, self.tokens, -1))
        x = x + self.place + self.context(context)[:, None]
        for block in self.blocks:
            x = block(x, condition)
        change = self.leave(F.layer_norm(x, x.shape[-1:])).reshape(batch, horizon, -1)
        out: Tensor = change + self.guess(context).view(change.shape)
        return out
