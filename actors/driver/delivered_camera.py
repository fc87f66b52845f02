"""`DeliveredCamera`: a camera whose frames a robot's driver delivers, as its process shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ...transport.frame_ring import FrameRing
from ..runtime.device_configs import DriverFrames
from ..runtime.freeze_watch import FreezeWatch, Sight

_SILENT_AFTER_S = 3.0
"""Without a new frame, for a camera whose entry does not say."""

ReadFrame = Callable[[NDArray[np.uint8]], int | None]


class DeliveredCamera:
    """One camera's ring. After a new frame the next is asked for one period later, in a grid that
    a late call does not shift, so that no more than `fps` are taken on average; where there is no
    new one it is asked for again after half a period. A failure costs the frame."""

    def __init__(self, name: str, ring: FrameRing, settings: DriverFrames) -> None:
        after_s = settings.frozen_after_s
        self.due_ns = 0
        """Not before this instant is there a frame to ask for."""
        self._name, self._ring = name, ring
        self._period_ns = round(1e9 / settings.fps)
        self._offset_ns = round(settings.offset_ms * 1e6)
        # A simulator's frames have no noise, and most drivers with frames of their own are one.
        self._watch = FreezeWatch(_SILENT_AFTER_S if after_s is None else after_s, bool(after_s))
        self._frames = self._errors = 0
        self._failure = ""
        self._capture_ns: int | None = None

    def show(self, read: ReadFrame, now_ns: int) -> None:
        """Publish what `read` writes, if it is a new frame. `read` is `Device.read_frame`, whose
        RobotError becomes the camera's reason."""
        if now_ns < self.due_ns:
            return
        due_ns, self.due_ns = self.due_ns, now_ns + self._period_ns // 2
        slot = self._ring.slot()
        try:
            capture_ns = read(slot)
        except RobotError as error:
            self._errors += 1
            self._failure = str(error)
            return
        self._failure = ""
        if capture_ns is None:
            self._watch.nothing(now_ns)
        elif self._watch.look(capture_ns, slot, now_ns) is Sight.NEW:
            self.due_ns = max(self.due_ns, due_ns + self._period_ns)
            self._capture_ns = capture_ns - self._offset_ns
            self._ring.publish(self._capture_ns)
            self._frames += 1

    def report(self, now_ns: int) -> dict[str, Any]:
        """For the status."""
        age_ns = None if self._capture_ns is None else max(0, now_ns - self._capture_ns)
        return {
            "name": self._name,
            "frames": self._frames,
            "frame_age_ms": None if age_ns is None else age_ns / 1e6,
            "errors": self._errors,
            "reason": self._failure or self._watch.reason,
            "freezes": self._watch.count,
        }
