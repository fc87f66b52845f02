"""`Outage`: a device that fails, and when to try it again."""

from __future__ import annotations

_PAUSE_S = 0.25
"""After the first failure; doubled at every further one."""
_MAX_PAUSE_S = 2.0


class Outage:
    """Why a device does not work, and when to try again. No clock of its own."""

    def __init__(self) -> None:
        self.reason = ""
        """Empty while it works."""
        self.count = 0
        self.pause_s = 0.0
        self._since_ns = 0

    def failed(self, reason: str, now_ns: int) -> bool:
        """The device failed; True if that is new: the first time, or for another reason."""
        new = reason != self.reason
        if not self.reason:
            self._since_ns, self.pause_s = now_ns, _PAUSE_S
            self.count += 1
        else:
            self.pause_s = min(2 * self.pause_s, _MAX_PAUSE_S)
        self.reason = reason
        return new

    def ended(self, now_ns: int) -> float | None:
        """The device works; for how many seconds it did not, None if it always did."""
        if not self.reason:
            return None
        self.reason = ""
        return (now_ns - self._since_ns) / 1e9
