"""What the supervisor's loop waits for: a callback for each readable descriptor.

Guaranteed: a callback that was forgotten is not called any more, not even when its descriptor was
readable in the same round, and its number has been given to another since.
"""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable

from .logstore import Stream
from .process import Process

Callback = Callable[[], None]


class EventLoop:
    """Descriptors and their callbacks."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._muted: dict[int, Callback] = {}

    def add(self, fd: int, callback: Callback) -> None:
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def forget(self, fd: int) -> None:
        """Wait for it no more. Idempotent; before the descriptor is closed."""
        self._muted.pop(fd, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def add_stream(self, stream: Stream) -> None:
        """Read a log pipe, but no faster than its share: what is greedy goes on after `unmute`."""

        def read() -> None:
            count = stream.read()
            if count is None:
                self.forget(stream.fd)
            elif stream.greedy:
                self.forget(stream.fd)
                self._muted[stream.fd] = read

        self.add(stream.fd, read)

    def forget_process(self, process: Process, streams: list[Stream]) -> None:
        """Wait no more for anything of a process."""
        for fd in (process.pidfd, process.link.fileno(), *(stream.fd for stream in streams)):
            self.forget(fd)

    def unmute(self) -> None:
        """A new turn: who was greedy in the last one may be read again."""
        muted, self._muted = self._muted, {}
        for fd, callback in muted.items():
            self.add(fd, callback)

    def poll(self, timeout_s: float) -> None:
        """Wait, and call whoever is readable."""
        for key, _ in self._selector.select(timeout_s):
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def close(self) -> None:
        self._selector.close()
