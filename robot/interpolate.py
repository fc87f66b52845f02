"""`Interpolator`: N commands from each policy action, on a straight line from the one before.

A policy acts at 30 Hz where many arms want commands at 90 Hz or more. Command `k` of `N` (counted
from 1) is `previous + (action - previous) * k / N`, so that the last one is the action itself, and
it costs no delay beyond the period that the action is for. Without a previous action (the first
one, or after a gap, in which the arm held) all `N` commands are the action.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Interpolator:
    """Feeds one robot of `size` action values at `steps` commands per policy action."""

    def __init__(self, steps: int, size: int):
        if steps < 1:
            raise ValueError(f"{steps} commands per action: use 1 (no interpolation) or more")
        self._steps = steps
        self._from = np.zeros(size, np.float32)
        self._to = np.zeros(size, np.float32)
        self._command = np.zeros(size, np.float32)
        self._done = steps
        self._moving = False

    @property
    def needs_action(self) -> bool:
        """Whether the next `command` begins a new policy step."""
        return self._done >= self._steps

    def start(self, action: NDArray[np.float32]) -> None:
        """Begin the policy step of `action` [A]; it is copied."""
        self._from[:] = self._to if self._moving else action
        self._to[:] = action
        self._moving = True
        self._done = 0

    def skip(self) -> None:
        """Begin a policy step without an action: `command` is None until the next `start`."""
        self._moving = False
        self._done = 0

    def stop(self) -> None:
        """Forget everything: the next command begins a new policy step, from wherever it is."""
        self._moving = False
        self._done = self._steps

    def command(self) -> NDArray[np.float32] | None:
        """The next command [A], valid until the next call; None in a step without an action."""
        self._done += 1
        if not self._moving:
            return None
        if self._done >= self._steps:
            self._command[:] = self._to
        else:
            np.subtract(self._to, self._from, out=self._command)
            self._command *= self._done / self._steps
            self._command += self._from
        return self._command
