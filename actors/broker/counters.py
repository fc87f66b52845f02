"""Counts by reason and by peer, and rates.

Counts by reason are exact over all incarnations. The table by peer is bounded, because peers choose
their names freely: past `MAX_PEERS` the one not counted for longest is added to `others`, so that
sums always agree.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

MAX_PEERS = 256
OTHERS = "others"
WINDOW_NS = 5_000_000_000
"""How far back a rate looks."""


class Counters:
    """Counts events by reason, and by the peer that caused or suffered them.

    `previous`: the counts by reason of an earlier incarnation, which are continued.
    """

    def __init__(self, previous: dict[str, int] | None = None) -> None:
        self.reasons: Counter[str] = Counter(previous or {})
        self._peers: OrderedDict[str, Counter[str]] = OrderedDict()

    def add(self, reason: str, number: int) -> None:
        """Count `number` of `reason`, of no peer."""
        self.reasons[reason] += number

    def count(self, reason: str, peer: str = "") -> None:
        """Count one `reason`, also against `peer` if it is given."""
        self.reasons[reason] += 1
        if not peer:
            return
        if peer not in self._peers:
            self._peers[peer] = Counter()
            if len(self._peers) > MAX_PEERS:
                self._fold_oldest()
        self._peers[peer][reason] += 1
        self._peers.move_to_end(peer)

    def of(self, peer: str) -> dict[str, int]:
        """Counts of `peer` by reason since it was last added to `others`."""
        return dict(self._peers.get(peer, {}))

    def worst(self, most: int) -> dict[str, dict[str, int]]:
        """Counts by reason of the `most` peers with the highest sums."""
        ranked = sorted(self._peers.items(), key=lambda item: -item[1].total())
        return {peer: dict(reasons) for peer, reasons in ranked[:most]}

    def _fold_oldest(self) -> None:
        oldest = next(peer for peer in self._peers if peer != OTHERS)
        folded = self._peers.pop(oldest)
        self._peers.setdefault(OTHERS, Counter()).update(folded)


class Rate:
    """Events per second over the last few seconds of readings."""

    def __init__(self) -> None:
        self._readings: deque[tuple[int, int]] = deque()
        self.per_s = 0.0
        """As of the last reading."""

    def read(self, count: int, now_ns: int) -> float:
        """Record `count`; return the rate per second since the oldest record within the window."""
        self._readings.append((now_ns, count))
        while now_ns - self._readings[0][0] > WINDOW_NS:
            self._readings.popleft()
        then, before = self._readings[0]
        self.per_s = round((count - before) * 1e9 / (now_ns - then), 2) if now_ns > then else 0.0
        return self.per_s
