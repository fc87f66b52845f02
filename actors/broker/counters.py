"""What was dropped, per reason and per peer, and how often per second something happens.

Drops are exact per reason, over all incarnations. Per peer the table is bounded: peers choose their
own names, so one that grew with them could be made to fill memory. Past `MAX_PEERS` the one not
heard of for longest is folded into `others`; sums therefore always agree.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

MAX_PEERS = 256
OTHERS = "others"
WINDOW_NS = 5_000_000_000
"""Over which a rate is taken."""


class Counters:
    """Counts events by reason, and by the peer that caused or suffered them."""

    def __init__(self, previous: dict[str, int] | None = None) -> None:
        self.reasons: Counter[str] = Counter(previous or {})
        self._peers: OrderedDict[str, Counter[str]] = OrderedDict()

    def count(self, reason: str, peer: str = "") -> None:
        """One more `reason`, charged to `peer` unless it is nobody's in particular."""
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
        """Reasons counted against `peer` since it was last folded away."""
        return dict(self._peers.get(peer, {}))

    def worst(self, most: int) -> dict[str, dict[str, int]]:
        """The `most` peers with the highest sums, for status."""
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

    def of(self, count: int, now: int) -> float:
        """Take a reading of `count`; the rate since the oldest reading within the window."""
        self._readings.append((now, count))
        while now - self._readings[0][0] > WINDOW_NS:
            self._readings.popleft()
        then, before = self._readings[0]
        return round((count - before) * 1e9 / (now - then), 2) if now > then else 0.0
