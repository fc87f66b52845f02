"""How a replica leaves: it drains, and ends once its robots have moved or time is up. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Leaving = Literal["", "draining", "stopping"]


class Departure:
    """The state of a drain. `leaving` is empty until it begins.

    A `draining` replica waits until the broker has moved all its robots, for which another replica
    needs room; a `stopping` one waits only for those that can move.
    """

    def __init__(self, drain_s: float) -> None:
        self.leaving: Leaving = ""
        self._drain_ns = round(drain_s * 1e9)
        self._until_ns: int | None = None
        self._released: set[int] = set()

    @property
    def begun(self) -> bool:
        """Whether the replica drains."""
        return self._until_ns is not None

    def begin(self, now_ns: int, stop: bool) -> bool:
        """Begin to drain, or to stop; False if that changes nothing. The time limit counts from
        the first call."""
        leaving: Leaving = "stopping" if stop else "draining"
        if self.leaving in (leaving, "stopping"):
            return False
        self.leaving = leaving
        if self._until_ns is None:
            self._until_ns = now_ns + self._drain_ns
        return True

    def release(self, broker: int = 0) -> None:
        """Note a broker's DRAIN: if this replica drains already, its robots have moved."""
        if self.begun:
            self._released.add(broker)

    def overdue(self, now_ns: int) -> bool:
        """Whether the time limit has passed."""
        return self._until_ns is not None and now_ns >= self._until_ns

    def complete(self, busy: bool, used_by: Iterable[int]) -> bool:
        """Whether the replica may end: nothing is `busy` (requests that wait, answers unsent), and
        all brokers that it is `used_by` have released it: those that know it and whose robots have
        sessions here."""
        return self.begun and not busy and self._released.issuperset(used_by)
