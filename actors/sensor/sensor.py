"""The sensor actor: one camera's frames into one shared-memory ring.

Guarantees that every frame in the ring carries the instant of its capture, by the best clock that
the camera has (`Stamp`), less the offset of its entry. A camera that fails is opened again and
again, each time after a longer pause; the log has one line when it fails, one when the reason
changes and one when it is back. A camera that is frozen has failed. Old frames are never published
anew: the last one stays in the ring with its old instant, and requests stop using it by its age.
The actor is ready before the first try, and remains so without a camera: its report says why there
are no frames, and no call that keeps the camera's own bound, `Camera.patience_s`, counts as a hang.
Not guaranteed: that a camera which hangs in a call is noticed here; the supervisor ends the process
by its missing progress.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque

import cv2
import msgspec

from ...errors import RecordingEndedError, RefusedError, RobotError
from ...robot.cameras.base import Camera
from ...transport.frame_ring import FrameRing
from ...transport.layout import own
from ...transport.seqlock import SteadyReader
from ..runtime.actor import Actor
from ..runtime.device_configs import SensorConfig
from ..runtime.freeze_watch import FreezeWatch, Sight
from ..runtime.outage import Outage
from . import make_camera
from .guarded_camera import GuardedCamera

_REPORT_NS = 500_000_000
_QUIET = "-8"
_SIGN_S = 0.5
"""At least so often an actor without frames makes progress, between the calls of its camera."""
_MARGIN_S = 2.0
"""Of the hang timeout, over the camera's `patience_s`."""
_FROZEN_AFTER_S = 3.0
"""For a camera whose entry does not say."""


class SensorActor(Actor):
    """One camera, whose frames it writes to a ring in shared memory."""

    kind = "sensor"
    Config = SensorConfig

    def setup(self) -> None:
        # One frame at a time on one core: a pool of threads would take the control loop's core.
        cv2.setNumThreads(1)
        # What OpenCV and its decoders print at every try, RobotError says once.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _QUIET)
        config = self.config
        shape = (config.height, config.width, 3)
        self._ring = own(
            self.segment(config.segment),
            lambda memory: FrameRing(
                memory, shape, FrameRing.slots_in(len(memory), shape), self.incarnation
            ),
        )
        self.phase(f"loads the driver {config.driver} of camera {config.camera}")
        camera = self._make()
        self._camera = GuardedCamera(camera, self.log)
        self.resources.callback(self._camera.close)
        self._watch = self._freeze_watch(camera)
        self._offset_ns = round(config.offset_ms * 1e6)
        self._captured: deque[int] = deque(maxlen=64)
        self._frames = 0
        self._outage = Outage()
        self._report_at = 0

    def run(self) -> None:
        self._become_ready()
        # A camera that is not there at the start is one that failed: the loop waits for it.
        lost = not self._opened()
        while not self.stopping:
            if lost:
                self._pause()
                lost = not self._opened()
                continue
            try:
                self._take()
            except RecordingEndedError as ended:
                self.log.info("%s: no further frames", ended)
                self._outage.failed(str(ended), time.monotonic_ns())
                self._rest()
            except RobotError as error:
                self._lost(error)
                lost = True

    # The loop's parts

    def _take(self) -> None:
        """Publish the next frame, if it is one. Raises RobotError."""
        slot = self._ring.slot()
        capture_ns = self._camera.read(slot)
        now_ns = time.monotonic_ns()
        match self._watch.look(capture_ns, slot, now_ns):
            case Sight.FROZEN:
                raise RobotError(self._watch.reason)
            case Sight.OLD:
                # A camera that returns at once with the last frame is read after a pause.
                self._serve(0.5 / self.config.fps)
                return
        if (lost_s := self._outage.ended(now_ns)) is not None:
            self.log.info("frames again, after %.1f s without", lost_s)
        capture_ns = min(capture_ns - self._offset_ns, now_ns)
        self._ring.publish(capture_ns)
        self._frames += 1
        self._captured.append(capture_ns)
        self._serve(0.0)

    def _serve(self, rest_s: float) -> None:
        """Count progress, report, and take the supervisor's word, which ends the rest early."""
        self.board.progress()
        if select.select([self.link], [], [], rest_s)[0]:
            self.refuse_commands()
        now_ns = time.monotonic_ns()
        if now_ns >= self._report_at:
            self.board.report(self._status(now_ns))
            self._report_at = now_ns + _REPORT_NS

    def _become_ready(self) -> None:
        size = {"width": self.config.width, "height": self.config.height}
        self.ready(hang_timeout_s=self._camera.camera.patience_s + _MARGIN_S, **size)

    def _opened(self) -> bool:
        """Try to open the camera."""
        self.board.progress()
        try:
            self._camera.open()
        except RobotError as error:
            self._lost(error)
            return False
        return True

    def _lost(self, error: RobotError) -> None:
        self.board.progress()
        self._camera.close()
        if self._outage.failed(str(error), time.monotonic_ns()):
            self.log.warning("no frames: %s", error)
            self._report_at = 0

    def _pause(self) -> None:
        """Wait before the next try, serving the supervisor."""
        until_ns = time.monotonic_ns() + round(self._outage.pause_s * 1e9)
        while not self.stopping and (left_ns := until_ns - time.monotonic_ns()) > 0:
            self._serve(min(left_ns / 1e9, _SIGN_S))

    def _rest(self) -> None:
        """There will be no further frame: wait for the end."""
        while not self.stopping:
            self._serve(_SIGN_S)

    def _make(self) -> Camera:
        config: SensorConfig = self.config
        if config.driver == "sim":
            from ...robot.sim.devices import SimCamera, SimCameraOptions

            assert config.scene is not None, "a simulated camera has a scene"
            return SimCamera(
                msgspec.convert(config.options, SimCameraOptions).view or config.camera,
                SteadyReader(self.segment(config.scene)),
                config.fps,
                config.width,
                config.height,
            )
        try:
            return make_camera.create(
                config.driver,
                config.options,
                config.width,
                config.height,
                config.fps,
                config.import_path,
            )
        except RobotError as error:
            raise RefusedError(f"camera {config.camera} of {config.robot}: {error}") from error

    def _freeze_watch(self, camera: Camera) -> FreezeWatch:
        after_s = self.config.frozen_after_s
        if after_s is None:
            return FreezeWatch(_FROZEN_AFTER_S, camera.has_noise)
        return FreezeWatch(after_s, compares_pixels=True)

    def _status(self, now_ns: int) -> dict[str, object]:
        span_s = (self._captured[-1] - self._captured[0]) / 1e9 if self._captured else 0.0
        return {
            "frames": self._frames,
            "fps": (len(self._captured) - 1) / span_s if span_s > 0 else 0.0,
            "frame_age_ms": (now_ns - self._captured[-1]) / 1e6 if self._captured else None,
            "width": self.config.width,
            "height": self.config.height,
            "stamp": self._camera.camera.stamp.value,
            "offset_ms": self.config.offset_ms,
            "reason": self._outage.reason,
            "outages": self._outage.count,
            "freezes": self._watch.count,
        }
