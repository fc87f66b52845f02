"""How each sample of a batch continues its plan: its prefix, and the steps that belong to it.

Every sample has its own delay, prefix, weights and clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .base import Observation
from .rtc import Guidance

Floats = NDArray[np.float32]


def padded(prefixes: Sequence[Floats], steps: int, width: int) -> tuple[Floats, list[int]]:
    """The prefixes [P, A] of a batch as [b, steps, width] with zeros after them, and their
    lengths, at most `steps`."""
    whole = np.zeros((len(prefixes), steps, width), np.float32)
    lengths = []
    for row, prefix in zip(whole, prefixes, strict=True):
        length = min(len(prefix), steps)
        row[:length] = prefix[:length]
        lengths.append(length)
    return whole, lengths


def guided(
    batch: Sequence[Observation], lengths: Sequence[int], guidance: Guidance, steps: int
) -> tuple[Floats, Floats]:
    """The weights [b, steps] of agreement with prefixes of these lengths, and the bounds [b] of the
    guidance weight."""
    known = zip(batch, lengths, strict=True)
    weights = np.stack([guidance.weights(o, n, steps) for o, n in known])
    return weights, np.array([guidance.clip_of(o) for o in batch], np.float32)


def given(
    batch: Sequence[Observation], lengths: Sequence[int], limit: int, steps: int
) -> NDArray[np.bool_]:
    """Which steps [b, steps] are certain to be executed and given to the network: at most
    `limit`."""
    known = zip(batch, lengths, strict=True)
    sure = [min(o.delay_steps, n, o.execution_horizon or n, limit) for o, n in known]
    mask: NDArray[np.bool_] = np.arange(steps) < np.array(sure)[:, None]
    return mask
