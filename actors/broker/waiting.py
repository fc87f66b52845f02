"""`Waiting`: robots that wait for a place, because their OPEN found none or their session was lost.

They are notified when there is one, instead of at the end of their growing back-off. The table is
bounded, because peers choose their names freely; an entry is removed when its robot is notified.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ...transport.header import Header

MAX_WAITING = 4096
HOLDOFF_NS = 500_000_000
"""Until a robot is notified of a place that was there before: its replica may have refused it."""
EXPIRED_NS = 60_000_000_000
"""Several of a robot's longest back-offs: a robot that is alive has asked again by then."""


@dataclass(frozen=True)
class Waiter:
    """`about`: the header of its OPEN. `since_ns`: when that found no place."""

    identity: bytes
    about: Header
    service: str
    since_ns: int


class Waiting:
    """The last waiter of each robot's name, and the robots that a replica has turned away for want
    of capacity: these ask again by themselves, and are counted only."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Waiter] = OrderedDict()
        self._turned_away: OrderedDict[str, tuple[str, int]] = OrderedDict()
        """The service of each, and when that was."""

    def add(self, robot: str, waiter: Waiter) -> None:
        """`robot` was rejected for want of a place."""
        self._by_name.pop(robot, None)
        self._by_name[robot] = waiter
        if len(self._by_name) > MAX_WAITING:
            self._by_name.popitem(last=False)

    def turned_away(self, robot: str, service: str, now_ns: int) -> None:
        """A replica of `service` has no capacity for `robot`."""
        self._turned_away.pop(robot, None)
        self._turned_away[robot] = (service, now_ns)
        if len(self._turned_away) > MAX_WAITING:
            self._turned_away.popitem(last=False)

    def accepted(self, robot: str) -> None:
        """A replica has accepted `robot`."""
        self._turned_away.pop(robot, None)

    def discard(self, robot: str) -> None:
        """`robot` has a session."""
        self._by_name.pop(robot, None)

    def services(self) -> set[str]:
        """The services that robots wait for."""
        return {waiter.service for waiter in self._by_name.values()}

    def count(self, service: str) -> int:
        """How many robots wait for `service`."""
        found = {name for name, waiter in self._by_name.items() if waiter.service == service}
        found |= {name for name, (asked, _) in self._turned_away.items() if asked == service}
        return len(found)

    def take(self, service: str, before_ns: int) -> list[Waiter]:
        """Remove and return those that have waited for `service` since `before_ns` or longer."""
        found = [
            name
            for name, waiter in self._by_name.items()
            if waiter.service == service and waiter.since_ns <= before_ns
        ]
        return [self._by_name.pop(name) for name in found]

    def expire(self, before_ns: int) -> None:
        """Remove those that have waited since before `before_ns` and not asked again."""
        while self._by_name and next(iter(self._by_name.values())).since_ns < before_ns:
            self._by_name.popitem(last=False)
        away = self._turned_away
        while away and next(iter(away.values()))[1] < before_ns:
            away.popitem(last=False)
