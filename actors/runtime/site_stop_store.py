"""`SiteStopStore`: the stops of a site in the fleet's state directory of one host.

A file for each stop and for each lift, in the folder `site-stops`: programs, the network actors and
the broker of a host write them there without a lock, so that none waits for another one that hangs.
They outlast all processes. A stop that cannot be read holds every robot.

Guaranteed: what this process knew it does not forget, whatever happens to the files; a lift that
comes while it runs counts only if it is an operator's (`lifting`).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ...transport.stop_bodies import Lift, SiteStop
from .claim import STATE, claim
from .site_stops import SiteStops

FOLDER = "site-stops"
_RECENT_NS = 100_000_000
"""A folder that changed so shortly before may change again within one tick of its file system."""


class SiteStopStore:
    """That of the fleet with the state directory `state_dir`, whose public keys are in `keyring` if
    it has keys."""

    def __init__(self, state_dir: Path, keyring: Path | None) -> None:
        self.stops = SiteStops()
        self.refused = ""
        """Why the last lift that came did not count."""
        self._state_dir, self._keyring = state_dir, keyring
        self._folder = state_dir / FOLDER
        self._read: dict[str, int] = {}
        """The files that were read, and when they had changed."""
        self._foreign: set[str] = set()
        """Files that are left alone: lifts that do not count here."""
        self._seen_ns: int | None = None
        self._looked = False

    def look(self) -> bool:
        """Read what is new; whether the stops are others now. Costs one look at the folder."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
            if changed_ns == self._seen_ns:
                return False
            recent = 0 <= time.time_ns() - changed_ns < _RECENT_NS
            self._seen_ns = None if recent else changed_ns
            stops, lifts = self._new()
        except FileNotFoundError:
            self._looked = True
            return False
        except OSError as error:
            why = f"{self._folder} cannot be read: {error.strerror}"
            return self._take([_unreadable(FOLDER, why)], [])
        # As with a robot's own latch, a process that starts believes the files.
        counted = self._counted(lifts) if self._looked else lifts
        self._foreign |= {_file_of(lift) for lift in lifts if lift not in counted}
        self._looked = True
        return self._take(stops, counted)

    def add(self, stops: Iterable[SiteStop], lifts: Iterable[Lift]) -> bool:
        """Take over what another host says, or this one's user; whether the stops are others now.
        Raises OSError and RuntimeDirError where it cannot be written: it counts in this process
        all the same."""
        changed = self.look()
        new = [lift for lift in lifts if lift not in self.stops.lifts]
        if not self._take(stops, self._counted(new)):
            return changed
        self._write()
        return True

    def _take(self, stops: Iterable[SiteStop], lifts: Iterable[Lift]) -> bool:
        before, self.stops = self.stops, self.stops.merged(stops, lifts)
        return before != self.stops

    def _counted(self, lifts: Sequence[Lift]) -> list[Lift]:
        if not lifts:
            return []
        # Not for a stop, which its imports would delay.
        from . import lifting

        counted = []
        for lift in lifts:
            if why := lifting.why_not(lift, self._keyring):
                self.refused = why
            else:
                counted.append(lift)
        return counted

    def _new(self) -> tuple[list[SiteStop], list[Lift]]:
        """What the files say that were not read yet."""
        stops, lifts = [], []
        for entry in os.scandir(self._folder):
            kind, _, id = entry.name.partition(".")
            if kind not in ("stop", "lift"):
                continue
            try:
                changed_ns = entry.stat().st_mtime_ns
                if self._read.get(entry.name) == changed_ns:
                    continue
                self._read[entry.name] = changed_ns
                packed = Path(entry.path).read_bytes()
                if kind == "stop":
                    stops.append(msgspec.json.decode(packed, type=SiteStop))
                else:
                    lifts.append(msgspec.json.decode(packed, type=Lift))
            except FileNotFoundError:
                continue
            except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
                if kind == "stop":
                    stops.append(_unreadable(id, f"{entry.path} cannot be read: {error}"))
        return stops, lifts

    def _write(self) -> None:
        """Bring the files to what is known."""
        claim(self._state_dir, STATE)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        wanted = {f"stop.{id}": msgspec.json.encode(s) for id, s in self.stops.stops.items()}
        wanted |= {_file_of(lift): msgspec.json.encode(lift) for lift in self.stops.lifts}
        for name in self._read.keys() - wanted.keys() - self._foreign:
            (self._folder / name).unlink(missing_ok=True)
        for name, packed in wanted.items():
            path = self._folder / name
            with suppress(OSError):  # one that cannot be read is replaced
                if path.read_bytes() == packed:
                    continue
            draft = self._folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
            draft.write_bytes(packed)
            draft.replace(path)


def _file_of(lift: Lift) -> str:
    return f"lift.{hashlib.sha256(msgspec.json.encode(lift)).hexdigest()[:24]}"


def _unreadable(id: str, why: str) -> SiteStop:
    """A stop of all robots in the place of one that cannot be read."""
    if not re.fullmatch("[0-9a-f]{16}", id):
        id = hashlib.sha256(id.encode()).hexdigest()[:16]
    return SiteStop(id=id, by="unknown", why=why[:256])
