"""The shared memory of a host's actors: created once, handed down by descriptor, never named.

Segments live as long as the supervisor, whoever dies meanwhile: that is what lets a new incarnation
go on where the last one was killed. Writers get a writable descriptor, everybody else a read-only
one that cannot be made writable again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Any

import msgspec

from ..transport import segment
from ..transport.register import RegisterError
from .board import BoardReader
from .expand import ActorSpec
from .link import SegmentEntry


class SharedMemory:
    """All segments of a supervisor, and its view of every board."""

    def __init__(self, actors: Iterable[ActorSpec]) -> None:
        """Create what `actors` use. Raises SegmentError when the machine has no room for it."""
        self._segments: dict[str, segment.Segment] = {}
        self._read_only: dict[str, int] = {}
        self.boards: dict[str, BoardReader] = {}
        segment.sweep()
        try:
            for actor in actors:
                self._create(actor)
        except BaseException:
            self.close()
            raise

    def _create(self, actor: ActorSpec) -> None:
        for use in actor.segments:
            if use.name not in self._segments:
                made = segment.create(use.size, use.name)
                self._segments[use.name] = made
                self._read_only[use.name] = made.read_only_fd()
        board = self._segments[f"{actor.name}/board"]
        self.boards[actor.name] = BoardReader(board.map(writable=False))

    def table(self, actor: ActorSpec) -> tuple[tuple[SegmentEntry, ...], list[int]]:
        """The segment table of an actor's boot, and the descriptors in the same order. They stay
        this object's: sending them makes copies."""
        entries = tuple(SegmentEntry(use.name, use.size, use.writable) for use in actor.segments)
        fds = [
            self._segments[use.name].fd if use.writable else self._read_only[use.name]
            for use in actor.segments
        ]
        return entries, fds

    def read_only(self, name: str) -> tuple[int, int]:
        """(descriptor, size) of a segment, for somebody outside who only looks. Raises KeyError."""
        return self._read_only[name], self._segments[name].size

    def sizes(self) -> dict[str, int]:
        """Bytes by name of segment."""
        return {name: made.size for name, made in self._segments.items()}

    def report(self, actor: str) -> dict[str, Any] | None:
        """What `actor` reported last; None if nothing, or nothing that can be read."""
        with contextlib.suppress(RegisterError, msgspec.DecodeError):
            return self.boards[actor].report()
        return None

    def close(self) -> None:
        for fd in self._read_only.values():
            os.close(fd)
        for made in self._segments.values():
            made.close()
        self._read_only.clear()
        self._segments.clear()
