"""A fleet with a camera of every kind, started as a user starts it: what its status says when they
fail, and that it sees again after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.robot.cameras.mjpeg_server import MjpegServer
from holdfast.tests.robot.lerobot import camera_plugin
from holdfast.tests.waiting import wait_until

from .conftest import FleetProcess, StartFleet, row

EYES = """
import time
from pathlib import Path

import numpy as np

from holdfast import Camera


class Eye(Camera):
    def __init__(self, width, height, fps, wrong):
        self.width, self.height, self.fps, self.wrong = width, height, fps, Path(wrong)
        self.random = np.random.default_rng(0)

    def open(self):
        pass

    def read(self, out):
        time.sleep(1 / self.fps)
        if self.wrong.exists():
            raise IndexError("frame 7 of 5")
        out[:] = self.random.integers(0, 255, out.shape, dtype=np.uint8)
        return time.monotonic_ns()
"""

FLEET = """\
name: eyes
services:
  first: {{policy: constant, checkpoint: conveyor-flow}}
  second: {{policy: constant, checkpoint: conveyor-flow}}
robots:
  - name: a
    service: first
    cameras:
      overhead:
        driver: opencv
        options: {{source: "{stream}", timeout_s: 1}}
        width: 64
        height: 48
        frozen_after_s: 1
      wrist: {{driver: "eyes:Eye", options: {{wrong: "{wrong}"}}, width: 64, height: 48}}
"""

LEROBOT = """\
  - name: b
    service: second
    cameras:
      overhead: {{options: {{view: overhead}}}}
      wrist:
        driver: lerobot
        python: {python}
        options: {{type: noise, stop_file: "{stop}"}}
        offset_ms: 20
        width: 64
        height: 48
"""


@pytest.fixture
def stream() -> Iterator[MjpegServer]:
    server = MjpegServer((64, 48))
    yield server
    server.close()


def seen(fleet: FleetProcess, camera: str, reason: str) -> dict[str, object]:
    """The report of the camera once its reason contains `reason` ("": is empty). While there is
    one, the fleet is not healthy, and `actorctl status` shows it."""

    def said(status: dict[str, Any]) -> bool:
        found = (row(status["actors"], camera)["report"] or {}).get("reason", "unreported")
        return reason in found and not status["healthy"] if reason else not found

    def shown() -> bool:
        text = " ".join(fleet.actorctl("status").stdout.split())
        return f"{camera}: has no frames: " in text

    status = fleet.wait_for(said, 60)
    if reason:
        wait_until(shown, f"{camera} is said to have no frames")
    report: dict[str, object] = row(status["actors"], camera)["report"]
    return report


def test_every_kind_of_camera_fails_aloud_and_sees_again(
    start_fleet: StartFleet, tmp_path: Path, stream: MjpegServer
) -> None:
    """A frozen stream, a class that raises, a silent LeRobot camera."""
    lerobot = interpreter_of("lerobot-0.6")
    wrong, stop = tmp_path / "wrong", tmp_path / "stop"
    (tmp_path / "eyes.py").write_text(EYES)
    path = tmp_path / "fleet.yaml"
    text = FLEET.format(stream=stream.address, wrong=wrong)
    path.write_text(text + LEROBOT.format(python=lerobot, stop=stop))
    places = importable(tmp_path / "importable"), camera_plugin.install(tmp_path / "plugin")
    environment = {"PYTHONPATH": os.pathsep.join(map(str, places))}
    fleet = start_fleet(fleet=path, environment=environment)
    status = fleet.streaming()
    reports = {a["name"]: a["report"] for a in status["actors"] if a["kind"] == "sensor"}
    stamps = {name: report["stamp"] for name, report in reports.items()}
    assert stamps == {
        "a/overhead": "arrival",
        "a/wrist": "arrival",
        "b/overhead": "device",
        "b/wrist": "arrival",
    }
    assert reports["b/wrist"]["offset_ms"] == 20

    stream.live.clear()
    frozen = seen(fleet, "a/overhead", "frozen: it gives frames that are all identical")
    assert frozen["freezes"]
    stream.live.set()
    seen(fleet, "a/overhead", "")
    stream.serving.clear()
    seen(fleet, "a/overhead", "does not open as a stream")
    stream.serving.set()

    wrong.touch()
    report = seen(fleet, "a/wrist", "read raised IndexError: frame 7 of 5")
    assert f"{tmp_path}/eyes.py:21 in read" in str(report["reason"])
    wrong.unlink()

    stop.touch()
    seen(fleet, "b/wrist", "noise: no")
    stop.unlink()
    for camera in ("a/overhead", "a/wrist", "b/wrist"):
        assert seen(fleet, camera, "")["outages"]
    fleet.streaming()
