"""Waiting for several sockets, in as few system calls as there can be.

zmq_poll asks every socket for its events before it waits and again after, and libzmq 4.3.5 makes
two system calls of each question; in an actor that handles one message at a time that was most of
its work. Here only those whose descriptor fired are asked again after the wait.

A ZeroMQ descriptor does not say that a message is there but that the socket's events changed since
they were last read, and a send reads them too. So every socket's events are read once before each
wait. A socket that is only received from, until it is empty, needs none of that:
`add(..., quiet=True)`.
"""

from __future__ import annotations

import select
from collections.abc import Collection

import zmq

from .sockets import Socket

Source = Socket | int
"""A ZeroMQ socket, or a plain descriptor."""


class Poll:
    """A set of sockets and descriptors that one thread waits for."""

    def __init__(self, *sources: Source) -> None:
        self._poll = select.poll()
        self._sources: dict[int, Source] = {}
        self._asked: list[Socket] = []
        for source in sources:
            self.add(source)

    def add(self, source: Source, quiet: bool = False) -> None:
        """Wait for `source` too.

        `quiet`: a socket that is never sent to and is received from until it is empty, before this
        call and whenever `wait` returns it.
        """
        fd = source if isinstance(source, int) else int(source.getsockopt(zmq.FD))
        self._sources[fd] = source
        self._poll.register(fd, select.POLLIN)
        if not quiet and not isinstance(source, int):
            self._asked.append(source)

    def remove(self, source: Source) -> None:
        """Do not wait for `source` any more; before it is closed."""
        fd = source if isinstance(source, int) else int(source.getsockopt(zmq.FD))
        del self._sources[fd]
        self._poll.unregister(fd)
        if source in self._asked:
            self._asked.remove(source)

    def wait(self, timeout_ms: int, sendable: Collection[Socket] = ()) -> set[Source]:
        """The sources that are readable (or at their end), and those of `sendable` that take a
        message.

        Empty after `timeout_ms`, and possibly earlier.
        """
        ready: set[Source] = {s for s in self._asked if self._has_events(s, sendable)}
        for fd, _ in self._poll.poll(0 if ready else timeout_ms):
            source = self._sources[fd]
            if source not in self._asked or self._has_events(source, sendable):
                ready.add(source)
        return ready

    @staticmethod
    def _has_events(socket: Source, sendable: Collection[Socket]) -> bool:
        assert not isinstance(socket, int), "only sockets are asked"
        wanted = zmq.POLLIN | (zmq.POLLOUT if socket in sendable else 0)
        return bool(int(socket.getsockopt(zmq.EVENTS)) & wanted)
