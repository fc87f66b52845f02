"""`BrokerRoute`: which of a site's brokers a robot's session goes by. Pure: what is heard goes in,
which broker to open the session at comes out.

The brokers are independent and none is preferred after the first choice: a robot uses the first, in
their order, that answers, and leaves it when its connection is broken, when it is silent or refuses
while another answers, and when it does not bring an answer in time. It never leaves for a broker
from which nothing is heard: a robot whose own link is bad stays where it is.

With one broker it never decides anything.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

OVERDUE_NS = 300_000_000
"""No answer is overdue earlier than this, as at the broker: processes are paused so long."""
FIRST_OVERDUE_NS = 1_000_000_000
"""While no latency has been measured."""
SILENT_NS = 150_000_000
"""No broker is silent earlier than this after a heartbeat that it has not answered."""
PROBE_NS = 100_000_000
"""For how long an answer is awaited before the brokers are asked whether they are there; then so
often."""
UNHEARD_NS = 700_000_000
"""While a request awaits its answer, a connection on which a heartbeat was not answered for so long
leads nowhere; TCP repeats a lost packet twice by then."""
MOST_ROUND_TRIP_NS = 1_000_000_000
REFUSED_NS = 1_000_000_000
"""For how long a broker that refused the session is not asked for it again."""
HOLD_NS = 2_000_000_000
"""How long a robot stays at a broker to which it came because of an answer that was overdue."""
_KEPT = 32


@dataclass
class BrokerPath:
    """One broker as it is heard: `asked_ns` is the first heartbeat that it has not answered."""

    open: bool = False
    heard_ns: int = -(1 << 62)
    asked_ns: int | None = None
    round_trips_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_KEPT))

    @property
    def longest_round_trip_ns(self) -> int:
        """Of the last heartbeats; 0 before the first answer."""
        return max(self.round_trips_ns, default=0)

    @property
    def silent_after_ns(self) -> int:
        """How long an answer of it may take."""
        return max(SILENT_NS, 4 * self.longest_round_trip_ns)


class BrokerRoute:
    """The route of one robot; instants are monotonic ns. `heartbeat_ns`: how often each broker is
    sent a heartbeat.

    Attributes:
        current: the number of the broker by which the session goes.
        move: how often that has changed within the session's epoch.
        opening: whether an OPEN was sent to `current` that it has not answered.
    """

    def __init__(self, brokers: int, heartbeat_ns: int) -> None:
        self.paths = [BrokerPath() for _ in range(brokers)]
        self.current = 0
        self.move = 0
        self.opening = False
        self._recent_ns = 3 * heartbeat_ns
        self._refused_ns: dict[int, int] = {}
        """When each broker refused the session that is to be opened."""
        self._opened_ns = self._beaten_ns = 0
        self._asked_ns: int | None = None
        self._arrived_ns = -HOLD_NS
        self._latencies_ns: deque[int] = deque(maxlen=_KEPT)

    # What is heard

    def connection(self, broker: int, is_open: bool) -> None:
        """The connection to `broker` is open, or is not."""
        path = self.paths[broker]
        if path.open and not is_open:
            path.asked_ns = None
        path.open = is_open

    def beaten(self, broker: int, now_ns: int) -> None:
        """A heartbeat was sent to `broker`."""
        path = self.paths[broker]
        self._beaten_ns = now_ns
        if path.asked_ns is None:
            path.asked_ns = now_ns

    def heard(self, broker: int, now_ns: int, sent_ns: int = 0) -> None:
        """A message of `broker` arrived; the answer to a heartbeat that was sent at `sent_ns`."""
        path = self.paths[broker]
        path.open, path.heard_ns, path.asked_ns = True, now_ns, None
        if 0 < sent_ns <= now_ns:
            path.round_trips_ns.append(min(now_ns - sent_ns, MOST_ROUND_TRIP_NS))

    def asked(self, now_ns: int) -> None:
        """A request was sent, or is to be when the session is open."""
        self._asked_ns = now_ns

    def replayed(self, now_ns: int) -> None:
        """The broker has asked another replica: that has as long as the first."""
        if self._asked_ns is not None:
            self._asked_ns = now_ns

    def unasked(self) -> None:
        """The request could not be sent."""
        self._asked_ns = None

    def answered(self, now_ns: int) -> None:
        """The request was answered."""
        if self._asked_ns is not None:
            self._latencies_ns.append(now_ns - self._asked_ns)
        self._asked_ns = None

    # Where the session is opened

    def begin(self, now_ns: int) -> int:
        """The robot opens a session, of a new epoch: the broker to open it at, the first that
        answers."""
        self._refused_ns.clear()
        self._asked_ns = None
        self.move = -1
        there = [k for k, path in enumerate(self.paths) if path.open]
        answers = [k for k in there if self._answers(k, now_ns)]
        return self._go(min(answers or there or [0]), now_ns)

    def refused(self, now_ns: int) -> int | None:
        """The present broker refused the session, or lost it: the broker to open it at instead;
        None when there is no other, and the robot has to know."""
        self._refused_ns[self.current] = now_ns
        self.opening = False
        return self._other(now_ns, now_ns - self._recent_ns)

    def accepted(self, now_ns: int) -> None:
        """The session is open at the present broker."""
        self._refused_ns.clear()
        self.opening = False
        if self._asked_ns is not None:
            self._asked_ns = now_ns  # it is sent now

    def due(self, now_ns: int) -> int | None:
        """The broker to open the session at instead of the present one; None to stay."""
        path = self.paths[self.current]
        if not path.open:
            return self._other(now_ns, now_ns - self._recent_ns)
        if path.asked_ns is not None and now_ns - path.asked_ns > path.silent_after_ns:
            return self._other(now_ns, path.asked_ns)
        if self.opening:
            waits_ns = now_ns - self._opened_ns
            return self._other(now_ns, self._opened_ns) if waits_ns > self._overdue_ns() else None
        if self._asked_ns is None or now_ns - self._arrived_ns < HOLD_NS:
            return None
        if now_ns - self._asked_ns <= self._overdue_ns():
            return None
        self._arrived_ns = now_ns
        return self._other(now_ns, self._asked_ns)

    def unheard(self, broker: int, now_ns: int) -> bool:
        """Whether the connection to `broker`, which owes an answer, is to be made anew: it does not
        answer heartbeats either."""
        path = self.paths[broker]
        longest_ns = max(self._latencies_ns, default=0)
        if broker != self.current or not self.waits or path.asked_ns is None or not longest_ns:
            return False
        # On a slow link a heartbeat waits behind the images of a request, as others took as long.
        return now_ns - path.asked_ns > max(UNHEARD_NS, path.silent_after_ns, 2 * longest_ns)

    @property
    def waits(self) -> bool:
        """Whether the present broker owes an answer."""
        return self.opening or self._asked_ns is not None

    def probe_due(self, now_ns: int) -> bool:
        """Whether the brokers are to be asked now whether they are there."""
        since_ns = self._opened_ns if self.opening else self._asked_ns
        if since_ns is None:
            return False
        return now_ns - max(since_ns, self._beaten_ns) >= PROBE_NS

    def _go(self, broker: int, now_ns: int) -> int:
        self.current, self.opening = broker, True
        self.move += 1
        self._opened_ns = now_ns
        return broker

    def _other(self, now_ns: int, since_ns: int) -> int | None:
        """Go to the first other broker that has been heard since then."""
        for k, path in enumerate(self.paths):
            refused = now_ns - self._refused_ns.get(k, -REFUSED_NS) < REFUSED_NS
            if k != self.current and path.open and path.heard_ns > since_ns and not refused:
                return self._go(k, now_ns)
        return None

    def _answers(self, broker: int, now_ns: int) -> bool:
        path = self.paths[broker]
        return path.open and now_ns - path.heard_ns <= self._recent_ns

    def _overdue_ns(self) -> int:
        longest_ns = max(self._latencies_ns, default=0)
        return max(OVERDUE_NS, 2 * longest_ns) if longest_ns else FIRST_OVERDUE_NS
