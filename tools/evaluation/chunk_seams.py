"""Where chunks meet: the step of the commands from the end of one chunk to the next one.

A chunk that continues the motion under way begins with a step like those before it; one that does
not begins with a jump, which the robot's limits cut or refuse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NO_CHUNK = -1
"""The chunk of a row in which no action of a plan was played."""


def seam_steps(
    actions: NDArray[np.floating], chunks: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.float64]:
    """The absolute steps at the seams [m, A], in the actions' units, one row for each first action
    of a chunk that follows another.

    `actions` [n, A] are what was commanded, in order; `chunks` [n] number the chunk of each, or are
    `NO_CHUNK`, whose rows do not count: after a hold a seam is the step from the last action of the
    plan before it.
    """
    own = np.asarray(chunks)
    played = own != NO_CHUNK
    kept, origin = np.asarray(actions, np.float64)[played], own[played]
    seams = np.flatnonzero(origin[1:] != origin[:-1])
    steps: NDArray[np.float64] = np.abs(kept[seams + 1] - kept[seams])
    return steps


def seam_jump(
    actions: NDArray[np.floating],
    chunks: Sequence[int] | NDArray[np.int64],
    scale: NDArray[np.floating] | None = None,
) -> float:
    """The largest step of any action where chunks meet; 0.0 where none do. `scale` [A] divides each
    action's steps, so that actions of different units can be compared (their ranges, for one)."""
    steps = seam_steps(actions, chunks)
    if not steps.size:
        return 0.0
    return float((steps if scale is None else steps / scale).max())
