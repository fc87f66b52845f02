"""States and actions at a model's size, and actions at the robot's again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data_step import Data
from .key_paths import array_at, unfit


def pad_last(array: NDArray[Any], size: int, value: float = 0.0) -> NDArray[Any]:
    """`array` [..., D] with `value` appended up to `size`; a longer one as it is. Source: openpi,
    `pad_to_dim`."""
    if array.shape[-1] >= size:
        return array
    width = [(0, 0)] * (array.ndim - 1) + [(0, size - array.shape[-1])]
    return np.pad(array, width, constant_values=value)


@dataclass(frozen=True)
class PadToModel:
    """Zeros after the values of state and actions, up to a model's `size`; the inverse is
    `CutActions`. Source: openpi, `PadStatesAndActions`, which lets what is longer pass."""

    size: int

    def __call__(self, data: Data) -> Data:
        keys = ("state", "actions") if "actions" in data else ("state",)
        return {**data, **{key: self._padded(data, key) for key in keys}}

    def _padded(self, data: Data, key: str) -> NDArray[Any]:
        array = array_at(data, key, self)
        if array.ndim == 0 or array.shape[-1] > self.size:
            raise unfit(self, key, array, f"at most the {self.size} values of the model")
        return pad_last(array, self.size)


@dataclass(frozen=True)
class CutActions:
    """The first `size` values of each action, and nothing else: what a robot gets.

    Source: openpi, `policies/libero_policy.py` and `policies/droid_policy.py`.
    """

    size: int

    def __call__(self, data: Data) -> Data:
        actions = array_at(data, "actions", self)
        if actions.ndim == 0 or actions.shape[-1] < self.size:
            raise unfit(self, "actions", actions, f"[steps, at least {self.size} values]")
        return {"actions": actions[..., : self.size]}
