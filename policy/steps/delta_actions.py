"""Actions as differences from the state: `DeltaActions` before a model, `AbsoluteActions` after it.

Source: openpi, `src/openpi/transforms.py`. All steps of a chunk count from the one state of its
observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data_step import Data
from .key_paths import array_at, unfit


def bool_mask(*dims: int) -> tuple[bool, ...]:
    """So many dimensions that are set, or, for a negative number, that are not.

    >>> bool_mask(2, -1, 1)
    (True, True, False, True)
    """
    return tuple(dim > 0 for dim in dims for _ in range(abs(dim)))


@dataclass(frozen=True)
class DeltaActions:
    """The state is subtracted from the actions, in those of the first dimensions that `mask` sets.
    None changes nothing, and neither do data without actions."""

    mask: Sequence[bool] | None

    def __call__(self, data: Data) -> Data:
        if self.mask is None or "actions" not in data:
            return data
        actions, offset = _split(data, self.mask, self)
        actions[..., : len(self.mask)] -= offset
        return {**data, "actions": actions}


@dataclass(frozen=True)
class AbsoluteActions:
    """The inverse of `DeltaActions`."""

    mask: Sequence[bool] | None

    def __call__(self, data: Data) -> Data:
        if self.mask is None or "actions" not in data:
            return data
        actions, offset = _split(data, self.mask, self)
        actions[..., : len(self.mask)] += offset
        return {**data, "actions": actions}


def _split(data: Data, mask: Sequence[bool], step: object) -> tuple[NDArray[Any], NDArray[Any]]:
    """The actions, copied, and what their first dimensions count from. The sum has the actions' own
    type, as openpi's has."""
    dims = len(mask)
    state, actions = array_at(data, "state", step), array_at(data, "actions", step)
    for key, array, rank in (("state", state, 1), ("actions", actions, 2)):
        if array.ndim < rank or array.shape[-1] < dims:
            shape = f"{'steps, ' * (rank - 1)}at least {dims} values"
            raise unfit(step, key, array, f"[{shape}], as the mask has")
    return actions.copy(), np.expand_dims(np.where(mask, state[..., :dims], 0), axis=-2)
