"""`RequestPause`: how long a robot waits before its next request.

A service that has more robots than it carries at their own pace gives each a slower one. A robot
keeps to it while its plan lasts: never so long that the answer might come after its end.

Robots that asked at one time (after a broker's restart, say) would do so again each time, because
each asks as long after its last request as its plan lasts: some would wait for all others for as
long as they run. So a robot that had to wait for others asks that much later the next time, when
the device has served those that it waited for. At about half of its requests, chosen by a hash of
its name and the request's number, it adds one step: robots that wait for the same time, and would
meet again, part after a few requests, and the same ones are not always first. Waits of less than a
third of a batch do not count. A wait for one batch counts, and the step is added, only where it is
at most a sixteenth of the time between two requests: each costs so much of them at most. Where the
step is more than that, but at most an eighth, it is not added to a wait: a quarter of the requests
are made one step later, or robots that ask in one order would be served in it for as long as they
run.
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
"""A wait for one batch counts, and a step is added, where so many of them are no longer than the
time between requests."""
_STEPS = 8
"""A step is taken at a quarter of the requests where so many are no longer than that time."""


class RequestPause:
    """One robot's. Pure: instants come from the caller. `seed` is the robot's own: which requests
    are made one step later still follows from it."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._until_ns = 0
        self._error_ns = _ERROR_NS
        self.interval_ns = 0
        """The pace that the service gave: one request in so long at most; 0: none."""
        self._asked_ns = self._took_ns = self._crowd_ns = self._later_ns = 0
        """When the last request that was answered was made (0: none in this session), how long its
        answer took, for how much of that it waited for others' beyond the batch that was under way,
        and how much later the next one is made for that."""

    def defers(
        self,
        asked_ns: int,
        plan_ns: int,
        buffer_ns: int,
        latency_ns: int,
        step_ns: int,
        now_ns: int,
    ) -> bool:
        """Whether a request that is due with a plan of `buffer_ns` is to wait for the next step,
        `step_ns` from now: for the pace, the last was made at `asked_ns`, or for the crowd to pass.
        Only while the plan of `plan_ns` will then still last for longer than an answer takes,
        `latency_ns` by experience."""
        left_ns = plan_ns - step_ns
        if plan_ns >= buffer_ns - self._later_ns and left_ns > self._reserve_ns(latency_ns):
            return True
        return now_ns - asked_ns < self.interval_ns and left_ns > _LATENCIES * latency_ns

    def answered(
        self, asked_ns: int, waited_ns: int, batch_ns: int, step_ns: int, seq: int, now_ns: int
    ) -> None:
        """The request `seq` of `asked_ns` was answered. It waited `waited_ns` for the device, which
        took `batch_ns` for its batch."""
        period_ns = asked_ns - (self._asked_ns or asked_ns)
        self._asked_ns, self._took_ns = asked_ns, now_ns - asked_ns
        self._crowd_ns = self._later_ns = max(0, waited_ns - batch_ns)
        seldom = _WAITS * min(waited_ns, batch_ns) <= period_ns
        if seldom and 3 * waited_ns > batch_ns:
            self._later_ns = waited_ns
        number = self._seed + seq
        if _WAITS * step_ns <= period_ns:
            if self._later_ns and _chosen(number, 2):
                self._later_ns += step_ns
        elif (
            _STEPS * step_ns <= period_ns
            and step_ns <= waited_ns + period_ns // _WAITS
            and 3 * waited_ns > batch_ns
            and _chosen(number, 4)
        ):
            self._later_ns = max(self._later_ns, step_ns)

    def _reserve_ns(self, latency_ns: int) -> int:
        """The plan that a robot does not give up for others: for one answer as long as expected,
        and one without the crowd. The last answer's crowd may be longer than what is expected: then
        the rest of that answer is what one takes without it."""
        return latency_ns + max(0, max(latency_ns, self._took_ns) - self._crowd_ns)

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
        self.interval_ns = self._asked_ns = self._took_ns = self._crowd_ns = self._later_ns = 0

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


def _chosen(number: int, of: int) -> bool:
    """Whether `number` is of those chosen, about one in `of`, a power of 2. Two rows of successive
    numbers agree by chance only, wherever they begin; the lowest bits agree at all or none."""
    mixed = number * 0x9E3779B1 & 0xFFFFFFFF
    mixed ^= mixed >> 16
    return (mixed * mixed >> 32) % of == of - 1
