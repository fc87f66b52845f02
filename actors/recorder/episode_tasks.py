"""`EpisodeTasks`: which task a robot had in an episode, as its control loop says."""

from __future__ import annotations

from ..runtime.status_board import StatusBoardReader


class EpisodeTasks:
    """Those of the robot whose control loop reports on `board`. It does so before an episode's
    first step is in the tick log, and names the latest few."""

    def __init__(self, board: StatusBoardReader) -> None:
        self._board = board

    def of(self, episode: int) -> str | None:
        """The task in `episode`, as it is now if that goes on and as it was at its beginning if it
        is over; None for one that is not named."""
        said = self._board.report() or {}
        if said.get("episode") == episode:
            return str(said.get("task") or "")
        return dict(said.get("episode_tasks") or ()).get(episode)
