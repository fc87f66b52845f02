"""The shared memory of a host's actors: created once, passed on by descriptor, without a name in
the file system.

Segments live as long as the supervisor, so that a new incarnation continues where the last one was
killed. Writers get a writable descriptor, every other process a read-only one that cannot be made
writable again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ...errors import SegmentError
from ...transport import segment
from ..runtime.host_board import HOST_BOARD, HostBoard
from ..runtime.link_messages import SegmentEntry
from ..runtime.spec import ActorSpec
from ..runtime.status_board import StatusBoardReader


class Segments:
    """All segments of a supervisor, and its view of every board."""

    def __init__(self, actors: Sequence[ActorSpec]) -> None:
        """Create the segments of `actors`. Raises SegmentError when the machine has no room."""
        self._segments: dict[str, segment.Segment] = {}
        self._read_only: dict[str, int] = {}
        self.boards: dict[str, StatusBoardReader] = {}
        self.host_board: HostBoard | None = None
        """Where the actors of this host are shown to those that talk to a broker elsewhere."""
        segment.sweep()
        try:
            self.adapt(actors)
        except BaseException:
            self.close()
            raise

    def adapt(self, actors: Sequence[ActorSpec]) -> None:
        """Create and remove segments so that those of `actors` exist and no others. A segment of
        the right size stays, with its content; processes keep what they have mapped. All or
        nothing: raises SegmentError before anything was changed."""
        uses = _sizes(actors)
        missing = {n: size for n, size in uses.items() if self._size(n) != size}
        made: dict[str, segment.Segment] = {}
        read_only: dict[str, int] = {}
        boards: dict[str, StatusBoardReader] = {}
        try:
            for name, size in missing.items():
                made[name] = segment.create(size, name)
                read_only[name] = made[name].read_only_fd()
            for actor in actors:
                board = board_of(actor.name)
                if board in made or actor.name not in self.boards:
                    memory = made[board] if board in made else self._segments[board]
                    boards[actor.name] = StatusBoardReader(memory.map(writable=False))
        except BaseException as error:
            _close(made, read_only)
            if isinstance(error, OSError):
                raise SegmentError(f"no shared memory for all actors: {error}") from error
            raise
        for name in missing.keys() | (self._segments.keys() - uses.keys()):
            self._drop(name)
        self._segments |= made
        self._read_only |= read_only
        # An actor that was removed and added again before its process was gone has a new board.
        self.boards |= boards
        if HOST_BOARD in made:
            self.host_board = HostBoard(made[HOST_BOARD].map(writable=True))
        elif HOST_BOARD not in uses:
            self.host_board = None

    def forget(self, actor: str) -> None:
        """Unmap the board of an actor that was removed."""
        self.boards.pop(actor, None)

    def _size(self, name: str) -> int | None:
        return self._segments[name].size if name in self._segments else None

    def _drop(self, name: str) -> None:
        if name in self._segments:
            os.close(self._read_only.pop(name))
            self._segments.pop(name).close()

    def table(self, actor: ActorSpec) -> tuple[tuple[SegmentEntry, ...], list[int]]:
        """The segment table of an actor's boot, and the descriptors in the same order, which stay
        open here: sending them makes copies."""
        entries = tuple(SegmentEntry(use.name, use.size, use.writable) for use in actor.segments)
        fds = [
            self._segments[use.name].fd if use.writable else self._read_only[use.name]
            for use in actor.segments
        ]
        return entries, fds

    def read_only(self, name: str) -> tuple[int, int]:
        """(read-only descriptor, size) of a segment. Raises KeyError."""
        return self._read_only[name], self._segments[name].size

    def sizes(self) -> dict[str, int]:
        """Bytes by name of segment."""
        return {name: made.size for name, made in self._segments.items()}

    def report(self, actor: str) -> dict[str, Any] | None:
        """The last report of `actor`; None if there is none, or it is damaged."""
        return self.boards[actor].report()

    def close(self) -> None:
        for name in list(self._segments):
            self._drop(name)


def board_of(actor: str) -> str:
    """The name of the segment that holds an actor's board."""
    return f"{actor}/board"


def _sizes(actors: Sequence[ActorSpec]) -> dict[str, int]:
    """Bytes by name of segment. Raises SegmentError where `actors` disagree, or one has no
    board."""
    sizes: dict[str, int] = {}
    for actor in actors:
        for use in actor.segments:
            if sizes.setdefault(use.name, use.size) != use.size:
                raise SegmentError(
                    f"segment {use.name}: {actor.name} expects {use.size} bytes, another actor "
                    f"{sizes[use.name]}: both must use the same size"
                )
        if board_of(actor.name) not in {use.name for use in actor.segments}:
            raise SegmentError(f"{actor.name} has no segment {board_of(actor.name)} for its status")
    return sizes


def _close(made: dict[str, segment.Segment], read_only: dict[str, int]) -> None:
    for fd in read_only.values():
        os.close(fd)
    for whole in made.values():
        whole.close()
