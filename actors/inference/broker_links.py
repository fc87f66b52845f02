"""`BrokerLinks`: a replica's connections to all brokers of its site, numbered in their order.

Each is independent: the replica registers with every broker, and a session belongs to the broker by
which it came. Used by one thread; never blocks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from ...transport import sockets
from ...transport.bodies import ActorVitals, Demand, Register
from ...transport.poll import Poll, Source
from ..runtime.key_files import KeyFiles
from ..runtime.own_keys import OwnKeys
from .broker_client import BrokerClient


class BrokerLinks:
    """The clients of the brokers at `endpoints`; `links[k]` is that of the k-th."""

    def __init__(
        self,
        endpoints: Sequence[str],
        identity: str,
        offer: Register,
        keys: OwnKeys | None = None,
    ) -> None:
        self._keys = keys or OwnKeys(identity, KeyFiles(), endpoints)
        self.links = [
            BrokerClient(each, identity, offer, *self._keys.of(k))
            for k, each in enumerate(endpoints)
        ]
        self._abandoned: set[int] = set()

    @property
    def registered(self) -> list[int]:
        """The brokers that have welcomed this replica."""
        return [k for k, link in enumerate(self.links) if link.registered]

    @property
    def reason(self) -> str:
        """Which brokers are unreachable, and why, and what a new key waits for; empty when none
        is."""
        reasons = [*(link.reason for link in self.links), self._keys.reason]
        return "; ".join(filter(None, reasons))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each: where it is, why it is not reachable, whether it has welcomed this."""
        return [
            {
                "endpoint": link.endpoint,
                "reason": link.reason,
                "open_s": link.open_s,
                "used": link.registered,
            }
            for link in self.links
        ]

    @property
    def sendable(self) -> list[sockets.Socket]:
        """The sockets for whose room messages wait."""
        return [socket for link in self.links if (socket := link.sendable) is not None]

    @property
    def dropped(self) -> Counter[str]:
        """How many messages no socket took, by kind."""
        return sum((link.dropped for link in self.links), Counter[str]())

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for messages and for new connections."""
        for link in self.links:
            link.watch(poll)

    def lost(self, awake: Collection[Source] | None = None) -> list[int]:
        """The brokers whose sessions are void since the last call. Call it in every turn of the
        poll, with what that returned."""
        gone = []
        for k, link in enumerate(self.links):
            if link.lost_sessions(awake):
                gone.append(k)
            elif link.abandoned and k not in self._abandoned:
                self._abandoned.add(k)
                gone.append(k)
            if not link.abandoned:
                self._abandoned.discard(k)
        return gone

    def beat(
        self,
        progress: int,
        load: float,
        sessions: Counter[int],
        draining: str = "",
        actors: tuple[ActorVitals, ...] = (),
        demand: Demand | None = None,
    ) -> None:
        """Send a heartbeat to each broker (see `BrokerClient.beat`). `sessions`: how many came by
        each of them. With a new key all connections are made anew."""
        if self._keys.follow([link.condition for link in self.links], time.monotonic_ns()):
            for k, link in enumerate(self.links):
                link.rekey(*self._keys.of(k))
        total = sessions.total()
        for k, link in enumerate(self.links):
            elsewhere = total - sessions[k]
            link.beat(progress, load, draining, elsewhere=elsewhere, actors=actors, demand=demand)

    def flush(self) -> bool:
        """Send the waiting messages that the sockets take; True when none is left."""
        return min([link.flush() for link in self.links])

    def close(self) -> None:
        """Close; messages in the sockets have a moment to leave."""
        self._keys.close()
        for link in self.links:
            link.close()
