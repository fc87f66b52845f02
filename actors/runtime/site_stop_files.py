"""`SiteStopFiles`: the folder `site-stops` in a fleet's state directory.

A file for each stop and for each lift: programs, the network actors and the broker of a host write
them there without a lock, so that none waits for another one that hangs. They outlast all
processes, and once they are settled a power cut. One that a power cut damages before is a stop of
every robot, or no lift.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from ...transport.stop_bodies import Lift, SiteStop
from .claim import STATE, claim
from .site_stops import SiteStops

FOLDER = "site-stops"
_RECENT_NS = 100_000_000
"""A folder that changed so shortly before may change again within one tick of its file system."""


class SiteStopFiles:
    """Those in `state_dir`, as one process has read them."""

    def __init__(self, state_dir: Path) -> None:
        self.is_read = False
        """Whether all of the folder was read once."""
        self.is_whole = False
        """Whether nothing changed while the folder was read last."""
        self.read: dict[str, int] = {}
        """The files that were read, and when they had changed."""
        self._state_dir = state_dir
        self.folder = state_dir / FOLDER
        self._unread: dict[str, str] = {}
        """The others, and why."""
        self._fault = ""
        """Why the folder cannot be read."""
        self._seen_ns: int | None = None
        self.written: set[str] = set()
        """What the last write wrote, or found written, also if it failed then."""
        self._unsettled: set[Path] = set()
        self._old: frozenset[str] = frozenset()
        """The files that the last write had no use for."""

    @property
    def unreadable(self) -> str:
        """Which stops the system does not let this process read, and why; empty if there are
        none."""
        faults = (why for name, why in self._unread.items() if name.startswith("stop."))
        return self._fault or next(faults, "")

    def new(self, *, again: bool) -> tuple[list[SiteStop], dict[str, Lift]]:
        """What was not read yet, and the names of the lifts' files. Costs one look at the folder if
        that has not changed. With `again` what could not be read is tried once more."""
        stops: list[SiteStop] = []
        lifts: dict[str, Lift] = {}
        try:
            changed_ns = self.folder.stat().st_mtime_ns
            if changed_ns == self._seen_ns and not (again and self._unread):
                return stops, lifts
            recent = 0 <= time.time_ns() - changed_ns < _RECENT_NS
            self._seen_ns = None if recent else changed_ns
            self.is_whole = False
            self._scan(stops, lifts)
            self.is_whole = not recent and self.folder.stat().st_mtime_ns == changed_ns
        except FileNotFoundError:
            self._unread.clear()
        except OSError as error:
            self._fault = f"{self.folder} cannot be read: {error.strerror}"
            self._seen_ns = None
            return stops, lifts
        self._fault, self.is_read = "", True
        return stops, lifts

    def has(self, name: str) -> bool:
        """Whether the file was there when the folder was read last."""
        return name in self.read or name in self._unread

    def _scan(self, stops: list[SiteStop], lifts: dict[str, Lift]) -> None:
        read: dict[str, int] = {}
        unread: dict[str, str] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                kind, _, id = entry.name.partition(".")
                if kind not in ("stop", "lift"):
                    continue
                try:
                    changed_ns = entry.stat().st_mtime_ns
                    if self.read.get(entry.name) != changed_ns:
                        packed = Path(entry.path).read_bytes()
                        if kind == "stop":
                            stops.append(msgspec.json.decode(packed, type=SiteStop))
                        else:
                            lifts[entry.name] = msgspec.json.decode(packed, type=Lift)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    unread[entry.name] = f"{entry.path} cannot be read: {error.strerror}"
                    continue
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    if kind == "stop":
                        stops.append(unknown_stop(id, f"{entry.path} cannot be read: {error}"))
                read[entry.name] = changed_ns
        self.read, self._unread = read, unread

    def write(self, known: SiteStops, spared: Collection[str]) -> None:
        """Bring the files to what is known, but for those in `spared`: it can be read at once. What
        is settled is up to the caller, and what is not wanted any more stays until `tidy`. Raises
        OSError and RuntimeDirError."""
        self.written = set()
        claim(self._state_dir, STATE)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        wanted = _files_of(known)
        self._old = frozenset(self.read.keys() - wanted.keys() - set(spared))
        for name, packed in wanted.items():
            path = self.folder / name
            with suppress(OSError):  # one that cannot be read is replaced
                if path.read_bytes() == packed:
                    self.written.add(name)
                    continue
            draft = self.folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
            try:
                draft.write_bytes(packed)
                draft.replace(path)
            except OSError:
                draft.unlink(missing_ok=True)
                raise
            self._unsettled.add(path)
            self.written.add(name)

    def unsettled(self) -> frozenset[Path]:
        """What was written since the last call, for `durable.settle`."""
        paths, self._unsettled = frozenset(self._unsettled), set()
        return paths

    def failed(self, paths: Collection[Path]) -> None:
        """They could not be settled: they are to be once more."""
        self._unsettled.update(paths)

    def tidy(self, known: SiteStops) -> None:
        """Remove what is not wanted any more. Not before what was written is settled: a power cut
        would lose a stop along with the one that stands in for it. Raises OSError."""
        old, self._old = self._old - _files_of(known).keys(), frozenset()
        for name in sorted(old, reverse=True):  # stops before their lifts: they would hold again
            (self.folder / name).unlink(missing_ok=True)


def _files_of(known: SiteStops) -> dict[str, bytes]:
    """By name, in the order to be written: what holds robots first, and a lift before the stop that
    is over by it, which would hold them for a moment."""
    in_force = known.in_force()
    over = [stop for stop in known.stops.values() if stop not in in_force]
    items: list[SiteStop | Lift] = [*in_force, *known.lifts, *over]
    files = {name_of(item): item for item in items}
    return {name: msgspec.json.encode(item) for name, item in files.items()}


def unknown_stop(id: str, why: str) -> SiteStop:
    """A stop of all robots in the place of one that cannot be read."""
    if not re.fullmatch("[0-9a-f]{16}", id):
        id = hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:16]
    return SiteStop(id=id, by="unknown", why=why.encode("utf-8", "replace").decode()[:256])


def name_of(item: SiteStop | Lift) -> str:
    """Of its file."""
    if isinstance(item, SiteStop):
        return f"stop.{item.id}"
    return f"lift.{hashlib.sha256(msgspec.json.encode(item)).hexdigest()[:24]}"
