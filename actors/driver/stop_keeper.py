"""`StopKeeper`: a robot's emergency stop in the process that commands its device.

Guaranteed: a stop that was seen stays in force until `lift`, whatever removes its file, and also
where the file cannot be written; one of the whole site until an operator has lifted it there. The
caller holds the robot still for as long as `stop` is not None, and says when the device has
`confirmed` it.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from ...errors import RobotError
from ...transport.stop_bodies import SiteStop
from ..runtime.site_stop_store import SiteStopStore
from . import latch, operator_key
from .latch import EmergencyStop


class StopKeeper:
    """That of `robot`; without a `state_dir` there is no latch on disk, and a stop lasts as long as
    this process. `keyring` is the directory of public keys of a fleet that has them. Without
    `has_latch` only stops of the site count: a latch of this name is that of a fleet's robot."""

    def __init__(
        self,
        robot: str,
        state_dir: Path | None,
        keyring: Path | None,
        log: logging.Logger,
        *,
        has_latch: bool = True,
    ) -> None:
        self.stop: EmergencyStop | None = None
        self.confirmed = False
        """Whether the device has confirmed that it holds."""
        self._robot = robot
        self._latch_dir = state_dir if has_latch else None
        self._keyring = keyring
        self._log = log
        self._unwritten = ""
        self._unmarked_ns = 0
        """When a stop was given last that no file shows, in ns of this host's monotonic clock; 0:
        none was."""
        self._own = False
        """Whether its own latch holds it, beside the stops of the site."""
        self._site = None if state_dir is None else SiteStopStore(state_dir, keyring, robot)
        if self._site is not None:
            self._site.prepare()
        self._site_stops: list[SiteStop] = []
        self._freed = False

    def look(self) -> bool:
        """Look at the latch; whether it was engaged since the last time."""
        self._look_at_site()
        directory = self._latch_dir
        found = None if directory is None else latch.engaged(directory, self._robot)
        if found is not None:
            self._unwritten, self._own = "", True
            return self._engage(found)
        if self.stop is not None and self._own:
            self._write(self.stop)
        elif self._site_stops:
            first = EmergencyStop.of_site(self._site_stops[0])
            if self.stop is None:
                return self._engage(first)
            self.stop = first  # the one of before may be lifted
        elif self.stop is not None:
            self._free()
        return False

    def freed(self) -> bool:
        """Whether a stop of the site was lifted since the last time, and nothing else holds the
        robot."""
        freed, self._freed = self._freed, False
        return freed

    def asked(self, body: dict[str, Any]) -> bool:
        """A stop was requested by a datagram; True if the robot is stopped by it. The sender has
        written it before, as the latch or as a stop of the site; `unwritten` says that it could
        not: then its own latch is written here, or marked anew, so that no release lifts it that
        began before."""
        self.look()
        given = EmergencyStop(str(body.get("by")), str(body.get("why", "")), time.time())
        if self.stop is None or body.get("unwritten"):
            # The first stop is the one to explain.
            self._write(self.stop if self.stop is not None and self._own else given)
        if self._unwritten or self._latch_dir is None:
            self._unmarked_ns = time.monotonic_ns()
        return True

    def confirm(self) -> None:
        """The device holds the robot still."""
        if self.stop is not None and not self.confirmed:
            self.confirmed = True
            self._log.warning("the robot has confirmed the emergency stop")

    def lift(self, secret: object, begun: object = None) -> str:
        """Lift the stop with an operator's `secret` key, which counts on fleets with keys only; if
        `begun` is the mark of its latch then, none that was given since. Why it is not lifted;
        empty if it is."""
        if self._keyring is not None and not operator_key.fits(self._keyring, secret):
            return operator_key.needed(self._robot, self._keyring)
        self._look_at_site(again=True)
        if self.stop is None:
            return ""
        only = latch.as_mark(begun)
        given_since = only is not None and self._is_unmarked_since(only)
        try:
            if self._latch_dir is not None and not given_since:
                latch.release(self._latch_dir, self._robot, only=only)
                still = latch.engaged(self._latch_dir, self._robot) is not None
                given_since = only is not None and still
        except RobotError as error:
            return str(error)
        if given_since:
            return (
                f"{self._robot} stays stopped: a stop was given meanwhile, or was written only "
                "now: release it again"
            )
        self._own, self._unwritten, self._unmarked_ns = False, "", 0
        if self._site_stops:
            self.stop = EmergencyStop.of_site(self._site_stops[0])
            return f"{self._robot} stays {self.stop}, {self._until}"
        self._free()
        self._freed = False
        return ""

    @property
    def why(self) -> str:
        """`stopped by ...`; empty if it is not."""
        return "" if self.stop is None else str(self.stop)

    def report(self, trouble: str = "") -> dict[str, Any] | None:
        """The stop for the status and for an answer; None without one. `trouble` is what keeps
        the device from confirming it."""
        if self.stop is None:
            return None
        faults = [self._unwritten, "" if self.confirmed else trouble]
        return {
            "latched": True,
            "confirmed": self.confirmed,
            "by": self.stop.by,
            "why": self.stop.why,
            "at_s": self.stop.at_s,
            "error": "; ".join(filter(None, faults)),
        }

    @property
    def _until(self) -> str:
        """Why its own latch is not all that holds it."""
        known = self._site is not None and self._site.stops.holding(self._robot)
        return "for the whole site" if known else "until that can be read, or is removed"

    def _is_unmarked_since(self, begun: latch.Mark) -> bool:
        """Whether a stop that no file shows may have been given since a latch had that mark."""
        is_shown = self._latch_dir is not None and not self._unwritten
        latch_file, looked_ns = begun
        return not is_shown and (looked_ns if not latch_file else 0) < self._unmarked_ns

    def _look_at_site(self, *, again: bool = False) -> None:
        if self._site is not None and self._site.look(again=again):
            self._site_stops = self._site.holding(self._robot)

    def _free(self) -> None:
        self.stop, self.confirmed, self._freed = None, False, True
        self._log.warning("the emergency stop is lifted")

    def _engage(self, stop: EmergencyStop) -> bool:
        if self.stop is not None:
            return False
        self.stop, self.confirmed = stop, False
        self._log.warning("emergency stop: %s", stop)
        return True

    def _write(self, stop: EmergencyStop) -> None:
        """Engage the latch on disk, and the stop in any case."""
        self._own = True
        try:
            if self._latch_dir is not None:
                stop = latch.engage(self._latch_dir, self._robot, stop.by, stop.why, stop.at_s)
                self._unwritten = ""
        except RobotError as error:
            if not self._unwritten:
                self._log.error("%s: the stop ends with this process", error)
            self._unwritten = f"{error}: the stop does not outlast its driver"
        if not self._engage(stop):
            self.stop = stop
