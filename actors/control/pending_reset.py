"""`PendingReset`: the reset of an episode that its replica has not acknowledged yet."""

from __future__ import annotations

_WITHIN_NS = 1_000_000_000
"""In which a replica acknowledges a reset. A lost one costs nothing: requests carry the episode."""


class PendingReset:
    """One robot's. Pure: instants come from the caller."""

    def __init__(self) -> None:
        self._made_ns: int | None = None
        self._epoch = 0

    def made(self, epoch: int, now_ns: int) -> None:
        """A reset was made in the session of `epoch`."""
        self._made_ns, self._epoch = now_ns, epoch

    def over(self) -> None:
        """It was acknowledged, or there is no session to reset."""
        self._made_ns = None

    def warning(self, replica: str, episode: int, epoch: int, now_ns: int) -> str:
        """What is overdue in the session of `epoch`; empty if nothing is."""
        if self._made_ns is None or self._epoch != epoch or now_ns - self._made_ns < _WITHIN_NS:
            return ""
        return (
            f"{replica} has not acknowledged the reset to episode {episode} "
            f"within {_WITHIN_NS / 1e9:g} s"
        )
