"""`RobotEpisodes`: where a robot's episodes begin: by its surroundings, or because it is wanted.

Surroundings that can begin an attempt (a simulator, an environment) are asked for one when an
episode is wanted, and the episode begins where their attempt does: its first step is the attempt's.
What was planned for the one before is void from there on. Pure but for the robot that it asks:
instants come from the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .driven_robot import DrivenRobot
from .plan_memory import Word
from .request_cycle import RequestCycle
from .supply_state import SupplyState

_AGAIN_NS = 500_000_000
"""A request to the surroundings may be lost, and begins nothing twice."""
_WITHIN_NS = 4_000_000_000
"""In which they begin an attempt; the supervisor waits longer for the answer."""
_KEPT = 4


@dataclass
class _Wanted:
    task: str | None
    until_ns: int
    again_ns: int


class RobotEpisodes:
    """Of one loop. `reset` begins an episode of the plan, with another task unless it gets None.

    Attributes:
        fault: why the episode that was wanted last has not begun; empty if it has.
        tasks: what the latest episodes began with, by their numbers.
    """

    def __init__(
        self,
        robot: DrivenRobot,
        cycle: RequestCycle,
        words: memoryview[int],
        reset: Callable[[str | None], None],
    ) -> None:
        self._robot, self._cycle, self._words, self._reset = robot, cycle, words, reset
        self._wanted: _Wanted | None = None
        self.fault = ""
        self.tasks: deque[tuple[int, str]] = deque(maxlen=_KEPT)
        self.note()

    @property
    def awaited(self) -> bool:
        """Whether an attempt is wanted that the surroundings have not begun yet."""
        return self._wanted is not None

    def note(self) -> None:
        """An episode has begun: keep its task."""
        self.tasks.append((self._cycle.buffer.episode, self._cycle.session.task.sentence))

    def begin(self, task: str | None, now_ns: int) -> None:
        """Begin an episode, with another `task` unless it is None: at once or, where that is a
        matter of the surroundings, once they have: see `awaited`."""
        self.fault = ""
        if self._cycle.state is not SupplyState.DEAD and self._robot.ask_episode():
            self._wanted = _Wanted(task, now_ns + _WITHIN_NS, now_ns + _AGAIN_NS)
        else:
            self._wanted = None
            self._reset(task)

    def follow(self) -> bool:
        """Where the surroundings have begun an episode, so does the plan. To be called at every
        tick; whether they have without being asked."""
        episode = self._robot.episode()
        if episode is None:
            return False
        number = episode.number + 1  # 0 is: none seen yet
        before, wanted = self._words[Word.ROBOT_EPISODE], None
        if before != number:
            self._words[Word.ROBOT_EPISODE] = number
            if before:
                wanted, self._wanted = self._wanted, None
                self._cycle.follow_task(episode.task)
                given = wanted.task if wanted is not None else None
                self._reset(episode.task if given is None else given)
        self._cycle.follow_task(episode.task)
        return before not in (0, number) and wanted is None

    def elapse(self, now_ns: int) -> None:
        """Ask again, or give up. To be called at every tick."""
        wanted = self._wanted
        if wanted is None:
            return
        if now_ns >= wanted.until_ns:
            self._wanted = None
            self.fault = (
                f"its driver has begun no episode within {_WITHIN_NS / 1e9:g} s: its log, "
                "`actorctl logs`, may say why"
            )
        elif now_ns >= wanted.again_ns:
            wanted.again_ns = now_ns + _AGAIN_NS
            self._robot.ask_episode()
