"""The Gemma transformer: rotary positions, few heads of keys, a gated MLP, RMS norms.

The language model and the action expert are two of these. The expert attends to the keys and
values that the language model has left in each layer, so both have the same heads. The norms of
π0.5's expert are modulated by the time (adaRMS).

Source: arXiv 2403.08295 (Gemma); openpi, `src/openpi/models/gemma.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .architecture import GemmaSizes
from .recomputed import block_output

EPS = 1e-6
LONGEST_WAVE = 10_000.0
KeysValues = tuple[Float[Tensor, "b key_heads n head"], Float[Tensor, "b key_heads n head"]]
"""The rotated keys, and the values, of one layer."""

Rotation = tuple[Float[Tensor, "b 1 n head"], Float[Tensor, "b 1 n head"]]
"""Cosines and sines of the tokens' angles; both halves of a head have the same."""


def rotation_at(positions: Int[Tensor, "b n"], head: int, dtype: torch.dtype) -> Rotation:
    """The rotation of tokens at `positions`; the angles are computed in float32."""
    half = torch.arange(0, head, 2, device=positions.device, dtype=torch.float32) / head
    angles = positions[:, None, :, None].float() / LONGEST_WAVE**half
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotated(x: Float[Tensor, "b heads n head"], rotation: Rotation) -> Tensor:
    """`x` with each pair of entries (i, i + head / 2) turned by its token's angle."""
    cosines, sines = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-second, first), dim=-1) * sines


class RmsNorm(nn.Module):
    """Division by the root mean square, in float32, then a factor 1 + weight for each entry.

    With `adaptive`, scale, shift and gate come from a condition by a linear layer: one condition
    for all tokens (t = 1) or one for each (t = n).
    """

    def __init__(self, width: int, *, adaptive: bool) -> None:
        super().__init__()
        self.modulate = nn.Linear(width, 3 * width) if adaptive else None
        self.weight = None if adaptive else nn.Parameter(torch.zeros(width))

    def forward(
        self, x: Float[Tensor, "b n w"], condition: Float[Tensor, "b t w"] | None
    ) -> tuple[Float[Tensor, "b n w"], Float[Tensor, "b t w"] | None]:
        """The normalized tokens, and the gate of what is computed from them (None is 1)."""
        even = x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + EPS)
        if self.modulate is None:
            assert self.weight is not None
            return (even * (1 + self.weight.float())).to(x.dtype), None
        assert condition is not None, "an adaptive norm takes the time's condition"
        scale, shift, gate = self.modulate(condition).chunk(3, dim=-1)
        return (even * (1 + scale.float()) + shift.float()).to(x.dtype), gate


def gated(x: Tensor, change: Tensor, gate: Tensor | None) -> Tensor:
    """The residual sum."""
    return x + (change if gate is None else change * gate)


class GemmaBlock(nn.Module):
    """One layer: attention to the tokens before and to these, then a gated MLP."""

    def __init__(self, sizes: GemmaSizes, *, adaptive: bool) -> None:
        super().__init__()
        self.sizes = sizes
        self.attention_norm = RmsNorm(sizes.width, adaptive=adaptive)
        self.query = nn.Linear(sizes.width, sizes.heads * sizes.head, bias=False)
        self.key = nn.Linear(sizes.width, sizes.key_heads * sizes.head, bias=False)
        self.value = nn.Linear(sizes.width, sizes.key_heads * sizes.head, bias=False)
        self.out = nn.Linear(sizes.heads * sizes.head, sizes.width, bias=False)
        self.mlp_norm = RmsNorm(sizes.width, adaptive=adaptive)
        self.gate = nn.Linear(sizes.width, sizes.mlp, bias=False)
        self.up = nn.Linear(sizes.width, sizes.mlp, bias=False)
        self.down = nn.Linear(sizes.mlp, sizes.width, bias=False)

    def _heads(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b heads n head"]:
        return x.view(*x.shape[:2], -1, self.sizes.head).transpose(1, 2)

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        rotation: Rotation,
        bias: Float[Tensor, "b 1 n m"],
        before: KeysValues | None = None,
        condition: Float[Tensor, "b t w"] | None = None,
    ) -> tuple[Float[Tensor, "b n w"], KeysValues]:
        """The tokens after this layer, and their keys and values.

        `before` are those of the tokens before; `bias` is added to the scores of all `m` tokens.
        """
        y, gate = self.attention_norm(x, condition)
        own = rotated(self._heads(self.key(y)), rotation), self._heads(self.value(y))
        keys, values = own
        if before is not None:
            keys = torch.cat((before[0], keys), dim=2)
            values = torch.cat((before[1], values), dim=2)
        query = rotated(self._heads(self.query(y)), rotation)
        shared = self.sizes.heads // self.sizes.key_heads
        attended = F.scaled_dot_product_attention(
            query,
            keys.repeat_interleave(shared, dim=1),
            values.repeat_interleave(shared, dim=1),
            attn_mask=bias,
        )
        x = gated(x, self.out(attended.transpose(1, 2).flatten(2)), gate)
        y, gate = self.mlp_norm(x, condition)
        y = F.gelu(self.gate(y), approximate="tanh") * self.up(y)
        return gated(x, self.down(y), gate), own


class Gemma(nn.Module):
    """All layers and the last norm."""

    def __init__(self, sizes: GemmaSizes, *, adaptive: bool = False) -> None:
        super().__init__()
        self.sizes = sizes
        self.blocks = nn.ModuleList(
            GemmaBlock(sizes, adaptive=adaptive) for _ in range(sizes.layers)
        )
        self.norm = RmsNorm(sizes.width, adaptive=adaptive)
        self.recompute = False
        """Whether training computes the layers twice, to need less memory."""

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        positions: Int[Tensor, "b n"],
        bias: Float[Tensor, "b 1 n m"],
        before: list[KeysValues] | None = None,
        condition: Float[Tensor, "b t w"] | None = None,
    ) -> tuple[Float[Tensor, "b n w"], list[KeysValues]]:
        """The tokens after the last norm, and the keys and values of each layer."""
        rotation = rotation_at(positions, self.sizes.head, x.dtype)
        kept = []
        for layer, block in enumerate(self.blocks):
            past = None if before is None else before[layer]
            inputs = x, rotation, bias, past, condition
            x, own = block_output(block, *inputs, recompute=self.recompute)
            kept.append(own)
        x, _ = self.norm(x, condition)
        return x, kept
