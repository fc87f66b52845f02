"""`SiteStopStore`: the stops of a site as one process of a host knows them, beside their files.

Guaranteed: what this process knew it does not forget, whatever happens to the files (but for a stop
that was removed for one that stands in for it); a lift that comes while it runs counts only if it
is an operator's (`lifting`). One in a file that does not count is checked again every second: the
operator's public key may be on its way here. A damaged stop holds every robot; so do stops that the
system does not let this process read, until it can.

What is added can be read by all processes at once; that it outlasts a power cut takes as long as
the disk does. A program waits for it (`settle`), an actor has a thread that does.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from ...errors import RuntimeDirError
from ...transport.stop_bodies import Lift, SiteStop
from . import durable
from .site_stop_files import SiteStopFiles, name_of, unknown_stop
from .site_stops import SiteStops, stands_in

AGAIN_NS = 1_000_000_000
"""Until what could not be read, or did not count, is tried again."""


class SiteStopStore:
    """That of the fleet with the state directory `state_dir`, whose public keys are in `keyring` if
    it has keys. With `robot` only what is about that robot, and nothing can be added: no time goes
    to the lifts of others."""

    def __init__(self, state_dir: Path, keyring: Path | None, robot: str | None = None) -> None:
        self.stops = SiteStops()
        self.refused = ""
        """Why one of the lifts that were checked last does not count; empty if all do."""
        self._files = SiteStopFiles(state_dir)
        self._keyring, self._robot = keyring, robot
        self._uncounted: dict[str, Lift] = {}
        """By file, the lifts that do not count here, or not yet."""
        self._stand_ins: dict[str, SiteStop] = {}
        """By file, also those of other robots."""
        self._compared: Mapping[str, int] = {}
        """The files in which what they stand in for was looked for."""
        self._again_ns = 0
        self.unsettled = ""
        """Why what was added may not outlast a power cut; empty if it does, or will."""
        self.unwritten = ""
        """Why what was added is in no file yet; it is tried again every second."""
        self._never_written: set[str] = set()
        """The files of the stops that were added and have been in none."""
        self._has_loop = False
        self._settling: durable.Settling | None = None
        self._in_hand: Collection[Path] = ()
        """What that waits for."""

    def prepare(self) -> None:
        """For processes with a loop: import what the first lift needs, which takes tens of ms, and
        let no later call wait for the disk."""
        self._has_loop = True
        if self._keyring is not None:
            from . import lifting  # noqa: F401

    @property
    def unreadable(self) -> str:
        """What cannot be read now, and why: a stop of any robot, for as long as that is so. Only
        this process knows it, and no lift ends it."""
        return self._files.unreadable

    def holding(self, robot: str) -> list[SiteStop]:
        """What holds a robot, the first stop first; last is one for what cannot be read."""
        held = self.stops.holding(robot)
        return [*held, unknown_stop("", self.unreadable)] if self.unreadable else held

    def look(self, *, again: bool = False) -> bool:
        """Read what is new; whether what holds is something else now. Costs one look at the folder.
        With `again` what did not count, or could not be read, is tried once more at once."""
        now_ns = time.monotonic_ns()
        again = again or now_ns >= self._again_ns
        if again:
            self._again_ns = now_ns + AGAIN_NS
        before = self.unreadable
        # As with a robot's own latch, a process that starts takes what the files say.
        believes = not self._files.is_read
        stops, lifts = self._files.new(again=again)
        if stops or lifts or (again and self._uncounted):
            changed = self._take_files(stops, lifts, believes=believes)
        else:
            changed = False
        changed |= self._forget_replaced(stops)
        # Afterwards: what was replaced meanwhile is not written back.
        self._follow_disk(again=again)
        return changed or before != self.unreadable

    def add(self, stops: Iterable[SiteStop], lifts: Iterable[Lift]) -> bool:
        """Take over what another host says, or this one's user; whether the stops are others now.
        Raises OSError and RuntimeDirError where it cannot be written: it counts in this process
        all the same, and is written as soon as it can be. A program calls `settle` afterwards."""
        assert self._robot is None, "what is about one robot only is not written"
        changed = self.look()
        new = [lift for lift in lifts if lift not in self.stops.lifts]
        before = self.stops.stops
        if not self._take(stops, self._valid(new)):
            return changed
        added = (stop for id, stop in self.stops.stops.items() if id not in before)
        self._never_written |= {name_of(stop) for stop in added}
        self._write()
        return True

    def _write(self) -> None:
        try:
            self._files.write(self.stops, self._uncounted)
            self.unwritten = ""
        except (OSError, RuntimeDirError) as error:
            self.unwritten = str(error)
            raise
        finally:
            self._never_written -= self._files.written
        if self._has_loop and self._settling is None:
            self._keep()

    def _follow_disk(self, *, again: bool) -> None:
        """Go on where the disk has answered; with `again` also with what it refused."""
        if self._settling is not None and self._settling.is_over:
            fault, self._settling = self._settling.fault(), None
            if fault:
                self.unsettled = f"{self._files.folder}: {fault}"
                self._files.failed(self._in_hand)
            else:
                self.unsettled = ""
                self._keep()
        elif again and self._settling is None and self.unsettled:
            self._keep()
        if again and self.unwritten:
            with suppress(OSError, RuntimeDirError):  # `unwritten` says it
                self._write()

    def settle(self) -> None:
        """Wait until what was added outlasts a power cut. Raises OSError."""
        paths = self._files.unsettled()
        try:
            durable.settle(paths)
        except OSError:
            self._files.failed(paths)
            raise
        self._files.tidy(self.stops)

    def _keep(self) -> None:
        """The same, as far as it takes no time; the rest in a thread."""
        self._in_hand = self._files.unsettled()
        if self._in_hand:
            self._settling = durable.Settling(partial(durable.settle, self._in_hand))
        elif not self.unsettled:
            with suppress(OSError):
                self._files.tidy(self.stops)

    def _take_files(
        self, stops: Iterable[SiteStop], lifts: dict[str, Lift], *, believes: bool
    ) -> bool:
        stops = [self._mine(stop) for stop in stops if self._is_mine(stop)]
        known = self.stops.lifts
        new = {k: lift for k, lift in lifts.items() if self._is_mine(lift) and lift not in known}
        counted = list(new.values()) if believes else self._counted(stops, new)
        # In one step: a stop is not in force for a moment that is lifted already.
        return self._take(stops, counted)

    def _forget_replaced(self, new: Iterable[SiteStop]) -> bool:
        """Forget the stops whose files were removed for a stand-in: a lift is of that one. Whether
        there were any."""
        self._stand_ins |= {name_of(stop): stop for stop in new if stop.instead_of}
        self._never_written = {k for k in self._never_written if not self._files.has(k)}
        # In a folder that changes under a scan the stand-in of a stand-in may be missed.
        whole = self._files.is_whole
        if not self._stand_ins or not whole or self._files.read is self._compared:
            return False
        self._compared = there = self._files.read
        self._stand_ins = {name: s for name, s in self._stand_ins.items() if name in there}
        found = self._stand_ins.values()
        # One that could not be written yet was not removed.
        by_file = {name_of(stop): stop for stop in self.stops.stops.values()}
        missing = by_file.keys() - self._never_written
        gone = [by_file[name] for name in missing if not self._files.has(name)]
        replaced = {stop.id for stop in gone if any(stands_in(each, stop) for each in found)}
        self.stops = self.stops.without(replaced)
        return bool(replaced)

    def _mine(self, stop: SiteStop) -> SiteStop:
        """As a stop of this robot only: it is over once it is lifted from that. One that is not
        takes room, and a stand-in that is made here no other process can lift."""
        if self._robot is None:
            return stop
        return msgspec.structs.replace(stop, robots=(self._robot,))

    def _is_mine(self, about: SiteStop | Lift) -> bool:
        return self._robot is None or not about.robots or self._robot in about.robots

    def _take(self, stops: Iterable[SiteStop], lifts: Iterable[Lift]) -> bool:
        before, self.stops = self.stops, self.stops.merged(stops, lifts)
        return before != self.stops

    def _counted(self, stops: Iterable[SiteStop], new: dict[str, Lift]) -> Sequence[Lift]:
        """Of the lifts in files those that count by now; the others are kept. Both are new."""
        waiting = {k: lift for k, lift in self._uncounted.items() if k in self._files.read} | new
        if not waiting:
            return []
        known = self.stops
        holding = known.in_force() if self._robot is None else known.holding(self._robot)
        ids = {stop.id for stop in (*holding, *stops)}
        # Of a stop that holds nothing any more none need be checked again and again.
        due = [
            lift
            for name, lift in waiting.items()
            if lift.stop in ids or (self._robot is None and name in new)
        ]
        valid = self._valid(due)
        self._uncounted = {name: lift for name, lift in waiting.items() if lift not in valid}
        return valid

    def _valid(self, lifts: Sequence[Lift]) -> Sequence[Lift]:
        if self._keyring is None or not lifts:
            return lifts
        # Not for a stop, which its imports would delay.
        from . import lifting

        refused = lifting.refusals(lifts, self._keyring)
        self.refused = next(iter(refused.values()), "")
        return [lift for lift in lifts if lift not in refused]
