"""A warm standby, or spare: a process that has imported what some kinds of actor need and waits for
its boot.

The next incarnation of such an actor only has to map its memory. A spare reports when its imports
are done, and answers pings from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ..runtime.link_messages import CommandReply, ReadyMessage
from ..runtime.log import Record
from .actor_process import Started, streams_of
from .process import Process

START_S = 30.0
UNANSWERED = 3
"""The process counts as frozen after so many unanswered pings in a row."""


class WarmStandby:
    """One spare. The owner polls `process` and `streams`."""

    def __init__(
        self, modules: str, environment: Mapping[str, str], keep: Callable[[Record], None]
    ) -> None:
        """Start it; it imports `modules`, separated by commas. Raises OSError when the machine has
        no room for another process."""
        self.modules = modules
        self.process = Process("spare", environment, preload=modules)
        self.streams = streams_of(self.process, "spare", 0, keep)
        self.ended = False
        """It was killed, and is to be reaped."""
        self.ready = False
        """Its imports are done."""
        self._started_s = time.monotonic()
        self._pinged = self._answered = 0

    @property
    def answered(self) -> bool:
        """Whether it has answered the last ping."""
        return self._answered == self._pinged

    def ping(self) -> None:
        self._pinged += 1
        self.process.link.command("ping", id=self._pinged)

    def receive(self) -> None:
        """Read its messages."""
        for message in self.process.link.messages()[0]:
            if isinstance(message, ReadyMessage):
                self.ready = True
            elif isinstance(message, CommandReply):
                self._answered = max(self._answered, min(message.id, self._pinged))

    def check(self, now_s: float) -> str | None:
        """Ping it, about once a second; returns why it is unusable, or None."""
        self.receive()
        if not self.ready:
            late = now_s - self._started_s > START_S
            return f"did not finish its imports within {START_S:g} s" if late else None
        if self._pinged - self._answered >= UNANSWERED:
            return f"left {UNANSWERED} pings unanswered"
        self.ping()
        return None

    def end(self) -> None:
        """Kill it; its pidfd becomes readable when it is to be reaped."""
        self.ended = True
        self.process.kill()

    def started(self) -> Started:
        return self.process, self.streams

    def close(self) -> None:
        """Kill and reap it."""
        self.process.kill()
        self.process.wait()
        for stream in self.streams:
            stream.drain()
            stream.close()
        self.process.close()
