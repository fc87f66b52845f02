"""`RefusedReplicas`: replicas that may not serve, with the reason, for the status.

Nothing is routed by it. A replica is removed when one of its name registers, or after `KEPT_NS`;
the table is bounded, because peers choose their names freely.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from ...transport.bodies import Register

MAX_REFUSED = 64
KEPT_NS = 3_600_000_000_000


@dataclass(frozen=True)
class RefusedReplica:
    """What it offered, and why that was refused."""

    offer: Register
    why: str
    since_ns: int


class RefusedReplicas:
    """The last refusal of each replica's name, oldest first."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, RefusedReplica] = OrderedDict()

    def __iter__(self) -> Iterator[RefusedReplica]:
        return iter(list(self._by_name.values()))

    def add(self, offer: Register, why: str, now_ns: int) -> None:
        """`offer` was refused."""
        self.discard(offer.replica)
        self._by_name[offer.replica] = RefusedReplica(offer, why, now_ns)
        if len(self._by_name) > MAX_REFUSED:
            self._by_name.popitem(last=False)

    def discard(self, name: str) -> None:
        """The replica `name` serves."""
        self._by_name.pop(name, None)

    def expire(self, now_ns: int) -> None:
        """Remove those that were refused long ago."""
        while self._by_name and next(iter(self)).since_ns < now_ns - KEPT_NS:
            self._by_name.popitem(last=False)
