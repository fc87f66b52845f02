"""`CommandLimits`: the last check between the plan and the robot.

Guarantees: what passes has the robot's shape, is finite, lies in its range, and is no further from
its last command, or measured position, than its `max_rate` allows in the time since. What fails is
refused whole: clamping one joint of an arm would send it somewhere that the policy did not plan.
Only what exceeds the range by less than `MARGIN` of it is cut to the range, because a learned
policy that wants a gripper fully open says 1.003.

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

FLOW_S = 0.3
"""Commands flow as long as the last one is no older than this. A joint that trails its command is
then not held back by where it is measured; after that it may have been moved by others."""


class Refusal(StrEnum):
    """Why a command was refused."""

    SHAPE = "shape"
    NOT_FINITE = "not_finite"
    RANGE = "range"
    STEP = "step"


class CommandLimits:
    """Checks the commands of one robot that is sent one every `tick_s`.

    The allowed step is `max_rate * tick_s`, times the ticks since the last accepted command, at
    most as many as `FLOW_S` has: after a refusal or a hold the plan goes on, and its next action is
    legitimately further away. It is measured from the last command while commands flow. After a
    pause, hold, gap or takeover it is measured from where the joint was last known to be: its last
    measurement, or its last command if that is newer. The first command after `attach` gets the
    step of `first_ticks`, however long ago that was.

    A joint that is not measured now may have been moved since, unseen. For it alone the allowed
    step then grows without bound by one tick's for each command that is refused for its step, until
    one is accepted or the commands are interrupted: it cannot jump after a hold, and a plan that
    begins where it was moved to is refused for as long as the way there takes at `max_rate`. A
    joint that was neither measured nor commanded yet is checked by its range only.
    """

    def __init__(self, spec: RobotSpec, tick_s: float, first_ticks: int = 1):
        """`first_ticks`: as many ticks' steps the first command after `attach` may be away."""
        self._first_ticks = first_ticks
        self._names = spec.action_names
        self._shape = (len(spec.action_names),)
        self._lower = np.array(spec.lower, np.float32)
        self._upper = np.array(spec.upper, np.float32)
        span = self._upper - self._lower
        margin = np.where(np.isfinite(span), MARGIN * span, 0).astype(np.float32)
        self._lowest, self._highest = self._lower - margin, self._upper + margin
        self._step = (np.array(spec.max_rate) * tick_s * (1 + TOLERANCE)).astype(np.float32)
        self._whole_step, self._tick_s, self._pace = self._step.copy(), tick_s, 1.0
        self.flow_ticks = max(1, round(FLOW_S / tick_s))
        """Ticks that `FLOW_S` lasts, at least 1."""
        # NaN is a position that is not known: no distance to it exceeds any step.
        self._last = np.full(self._shape, np.nan, np.float32)
        self._known = np.full(self._shape, np.nan, np.float32)
        self._measured = np.zeros(self._shape, np.bool_)
        self._unmeasured = np.ones(self._shape, np.bool_)
        self._command = np.zeros(self._shape, np.float32)
        self._moved = np.zeros(self._shape, np.float32)
        self._nearest = np.zeros(self._shape, np.float32)
        self._lowest_move = np.zeros(self._shape, np.float32)
        self._allowed = np.zeros(self._shape, np.float32)
        self._finite = np.zeros(self._shape, np.bool_)
        self._refused = np.zeros(self._shape, np.float32)
        self._why: Refusal | None = None
        self._found: tuple[int, ...] = self._shape
        self._from_last = False
        self._flowing = self._attached = False
        self._ticks = 1
        self._refused_steps = 0

    @property
    def flowing(self) -> bool:
        """Whether the next step is measured from the last command."""
        return self._flowing and self._ticks <= self.flow_ticks

    def locate(self, position: Floats) -> None:
        """Where the robot is measured to be, [A]; NaN where that is not known now."""
        np.isfinite(position, out=self._measured)
        np.copyto(self._known, position, where=self._measured)

    def commanded(self, command: Floats) -> None:
        """`command` [A] was sent past these checks: a stop, or what a process before sent last."""
        self._last[:] = command
        self._known[:] = command
        self._measured[:] = False
        self._flowing = True

    def interrupt(self) -> None:
        """The robot may have been moved by others: the next step is measured from where it is."""
        self._flowing = False
        self._refused_steps = 0

    def attach(self) -> None:
        """The robot's last command is not known, or is old: until one is accepted, each may be the
        step of `first_ticks` away from where the robot is."""
        self.interrupt()
        self._attached = True

    def follow_pace(self, tick_s: float) -> None:
        """Commands are sent every `tick_s` of late. `max_rate` holds by the clock: where that is
        sooner than was said, a step is as much smaller. A longer one is none: see `missed`."""
        pace = min(1.0, tick_s / self._tick_s)
        if pace != self._pace:
            self._pace = pace
            np.multiply(self._whole_step, pace, out=self._step)

    def missed(self, ticks: int = 1) -> None:
        """Ticks passed without an accepted command."""
        self._ticks = min(self._ticks + ticks, self.flow_ticks + 1)

    def check(self, action: Floats) -> tuple[Floats | None, Refusal | None]:
        """The command [A] to write for `action` [A], valid until the next call; it is then the last
        command. Or None, and why not."""
        self._why = self._refusal(action)
        if self._why is not None:
            self.missed()
            self._refused_steps += self._why is Refusal.STEP
            return None, self._why
        self.commanded(self._command)
        self._attached = False
        self._ticks = 1
        self._refused_steps = 0
        return self._command, None

    def toward(self, target: Floats) -> Floats:
        """The command [A] nearest to `target` that lies in the range and is at most one tick's step
        from where `check` measures steps, valid until the next call. `target` is finite."""
        start = self._last if self.flowing else self._known
        np.clip(target, self._lower, self._upper, out=self._nearest)
        np.subtract(self._nearest, start, out=self._moved)
        np.multiply(self._step, 1 - TOLERANCE, out=self._allowed)  # what rounding adds is accepted
        np.negative(self._allowed, out=self._lowest_move)
        np.clip(self._moved, self._lowest_move, self._allowed, out=self._moved)
        np.isfinite(start, out=self._finite)
        np.add(start, self._moved, out=self._nearest, where=self._finite)
        return self._nearest

    def last_near(self, chunk: Floats, first: int, last: int) -> int:
        """The last of the actions `first` to `last` of `chunk` [H, A] that is at most the step of
        `first_ticks` from where `check` measures steps; `first` if none is."""
        start = self._last if self.flowing else self._known
        away = np.abs(chunk[first : last + 1] - start) > self._step * self._first_ticks
        near = np.flatnonzero(~away.any(axis=1))
        return first + int(near[-1]) if len(near) else first

    def explanation(self) -> str:
        """Which joint's value was refused last, how far it was off and which limit that is, in a
        sentence; empty if the last command was accepted."""
        match self._why:
            case None:
                return ""
            case Refusal.SHAPE:
                return f"an action of shape {self._found}, expected {self._shape}"
            case Refusal.NOT_FINITE:
                joint = int(np.argmin(np.isfinite(self._refused)))
                return f"{self._names[joint]}: {self._refused[joint]} is not a finite number"
            case Refusal.RANGE:
                over = np.maximum(self._lowest - self._refused, self._refused - self._highest)
                joint = int(np.argmax(over))
                return (
                    f"{self._names[joint]}: {self._refused[joint]:.4g} is outside its range "
                    f"{self._lower[joint]:.4g} to {self._upper[joint]:.4g}"
                )
        with np.errstate(divide="ignore", invalid="ignore"):
            joint = int(np.nanargmax(self._moved / self._allowed))
        if self._from_last:
            start = f"the last command ({self._last[joint]:.4g})"
        elif self._measured[joint]:
            start = f"where the robot is ({self._known[joint]:.4g})"
        else:
            start = f"where the robot was last known to be ({self._known[joint]:.4g})"
        return (
            f"{self._names[joint]}: {self._refused[joint]:.4g} is {self._moved[joint]:.4g} away "
            f"from {start}; its max_rate allows {self._allowed[joint]:.4g}"
        )

    def _refusal(self, action: Floats) -> Refusal | None:
        if action.shape != self._shape:
            self._found = action.shape
            return Refusal.SHAPE
        np.isfinite(action, out=self._finite)
        if not self._finite.all():
            self._refused[:] = action
            return Refusal.NOT_FINITE
        if (action < self._lowest).any() or (action > self._highest).any():
            self._refused[:] = action
            return Refusal.RANGE
        np.maximum(action, self._lower, out=self._command)
        np.minimum(self._command, self._upper, out=self._command)
        self._from_last = self.flowing
        start = self._last if self._from_last else self._known
        np.subtract(self._command, start, out=self._moved)
        np.abs(self._moved, out=self._moved)
        ticks = self._first_ticks if self._attached else min(self._ticks, self.flow_ticks)
        np.multiply(self._step, ticks, out=self._allowed)
        if not self._from_last and self._refused_steps >= ticks:
            np.logical_not(self._measured, out=self._unmeasured)
            np.multiply(
                self._step, self._refused_steps + 1, out=self._allowed, where=self._unmeasured
            )
        if (self._moved > self._allowed).any():
            self._refused[:] = action
            return Refusal.STEP
        return None
