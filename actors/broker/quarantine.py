"""Peers that keep breaking the rules are not listened to for a while.

A single bad message is dropped and counted and costs its sender nothing more: links corrupt, people
upgrade one end first. One that goes on breaking rules is costing others time, so for
`QUARANTINE_NS` everything from it is dropped before it is looked at. Whatever it held (a session, a
replica's place) then ends by silence like anybody's.

What it does not do: recognise a peer that comes back under another identity. Only keys do that.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

TOLERATED = 20
WINDOW_NS = 10_000_000_000
QUARANTINE_NS = 30_000_000_000
MAX_PEERS = 1024


@dataclass
class _Record:
    window_since: int
    violations: int = 0
    until: int = 0


class Quarantine:
    """Who has broken rules lately. Holds at most `MAX_PEERS` records: the oldest is forgiven."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, _Record] = OrderedDict()

    def holds(self, identity: bytes, now: int) -> bool:
        """Whether messages of `identity` are to be dropped unread."""
        record = self._records.get(identity)
        return record is not None and now < record.until

    def violated(self, identity: bytes, now: int) -> bool:
        """Note one broken rule; True when it is the one that starts a quarantine."""
        record = self._records.get(identity)
        if record is None or now - record.window_since > WINDOW_NS:
            record = self._records[identity] = _Record(now)
        self._records.move_to_end(identity)
        if len(self._records) > MAX_PEERS:
            self._records.popitem(last=False)
        record.violations += 1
        if record.violations <= TOLERATED or now < record.until:
            return False
        record.until = now + QUARANTINE_NS
        record.window_since = record.until
        record.violations = 0
        return True

    def held(self, now: int) -> list[bytes]:
        """Identities in quarantine, for status."""
        return [identity for identity, record in self._records.items() if now < record.until]
