"""How smooth a movement is, and which of a robot's actions make one arm.

The measure is the spectral arc length SPARC: S. Balasubramanian, A. Melendez-Calderon,
A. Roby-Brami, E. Burdet, "On the analysis of movement smoothness", Journal of NeuroEngineering and
Rehabilitation 12:112 (2015), with its constants (10 Hz, 5 %, 4 levels of padding). It is negative;
nearer to 0 is smoother, about -1.4 is a single minimum-jerk reach. It does not depend on how large
or how fast a movement is, but on how long it is composed: compare episodes of one task only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CUT_HZ = 10.0
"""Human movements have no more; a robot that is commanded at less than twice this is cut at half
its rate."""
_LEAST = 0.05
_PADDING = 4
_SIDES = ("left", "right")


def sparc(speed: NDArray[np.floating], rate_hz: float) -> float:
    """SPARC of a speed profile [n], sampled `rate_hz` times a second; 0.0 where nothing moves."""
    if not np.any(speed):
        return 0.0
    padded = 2 ** (math.ceil(math.log2(len(speed))) + _PADDING)
    spectrum = np.abs(np.fft.rfft(speed, padded))
    spectrum /= spectrum.max()
    frequency = np.fft.rfftfreq(padded, 1 / rate_hz)
    below = frequency <= min(CUT_HZ, rate_hz / 2)
    spectrum, frequency = spectrum[below], frequency[below]
    last = np.flatnonzero(spectrum >= _LEAST)[-1]
    spectrum, frequency = spectrum[: last + 1], frequency[: last + 1]
    if last == 0:
        return 0.0
    across = np.diff(frequency) / (frequency[-1] - frequency[0])
    return -float(np.hypot(across, np.diff(spectrum)).sum())


def speed_of(
    positions: NDArray[np.floating], scale: NDArray[np.floating], rate_hz: float
) -> NDArray[np.float64]:
    """The speed [n - 1] of a path of positions [n, A], per second, each divided by its `scale` [A]:
    joints of different units add up."""
    steps = np.diff(np.asarray(positions, np.float64), axis=0) / scale
    speed: NDArray[np.float64] = np.linalg.norm(steps, axis=1) * rate_hz
    return speed


def arms_of(action_names: Sequence[str]) -> dict[str, list[int]]:
    """The places of each arm's actions, by the word left or right in their names; `arm` are those
    of a robot that has neither, `body` the rest of one that has."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(action_names):
        words = re.split(r"[^a-z0-9]+", name.lower())
        found.setdefault(next((side for side in _SIDES if side in words), ""), []).append(place)
    rest = "body" if len(found) > 1 else "arm"
    return {side or rest: places for side, places in found.items()}
