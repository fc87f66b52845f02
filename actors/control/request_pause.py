"""`RequestPause`: how long a robot waits before its next request.

A service that has more robots than it carries at their own pace gives each a slower one. A robot
keeps to it while its plan lasts: never so long that the answer might come after its end.

Robots that asked at one time (after a broker's restart, say) would do so again each time, because
each asks as long after its last request as its plan lasts: some would wait for all others for as
long as they run. So a robot that had to wait for others asks that much later the next time, when
the device has served those that it waited for. Half of the robots add one step to that at requests
of even numbers, the others at those of odd ones: so those who met once do not meet again, and the
same ones are not always first. Waits of less than a third of a batch do not count, and those for
one batch only where a robot asks so seldom that it loses a few percent of its requests by that.
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
_WAITS = 16
"""A wait for one batch counts where so many of them are shorter than the time between requests."""


class RequestPause:
    """One robot's. Pure: instants come from the caller. The parity of `seed` decides which half of
    the robots it belongs to."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._until_ns = 0
        self._error_ns = _ERROR_NS
        self.interval_ns = 0
        """The pace that the service gave: one request in so long at most; 0: none."""
        self._asked_ns = self._crowd_ns = self._later_ns = 0
        """When the last request that was answered was made, for how long it waited for others'
        beyond the batch that was under way, and how much later the next one is made for that."""

    def defers(
        self, asked_ns: int, plan_ns: int, buffer_ns: int, latency_ns: int, now_ns: int
    ) -> bool:
        """Whether a request that is due with a plan of `buffer_ns` is to wait: for the pace, the
        last was made at `asked_ns`, or for the crowd to pass, while the plan of `plan_ns` lasts for
        longer than an answer takes, `latency_ns` by experience."""
        if plan_ns >= buffer_ns - self._later_ns and plan_ns > self._reserve_ns(latency_ns):
            return True
        return now_ns - asked_ns < self.interval_ns and plan_ns > _LATENCIES * latency_ns

    def answered(
        self, asked_ns: int, waited_ns: int, batch_ns: int, step_ns: int, seq: int
    ) -> None:
        """The request `seq` of `asked_ns` was answered. It waited `waited_ns` for the device, which
        took `batch_ns` for its batch."""
        before_ns, self._asked_ns = self._asked_ns, asked_ns
        self._crowd_ns = self._later_ns = max(0, waited_ns - batch_ns)
        seldom = _WAITS * min(waited_ns, batch_ns) <= asked_ns - before_ns
        if seldom and 3 * waited_ns > batch_ns:
            self._later_ns = waited_ns
        if self._later_ns:
            self._later_ns += (self._seed + seq) % 2 * step_ns

    def _reserve_ns(self, latency_ns: int) -> int:
        """The plan that a robot does not give up for others: for two answers, of which one has no
        crowd to wait for."""
        return _LATENCIES * latency_ns - min(self._crowd_ns, latency_ns)

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
        self.interval_ns = self._crowd_ns = self._later_ns = 0

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
