"""Waiting for several sockets, in as few system calls as there can be.

zmq_poll asks every socket for its events before it waits and again after, and libzmq 4.3.5 makes
two system calls of each question; in an actor that handles one message at a time that was most of
its work. Here only those whose descriptor fired are asked again after the wait.

A ZeroMQ descriptor does not say that a message is there but that the socket's events changed since
they were last read, and a send reads them too. So every socket's events are read once before each
wait, except where the caller knows that it read them and used the socket for nothing since:
`wait(..., settled=...)`. A socket that is only received from, until it is empty, needs none of
that: `add(..., quiet=True)`.
"""

from __future__ import annotations

import select
from collections.abc import Collection

import zmq

from .sockets import READABLE, WRITABLE, Socket

_EVENTS = int(zmq.EVENTS)  # a plain number, as those of sockets.py

Source = Socket | int
"""A ZeroMQ socket, or a plain descriptor."""


def ms_until(instant_ns: int, now_ns: int) -> int:
    """For how long to wait for an instant; 0 if it is past. Rounded up: a loop that woke up before
    it would wait for 0 ms again and again."""
    return max(0, -(-(instant_ns - now_ns) // 1_000_000))


class Poll:
    """A set of sockets and descriptors that one thread waits for."""

    def __init__(self, *sources: Source) -> None:
        self._poll = select.poll()
        self._sources: dict[int, Source] = {}
        self._asked: dict[int, Socket] = {}
        for source in sources:
            self.add(source)

    def add(self, source: Source, quiet: bool = False) -> None:
        """Wait for `source` too.

        `quiet`: a socket that is never sent to and is received from until it is empty, before this
        call and whenever `wait` returns it.
        """
        fd = _descriptor(source)
        self._sources[fd] = source
        self._poll.register(fd, select.POLLIN)
        if not quiet and not isinstance(source, int):
            self._asked[fd] = source

    def remove(self, source: Source) -> None:
        """Do not wait for `source` any more; before it is closed."""
        fd = _descriptor(source)
        del self._sources[fd]
        self._poll.unregister(fd)
        self._asked.pop(fd, None)

    def wait(
        self,
        timeout_ms: int,
        sendable: Collection[Socket] = (),
        settled: Collection[Socket] = (),
    ) -> set[Source]:
        """The sources that are readable (or at their end), and those of `sendable` that take a
        message.

        Empty after `timeout_ms`, and possibly earlier. `settled`: sockets that had no message when
        they were last asked or received from, and were not sent to since.
        """
        ready: set[Source] = set()
        for socket in self._asked.values():
            if socket not in settled and _has_events(socket, sendable):
                ready.add(socket)
        for fd, _ in self._poll.poll(0 if ready else timeout_ms):
            asked = self._asked.get(fd)
            if asked is None or _has_events(asked, sendable):
                ready.add(self._sources[fd])
        return ready


def _descriptor(source: Source) -> int:
    return source if isinstance(source, int) else int(source.getsockopt(zmq.FD))


def _has_events(socket: Socket, sendable: Collection[Socket]) -> bool:
    events = int(socket.getsockopt(_EVENTS))
    return bool(events & (READABLE | WRITABLE if socket in sendable else READABLE))
