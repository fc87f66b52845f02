"""Cameras through the unmodified LeRobot library, in its own environments."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.robot.lerobot import camera_plugin

SCRIPT = """
import json, sys, time
import numpy as np
from holdfast.actors.sensor import make_camera
from holdfast.errors import RobotError

options, width, height, count, reopen = json.loads(sys.argv[1])
out = np.zeros((height, width, 3), np.uint8)
rows, error = [], ""
try:
    camera = make_camera.create("lerobot", options, width, height, 30.0)
    for _ in range(1 + reopen):
        camera.open()
        for _ in range(count):
            instant_ns = camera.read(out)
            age_ms = (time.monotonic_ns() - instant_ns) / 1e6
            rows.append([instant_ns, age_ms, out[0].mean(axis=0).tolist(), out[0, :, 0].tolist()])
        camera.close()
    stamp = camera.stamp.value
except RobotError as refused:
    error, stamp = str(refused), ""
camera.close()
print(json.dumps([rows, error, stamp]))
"""


@pytest.fixture(params=["0.6", "0.4"])
def python(request: pytest.FixtureRequest) -> Path:
    return interpreter_of(f"lerobot-{request.param}")


def read(
    python: Path,
    folder: Path,
    options: dict[str, Any],
    size: tuple[int, int] = (64, 48),
    count: int = 10,
    reopen: int = 0,
) -> tuple[list[Any], str, str]:
    """(a row per frame: instant, age in ms, mean colour and reds of its first row; the error; the
    stamp) of a camera in the interpreter `python`."""
    path = os.pathsep.join(
        str(place)
        for place in (importable(folder / "holdfast"), camera_plugin.install(folder / "plugin"))
    )
    done = subprocess.run(
        [python, "-P", "-c", SCRIPT, json.dumps([options, *size, count, reopen])],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    rows, error, stamp = json.loads(done.stdout.splitlines()[-1])
    return rows, error, stamp


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_a_camera_of_a_third_party_is_read_in_rgb_each_frame_once(
    python: Path, tmp_path: Path, order: str
) -> None:
    """With the instant at which the library had it, which rises; again after it was closed."""
    rows, error, stamp = read(python, tmp_path, {"type": "noise", "color_mode": order}, reopen=1)
    assert not error and len(rows) == 20 and stamp == "arrival"
    instants = [row[0] for row in rows]
    assert instants == sorted(set(instants))
    # Of another clock it would be that of hours; a busy machine may be late by a second.
    assert 0 <= statistics.median(row[1] for row in rows) < 5000
    assert all(red > 150 and blue < 80 for _, _, (red, _, blue), _ in rows)


def test_depth_through_the_library_becomes_grey(python: Path, tmp_path: Path) -> None:
    """Nothing measured is black, near 1, far 255."""
    options = {
        "type": "noise",
        "use_depth": True,
        "format": "depth",
        "depth_range": [500, 1500],
    }
    rows, error, _ = read(python, tmp_path, options, count=2)
    assert not error
    greys = rows[-1][3]
    assert greys[0] == 0 and set(greys[1:6]) == {1} and set(greys[15:]) == {255}
    assert greys[5:16] == sorted(set(greys[5:16]))


def test_the_librarys_own_opencv_camera_reads_a_video_file(python: Path, tmp_path: Path) -> None:
    """It asks a file for no size; frames of another size than the entry's are refused."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 480))
    frame = np.random.default_rng(0).integers(0, 60, (480, 640, 3), dtype=np.uint8)
    frame[..., 2] += 190
    for _ in range(400):  # the library reads them as fast as it can, and gives up after the last
        writer.write(frame)
    writer.release()
    options = {"type": "opencv", "index_or_path": str(path), "warmup_s": 0, "set_size": False}
    rows, error, _ = read(python, tmp_path, options, size=(640, 480))
    assert not error and len(rows) == 10
    assert all(red > 150 and blue < 80 for _, _, (red, _, blue), _ in rows)
    _, error, _ = read(python, tmp_path, options, size=(32, 24))
    assert "640 x 480 pixels, expected 32 x 24" in error
    _, error, _ = read(python, tmp_path, {"type": "opencv", "index_or_path": "/dev/video97"})
    assert "Failed to open OpenCVCamera(/dev/video97)" in error
