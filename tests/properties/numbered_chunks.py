"""Chunks in which every value is another, so that the same action twice is seen in the values."""

from __future__ import annotations

import numpy as np

MS = 1_000_000
MAX_AGE = 1000 * MS
ACTIONS = 2


def arrays(first: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A chunk whose values are `first`, `first + 1`, ... in robot space, negated in model space."""
    values = np.repeat(np.arange(first, first + length, dtype=np.float32)[:, None], ACTIONS, 1)
    return -values, values
