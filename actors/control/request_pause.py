"""`RequestPause`: how long a robot waits before its next request.

A service that has more robots than it carries at their own pace gives each a slower one. A robot
keeps to it while its plan lasts: never so long that the answer might come after its end.

Robots that asked at one time (after a broker's restart, say) would do so again each time, because
each asks as long after its last request as its plan lasts: some would wait for all others for as
long as they run. So a robot that had to wait for longer than one batch asks that much later the
next time, when the device has served those that it waited for.
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
        self.crowd_ns = 0
        """For how long the last request waited for others' beyond the batch that was under way."""

    def defers(
        self, asked_ns: int, plan_ns: int, buffer_ns: int, latency_ns: int, now_ns: int
    ) -> bool:
        """Whether a request that is due with a plan of `buffer_ns` is to wait: for the pace, the
        last was made at `asked_ns`, or for the crowd to pass, while the plan of `plan_ns` lasts for
        longer than an answer takes."""
        paced = now_ns - asked_ns < self.interval_ns or plan_ns >= buffer_ns - self.crowd_ns
        return paced and plan_ns > _LATENCIES * latency_ns

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

    def new_session(self) -> None:
        """By another replica, perhaps: no experience with it."""
        self.succeeded()
        self.interval_ns = self.crowd_ns = 0

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
