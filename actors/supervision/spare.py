"""A warm spare: a process that has imported what some kinds of actor need and waits for its boot.

When one of those dies, its next incarnation is already there: it only maps its memory. There is one
for all actors of a host that need the same; the next is prepared a while after the last was taken,
when no actor is starting, because on a small machine its imports would take time from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..log import Record
from .logstore import Stream
from .process import Process
from .running import Started, streams_of

PREPARE_AFTER_S = 2.0
RETRY_AFTER_S = 10.0


class Spare:
    """The spare for some `modules`, with commas. Its owner asks `is_due` now and then, and polls
    the process and streams that `prepare` gives."""

    def __init__(
        self, modules: str, environment: Mapping[str, str], keep: Callable[[Record], None]
    ) -> None:
        self._modules = modules
        self._environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **environment}
        self._keep = keep
        self._process: Process | None = None
        self._calm_since: float | None = None
        self._not_before = 0.0
        self.streams: list[Stream] = []

    def is_due(self, now: float, calm: bool) -> bool:
        """Whether to `prepare` one: none is there, and it has been calm for long enough."""
        if not calm:
            self._calm_since = None
            return False
        if self._calm_since is None:
            self._calm_since = now
        rested = now - self._calm_since >= PREPARE_AFTER_S and now >= self._not_before
        return rested and self._process is None

    def prepare(self) -> Process | None:
        """Start one; None if the machine gives no process for it now."""
        try:
            self._process = Process("spare", self._environment, preload=self._modules)
        except OSError:
            self._calm_since = None
            return None
        self.streams = streams_of(self._process, "spare", 0, self._keep)
        return self._process

    def take(self) -> Started | None:
        """Hand over the spare, if there is one that lives."""
        process, streams = self._process, self.streams
        if process is None:
            return None
        self._calm_since = None
        self._process, self.streams = None, []
        return process, streams

    def pids(self) -> set[int]:
        return {self._process.pid} if self._process else set()

    def lost(self, now: float) -> None:
        """It died by itself: bury it, and try again later."""
        self._not_before = now + RETRY_AFTER_S
        self.close()

    def close(self) -> None:
        """End it, if there is one."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in self.streams:
            stream.drain()
            stream.close()
        self._process.close()
        self._process, self.streams = None, []
