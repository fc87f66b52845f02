"""A robot and its cameras for the benchmark of recording: they cost almost nothing themselves."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from ...robot.base import Robot, RobotSpec
from ...robot.cameras.base import Camera
from .bench_cameras import images
from .peers.work import CAMERAS

JOINTS = tuple(f"joint_{k}" for k in range(6))
_SHIFT = 4
"""Pixels by which the picture moves from frame to frame."""


class StillArm(Robot):
    """Is wherever it was commanded to."""

    spec = RobotSpec(JOINTS, JOINTS)

    def __init__(self) -> None:
        self._at = np.zeros(len(JOINTS), np.float32)

    def connect(self) -> None:
        pass

    def read_state(self, out: NDArray[np.float32]) -> int:
        out[:] = self._at
        return time.monotonic_ns()

    def write_action(self, action: NDArray[np.float32]) -> None:
        self._at[:] = action


class PanningCamera(Camera):
    """Surfaces, edges and a sensor's noise, which move across the picture at the camera's rate."""

    def __init__(self, width: int, height: int, fps: float, view: str) -> None:
        self.width, self.height = width, height
        self._period_s = 1.0 / fps
        self._view = view
        self._number = 0

    def open(self) -> None:
        seen = images(self.width, self.height)[CAMERAS.index(self._view)]
        # Twice beside each other: a picture is a part of it, without a seam.
        self._wide = np.concatenate([seen, seen], axis=1)
        self._due_s = time.monotonic()

    def read(self, out: NDArray[np.uint8]) -> int:
        self._due_s = max(self._due_s + self._period_s, time.monotonic() - self._period_s)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._number += 1
        start = self._number * _SHIFT % self.width
        out[:] = self._wide[:, start : start + self.width]
        return time.monotonic_ns()

    def close(self) -> None:
        pass
