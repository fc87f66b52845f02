"""`FreezeWatch`: whether a camera still sees. Pure: instants come from the caller."""

from __future__ import annotations

from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

_STRIDE = 16
"""One row in so many is compared first: noise shows there already."""


class Sight(Enum):
    """What a frame is, compared with those before it."""

    NEW = auto()
    OLD = auto()
    """The same frame again, by its instant: not to be published."""
    FROZEN = auto()
    """Nothing new for too long: neither is this frame."""


class FreezeWatch:
    """Watches the frames of one camera, across outages. `count` is how often it froze."""

    def __init__(self, after_s: float, compares_pixels: bool) -> None:
        """`after_s` is how long a camera may give the instant of the last frame again, or, with
        `compares_pixels`, the pixels; 0: without a bound."""
        self._after_ns = round(after_s * 1e9)
        self._compares = compares_pixels and after_s > 0
        self._capture_ns = 0
        self._instant_since_ns = 0
        self._image: NDArray[np.uint8] | None = None
        self._pixels_since_ns = 0
        self.count = 0
        self.reason = ""
        """Why the camera counts as frozen; empty while it does not."""

    def look(self, capture_ns: int, image: NDArray[np.uint8], now_ns: int) -> Sight:
        """Judge a frame [H, W, 3]. A NEW one's array has to stay as it is until the next look."""
        if capture_ns == self._capture_ns:
            since_ns = self._instant_since_ns
            what = "gives the same frame again, of one instant"
            return self._frozen(what) if self._is_long(now_ns - since_ns) else Sight.OLD
        self._capture_ns, self._instant_since_ns = capture_ns, now_ns
        if self._compares:
            if self._image is None or not _same(self._image, image):
                self._pixels_since_ns = now_ns
            elif self._is_long(now_ns - self._pixels_since_ns):
                return self._frozen("gives frames that are all identical, without any noise")
            self._image = image
        self.reason = ""
        return Sight.NEW

    def nothing(self, now_ns: int) -> Sight:
        """Judge that there was no frame at all."""
        if not self._instant_since_ns:
            self._instant_since_ns = now_ns
        if self._is_long(now_ns - self._instant_since_ns):
            return self._frozen("gives no new frame")
        return Sight.OLD

    def _is_long(self, lasted_ns: int) -> bool:
        return 0 < self._after_ns < lasted_ns

    def _frozen(self, what: str) -> Sight:
        if not self.reason:
            self.count += 1
        self.reason = (
            f"frozen: it {what}, for more than {self._after_ns / 1e9:g} s; power it off and on, or "
            "set `frozen_after_s: 0` for a camera without noise"
        )
        return Sight.FROZEN


def _same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return np.array_equal(one[::_STRIDE], other[::_STRIDE]) and np.array_equal(one, other)
