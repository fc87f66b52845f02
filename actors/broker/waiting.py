"""Robots that wait for a place: their OPEN found none, or their session was lost for want of one.

They are told when there is one again, instead of finding out at the end of a growing pause. Names
cost a peer nothing, so the table is bounded; who is told and does not come is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ...transport.header import Header

MAX_WAITING = 4096
HOLDOFF_NS = 500_000_000
"""Until a robot is told of a place that was there before: its replica may have refused it."""
FORGOTTEN_NS = 60_000_000_000
"""Several of a robot's longest pauses: who is alive has asked again by then."""


@dataclass(frozen=True)
class Waiter:
    """`about` is the header of its OPEN, `since` when that found no place."""

    identity: bytes
    about: Header
    service: str
    since: int


class Waiting:
    """One entry for each robot's name, its last."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Waiter] = OrderedDict()

    def add(self, robot: str, waiter: Waiter) -> None:
        """`robot` was told that there is no place for it."""
        self._by_name.pop(robot, None)
        self._by_name[robot] = waiter
        if len(self._by_name) > MAX_WAITING:
            self._by_name.popitem(last=False)

    def discard(self, robot: str) -> None:
        """It has a session, or wants none any more."""
        self._by_name.pop(robot, None)

    def services(self) -> set[str]:
        """What they wait for."""
        return {waiter.service for waiter in self._by_name.values()}

    def take(self, service: str, before: int) -> list[Waiter]:
        """Those who have waited for `service` since `before` or longer: they wait no more."""
        due = [n for n, w in self._by_name.items() if w.service == service and w.since <= before]
        return [self._by_name.pop(name) for name in due]

    def expire(self, before: int) -> None:
        """Forget who has waited since `before` and not asked again."""
        while self._by_name and next(iter(self._by_name.values())).since < before:
            self._by_name.popitem(last=False)
