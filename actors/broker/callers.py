"""`Callers`: the last OPEN and vitals of each robot, with a session or while it waits for one.

Shown in the status; nothing is routed by it. The table is bounded, because peers choose their names
freely: past `MAX_CALLERS` the one not heard of for longest is removed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from ...transport.bodies import ActorVitals, Heartbeat, Open, Vitals

MAX_CALLERS = 512


@dataclass
class Caller:
    """One robot: `asked` is its last OPEN, `vitals` those of its last heartbeat, if any."""

    name: str
    heard_ns: int
    asked: Open | None = None
    vitals: Vitals | None = None
    actors: tuple[ActorVitals, ...] = ()
    """Of its host, as its last heartbeat says."""


class Callers:
    """The callers by name, in the order in which they were last heard of."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Caller] = OrderedDict()

    def __iter__(self) -> Iterator[Caller]:
        return iter(list(self._by_name.values()))

    def of(self, name: str) -> Caller | None:
        """The caller `name`, if it is known."""
        return self._by_name.get(name)

    def asked(self, name: str, opening: Open, now_ns: int) -> None:
        """`name` sent an OPEN."""
        self._heard(name, now_ns).asked = opening

    def beat(self, name: str, beat: Heartbeat, now_ns: int) -> None:
        """`name` sent a heartbeat."""
        caller = self._heard(name, now_ns)
        caller.vitals, caller.actors = beat.vitals, beat.actors

    def forget(self, name: str) -> None:
        """`name` closed its session."""
        self._by_name.pop(name, None)

    def expire(self, before_ns: int) -> None:
        """Remove those not heard of since `before_ns`."""
        while self._by_name:
            oldest = next(iter(self._by_name.values()))
            if oldest.heard_ns >= before_ns:
                return
            del self._by_name[oldest.name]

    def shift(self, absence_ns: int, now_ns: int) -> None:
        """Discount an absence of the broker, which is over now."""
        for caller in self._by_name.values():
            # Not beyond now: one that is heard of next would be behind, and older.
            caller.heard_ns = min(caller.heard_ns + absence_ns, now_ns)

    def _heard(self, name: str, now_ns: int) -> Caller:
        caller = self._by_name.setdefault(name, Caller(name, now_ns))
        caller.heard_ns = now_ns
        self._by_name.move_to_end(name)
        if len(self._by_name) > MAX_CALLERS:
            self._by_name.popitem(last=False)
        return caller
