"""Cameras in a fleet file: what is wrong with them is said at its place, before anything starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import loads
from holdfast.errors import FleetError
from holdfast.tests.peers.environments import importable, interpreter_of

EYES = """
from holdfast import Camera

class Eye(Camera):
    def __init__(self, width, height, fps, serial):
        if serial != "12":
            raise LookupError(f"no camera {serial}")
        self.width, self.height = width, height
    def open(self): raise AssertionError("a check opens nothing")
    def read(self, out): raise AssertionError
"""


def faults(good: dict[str, Any], folder: Path, entry: dict[str, Any]) -> list[str]:
    """What is said of a fleet whose second camera has the `entry`."""
    (folder / "eyes.py").write_text(EYES)
    good["robots"][0]["cameras"]["wrist"] = entry
    try:
        loads(yaml.safe_dump(good), base=folder)
    except FleetError as error:
        return [str(fault) for fault in error.faults]
    return []


OPENCV = {"driver": "opencv", "options": {"source": 0}}


def opencv(**options: Any) -> dict[str, Any]:
    return {"driver": "opencv", "options": {"source": 0, **options}}


RIGHT: list[dict[str, Any]] = [
    opencv(format="gray", fourcc="GREY", timeout_s=1),
    opencv(format="depth", depth_range=[200, 2000], fourcc="Y16 "),
    {"driver": "opencv", "options": {"source": "/dev/v4l/by-id/usb-Maker_Camera-video-index0"}},
    {**OPENCV, "offset_ms": 12.5, "frozen_after_s": 0},
    {"driver": "eyes:Eye", "options": {"serial": "12"}, "frozen_after_s": 10},
]


@pytest.mark.parametrize("entry", RIGHT)
def test_a_camera_that_is_right_has_no_fault(
    good: dict[str, Any], tmp_path: Path, entry: dict[str, Any]
) -> None:
    """Its offset and its bound for frozen frames go to its actor."""
    assert faults(good, tmp_path, entry) == []
    fleet = loads(yaml.safe_dump(good), base=tmp_path)
    made = {actor.name: actor for actor in expand(fleet, None, Path("/run/x"))}
    config = made["r1/wrist"].config
    assert config["offset_ms"] == entry.get("offset_ms", 0.0)
    assert config["frozen_after_s"] == entry.get("frozen_after_s")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (opencv(format="yuv"), "options.format", "'yuv'"),
    (opencv(format="depth"), "options.format", "add `depth_range: [near, far]`"),
    (opencv(depth_range=[1, 2]), "options.depth_range", "only depth has a range"),
    (
        opencv(format="depth", depth_range=[900, 200]),
        "options.depth_range",
        "found [900.0, 200.0]; expected 0 <= near < far",
    ),
    (opencv(fourcc="MJPEG"), "options.fourcc", "four characters"),
    ({**OPENCV, "offset_ms": 1e9}, "offset_ms", "-1000 to 10000"),
    ({**OPENCV, "frozen_after_s": -1}, "frozen_after_s", "0: never"),
    ({"driver": "opencb"}, "driver", "did you mean 'opencv'?"),
    ({"driver": "lerobot"}, "options.type", "as the library registers it"),
    (
        {"driver": "lerobot", "options": {"type": "zmq", "format": "grey"}},
        "options.format",
        "'grey'",
    ),
    ({"driver": "eyes:Eye"}, "driver", "eyes:Eye: it needs serial"),
    ({"driver": "eyes:Eye", "options": {"serial": "13"}}, "driver", "LookupError: no camera 13"),
    ({"driver": "eyes:Eye", "options": {"fps": 3}}, "driver", "fps cannot be an option"),
    ({"driver": "eyes:Ear", "options": {}}, "driver", "expected one of: Eye"),
]


@pytest.mark.parametrize(("entry", "place", "expected"), WRONG)
def test_a_camera_that_is_wrong_has_one_fault_at_its_place(
    good: dict[str, Any], tmp_path: Path, entry: dict[str, Any], place: str, expected: str
) -> None:
    """With what was found, and what to do."""
    (found,) = faults(good, tmp_path, entry)
    assert f"$.robots[0].cameras.wrist.{place}: " in found and expected in found


@pytest.mark.parametrize(
    ("in_process", "expected"),
    [
        (False, "the driver sim delivers no camera 'wrist'"),
        (True, "a driver in the control loop's own process delivers no frames"),
    ],
)
def test_a_camera_of_the_robots_driver_is_one_that_it_delivers(
    good: dict[str, Any], tmp_path: Path, in_process: bool, expected: str
) -> None:
    """The check asks the driver in a process of its own."""
    good["robots"][0]["in_process"] = in_process
    found = faults(good, tmp_path, {"driver": "robot"})
    assert any("cameras.wrist.driver" in fault and expected in fault for fault in found), found


@pytest.mark.parametrize("version", ["0.6", "0.4"])
def test_a_camera_of_lerobot_is_checked_by_the_library_in_its_own_interpreter(
    good: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Its types and the fields of their configuration are the library's; nothing is opened."""
    python = str(interpreter_of(f"lerobot-{version}"))
    monkeypatch.setenv("PYTHONPATH", str(importable(tmp_path / "importable")))

    def said(**options: Any) -> list[str]:
        entry = {"driver": "lerobot", "python": python, "options": options}
        return faults(good, tmp_path, entry)

    assert said(type="opencv", index_or_path="/dev/video97") == []
    (unknown,) = said(type="polaroid")
    assert "has no camera 'polaroid', it has intelrealsense, opencv" in unknown
    (field,) = said(type="opencv", index_or_pth=0)
    assert "$.robots[0].cameras.wrist.options: " in field and "index_or_pth" in field
    here = {"driver": "lerobot", "options": {"type": "opencv"}, "python": sys.executable}
    assert any("not installed here" in fault for fault in faults(good, tmp_path, here))
