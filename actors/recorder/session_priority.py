"""`SessionPriority`: a recorder yields the processor to all others as long as it keeps up.

Linux counts processor time by session where autogroups are on, as on most desktops, and every actor
has a session of its own: the nice value of a thread then says nothing beside other actors. So it is
the session's that is lowered. On a busy machine that leaves a recorder almost nothing: it is raised
again when too much waits, something was dropped or its own loop was late, and while an episode has
to become durable. That needs no privilege, unlike raising a thread's.
"""

from __future__ import annotations

from pathlib import Path

from ...robot.dataset.lowest_priority import AUTOGROUP

_NICE = 15
"""A twenty-eighth of the processor time of an ordinary process, where all want it."""
_BEHIND, _CAUGHT_UP = 0.25, 0.02
"""Of the images that may wait."""
_LATE_NS = 250_000_000
"""Of the loop: beside many processes that want the processor, one that yields may get none for
seconds, and the supervisor ends it in the end."""
_STAYS_NS, _STAYS_LONGEST_NS = 20_000_000_000, 640_000_000_000
"""How long it stays raised after the last cause. On a machine that is too busy for it each attempt
to yield may cost frames: the time doubles with each that fails, until one holds for as long."""


class SessionPriority:
    """Of this process, which is the only one of its session. `low` is whether it yields; `fault`
    why it cannot, such as a kernel without autogroups: the nice values of threads count there."""

    def __init__(self, place: Path = AUTOGROUP) -> None:
        self.low, self.fault = False, ""
        self._place = place
        self._raised_ns = -_STAYS_NS
        self._lowered_ns = 0
        self._stays_ns = _STAYS_NS
        self._yields = False
        """Whether `low` is wanted. The kernel refuses a change too soon after the last one."""
        self._dropped = 0

    def follow(
        self, waiting: float, dropped: int, now_ns: int, *, waits: bool, late_ns: int = 0
    ) -> None:
        """`waiting` is the share of the images that may wait, `dropped` what was since the start;
        `waits`: an episode is being saved, or a person waits for one to begin; `late_ns`: how much
        longer than it should the loop's last turn took."""
        before, self._dropped = self._dropped, dropped
        behind = waiting > _BEHIND or dropped > before or (self.low and late_ns > _LATE_NS)
        if waits or behind:
            if self._yields and not waits:
                self._stays_ns = min(2 * self._stays_ns, _STAYS_LONGEST_NS)
            self._raised_ns, self._yields = now_ns, False
        elif not self._yields and waiting <= _CAUGHT_UP:
            self._yields = now_ns - self._raised_ns >= self._stays_ns
            self._lowered_ns = now_ns
        elif self._yields and now_ns - self._lowered_ns >= self._stays_ns:
            self._stays_ns = _STAYS_NS
        if self._yields != self.low and self._set(_NICE if self._yields else 0):
            self.low = self._yields

    def restore(self) -> None:
        """As an ordinary process, at once."""
        if self.low:
            self.low = not self._set(0)

    def _set(self, nice: int) -> bool:
        if self.fault:
            return False
        try:
            self._place.write_text(str(nice))
        except BlockingIOError:
            return False  # too soon after the last change: again with the next call
        except OSError as error:
            self.fault = f"{self._place}: {error.strerror}"
            return False
        return True
