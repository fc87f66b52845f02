"""`SentryStrategy`: everything is recorded, in episodes of bounded length and size."""

from __future__ import annotations

from .strategy import Begin, CountingStrategy, Finish, RecordingEffect, RobotStep


class SentryStrategy(CountingStrategy):
    """An episode ends at the robot's own, after `rotate_ns`, or with `rotate_bytes` of files; the
    next begins with the next step."""

    def __init__(self, rotate_ns: int, rotate_bytes: int) -> None:
        super().__init__()
        self._rotate_ns, self._rotate_bytes = rotate_ns, rotate_bytes
        self._since_ns = 0

    @property
    def progress(self) -> str:
        """For a person."""
        return f"records everything ({self.kept} episodes kept)"

    def step(self, seen: RobotStep) -> list[RecordingEffect]:
        if self._episode is None:
            return self._begin(seen)
        if seen.episode != self._episode:
            return [*self._end(Finish(seen.outcome)), *self._begin(seen)]
        old = seen.now_ns - self._since_ns >= self._rotate_ns
        if old or seen.size_bytes >= self._rotate_bytes:
            return [*self._end(Finish()), *self._begin(seen)]
        return []

    def _begin(self, seen: RobotStep) -> list[RecordingEffect]:
        self._episode, self._since_ns = seen.episode, seen.now_ns
        return [Begin()]
