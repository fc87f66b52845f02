"""`RequestPause`: how long a robot waits before its next request.

A service that has more robots than it carries at their own pace gives each a slower one. A robot
keeps to it while its plan lasts: never so long that the answer might come after its end.
"""

from __future__ import annotations

_ERROR_NS = 100_000_000
_MAX_ERROR_NS = 5_000_000_000
"""A robot whose requests keep failing takes less and less of a service that others share."""
_EPISODE_NS = 40_000_000
"""Until the cameras have seen the new episode: a request before that is refused."""
_UNSENT_NS = 50_000_000
_LATENCIES = 2
"""So many expected latencies before its plan ends a robot asks, whatever its pace."""


class RequestPause:
    """One robot's. Pure: instants come from the caller."""

    def __init__(self) -> None:
        self._until_ns = 0
        self._error_ns = _ERROR_NS
        self.interval_ns = 0
        """The pace that the service gave: one request in so long at most; 0: none."""

    def keeps_pace(self, asked_ns: int, plan_ns: int, latency_ns: int, now_ns: int) -> bool:
        """Whether the next request is to wait, because the last was made at `asked_ns` and a plan
        of `plan_ns` lasts for longer than an answer takes."""
        return now_ns - asked_ns < self.interval_ns and plan_ns > _LATENCIES * latency_ns

    def warning(self, replica: str) -> str:
        """That `replica` gave a pace, in words; empty if it gave none."""
        if not self.interval_ns:
            return ""
        return (
            f"{replica} has more robots than it carries at their own pace: this one asks once in "
            f"{self.interval_ns / 1e9:.2g} s at most"
        )

    def over(self, now_ns: int) -> bool:
        """Whether the pause is over, so that a request may go out."""
        return now_ns >= self._until_ns

    def new_episode(self, now_ns: int) -> None:
        self._until_ns = now_ns + _EPISODE_NS

    def unsent(self, now_ns: int) -> None:
        self._until_ns = now_ns + _UNSENT_NS

    def refused(self, now_ns: int) -> None:
        """The robot's own network actor refused: that costs no other robot anything."""
        self._until_ns = now_ns + _ERROR_NS

    def failed(self, now_ns: int) -> None:
        """The service answered by an error: the pause doubles with each that follows another."""
        self._until_ns = now_ns + self._error_ns
        self._error_ns = min(2 * self._error_ns, _MAX_ERROR_NS)

    def succeeded(self) -> None:
        """A chunk was merged, or a session opened: the next error is the first again."""
        self._error_ns = _ERROR_NS
