"""Instants of a device's clock, as instants of this machine's monotonic clock."""

from __future__ import annotations

import time
from collections import deque

_CREDIBLE_NS = 10_000_000_000
"""The age of a frame beyond which its instant is not believed to be of the clock in question."""
_WINDOW_NS = 10_000_000_000
"""Within which two clocks drift by less than a millisecond (100 ppm)."""


def of_kernel(instant_ms: float, arrival_ns: int) -> int | None:
    """The capture instant of a frame, monotonic ns, from `instant_ms`, the time of its V4L2 buffer
    in milliseconds. None if it is of no clock of this machine; 0 is what drivers leave there that
    time nothing.

    The buffers of V4L2 are timed by CLOCK_MONOTONIC, unless the driver sets another clock: uvcvideo
    has a module parameter for CLOCK_REALTIME, and drivers that pass buffers on copy what they got
    (https://docs.kernel.org/userspace-api/media/v4l/buffer.html, flags of buffers). OpenCV passes
    the time on as CAP_PROP_POS_MSEC, without the flag that says which clock it is
    (modules/videoio/src/cap_v4l.cpp), so the clock is the one by which the frame is young.
    """
    instant_ns = round(instant_ms * 1e6)
    if instant_ns <= 0:
        return None
    for ahead_ns in (0, time.time_ns() - time.monotonic_ns()):
        monotonic_ns = instant_ns - ahead_ns
        # A frame is often handed on within the rounding of its time to microseconds.
        if -1000 <= arrival_ns - monotonic_ns < _CREDIBLE_NS:
            return min(monotonic_ns, arrival_ns)
    return None


class DeviceClock:
    """The clock of one device, of unknown zero and nearly this machine's rate: an SDK's.

    Guaranteed: the difference of two instants is the device's, to the drift within ten seconds.
    Not guaranteed: the delay that all frames share, from capture to arrival. What is known of it
    goes to `offset_ms` of the camera's entry.
    """

    def __init__(self) -> None:
        self._nearest: deque[tuple[int, int]] = deque()
        """(arrival, arrival - device instant), with ever larger differences: the first is the
        smallest within the window."""
        self._last_ns = 0

    def monotonic_ns(self, device_ns: int, arrival_ns: int) -> int:
        """The instant `device_ns` of the device's clock, of a frame that arrived at `arrival_ns`,
        as monotonic ns: never after the arrival, and not before the last one returned."""
        if device_ns < self._last_ns:  # the device was started anew
            self._nearest.clear()
        self._last_ns = device_ns
        difference_ns = arrival_ns - device_ns
        while self._nearest and self._nearest[-1][1] >= difference_ns:
            self._nearest.pop()
        self._nearest.append((arrival_ns, difference_ns))
        while arrival_ns - self._nearest[0][0] > _WINDOW_NS:
            self._nearest.popleft()
        return device_ns + self._nearest[0][1]
