"""`JoinedLayers`: linear layers of one input as one product, for inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class JoinedLayers:
    """The outputs of linear layers that have the same input.

    `of` joins their weights, which then are parts of one matrix: names and values stay, and nothing
    is kept twice. A network that is moved to another device or dtype has to be joined again.
    """

    def __init__(self, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        self._weight, self._bias = weight, bias

    @classmethod
    def of(cls, *layers: nn.Module) -> Self:
        """Joined where all are plain linear layers."""
        linear = [layer for layer in layers if type(layer) is nn.Linear]
        if len(linear) < len(layers):
            return cls()
        return cls(_joined(linear, "weight"), _joined(linear, "bias"))

    def together(self, x: Float[Tensor, "*batch w"], *layers: nn.Module) -> Tensor:
        """One after another in the last dimension. `layers` are those that were joined."""
        if self._weight is None:
            return torch.cat([layer(x) for layer in layers], dim=-1)
        return F.linear(x, self._weight, self._bias)

    def apart(self, x: Float[Tensor, "*batch w"], *layers: nn.Module) -> Sequence[Tensor]:
        """Each of its own; joined ones are of the same size."""
        if self._weight is None:
            return [layer(x) for layer in layers]
        return F.linear(x, self._weight, self._bias).chunk(len(layers), dim=-1)


def _joined(layers: list[nn.Linear], name: str) -> Tensor | None:
    """Their weights or biases as one tensor, of which each layer has its part."""
    parts: list[Tensor | None] = [getattr(layer, name) for layer in layers]
    given = [part.detach() for part in parts if part is not None]
    if not given:
        return None
    whole = torch.cat(given)
    parts_of_it = torch.split(whole, [len(part) for part in given])
    for layer, part in zip(layers, parts_of_it, strict=True):
        setattr(layer, name, nn.Parameter(part, requires_grad=False))
    return whole
