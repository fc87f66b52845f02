"""`StatusStream`: polls the supervisor for its report and sends every open page what is new.

A page that reads slowly misses intermediate reports, never samples or events, and delays no other.
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
    """Keeps `history` up to date as long as `run` runs."""

    def __init__(self, supervisor: SupervisorClient) -> None:
        self.history = StatusHistory()
        self._supervisor = supervisor
        self._changed = asyncio.Condition()
        self._pages = 0
        self._opened = asyncio.Event()

    @property
    def pages(self) -> int:
        """Pages that are open."""
        return self._pages

    async def run(self) -> None:
        """Poll, notify, wait; never returns."""
        while True:
            await self._poll()
            self._opened.clear()
            pause = WATCHED_S if self._pages else UNWATCHED_S
            # A page that is opened meanwhile does not wait for the slow rate's next turn.
            try:
                async with asyncio.timeout(pause):
                    await self._opened.wait()
            except TimeoutError:
                continue

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """For one page, as JSON: all of the history, then each time what is new."""
        history = self.history
        version, t_s, event = -1, float("-inf"), 0
        self._pages += 1
        self._opened.set()
        try:
            while True:
                async with self._changed:
                    while history.version == version:
                        await self._changed.wait()
                message = history.since(time.monotonic(), t_s, event)
                version, t_s, event = history.version, history.reported_s, history.last_event
                yield msgspec.json.encode(message)
        finally:
            self._pages -= 1

    async def _poll(self) -> None:
        try:
            report = await self._supervisor.status()
            self.history.see(report, time.monotonic())
        except (SupervisorUnreachableError, RequestDeclinedError) as error:
            self.history.miss(str(error), time.monotonic())
        async with self._changed:
            self._changed.notify_all()
