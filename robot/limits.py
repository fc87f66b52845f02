"""`CommandLimits`: the last check between the plan and the robot.

Guarantees: what passes has the robot's shape, is finite, lies in its range, and is no further from
the last accepted command than the robot's `max_rate` allows in the time since. What fails is
refused whole: clamping one joint of an arm would send it somewhere that nobody planned.

Does not guarantee: that the way there is free. That is the robot's surroundings' matter.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .base import RobotSpec

Floats = NDArray[np.float32]

TOLERANCE = 1e-4
"""Relative to each range or step: float32 rounding on the way through a policy's normalization."""


class Refusal(StrEnum):
    """Why a command was refused."""

    SHAPE = "shape"
    NOT_FINITE = "not_finite"
    RANGE = "range"
    STEP = "step"


class CommandLimits:
    """Checks the commands of one robot that is sent one every `tick_s`.

    The allowed step is `max_rate * tick_s`, times the ticks since the last accepted command: after
    a refusal the plan goes on, and its next action is legitimately further away. `catch_up_ticks`
    bounds that, so that a command after a long hold may still not jump.
    """

    def __init__(self, spec: RobotSpec, tick_s: float, catch_up_ticks: int = 10):
        self._shape = (len(spec.action_names),)
        lower, upper = np.array(spec.lower), np.array(spec.upper)
        slack = TOLERANCE * np.where(np.isfinite(upper - lower), upper - lower, 0.0)
        self._lower = (lower - slack).astype(np.float32)
        self._upper = (upper + slack).astype(np.float32)
        self._step = (np.array(spec.max_rate) * tick_s * (1 + TOLERANCE)).astype(np.float32)
        self._catch_up_ticks = catch_up_ticks
        self._last = np.zeros(self._shape, np.float32)
        self._moved = np.zeros(self._shape, np.float32)
        self._allowed = np.zeros(self._shape, np.float32)
        self._known = False
        self._ticks = 1

    def reference(self, position: Floats) -> None:
        """Say where the robot is, before its first command or after it was moved by others."""
        if position.shape == self._shape and np.isfinite(position).all():
            self._last[:] = position
            self._known = True
            self._ticks = 1

    def forget(self) -> None:
        """Nobody knows where the robot is: the next command is not checked against the last."""
        self._known = False

    def missed(self, ticks: int = 1) -> None:
        """Ticks passed without an accepted command."""
        self._ticks = min(self._ticks + ticks, self._catch_up_ticks)

    def check(self, action: Floats) -> Refusal | None:
        """None if `action` [A] may be written, and then it is the new reference; else why not."""
        fault = self._fault(action)
        if fault is None:
            self._last[:] = action
            self._known = True
            self._ticks = 1
        else:
            self.missed()
        return fault

    def _fault(self, action: Floats) -> Refusal | None:
        if action.shape != self._shape:
            return Refusal.SHAPE
        if not np.isfinite(action).all():
            return Refusal.NOT_FINITE
        if (action < self._lower).any() or (action > self._upper).any():
            return Refusal.RANGE
        if self._known:
            np.subtract(action, self._last, out=self._moved)
            np.abs(self._moved, out=self._moved)
            np.multiply(self._step, self._ticks, out=self._allowed)
            if (self._moved > self._allowed).any():
                return Refusal.STEP
        return None
