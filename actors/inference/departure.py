"""How a replica leaves: it drains, and ends once its robots have moved or time is up. Pure."""

from __future__ import annotations

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
        self._released = False

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

    def release(self) -> None:
        """Note the broker's DRAIN: if this replica drains already, its robots have moved."""
        self._released = self.begun

    def overdue(self, now_ns: int) -> bool:
        """Whether the time limit has passed."""
        return self._until_ns is not None and now_ns >= self._until_ns

    def complete(self, busy: bool, alone: bool) -> bool:
        """Whether the replica may end: nothing is `busy` (requests that wait, answers unsent), and
        the broker has released it or it is `alone`, without a broker or without sessions."""
        return self.begun and not busy and (self._released or alone)
