"""The sensor actor: one camera's frames into one shared-memory ring.

Guarantees that every frame in the ring carries the instant it was captured, and that a camera that
fails is reported and tried again by a new incarnation rather than papered over with old frames: an
old frame stays in the ring with its old instant, and requests stop using it by its age.
"""

from __future__ import annotations

import select
import time
from collections import deque

import cv2
import msgspec

from ..robot.base import Camera, RobotError
from ..robot.sim.driver import SimCamera, SimCameraOptions
from ..transport.frames import FrameRing
from ..transport.register import Register
from .actor import Actor, Refused
from .configs import SensorConfig

_REPORT_NS = 500_000_000


class SensorActor(Actor):
    """See the module."""

    kind = "sensor"
    Config = SensorConfig

    def setup(self) -> None:
        # One frame at a time on one core: a pool of threads would take the control loop's core.
        cv2.setNumThreads(1)
        config = self.config
        self._ring = FrameRing(
            self.segment(config.segment),
            (config.height, config.width, 3),
            incarnation=self.incarnation,
        )
        self.phase(f"opens camera {config.camera} ({config.driver})")
        self._camera = self._open()
        self._captured: deque[int] = deque(maxlen=64)
        self._frames = 0

    def run(self) -> None:
        self.ready(width=self.config.width, height=self.config.height)
        report_at = 0
        while not self.stopping:
            capture_ns = self._camera.read(self._ring.slot())
            self._ring.publish(capture_ns)
            self._frames += 1
            self._captured.append(capture_ns)
            self.board.progress()
            if select.select([self.link], [], [], 0)[0]:
                for command in self.link.commands():
                    self.link.acknowledge(command.id, error=f"a sensor cannot {command.verb}")
            now = time.monotonic_ns()
            if now >= report_at:
                self.board.report(self._status(now))
                report_at = now + _REPORT_NS

    def teardown(self) -> None:
        if hasattr(self, "_camera"):
            self._camera.close()

    def _open(self) -> Camera:
        config = self.config
        camera: Camera
        if config.driver == "sim":
            camera = SimCamera(
                msgspec.convert(config.options, SimCameraOptions).view or config.camera,
                Register(self.segment(config.scene)),
                config.fps,
                config.width,
                config.height,
            )
        elif config.driver == "opencv":
            from ..robot.camera import OpenCVCamera, OpenCVOptions

            options = msgspec.convert(config.options, OpenCVOptions)
            camera = OpenCVCamera.of(options, config.width, config.height, config.fps)
        else:
            raise Refused(
                f"camera {config.camera} of {config.robot} has driver {config.driver!r}; "
                "expected sim or opencv: mend `driver` in fleet.yaml"
            )
        try:
            camera.open()
        except RobotError:
            camera.close()
            raise
        return camera

    def _status(self, now: int) -> dict[str, object]:
        span_s = (self._captured[-1] - self._captured[0]) / 1e9
        return {
            "frames": self._frames,
            "fps": (len(self._captured) - 1) / span_s if span_s > 0 else 0.0,
            "frame_age_ms": (now - self._captured[-1]) / 1e6,
            "width": self.config.width,
            "height": self.config.height,
        }
