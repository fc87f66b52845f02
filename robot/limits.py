"""`CommandLimits`: the last check between the plan and the robot.

Guarantees: what passes has the robot's shape, is finite, lies in its range, and is no further from
the last accepted command than the robot's `max_rate` allows in the time since. What fails is
refused whole: clamping one joint of an arm would send it somewhere that nobody planned. Only what
exceeds the range by less than `MARGIN` of it is cut to the range, because a learned policy that
wants a gripper fully open says 1.003.

Does not guarantee: that the way there is free. That is the robot's surroundings' matter.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .base import RobotSpec

Floats = NDArray[np.float32]

MARGIN = 0.05
"""Of each joint's range."""

TOLERANCE = 1e-4
"""Of each step: float32 rounding on the way through a policy's normalization."""


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
        self._lower = np.array(spec.lower, np.float32)
        self._upper = np.array(spec.upper, np.float32)
        span = self._upper - self._lower
        margin = np.where(np.isfinite(span), MARGIN * span, 0).astype(np.float32)
        self._lowest, self._highest = self._lower - margin, self._upper + margin
        self._step = (np.array(spec.max_rate) * tick_s * (1 + TOLERANCE)).astype(np.float32)
        self._catch_up_ticks = catch_up_ticks
        self._command = np.zeros(self._shape, np.float32)
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

    def check(self, action: Floats) -> tuple[Floats | None, Refusal | None]:
        """The command [A] to write for `action` [A], valid until the next call; it is then the new
        reference. Or None, and why not."""
        refusal = self._refusal(action)
        if refusal is not None:
            self.missed()
            return None, refusal
        self._last[:] = self._command
        self._known = True
        self._ticks = 1
        return self._command, None

    def _refusal(self, action: Floats) -> Refusal | None:
        if action.shape != self._shape:
            return Refusal.SHAPE
        if not np.isfinite(action).all():
            return Refusal.NOT_FINITE
        if (action < self._lowest).any() or (action > self._highest).any():
            return Refusal.RANGE
        np.clip(action, self._lower, self._upper, out=self._command)
        if self._known:
            np.subtract(self._command, self._last, out=self._moved)
            np.abs(self._moved, out=self._moved)
            np.multiply(self._step, self._ticks, out=self._allowed)
            if (self._moved > self._allowed).any():
                return Refusal.STEP
        return None
