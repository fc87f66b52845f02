"""`Playback`: what the robot is told at each tick: the plan's next command, or the fallback.

Guarantees: every command that it returns passed the robot's limits, or is the fallback. A command
that fails them is refused and treated as a missing action. Pure: instants come from the caller.
"""

from __future__ import annotations

import numpy as np

from ...robot.base import ControlMode, RobotSpec
from ...robot.interpolate import Interpolator
from ...robot.limits import CommandLimits, Refusal
from .buffer import ChunkBuffer
from .config import ControlConfig
from .plan import Action, Floats
from .segment import PlanSegment, Word


class Playback:
    """One robot's side of the plan.

    Attributes:
        action: the policy action that is being played, or None.
        begins_step: whether the next `command` begins a policy step (with interpolation, one in N).
    """

    def __init__(
        self, config: ControlConfig, spec: RobotSpec, segment: PlanSegment, buffer: ChunkBuffer
    ):
        self._buffer = buffer
        self._words = segment.words
        self._fallback = config.safety.fallback
        self._velocity = spec.control_mode is ControlMode.VELOCITY
        self._limits = CommandLimits(spec, config.tick_ns / 1e9)
        self._interpolator = Interpolator(config.interpolate, len(spec.action_names))
        self._joints = _joints(spec)
        self._zero = np.zeros(len(spec.action_names), np.float32)
        self._last = np.zeros(len(spec.action_names), np.float32)
        self._commanded = False
        self._fed = len(buffer) > 0
        self._placed = False
        self.action: Action | None = None
        if buffer.last is not None:  # the incarnation before told the robot this
            self._placed = True
            self._limits.reference(buffer.last)

    @property
    def begins_step(self) -> bool:
        return self._interpolator.needs_action

    def place(self, state: Floats) -> None:
        """Learn from the measured `state` [S] where the robot is, if nothing is known of it yet. A
        velocity-controlled one is at rest then."""
        if not self._placed:
            self._placed = True
            if self._velocity:
                self._limits.reference(self._zero)
            elif self._joints is not None:
                self._limits.reference(state[self._joints])

    def merged(self) -> None:
        """A chunk arrived: from now on a step without an action is a stall."""
        self._fed = True

    def reset(self) -> None:
        """An episode begins: nothing of the one before is continued, nor where the robot was."""
        self._interpolator.stop()
        self._limits.forget()
        self._fed = self._placed = self._commanded = False
        self.action = None

    def command(self, now_ns: int) -> Floats | None:
        """The command [A] to write at this tick, or None for none; valid until the next call."""
        if self._interpolator.needs_action:
            self.action = self._buffer.pop(now_ns)
            if self.action is None:
                self._interpolator.skip()
                self._words[Word.STALLED] += self._fed
            else:
                self._interpolator.start(self.action.robot)
        command = self._interpolator.command()
        if command is not None:
            accepted, refusal = self._limits.check(command)
            if accepted is not None:
                self._last[:] = accepted
                self._commanded = True
                return accepted
            if refusal is not None:
                self._words[_REFUSED_WORD[refusal]] += 1
        else:
            self._limits.missed()
        return self._fall_back()

    def rest(self) -> Floats | None:
        """The command for a tick in which the plan is not to be played (paused, not enabled):
        none for a position-controlled arm, which holds by itself, zero for a velocity."""
        self._interpolator.stop()
        self._limits.missed()
        self.action = None
        return self._halt() if self._velocity else None

    def missed(self, ticks: int) -> None:
        """Ticks passed in which the loop was not awake."""
        self._limits.missed(ticks)

    @property
    def refused(self) -> dict[str, int]:
        """Commands that failed the limits, by reason."""
        return {why.value: n for why in Refusal if (n := self._words[_REFUSED_WORD[why]])}

    def _fall_back(self) -> Floats | None:
        self._words[Word.FALLBACKS] += 1
        if self._fallback == "zero":
            return self._halt()
        if self._fallback == "repeat_last" and self._commanded:
            return self._last
        return None

    def _halt(self) -> Floats:
        self._limits.reference(self._zero)
        return self._zero


def _joints(spec: RobotSpec) -> list[int] | None:
    """Where in the state each action's own measured value is; None if one has none."""
    if not set(spec.action_names) <= set(spec.state_names):
        return None
    return [spec.state_names.index(name) for name in spec.action_names]


_REFUSED_WORD = {why: Word.REFUSED + place for place, why in enumerate(Refusal)}
