"""Cameras of a user's own, in a module beside a fleet file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CAMERAS = '''
import time

import numpy as np

from holdfast import Camera, RobotError


class Noise(Camera):
    """A camera of noise. `fault` names what it does wrong, while the file `fault_file` is there."""

    def __init__(self, width, height, fps, fault="", fault_file=None):
        if fault == "constructor":
            raise KeyError("no such serial number")
        self.width, self.height, self.fps = width, height, fps
        if fault == "size":
            self.height += 1
        self.fault, self.fault_file = fault, fault_file
        self.random = np.random.default_rng(0)
        self.last_ns = time.monotonic_ns()

    def is_wrong(self, fault):
        from pathlib import Path
        there = self.fault_file is None or Path(self.fault_file).exists()
        return self.fault == fault and there

    def open(self):
        if self.is_wrong("open"):
            raise RobotError("not plugged in")

    def read(self, out):
        if self.is_wrong("again"):
            return self.last_ns
        time.sleep(1 / self.fps)
        if self.is_wrong("raises"):
            return 1 / 0
        if self.is_wrong("gone"):
            raise OSError(19, "No such device")
        if self.is_wrong("shape"):
            out[:] = np.zeros((3, 3))
        if not self.is_wrong("still"):
            out[:] = self.random.integers(0, 255, out.shape, dtype=np.uint8)
        else:
            out[:] = 77
        now = time.monotonic_ns()
        if self.is_wrong("none"):
            return None
        if self.is_wrong("future"):
            return now + 10**15
        if self.is_wrong("back"):
            return 1
        self.last_ns = now
        return now


class Plain:
    """Has the methods, and inherits nothing."""

    def __init__(self, width, height, fps):
        self.width, self.height = width, height

    def open(self): pass
    def read(self, out): return time.monotonic_ns()


class Blind:
    def __init__(self, width, height, fps): pass
    def open(self): pass


class Argumentless(Plain):
    def read(self): return time.monotonic_ns()


def make(width, height, fps, **options):
    return Noise(width, height, fps, **options)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """The directory of a fleet file, with the module `eyes`."""
    (tmp_path / "eyes.py").write_text(CAMERAS)
    yield str(tmp_path)
    sys.modules.pop("eyes", None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))
