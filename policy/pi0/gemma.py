"""The Gemma transformer: rotary positions, few heads of keys, a gated MLP, RMS norms.

The language model and the action expert are two of these. The expert attends to the keys and
values that the language model has left in each layer, so both have the same heads. The norms of
π0.5's expert are modulated by the time (adaRMS).

Source: arXiv 2403.08295 (Gemma); openpi, `src/openpi/models/gemma.py`.
"""

from __future__ import annotations

from itertools import repeat
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .architecture import GemmaSizes
from .joined_layers import JoinedLayers
from .recomputed import block_output

EPS = 1e-6
LONGEST_WAVE = 10_000.0
KeysValues = tuple[Float[Tensor, "b key_heads n head"], Float[Tensor, "b key_heads n head"]]
"""The rotated keys, and the values, of one layer."""

Rotation = tuple[Float[Tensor, "b n 1 head"], Float[Tensor, "b n 1 head"]]
"""Cosines of the tokens' angles, and their sines with the sign of the other half of a head."""


def rotation_at(positions: Int[Tensor, "b n"], head: int, dtype: torch.dtype) -> Rotation:
    """The rotation of tokens at `positions`; the angles are computed in float32."""
    half = torch.arange(0, head, 2, device=positions.device, dtype=torch.float32) / head
    angles = positions[..., None, None].float() / LONGEST_WAVE**half
    cosines, sines = angles.cos(), angles.sin()
    both = torch.cat((cosines, cosines), dim=-1), torch.cat((-sines, sines), dim=-1)
    return both[0].to(dtype), both[1].to(dtype)


