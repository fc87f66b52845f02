"""`RingUse`: whether a robot's next request leaves its frames in the cameras' rings, or has them
copied into the outbox.

A camera soon writes over the frames in its ring, and a request may wait for longer: in a queue, for
a slow policy, for a replica that replaces a dead one. So the frames of a request that has no answer
`COPY_AFTER_NS` after they were taken are copied into the outbox, to which it refers too. Those of
the next requests are copied before these are sent, until an answer comes sooner.
"""

from __future__ import annotations

from collections import Counter

from ..runtime.ring_times import COPY_AFTER_NS

FAILED_NS = 60_000_000_000
"""For how long rings are not used after the replica did not find a frame: twice as long after each
further one in a row, at most `MAX_FAILED_NS`."""
MAX_FAILED_NS = 64 * FAILED_NS


class RingUse:
    """Of one robot. Pure: instants come from the caller.

    `counts`: requests whose frames were copied at once (`copied`) or left in their rings
    (`in_rings`); of the latter those whose frames were copied later (`copied_late`) or overwritten
    before (`overwritten`), and those that failed because the replica did not find them (`gone`).
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.copy_due_ns: int | None = None
        """When the frames of the last request are to be copied; None if they are not."""
        self._asked_ns: int | None = None
        self._in_rings = self._slow = False
        self._failed_until_ns = 0
        self._failed_ns = FAILED_NS

    def allowed(self, now_ns: int) -> bool:
        """Whether the next request may leave its frames in their rings; called before `asked`."""
        if self._asked_ns is not None and now_ns - self._asked_ns >= COPY_AFTER_NS:
            self._slow = True
        return not self._slow and now_ns >= self._failed_until_ns

    def asked(self, in_rings: bool, now_ns: int) -> None:
        """A request is on its way; `in_rings`: its frames are in their rings only."""
        self.counts["in_rings" if in_rings else "copied"] += 1
        self._asked_ns, self._in_rings = now_ns, in_rings
        self.copy_due_ns = now_ns + COPY_AFTER_NS if in_rings else None

    def copied(self, still_there: bool) -> None:
        """Those of the last request were copied or, if not `still_there`, overwritten before."""
        self.counts["copied_late" if still_there else "overwritten"] += 1
        self.copy_due_ns = None

    def forget(self) -> None:
        """The frames of the last request are not needed any more."""
        self.copy_due_ns = None

    def answered(self, found: bool, now_ns: int) -> None:
        """The last request was answered, or not `found`: its images were not there."""
        if self._asked_ns is None:
            return
        self._slow = now_ns - self._asked_ns >= COPY_AFTER_NS
        if self._in_rings and not found:
            self.counts["gone"] += 1
            self._failed_until_ns = now_ns + self._failed_ns
            self._failed_ns = min(2 * self._failed_ns, MAX_FAILED_NS)
        elif self.copy_due_ns is not None:  # the rings alone had them
            self._failed_ns = FAILED_NS
        self._asked_ns = self.copy_due_ns = None
