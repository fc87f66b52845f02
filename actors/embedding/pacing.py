"""`Pacing`: time in a script's loop. Which policy step a call of `act` is for, which steps were
missed, what was a break, and how fast the loop really is.

Steps follow the clock, not the calls. Where time trims, a call gets the action for its instant:
`leave_out` drops those whose time has passed, and a call that is early by a step begins none. Else
each call gets the plan's next action, and the request cycle gets the measured length of a step: how
long the plan lasts and how late a chunk will be follow from that.
"""

from __future__ import annotations

from ..control.buffer import ChunkBuffer
from ..control.config import ControlConfig
from ..control.pace import Pace
from ..control.plan_memory import Word
from ..control.request_cycle import RequestCycle
from .steps import StepClock

_BREAK_NS = 1_000_000_000
_BREAK_STEPS = 5
"""Between two calls of `act`: a loop that was absent for longer than both was not late, it had a
break."""


class Pacing:
    """Of one robot. Counts into the plan segment's `words`.

    Attributes:
        next_step: the policy step of the next pop.
        missed: steps whose time passed between the last two calls of `act`.
        had_break: whether the loop was absent between them.
    """

    def __init__(
        self, config: ControlConfig, words: memoryview, cycle: RequestCycle, buffer: ChunkBuffer
    ) -> None:
        self._config, self._words = config, words
        self._cycle, self._buffer = cycle, buffer
        self._break_ns = max(_BREAK_NS, _BREAK_STEPS * config.dt_ns)
        self._pace = Pace(self._break_ns)
        self._clock = StepClock(config.dt_ns)
        self.next_step = 0
        self.missed = 0
        self.had_break = False
        self._plan_step = 0
        """The policy step that the plan's next action is for; matters where time trims."""
        self._heard_ns = self._called_ns = 0

    @property
    def hz(self) -> float:
        """Calls per second, as they really come; 0.0 before the first second."""
        return self._pace.hz

    @property
    def by_time(self) -> bool:
        """Whether each call plays the action for its instant. Chunks that are appended are not for
        any instant."""
        rule = self._cycle.rule
        return rule.trim == "time" and rule.mode != "append"

    def notice(self, now_ns: int) -> None:
        """The script called: if it had a break before, nothing was due meanwhile."""
        gap_ns = now_ns - self._heard_ns if self._heard_ns else 0
        if gap_ns > self._break_ns and not self._cycle.failsafe.paused:
            self._cycle.pause(self._heard_ns)
            self._cycle.resume(now_ns)
        self._heard_ns = now_ns

    def call(self, now_ns: int) -> bool:
        """`act` was called: whether it begins a step. False: it is early by a step, or more."""
        self.notice(now_ns)
        gap_ns = now_ns - self._called_ns if self._called_ns else 0
        self._called_ns = now_ns
        passed = self._clock.advance(now_ns)
        self.next_step = self._clock.step + (not passed)
        self.missed, self.had_break = max(0, passed - 1), gap_ns > self._break_ns
        if not self.had_break and not self._cycle.failsafe.paused:
            self._words[Word.MISSED] += self.missed
        self._words[Word.TICKS] += 1
        self._pace.step(now_ns)
        as_declared = self.by_time or not self._pace.differs(self._config.fps)
        self._cycle.step_ns = self._config.dt_ns if as_declared else round(1e9 / self._pace.hz)
        return passed > 0

    def merged(self) -> None:
        """A chunk became the plan, trimmed to `next_step`."""
        self._plan_step = self.next_step

    def leave_out(self, now_ns: int) -> None:
        """Drop the actions of the plan that were for steps before the next one."""
        for _ in range(min(self.next_step - self._plan_step, len(self._buffer))):
            self._buffer.pop(now_ns)
        self._plan_step = self.next_step

    def played(self) -> None:
        """The action of `next_step` was popped, if there was one."""
        self.next_step += 1
        self._plan_step = self.next_step

    def warning(self) -> str:
        """What is wrong with the loop's rate; empty if it is as declared."""
        hz, fps = self._pace.hz, self._config.fps
        if not self._pace.differs(fps):
            return ""
        if self.by_time:
            effect = "actions are left out" if hz < fps else "each action is played several times"
        else:
            effect = f"motions are {hz / fps:.2g} times as fast as the policy means them"
        return (
            f"act is called {hz:.3g} times a second, fps says {fps:g}: {effect}; call it at that "
            "pace, or set fps"
        )
