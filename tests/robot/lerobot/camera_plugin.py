"""A camera package for the LeRobot library, as its third parties make them: installed in a folder
that PYTHONPATH names, found by its name."""

from __future__ import annotations

from pathlib import Path

NAME = "lerobot_camera_noise"
SOURCE = '''
import threading
import time
from dataclasses import dataclass

import numpy as np
from lerobot.cameras import Camera, CameraConfig, ColorMode


@CameraConfig.register_subclass("noise")
@dataclass
class NoiseCameraConfig(CameraConfig):
    """`stop_file`: while it is there, the device is silent."""

    use_depth: bool = False
    color_mode: ColorMode = ColorMode.RGB
    stop_file: str = ""


class NoiseCamera(Camera):
    """Keeps its frames as the library's own cameras do. Red is bright, blue is dark; the depth of
    column c is 100 c millimetres."""

    def __init__(self, config):
        super().__init__(config)
        self.config = config
        self.thread = None
        self.over = threading.Event()
        self.frame_lock = threading.Lock()
        self.new_frame_event = threading.Event()
        self.latest_color_frame = self.latest_depth_frame = self.latest_timestamp = None

    @property
    def is_connected(self):
        return self.thread is not None

    @staticmethod
    def find_cameras():
        return []

    def connect(self, warmup=True):
        if self._stopped():
            raise ConnectionError("no camera of noise is plugged in")
        self.over.clear()
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()

    def _stopped(self):
        from pathlib import Path
        return bool(self.config.stop_file) and Path(self.config.stop_file).exists()

    def _loop(self):
        random = np.random.default_rng(0)
        shape = (self.height, self.width, 3)
        depth = np.tile(100 * np.arange(self.width, dtype=np.uint16), (self.height, 1))
        bgr = self.config.color_mode is ColorMode.BGR
        while not self.over.wait(1 / self.fps):
            if self._stopped():
                continue
            color = random.integers(0, 60, shape, dtype=np.uint8)
            color[..., 2 if bgr else 0] += 190
            with self.frame_lock:
                self.latest_color_frame, self.latest_depth_frame = color, depth[..., None].copy()
                self.latest_timestamp = time.perf_counter()
            self.new_frame_event.set()

    def read(self):
        return self.async_read(10000)

    def async_read(self, timeout_ms=200.0):
        return self._next("latest_color_frame", timeout_ms)

    def async_read_depth(self, timeout_ms=200.0):
        return self._next("latest_depth_frame", timeout_ms)

    def _next(self, which, timeout_ms):
        if not self.new_frame_event.wait(timeout_ms / 1000):
            raise TimeoutError(f"no frame within {timeout_ms} ms")
        with self.frame_lock:
            self.new_frame_event.clear()
            return getattr(self, which)

    def disconnect(self):
        self.over.set()
        self.thread.join()
        self.thread = None
'''


def install(folder: Path) -> Path:
    """Put the package into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.py").write_text(SOURCE)
    information = folder / f"{NAME}-1.0.dist-info"
    information.mkdir(exist_ok=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
    return folder
