"""`CommandSource`: the command of each tick: the plan's next one, or the fallback.

Guarantees: every command that it returns passed the robot's limits, or is the fallback. A command
that fails them is refused and treated as a missing action. Pure: instants come from the caller.
"""

from __future__ import annotations

import numpy as np

from ...robot.base import ControlMode, RobotSpec
from ...robot.command_limits import CommandLimits, Refusal
from ...robot.interpolate import Interpolator
from ...transport.arrays import all_finite
from .buffer import ChunkBuffer
from .config import ControlConfig
from .plan import Floats, PlannedAction
from .plan_memory import PlanMemory, Word


class CommandSource:
    """One robot's side of the plan.

    Attributes:
        action: the policy action that is being played, or None.
        accepted: whether the last `command` was the plan's, and not the fallback.
        begins_step: whether the next `command` begins a policy step (with interpolation, one in N).
    """

    def __init__(
        self, config: ControlConfig, spec: RobotSpec, memory: PlanMemory, buffer: ChunkBuffer
    ):
        self._buffer = buffer
        self._words = memory.words
        self._fallback = config.safety.fallback
        self._velocity = spec.control_mode is ControlMode.VELOCITY
        self._limits = CommandLimits(spec, config.tick_ns / 1e9, config.interpolate)
        self._interpolator = Interpolator(config.interpolate, len(spec.action_names))
        self._joints, self._sources = spec.measured_actions
        self._position = np.full(len(spec.action_names), np.nan, np.float32)
        self._zero = np.zeros(len(spec.action_names), np.float32)
        self._last = np.zeros(len(spec.action_names), np.float32)
        self._commanded = False
        self._refused_since_ns = self._refused_ns = 0
        self._refused_ticks = 0
        self.action: PlannedAction | None = None
        self.accepted = False
        if buffer.last is not None and self._words[Word.COMMAND_NS]:
            self._limits.commanded(buffer.last)  # by the incarnation before

    @property
    def begins_step(self) -> bool:
        return self._interpolator.needs_action

    @property
    def position(self) -> Floats:
        """Where the robot is measured to be, [A]; NaN for what is not measured. Zeros for one that
        is velocity-controlled: its rest."""
        return self._zero if self._velocity else self._position

    def locate(self, state: Floats) -> None:
        """Learn from the measured `state` [S] where the robot is. A velocity-controlled one counts
        as at rest whenever commands do not flow."""
        if self._velocity:
            self._limits.locate(self._zero)
            return
        self._position[self._joints] = state[self._sources]
        self._limits.locate(self._position)

    def interrupt(self) -> None:
        """The robot may have moved otherwise: the next command's step is measured from where it is,
        and no earlier motion is continued."""
        self._interpolator.stop()
        self._limits.interrupt()
        self._refused_ticks = 0
        self._commanded = self.accepted = False
        self.action = None

    def attach(self) -> None:
        """The robot rests: the next command is at most one policy step from where it is."""
        self._limits.attach()

    def command(self, now_ns: int, *, due: bool = True) -> Floats | None:
        """The command [A] to write at this tick, or None for none; valid until the next call. A
        tick for which the plan has no action counts as stalled if one is `due`."""
        if self._interpolator.needs_action:
            self.action = self._buffer.pop(now_ns)
            if self.action is None:
                self._interpolator.skip()
            else:
                self._interpolator.start(self.action.robot)
        command = self._interpolator.command()
        self.accepted = False
        if command is None:
            self._words[Word.STALLED] += due
            self._limits.missed()
            self._refused_ticks = 0
            return self._fall_back()
        command = self._checked(command, now_ns)
        self._refused_ticks = 0 if self.accepted else self._refused_ticks + 1
        return command

    def _checked(self, command: Floats, now_ns: int) -> Floats | None:
        """`command`, if the limits accept it; else it is counted, and the fallback follows."""
        accepted, refusal = self._limits.check(command)
        if accepted is None:
            if refusal is not None:
                self._words[_REFUSED_WORD[refusal]] += 1
            self._refused_since_ns = self._refused_since_ns or now_ns
            self._refused_ns = now_ns
            return self._fall_back()
        self._last[:] = accepted
        self._commanded = self.accepted = True
        self._refused_since_ns = self._refused_ns = 0
        return accepted

    def follow(self, target: Floats, now_ns: int) -> Floats | None:
        """The command [A] for a tick at which a person commands `target` [A]: the nearest that the
        limits accept. None for a target that is not finite, which is refused and counted."""
        if self._interpolator.needs_action:
            self._interpolator.skip()
        self._interpolator.command()  # none; it only counts the ticks of a policy step
        self.action, self.accepted, self._refused_ticks = None, False, 0
        finite = all_finite(target)
        return self._checked(self._limits.toward(target) if finite else target, now_ns)

    def rest(self) -> Floats | None:
        """The command for a tick in which the plan is not to be played (paused, its driver gone,
        not enabled): none for a position-controlled arm, which holds by itself, zero for a
        velocity. What is commanded next is an interruption later: see `interrupt`."""
        self.interrupt()
        self._limits.missed()
        return self._halt() if self._velocity else None

    def written(self, now_ns: int) -> None:
        """The tick is over: what `command` or `rest` returned was written by `now_ns`. Keeps the
        longest gap between two commands of the plan; the last one is remembered across a kill. A
        tick without one, by design or for want of a plan, starts a new sequence."""
        words, last_ns = self._words, self._words[Word.COMMAND_NS]
        if self.accepted and last_ns and now_ns - last_ns > words[Word.MAX_GAP_NS]:
            words[Word.MAX_GAP_NS] = now_ns - last_ns
        words[Word.COMMAND_NS] = now_ns if self.accepted else 0

    def missed(self, ticks: int) -> None:
        """Ticks passed in which the loop was not awake."""
        self._limits.missed(ticks)

    def follow_pace(self, missed: int, tick_ns: int) -> None:
        """The loop is not ours: it missed so many ticks, and one takes `tick_ns` of late."""
        if missed:
            self._limits.missed(missed)
        self._limits.follow_pace(tick_ns / 1e9)

    def begin(self, chunk: Floats, played: int, passed: int) -> int:
        """A `Begin`: the action for now, `passed`, while commands flow. A robot that stands begins
        near where it is: with the last action from `played` to `passed` that is within a step of
        there, or with `played` if none is."""
        return passed if self._limits.flowing else self._limits.last_near(chunk, played, passed)

    @property
    def strayed(self) -> bool:
        """Whether the robot no longer follows the plan: its commands were refused for as long as
        they flow without one (`FLOW_S`)."""
        return self._refused_ticks > self._limits.flow_ticks

    @property
    def refusing_s(self) -> float:
        """For how long every command of the plan was refused, episodes and pauses included; 0.0
        once one was accepted."""
        return (self._refused_ns - self._refused_since_ns) / 1e9

    @property
    def refusing(self) -> str:
        """Why the last command of the plan was refused, in a sentence; empty if it was not."""
        return self._limits.explanation() if self._refused_since_ns else ""

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
        self._limits.commanded(self._zero)
        return self._zero


_REFUSED_WORD = {why: Word.REFUSED + place for place, why in enumerate(Refusal)}
