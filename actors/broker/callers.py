"""The callers: what each robot last said about itself, with a session or while it waits for one.

For people only: nothing is routed by it. Names cost a peer nothing, so the table is bounded; past
`MAX_CALLERS` the one not heard of for longest is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from ...transport.messages import Open, Vitals

MAX_CALLERS = 512


@dataclass
class Caller:
    """One robot. `asked` is its last OPEN, `vitals` what its last heartbeat said, if anything."""

    name: str
    heard_at: int
    asked: Open | None = None
    vitals: Vitals | None = None


class Callers:
    """All of them by name, the one heard of last at the end."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Caller] = OrderedDict()

    def __iter__(self) -> Iterator[Caller]:
        return iter(list(self._by_name.values()))

    def of(self, name: str) -> Caller | None:
        """What is known of the robot `name`."""
        return self._by_name.get(name)

    def asked(self, name: str, opening: Open, now: int) -> None:
        """It sent an OPEN."""
        self._heard(name, now).asked = opening

    def beat(self, name: str, vitals: Vitals | None, now: int) -> None:
        """It sent a heartbeat."""
        self._heard(name, now).vitals = vitals

    def forget(self, name: str) -> None:
        """It ended in order."""
        self._by_name.pop(name, None)

    def expire(self, before: int) -> None:
        """Forget those not heard of since `before`."""
        while self._by_name:
            oldest = next(iter(self._by_name.values()))
            if oldest.heard_at >= before:
                return
            del self._by_name[oldest.name]

    def forgive(self, absence: int) -> None:
        """The broker itself was away for so long."""
        for caller in self._by_name.values():
            caller.heard_at += absence

    def _heard(self, name: str, now: int) -> Caller:
        caller = self._by_name.setdefault(name, Caller(name, now))
        caller.heard_at = now
        self._by_name.move_to_end(name)
        if len(self._by_name) > MAX_CALLERS:
            self._by_name.popitem(last=False)
        return caller