def rotated(x: Float[Tensor, "b n heads head"], rotation: Rotation) -> Tensor:
    """`x` with each pair of entries (i, i + head / 2) turned by its token's angle."""
    cosines, sines = rotation
    return torch.addcmul(x * cosines, x.roll(x.shape[-1] // 2, dims=-1), sines)


class Modulation(NamedTuple):
    """What the time makes of a norm: factor and shift of the normalized tokens, in float32, and the
    factor of what is computed from them."""

    factor: Float[Tensor, "b t w"]
    shift: Float[Tensor, "b t w"]
    gate: Float[Tensor, "b t w"]


class Modulations(NamedTuple):
    """Those of all `k` norms of a transformer, in their order."""

    factors: Float[Tensor, "k b t w"]
    shifts: Float[Tensor, "k b t w"]
    gates: Float[Tensor, "k b t w"]

    def by_norm(self) -> list[Modulation]:
        """One after another."""
        parts = (part.unbind() for part in self)
        return [Modulation(*each) for each in zip(*parts, strict=True)]


Condition = Float[Tensor, "b t w"] | Modulations | None
"""Of the norms: the time as a vector, or what it makes of each of them; None where they do not
depend on it. One for all tokens (t = 1) or one for each (t = n)."""


class RmsNorm(nn.Module):
    """Division by the root mean square, in float32, then a factor 1 + weight for each entry.

    With `adaptive`, factor, shift and gate come from a condition by a linear layer.
    """

    def __init__(self, width: int, *, adaptive: bool) -> None:
        super().__init__()
        self.modulate = nn.Linear(width, 3 * width) if adaptive else None
        self.weight = None if adaptive else nn.Parameter(torch.zeros(width))

    def modulation(self, condition: Float[Tensor, "b t w"]) -> Modulation:
        """Of an adaptive norm."""
        assert self.modulate is not None, "only an adaptive norm has one"
        scale, shift, gate = self.modulate(condition).chunk(3, dim=-1)
        return Modulation(1 + scale.float(), shift.float(), gate)

    def forward(
        self, x: Float[Tensor, "b n w"], condition: Float[Tensor, "b t w"] | Modulation | None
    ) -> tuple[Float[Tensor, "b n w"], Float[Tensor, "b t w"] | None]:
        """The normalized tokens, and the gate of what is computed from them (None is 1)."""
        if self.modulate is None:
            assert self.weight is not None
            factor = 1 + self.weight.float()
            return F.rms_norm(x.float(), factor.shape, factor, EPS).to(x.dtype), None
        assert condition is not None, "an adaptive norm takes the time's condition"
        given = condition if isinstance(condition, Modulation) else self.modulation(condition)
        even = F.rms_norm(x.float(), x.shape[-1:], eps=EPS)
        return torch.addcmul(given.shift, even, given.factor).to(x.dtype), given.gate


def gated(x: Tensor, change: Tensor, gate: Tensor | None) -> Tensor:
    """The residual sum."""
    return x + change if gate is None else torch.addcmul(x, change, gate)


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
        self.attended = JoinedLayers()
        self.widened = JoinedLayers()

    def join(self) -> None:
        """Compute the layers of one input by one product from now on (`JoinedLayers`)."""
        self.attended = JoinedLayers.of(self.query, self.key, self.value)
        self.widened = JoinedLayers.of(self.gate, self.up)

    def _queries_and_own(
        self, y: Float[Tensor, "b n w"], rotation: Rotation
    ) -> tuple[Float[Tensor, "b n heads head"], KeysValues]:
        """The rotated queries, and the keys and values of these tokens."""
        heads, keys = self.sizes.heads, self.sizes.key_heads
        parts = self.attended.together(y, self.query, self.key, self.value)
        parts = parts.view(*y.shape[:2], -1, self.sizes.head)
        turned = rotated(parts[:, :, : heads + keys], rotation)
        own = turned[:, :, heads:].transpose(1, 2), parts[:, :, heads + keys :].transpose(1, 2)
        return turned[:, :, :heads], own

    def own(
        self, x: Float[Tensor, "b n w"], rotation: Rotation, condition: Modulation | None = None
    ) -> KeysValues:
        """The keys and values of the tokens, without what the layer makes of these."""
        y, _ = self.attention_norm(x, condition)
        return self._queries_and_own(y, rotation)[1]

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        rotation: Rotation,
        bias: Float[Tensor, "b 1 #q m"],
        before: KeysValues | None = None,
        conditions: tuple[Tensor | Modulation | None, Tensor | Modulation | None] = (None, None),
    ) -> tuple[Float[Tensor, "b n w"], KeysValues]:
        """The tokens after this layer, and their keys and values.

        `before` are those of the tokens before; `bias` is added to the scores of all `m` tokens, by
        token and query of a head of keys (q = n * shared). `conditions` are of both norms.
        """
        y, gate = self.attention_norm(x, conditions[0])
        queries, own = self._queries_and_own(y, rotation)
        keys, values = own
        if before is not None:
            keys = torch.cat((before[0], keys), dim=2)
            values = torch.cat((before[1], values), dim=2)
        # All queries that share a head of keys are rows of one product, which copies no keys.
        batch, length = x.shape[:2]
        heads, head = self.sizes.key_heads, self.sizes.head
        rows = queries.reshape(batch, length, heads, -1).transpose(1, 2)
        rows = rows.reshape(batch, heads, -1, head)
        attended = F.scaled_dot_product_attention(rows, keys, values, attn_mask=bias)
        attended = attended.reshape(batch, heads, length, -1).transpose(1, 2).flatten(2)
        x = gated(x, self.out(attended), gate)
        y, gate = self.mlp_norm(x, conditions[1])
        gates, ups = self.widened.apart(y, self.gate, self.up)
        y = F.gelu(gates, approximate="tanh") * ups
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

    def rotation(self, positions: Int[Tensor, "b n"], dtype: torch.dtype) -> Rotation:
        """That of tokens at `positions`."""
        return rotation_at(positions, self.sizes.head, dtype)

    def modulations(self, condition: Float[Tensor, "b t w"]) -> Modulations:
        """What a condition makes of all norms, which are adaptive."""
        each = [m.modulation(condition) for m in self.modules() if isinstance(m, RmsNorm)]
        return Modulations(*(torch.stack(part) for part in zip(*each, strict=True)))

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        rotation: Rotation,
        bias: Float[Tensor, "b 1 #q m"],
        before: list[KeysValues] | None = None,
        condition: Condition = None,
    ) -> tuple[Float[Tensor, "b n w"], list[KeysValues]]:
        """The tokens after the last norm, and the keys and values of each layer."""
        each = iter(
            condition.by_norm() if isinstance(condition, Modulations) else repeat(condition)
        )
        kept = []
        for layer, block in enumerate(self.blocks):
            past = None if before is None else before[layer]
            inputs = x, rotation, bias, past, (next(each), next(each))
            x, own = block_output(block, *inputs, recompute=self.recompute)
            kept.append(own)
        x, _ = self.norm(x, next(each))
        return x, kept

    def keys_values(
        self, x: Float[Tensor, "b n w"], rotation: Rotation, bias: Float[Tensor, "b 1 #q m"]
    ) -> list[KeysValues]:
        """Those of each layer alone, for tokens that only others see; its norms depend on no
        condition."""
        kept: list[KeysValues] = []
        for block in self.blocks[:-1]:
            x, own = block_output(block, x, rotation, bias, recompute=self.recompute)
            kept.append(own)
        last = self.blocks[-1]
        assert isinstance(last, GemmaBlock)
        return [*kept, last.own(x, rotation)]
