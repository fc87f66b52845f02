"""`TickGrid`: the instants at which a robot's loop ticks, over all incarnations of its process, and
how punctually it does.

The last grid point lies in the plan memory: a killed loop's successor continues the grid, and knows
how many ticks no process was there for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic_ns

from ..runtime.processor_wait import ProcessorWait
from .clock import TickClock, resume_grid
from .config import ControlConfig
from .histogram import Histogram, Recent
from .missed_ticks import MissedTicks, Pause
from .pace import Pace
from .plan_memory import PlanMemory, Word

_QUIET_NS = 2_500_000
"""Before a deadline, in which no message is handled: a merge costs a tenth of it."""
_START_NS = 10_000_000
_BREAK_NS = 10_000_000_000
"""Between two ticks: longer than any pause of a machine, so the process was stopped."""


class TickGrid:
    """That of the robot of `config`, counted into `plan`. Made by the thread of the loop. `pauses`
    gives the latest ones that the witness saw, if there is one.

    Attributes:
        lateness: of all wake-ups.
        missed_ticks: those of the loop, and those of the machine.
        unattended: ticks before the first of this incarnation, at which there was no process.
        now_ns: when the present tick began.
        lateness_ns: by how much that was after its grid point.
        waited_ns: how long the loop had waited for its processor since the tick before.
    """

    def __init__(
        self,
        config: ControlConfig,
        plan: PlanMemory,
        pauses: Callable[[], Sequence[Pause]] | None,
    ) -> None:
        self._words = plan.words
        self._period_ns, self._dt_ns = config.tick_ns, config.dt_ns
        self.lateness = Histogram(plan.lateness)
        self._recent = Recent(self.lateness, monotonic_ns())
        self.missed_ticks = MissedTicks(self._words, config.tick_ns, pauses)
        self._processor_wait = ProcessorWait()
        self._pace = Pace(_BREAK_NS)
        self.unattended = 0
        self.now_ns = self.lateness_ns = self.waited_ns = 0
        self._clock = self._started()

    @property
    def hz(self) -> float:
        """Ticks per second, as they really come; 0.0 before the first second."""
        return self._pace.hz

    @property
    def step(self) -> int:
        """The policy step of the present grid point."""
        return (self._words[Word.GRID_NS] + self._dt_ns // 2) // self._dt_ns

    @property
    def remaining_ms(self) -> int:
        """Whole milliseconds in which messages may be handled before the next tick."""
        return (self._clock.deadline_ns - monotonic_ns() - _QUIET_NS) // 1_000_000

    def tick(self) -> int:
        """Sleep until the next grid point, and begin its tick; return how many were missed."""
        clock, words = self._clock, self._words
        self.lateness_ns = lateness_ns = clock.wait()
        due_ns = clock.deadline_ns
        missed = clock.advance(lateness_ns)
        self.now_ns = now_ns = due_ns + lateness_ns
        self.waited_ns = waited_ns = self._processor_wait.take()
        clock.waited(waited_ns)
        words[Word.GRID_NS] = clock.deadline_ns - clock.period_ns
        words[Word.TICKS] += 1
        self._pace.step(now_ns)
        self.lateness.record(lateness_ns)
        if missed:
            self.missed_ticks.missed(missed, due_ns, now_ns, waited_ns)
        return missed

    def restart(self) -> None:
        """Begin another grid now."""
        self._clock = TickClock(self._period_ns, monotonic_ns() + _START_NS)

    def recent_us(self, now_ns: int) -> dict[str, float]:
        """The lateness of the last minute."""
        return self._recent.summary_us(now_ns)

    def end(self) -> None:
        """The time until the next start is no gap."""
        self._words[Word.GRID_NS] = 0

    def close(self) -> None:
        self._processor_wait.close()

    def _started(self) -> TickClock:
        """Continue the grid of the incarnation before, if it was killed; else begin one."""
        now_ns, period_ns = monotonic_ns(), self._period_ns
        grid_ns = self._words[Word.GRID_NS]
        # The grid point after now is the last that an incarnation can have left.
        if not grid_ns or grid_ns > now_ns + period_ns:
            return TickClock(period_ns, now_ns + _START_NS)
        start_ns, self.unattended = resume_grid(grid_ns, period_ns, now_ns)
        self._words[Word.MISSED_RESTART] += self.unattended
        return TickClock(period_ns, start_ns)
