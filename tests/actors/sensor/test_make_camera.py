"""A camera by the name of its driver, and what is said of one that cannot be used."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.sensor import make_camera
from holdfast.actors.sensor.describe_camera import AskedCamera, why_not
from holdfast.errors import RobotError
from holdfast.robot.cameras.base import Stamp

SIZE = 64, 48, 30.0


@pytest.mark.parametrize("name", ["eyes:Noise", "eyes:make"])
def test_a_class_or_a_function_beside_the_fleet_file_makes_the_camera(
    folder: str, name: str
) -> None:
    """Called with the size, the rate and the options by name."""
    camera = make_camera.create(name, {"fault": "open"}, *SIZE, folder)
    assert (camera.width, camera.height) == (64, 48)
    with pytest.raises(RobotError, match="not plugged in"):
        camera.open()


def test_a_camera_that_inherits_nothing_has_the_defaults(folder: str) -> None:
    """Of every attribute and method that it does not have."""
    camera = make_camera.create("eyes:Plain", {}, *SIZE, folder)
    assert camera.stamp is Stamp.ARRIVAL and camera.has_noise and camera.patience_s == 10.0
    camera.close()


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("nose:Camera", {}, "cannot be imported"),
    ("eyes:Nose", {}, "has no 'Nose'"),
    ("eyes:Noise", {"serial": 3}, "unexpected keyword argument 'serial'"),
    ("eyes:Noise", {"fault": "constructor"}, r"KeyError: 'no such serial number' .*eyes.py:\d+"),
    ("eyes:Noise", {"fault": "size"}, "width and height are 64 and 49, expected"),
    ("eyes:Noise", {"width": 3}, "width cannot be an option"),
    ("eyes.py:Noise", {}, "did you mean 'eyes:Noise'"),
    (
        "eyes:Argumentless",
        {},
        r"read\(\) cannot be called as read\(out\).*define read\(self, out\)",
    ),
    ("eyes:Blind", {}, "a Blind without read: it has to be a holdfast.Camera"),
]


@pytest.mark.parametrize(("driver", "options", "expected"), WRONG)
def test_a_camera_that_cannot_be_made_is_refused_by_what_its_code_did(
    folder: str, driver: str, options: dict[str, Any], expected: str
) -> None:
    """The error has the file and line, in this process and in one of its own interpreter."""
    with pytest.raises(RobotError, match=expected):
        make_camera.create(driver, options, *SIZE, folder)
    asked = AskedCamera(driver, options, *SIZE, folder)
    assert re.search(expected, why_not(asked, sys.executable))


def test_a_camera_is_asked_again_once_its_file_is_edited(folder: str) -> None:
    """Until then the answer of before is kept."""
    asked = AskedCamera("eyes:Nose", {}, *SIZE, folder)
    assert "has no 'Nose'" in why_not(asked)
    module = Path(folder) / "eyes.py"
    module.write_text(module.read_text().replace("class Noise", "class Nose"))
    os.utime(module, (0, 0))
    assert why_not(asked) == ""
    assert "eyes" not in sys.modules


def test_an_interpreter_that_is_none_is_said_to_be_so(folder: str) -> None:
    """The check returns a sentence and raises nothing."""
    why = why_not(AskedCamera("eyes:Noise", {}, *SIZE, folder), f"{folder}/python")
    assert f"{folder}/python cannot be run" in why
