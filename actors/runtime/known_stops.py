"""`KnownStops`: the stops of a site as an actor has them that passes them on: beside the files of
its host, in its log, and as far as each peer was told of them. Nothing blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from logging import Logger
from pathlib import Path
from typing import Generic

from ...errors import RuntimeDirError
from ...transport.stop_bodies import HeldRobot, Stops
from .site_stop_store import SiteStopStore
from .site_stops import SiteStops
from .stop_messages import Frames, Peer, StopPeer, tell_peers


class KnownStops(Generic[Peer]):
    """Those in `directory`, of a fleet whose public keys are in the directory `keyring` if it has
    keys."""

    def __init__(self, directory: Path, keyring: str | None, log: Logger) -> None:
        self.peers: dict[Peer, StopPeer] = {}
        """Those that have said what they know."""
        self._store = SiteStopStore(directory, None if keyring is None else Path(keyring))
        self._store.prepare()
        self._log = log
        self._unsettled = ""
        self._store.look()
        self._changed()

    @property
    def stops(self) -> SiteStops:
        return self._store.stops

    @property
    def refused(self) -> str:
        """Why a lift that came last does not count here; empty if all do."""
        return self._store.refused

    def look(self) -> bool:
        """Read what is new in the files; whether what holds is something else now."""
        changed = self._store.look()
        if changed:
            self._changed()
        if self._store.unsettled != self._unsettled:
            self._unsettled = self._store.unsettled
            if self._unsettled:
                self._log.error("a power cut may undo a stop or a lift: %s", self._unsettled)
        return changed

    def take(self, body: Stops) -> bool:
        """Take over what a peer says; whether that changes something."""
        try:
            changed = self._store.add(body.stops, body.lifts)
        except (OSError, RuntimeDirError) as error:
            self._log.error("the stops of the site are not written yet: %s", error)
            changed = True
        if changed:
            self._changed()
        return changed

    def tell(
        self, held: Iterable[HeldRobot], send: Callable[[Peer, Frames], bool], *, is_new: bool
    ) -> None:
        """Send the peers what is due; `held` is what became of the stops at robots, and whether
        that `is_new`. What `send` refuses is sent at a later turn."""
        tell_peers(self.peers, self.stops, self.digest, held, send, is_new=is_new)

    def _changed(self) -> None:
        self.digest = self.stops.digest
        """Of what this host knows, for the heartbeats."""
        for stop in self.stops.in_force():
            self._log.warning("a stop of the site is in force: by %s: %s", stop.by, stop.why)
        if self._store.unreadable:
            self._log.error("stops of the site are not passed on: %s", self._store.unreadable)
