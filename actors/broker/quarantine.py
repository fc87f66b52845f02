"""`Quarantine`: messages of a peer that keeps breaking rules are dropped unread for a while.

A single bad message is dropped and counted, no more: links corrupt, and one end is upgraded first.
After more than `TOLERATED` within `WINDOW_NS` everything from the peer is dropped unread for
`QUARANTINE_NS`; its session, or its place as a replica, ends by silence as any other.

Does not recognise a peer that comes back under another identity: only keys do that.
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
    window_ns: int
    violations: int = 0
    until_ns: int = 0


class Quarantine:
    """Violations by identity, of the last `MAX_PEERS` peers that broke a rule."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, _Record] = OrderedDict()

    def holds(self, identity: bytes, now_ns: int) -> bool:
        """Whether to drop messages of `identity` unread."""
        record = self._records.get(identity)
        return record is not None and now_ns < record.until_ns

    def violated(self, identity: bytes, now_ns: int) -> bool:
        """Record one broken rule; True when it starts a quarantine."""
        record = self._records.get(identity)
        if record is None or now_ns - record.window_ns > WINDOW_NS:
            record = self._records[identity] = _Record(now_ns)
        self._records.move_to_end(identity)
        if len(self._records) > MAX_PEERS:
            self._records.popitem(last=False)
        record.violations += 1
        if record.violations <= TOLERATED or now_ns < record.until_ns:
            return False
        record.until_ns = now_ns + QUARANTINE_NS
        record.window_ns = record.until_ns
        record.violations = 0
        return True

    def held(self, now_ns: int) -> list[bytes]:
        """The identities in quarantine."""
        return [identity for identity, record in self._records.items() if now_ns < record.until_ns]
