"""The actors of a host in shared memory: the supervisor writes how they are, network actors and
replicas read it and send it with their heartbeats, so that the broker's host shows every host.

Only fleets with `hosts` have this segment. Guaranteed: neither side waits for the other; a damaged
board reads as empty. A robot's network actor sends the rows of its robot and those that belong to
no robot, a replica the latter: together they send every row.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ...errors import SeqlockError
from ...transport.bodies import ActorVitals
from ...transport.seqlock import Seqlock

HOST_BOARD = "host/board"
"""The segment's name."""
_CHARS = 120
_SENT = 32
"""Rows in one heartbeat, which may not exceed what a body may."""
_BYTES = 512 * 1024
"""More than 1000 rows of plain text."""
_FRAME = 16
"""Bytes beside each row and in all, at most: the headers of its list, of its robot's name and of
the map."""
HOST_BOARD_SIZE = Seqlock.size_for(_BYTES)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_decode_rows = msgspec.msgpack.Decoder(tuple[ActorVitals, ...]).decode


class HostBoard:
    """The supervisor's end."""

    def __init__(self, memory: mmap.mmap | memoryview) -> None:
        self._register = Seqlock.owned(memoryview(memory))

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Publish the `actors` of a status (see `supervision.report`), the first ones that the
        board has room for."""
        by_robot: dict[str, list[msgspec.Raw]] = {}
        room = self._register.capacity - _FRAME
        for row in rows:
            robot, packed = row["robot"] or "", _encode(_vitals(row))
            room -= _FRAME + len(robot.encode()) + len(packed)
            if room < 0:
                break
            by_robot.setdefault(robot, []).append(msgspec.Raw(packed))
        self._register.write(_encode(by_robot))


class HostBoardReader:
    """The end of an actor that talks to the broker."""

    def __init__(self, memory: mmap.mmap | memoryview) -> None:
        self._register = Seqlock(memoryview(memory), writable=False)

    def rows(self, own: str, robot: str = "") -> tuple[ActorVitals, ...]:
        """What the actor `own`, of `robot` if it has one, sends: never another replica's row."""
        try:
            packed = self._register.read()
            found = {} if packed is None else _decode(packed)
            of_host = _decode_rows(found.get("", b"\x90"))
            of_robot = _decode_rows(found[robot]) if robot and robot in found else ()
        except (SeqlockError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ()
        shared = (row for row in of_host if row.kind != "inference" or row.name == own)
        return (*of_robot, *shared)[:_SENT]


def _vitals(row: Mapping[str, Any]) -> ActorVitals:
    return ActorVitals(
        name=row["name"],
        kind=row["kind"],
        state=row["state"],
        pid=row["pid"] or 0,
        restarts=row["restarts"],
        up_s=row["uptime_s"] or 0.0,
        progress_age_s=row["progress_age_s"] or 0.0,
        memory_mb=row["memory_mb"] or 0.0,
        last_exit=(row["last_exit"] or "")[:_CHARS],
        reason=(row["reason"] or "")[:_CHARS],
    )
