"""`FrameTaker`: for each policy step the newest frame of a camera that was there at its instant."""

from __future__ import annotations

from mmap import mmap

from ...errors import LayoutError
from ...transport.frames import FrameReader
from ...transport.images import Pixels

_KEPT = 3
"""Frames of a ring that are not about to be overwritten."""


class FrameTaker:
    """Of one camera. `late` counts the steps whose frame was overwritten before it was taken."""

    def __init__(self, memory: memoryview | mmap) -> None:
        self._reader = FrameReader(memory)
        self._last = 0
        self.late = 0
        self.fault = ""

    def take(self, instant_ns: int) -> tuple[Pixels, int] | None:
        """The frame that was the newest at `instant_ns`, and the instant of its capture; None if it
        is the one that was taken last, or is not there any more."""
        try:
            return self._take(instant_ns)
        except LayoutError as error:
            self.fault = str(error)
            return None

    def _take(self, instant_ns: int) -> tuple[Pixels, int] | None:
        newest = self._reader.number
        for number in range(newest, max(self._last, newest - _KEPT), -1):
            frame = self._reader.read(number)
            if frame is not None and frame.capture_ns <= instant_ns:
                self._last = number
                return frame.image, frame.capture_ns
        # Those that were old enough have been overwritten since.
        self.late += self._last > 0 and newest - self._last >= _KEPT
        return None
