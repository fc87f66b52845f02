"""Weights that follow from a tensor's name and shape, so that two implementations have the same
without a file between them. Needs numpy alone."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def weights_of(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Normal numbers of a spread at which signals neither vanish nor grow from layer to layer.

    Matrices are divided by the root of their inputs; vectors have a spread of 0.1.
    """
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else 100
    return inputs_of({name: shape})[name] / np.float32(math.sqrt(fan_in))


def inputs_of(
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, NDArray[np.float32]]:
    """Normal numbers by name."""
    return {
        name: np.random.default_rng(zlib.crc32(name.encode()))
        .standard_normal(shape)
        .astype(np.float32)
        for name, shape in shapes.items()
    }
