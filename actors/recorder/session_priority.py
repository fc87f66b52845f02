"""`SessionPriority`: a recorder yields the processor to all others as long as it keeps up.

Linux counts processor time by session where autogroups are on, as on most desktops, and every actor
has a session of its own: the nice value of a thread then says nothing beside other actors. So it is
the session's that is lowered. On a busy machine that leaves a recorder almost nothing: it is raised
again when too much waits or something was dropped, and while an episode has to become durable. That
needs no privilege, unlike raising a thread's.
"""

from __future__ import annotations

from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")
_NICE = 15
"""A twenty-eighth of the processor time of an ordinary process, where all want it."""
_BEHIND, _CAUGHT_UP = 0.25, 0.02
"""Of the images that may wait."""
_STAYS_NS = 20_000_000_000
"""How long it stays raised after the last cause: on a machine that is too busy for it, each attempt
to yield may cost frames."""


class SessionPriority:
    """Of this process, which is the only one of its session. `low` is whether it yields; `fault`
    why it cannot, such as a kernel without autogroups: the nice values of threads count there."""

    def __init__(self, place: Path = _AUTOGROUP) -> None:
        self.low, self.fault = False, ""
        self._place = place
        self._raised_ns = -_STAYS_NS
        self._dropped = 0

    def follow(self, waiting: float, dropped: int, now_ns: int, *, waits: bool) -> None:
        """`waiting` is the share of the images that may wait, `dropped` what was since the start;
        `waits`: an episode is being saved, or a person waits for one to begin."""
        before, self._dropped = self._dropped, dropped
        if waits or waiting > _BEHIND or dropped > before:
            self._raised_ns = now_ns
            self.restore()
        elif not self.low and waiting <= _CAUGHT_UP and now_ns - self._raised_ns >= _STAYS_NS:
            self.low = self._set(_NICE)

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
