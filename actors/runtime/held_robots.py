"""`HeldRobots`: what the hosts of a site say of their robots' stops, for programs of this host.

In memory, and in a file of its own for each process that hears of it, which programs read:
`actorctl estop` waits for the robots of other hosts by it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from ...transport.stop_bodies import HeldRobot

_FOLDER = "site-held"
MAX_ROBOTS = 1024


class HeldRobots:
    """Those that the process `name` has heard of."""

    def __init__(self, state_dir: Path, name: str) -> None:
        self._file = state_dir / _FOLDER / name
        self._rows: dict[str, HeldRobot] = {}
        self._is_new = False

    def __iter__(self) -> Iterator[HeldRobot]:
        return iter(list(self._rows.values()))

    def heard(self, rows: Iterable[HeldRobot]) -> bool:
        """Take over the newest word about each robot; whether any differs."""
        changed = False
        for row in rows:
            if self._rows.get(row.robot) != row and (
                row.robot in self._rows or len(self._rows) < MAX_ROBOTS
            ):
                self._rows[row.robot] = row
                changed = True
        self._is_new |= changed
        return changed

    def write(self) -> None:
        """Bring the file to what was heard. One that cannot be written is tried again."""
        if not self._is_new:
            return
        with suppress(OSError):  # those who wait for it say that they have heard nothing
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
            draft.write_bytes(msgspec.json.encode(tuple(self._rows.values())))
            draft.replace(self._file)
            self._is_new = False


def held_robots(state_dir: Path) -> list[HeldRobot]:
    """What the processes of this host have heard last, of some robots more than once."""
    found: list[HeldRobot] = []
    for path in sorted((state_dir / _FOLDER).glob("[!.]*")):
        with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            found += msgspec.json.decode(path.read_bytes(), type=tuple[HeldRobot, ...])
    return found
