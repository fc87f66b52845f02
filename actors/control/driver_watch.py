"""`DriverWatch`: whether a robot's driver is alive, by the instants of the states that it gives."""

from __future__ import annotations


class DriverWatch:
    """A state that stands still for longer than `lost_after_ns` means that the driver is gone.

    What counts is that the instant changes, not how old it is: a slow driver may be late all the
    time. Pure: instants come from the caller.
    """

    def __init__(self, lost_after_ns: int) -> None:
        self._lost_after_ns = lost_after_ns
        self._observed_ns = 0
        self._moved_ns = 0

    def gone(self, observed_ns: int, now_ns: int) -> bool:
        """Whether the state has stood still for too long. `observed_ns` is the instant of the state
        that was read at `now_ns`."""
        if observed_ns != self._observed_ns:
            # The first state that a process sees may have stood still for long.
            first = not self._observed_ns
            self._moved_ns = min(observed_ns, now_ns) if first else now_ns
            self._observed_ns = observed_ns
        return now_ns - self._moved_ns > self._lost_after_ns
