"""`Uplink`: how much a robot's requests take of its link, and how they are kept within a limit.
Pure: sizes and instants go in, a JPEG quality and the permission to send come out.

Guarantees, with a limit: in no `WINDOW_NS` do requests and what is known of the rest take more than
`max_kbps`, except for a single request that is larger alone at the lowest quality: the link then
rests for as long as that takes. No request waits before the quality is at its floor.

Counted is what messages consist of; the headers of ZeroMQ, TCP and IP (some 3 %) are not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from math import ceil

FLOOR = 30
"""The lowest JPEG quality: 0.3 of the bytes of 90; below, blocks of 8 pixels hide small parts."""
WINDOW_NS = 5_000_000_000
_STEP = 5
"""How much the quality rises with one request."""
_MARGIN = 1.15
"""How much larger than expected an image may be after the quality rose."""
_GAPS = 4
_SHARES = (
    *((1, 0.08), (10, 0.18), (20, 0.25), (30, 0.30), (50, 0.40), (70, 0.53), (80, 0.67)),
    *((90, 1.0), (92, 1.11), (95, 1.47), (97, 1.83), (100, 2.72)),
)
"""Bytes by quality, of those of quality 90: a photograph of 224 x 224 pixels, 4:2:0."""


class Uplink:
    """The link of one robot. `max_kbps` None: there is no limit; `quality` is the JPEG quality
    without one, 0 for raw images. Instants are monotonic ns.

    Attributes:
        quality: that of the next images.
        request_bytes: the size of the last request; 0 before the first.
        waits: how often a request had to wait.
    """

    def __init__(self, max_kbps: float | None, quality: int) -> None:
        self.max_kbps = max_kbps
        self.quality = self._most = quality
        self._floor = min(FLOOR, quality)
        self._rate = (max_kbps or 0.0) * 125e-9  # bytes per ns
        self._budget = int(self._rate * WINDOW_NS)
        self._sent: deque[tuple[int, int]] = deque()
        """Instant and size of each request, and of what else was sent, in the last window."""
        self._in_window = self._others = self._counted = 0
        self._requested_ns: int | None = None
        self._wanted_ns: int | None = None
        """When the request that is to follow the last one was first wanted."""
        self._gaps_ns: deque[int] = deque(maxlen=_GAPS)
        self.request_bytes = 0
        self.waits = 0
        self._waits = self._waited = False
        """Whether the next request has to wait; whether the last one had to."""

    @property
    def limited(self) -> str:
        """What the limit lowers at present: `rate`, `quality`, or nothing."""
        if self._waits or self._waited:
            return "rate"
        return "quality" if self.quality < self._most else ""

    def kbps(self, now_ns: int) -> float:
        """What was sent in the last `WINDOW_NS`."""
        self._trim(now_ns)
        return self._in_window * 8e6 / WINDOW_NS

    def figures(self, now_ns: int) -> dict[str, float]:
        """For status pages; a `max_kbps` of 0 is no limit."""
        return {
            "request_bytes": self.request_bytes,
            "kbps": round(self.kbps(now_ns), 1),
            "max_kbps": self.max_kbps or 0.0,
            "jpeg_quality": self.quality,
        }

    def wait_ns(self, now_ns: int) -> int:
        """A request is wanted: how long it has to wait, 0 if it may be made now."""
        if self._wanted_ns is None:
            self._wanted_ns = now_ns
        if not self._budget or self._requested_ns is None or self.quality > self._floor:
            return 0
        wait_ns = max(0, self._requested_ns + self._spacing_ns() - now_ns)
        if wait_ns:
            self._wait()
        return wait_ns

    def fits(self, size: int, now_ns: int) -> bool:
        """Whether a request of `size` bytes may be sent now. Else `lower` the quality and encode it
        again."""
        if not self._budget:
            return True
        self._trim(now_ns)
        if size <= self._budget - self._in_window:
            return True
        alone = size > self._budget and self.quality <= self._floor
        rested_ns = now_ns - (self._requested_ns or -(1 << 62))
        return alone and rested_ns * self._rate >= size

    def lower(self, size: int, now_ns: int) -> bool:
        """A request of `size` bytes does not fit: lower the quality for another attempt; False if
        it is at its floor, so that the request has to wait."""
        if self.quality <= self._floor:
            self._wait()
            return False
        room = max(0, self._budget - self._in_window)
        self.quality = min(self.quality - 1, self._best(size, room, self._floor, self.quality - 1))
        return True

    def sent(self, size: int, now_ns: int) -> None:
        """A request of `size` bytes was sent; choose the quality of the next one."""
        if self._requested_ns is not None and self._wanted_ns is not None:
            self._gaps_ns.append(self._wanted_ns - self._requested_ns)
        self._requested_ns, self._wanted_ns = now_ns, None
        self._waited, self._waits = self._waits, False
        self.request_bytes = size
        self._counted += size
        self._add(size, now_ns)
        if self._budget and self._gaps_ns:
            self._adapt(size)

    def measured(self, total: int, now_ns: int) -> None:
        """`total` bytes were sent so far, requests included: the rest counts too."""
        rest = total - self._counted
        if rest > 0:
            self._counted = total
            self._others += rest
            self._add(rest, now_ns)

    def _adapt(self, size: int) -> None:
        # As many requests fall into one window, at most, and share what heartbeats leave of it.
        requests = WINDOW_NS // max(1, min(self._gaps_ns)) + 1
        share = max(0, self._budget - min(self._others, self._budget // 2)) / requests
        if size > share:
            self.quality = self._best(size, share, self._floor, self.quality)
        else:
            most = min(self._most, self.quality + _STEP)
            self.quality = self._best(size * _MARGIN, share, self.quality, most)

    def _best(self, size: float, room: float, least: int, most: int) -> int:
        """The highest quality at which what has `size` now is expected to fit into `room`."""
        now = _share(self.quality)
        fitting = (q for q in range(most, least, -1) if size * _share(q) / now <= room)
        return next(fitting, least)

    def _spacing_ns(self) -> int:
        """How far apart requests of the last one's size keep within the limit, evenly."""
        if self.request_bytes > self._budget:
            return ceil(self.request_bytes / self._rate)
        return ceil(WINDOW_NS / (self._budget // max(1, self.request_bytes)))

    def _wait(self) -> None:
        self.waits += not self._waits
        self._waits = True

    def _add(self, size: int, now_ns: int) -> None:
        self._sent.append((now_ns, size))
        self._in_window += size
        self._trim(now_ns)

    def _trim(self, now_ns: int) -> None:
        while self._sent and self._sent[0][0] <= now_ns - WINDOW_NS:
            self._in_window -= self._sent.popleft()[1]


def _share(quality: int) -> float:
    """The bytes at `quality`, of those at 90."""
    place = min(max(1, bisect_right(_SHARES, quality, key=lambda each: each[0])), len(_SHARES) - 1)
    (below, low), (above, high) = _SHARES[place - 1], _SHARES[place]
    return low + (high - low) * (quality - below) / (above - below)
