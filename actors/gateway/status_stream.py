"""The feed: asks the supervisor for its report, and tells every open page what is new.

A page that reads slowly misses intermediate reports, never samples or events, and holds nobody up.
While no page is open the supervisor is asked once a second, for timelines and metrics; while one
is, four times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import msgspec

from ...errors import RequestDeclinedError, SupervisorUnreachableError
from .status_history import StatusHistory
from .supervisor_client import SupervisorClient

WATCHED_S = 0.25
UNWATCHED_S = 1.0


class StatusStream:
    """Keeps `watch` up to date as long as `run` runs."""

    def __init__(self, supervisor: SupervisorClient) -> None:
        self.watch = StatusHistory()
        self._supervisor = supervisor
        self._news = asyncio.Condition()
        self._pages = 0
        self._opened = asyncio.Event()

    @property
    def pages(self) -> int:
        """Pages that are open now."""
        return self._pages

    async def run(self) -> None:
        """Ask, tell, wait; for ever."""
        while True:
            await self._look()
            self._opened.clear()
            pause = WATCHED_S if self._pages else UNWATCHED_S
            # A page that is opened meanwhile does not wait for the slow rate's next turn.
            try:
                async with asyncio.timeout(pause):
                    await self._opened.wait()
            except TimeoutError:
                continue

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """For one page: as JSON all there is, and then what is new, again and again."""
        watch = self.watch
        version, t, event = -1, float("-inf"), 0
        self._pages += 1
        self._opened.set()
        try:
            while True:
                async with self._news:
                    while watch.version == version:
                        await self._news.wait()
                message = watch.since(time.monotonic(), t, event)
                version, t, event = watch.version, watch.at, watch.last_event
                yield msgspec.json.encode(message)
        finally:
            self._pages -= 1

    async def _look(self) -> None:
        try:
            report = await self._supervisor.status()
            self.watch.see(report, time.monotonic())
        except (SupervisorUnreachableError, RequestDeclinedError) as error:
            self.watch.miss(str(error), time.monotonic())
        async with self._news:
            self._news.notify_all()
