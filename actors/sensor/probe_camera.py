"""Look at a camera without a fleet: open it and count its frames for a while.

It runs in the camera's own interpreter, in a short-lived process that prints a `CameraReading` as a
line of JSON several times a second: `python -m holdfast.actors.sensor.probe_camera`, the question
on stdin.
"""

from __future__ import annotations

import logging
import time

import msgspec
import numpy as np

from ...errors import RobotError
from ..runtime.readings import answer_and_end, say
from . import make_camera
from .describe_camera import AskedCamera
from .guarded_camera import GuardedCamera

REPORT_S = 0.2
AGAIN_S = 0.5


class CameraProbe(msgspec.Struct, frozen=True):
    """Which camera, and for how many seconds."""

    asked: AskedCamera
    seconds: float = 5.0


class CameraReading(msgspec.Struct, frozen=True, kw_only=True):
    """How many frames there were until `at_ns`, and why there is none now; empty if there is."""

    at_ns: int = 0
    frames: int = 0
    reason: str = ""


def look(probe: CameraProbe, out: int) -> None:
    """Look at the camera. Raises RobotError when it cannot be made."""
    camera = make_camera.create(**msgspec.structs.asdict(probe.asked))
    guarded = GuardedCamera(camera, logging.getLogger(__name__))
    picture = np.empty((probe.asked.height, probe.asked.width, 3), np.uint8)
    end_s = time.monotonic() + probe.seconds
    frames, last_ns, reason, open_, said_s = 0, 0, "opening", False, 0.0
    try:
        while (now_s := time.monotonic()) < end_s:
            if now_s - said_s >= REPORT_S:
                said_s = now_s
                say(out, CameraReading(at_ns=time.monotonic_ns(), frames=frames, reason=reason))
            try:
                if not open_:
                    guarded.open()
                    open_ = True
                instant_ns = guarded.read(picture)
                frames += instant_ns != last_ns
                last_ns, reason = instant_ns, ""
            except RobotError as error:
                reason, open_ = str(error), False
                guarded.close()
                time.sleep(AGAIN_S)
    finally:
        guarded.close()
        say(out, CameraReading(at_ns=time.monotonic_ns(), frames=frames, reason=reason))


if __name__ == "__main__":
    answer_and_end(CameraProbe, look, lambda reason: CameraReading(reason=reason))
