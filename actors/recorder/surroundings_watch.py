"""`Surroundings`: what a recorder hears beside commands: a person's buttons, and how the robot's
surroundings judge an episode."""

from __future__ import annotations

from ...errors import RobotError
from ...transport.seqlock import SteadyReader
from ..control.teleop_register import Presses, unpack_reading
from ..runtime.status_board import StatusBoardReader
from .strategy import EpisodeRerecord, EpisodeStop, StrategyEvent


class Surroundings:
    """Of one robot. `driver` is the board of its driver, which counts the attempts and successes
    of its surroundings if it can; `teleop` the register of its teleoperator, of `actions`
    numbers."""

    def __init__(
        self, driver: StatusBoardReader | None, teleop: SteadyReader | None, actions: int
    ) -> None:
        self._driver, self._teleop, self._actions = driver, teleop, actions
        self._episode: int | None = None
        self._counts: tuple[int, int] | None = None
        self._own_pace: bool | None = None
        self._presses: Presses | None = None

    def outcome(self, episode: int) -> bool | None:
        """Whether the robot's episode before `episode` succeeded, at the first step of `episode`;
        else None. A driver reports its counts before it publishes the next episode."""
        if self._episode == episode:
            # A driver's first report may come after its first states.
            self._counts = self._counts or self._counted()
            return None
        first, self._episode = self._episode is None, episode
        before, self._counts = self._counts, self._counted()
        if first or before is None or self._counts is None or self._counts[0] == before[0]:
            return None
        return self._counts[1] > before[1]

    @property
    def own_pace(self) -> bool:
        """Whether they count attempts, and begin one by themselves alone: a reset begins none."""
        if self._own_pace is None and self._driver is not None and (said := self._driver.report()):
            self._own_pace = said.get("tried") is not None and not said.get("begins_episodes")
        return bool(self._own_pace)

    def pressed(self) -> list[StrategyEvent]:
        """What the buttons say that were pressed since the last call."""
        block = self._teleop.read() if self._teleop is not None else None
        if block is None:
            return []
        try:
            now = unpack_reading(block, self._actions).presses
        except RobotError:
            return []  # of another version, which control reports
        before, self._presses = self._presses, now
        if before is None:
            return []
        events: list[StrategyEvent] = []
        if now.success != before.success:
            events.append(EpisodeStop(success=True))
        if now.failure != before.failure:
            events.append(EpisodeStop(success=False))
        if now.rerecord != before.rerecord:
            events.append(EpisodeRerecord())
        if now.stop != before.stop:
            events.append(EpisodeStop())
        return events

    def _counted(self) -> tuple[int, int] | None:
        """The attempts and the successes that the driver has counted."""
        said = (self._driver.report() if self._driver is not None else None) or {}
        tried, successes = said.get("tried"), said.get("successes")
        if not isinstance(tried, int) or not isinstance(successes, int):
            return None
        return tried, successes
