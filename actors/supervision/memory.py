"""The shared memory of a host's actors: created once, handed down by descriptor, never named.

Segments live as long as the supervisor, whoever dies meanwhile: that is what lets a new incarnation
go on where the last one was killed. Writers get a writable descriptor, everybody else a read-only
one that cannot be made writable again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ...transport import segment
from ..board import BoardReader
from ..fleet.expand import ActorSpec
from ..link import SegmentEntry


class SharedMemory:
    """All segments of a supervisor, and its view of every board."""

    def __init__(self, actors: Sequence[ActorSpec]) -> None:
        """Create what `actors` use. Raises SegmentError when the machine has no room for it."""
        self._segments: dict[str, segment.Segment] = {}
        self._read_only: dict[str, int] = {}
        self.boards: dict[str, BoardReader] = {}
        segment.sweep()
        try:
            self.adapt(actors)
        except BaseException:
            self.close()
            raise

    def adapt(self, actors: Sequence[ActorSpec]) -> None:
        """Have what `actors` use, and nothing else: what is there in the right size stays as it is,
        with what is in it. Processes keep what they mapped. Raises SegmentError."""
        uses = {use.name: use for actor in actors for use in actor.segments}
        for name, use in uses.items():
            if name not in self._segments or self._segments[name].size != use.size:
                made = segment.create(use.size, name)
                self._drop(name)
                self._segments[name] = made
                self._read_only[name] = made.read_only_fd()
        for name in self._segments.keys() - uses.keys():
            self._drop(name)
        for actor in actors:
            if actor.name not in self.boards:
                board = self._segments[f"{actor.name}/board"]
                self.boards[actor.name] = BoardReader(board.map(writable=False))

    def forget(self, actor: str) -> None:
        """An actor is gone for good: nobody reads its board any more."""
        self.boards.pop(actor, None)

    def _drop(self, name: str) -> None:
        if name in self._segments:
            os.close(self._read_only.pop(name))
            self._segments.pop(name).close()

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
        return self.boards[actor].report()

    def close(self) -> None:
        for name in list(self._segments):
            self._drop(name)
