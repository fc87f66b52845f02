"""Ten wrong sections of a robot in fleet.yaml, checked as a user checks them."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.robot.sim import SPEC
from holdfast.tools.cli.supervisor_command import app

ARMS = f"""
from holdfast import Robot, RobotSpec

class Arm(Robot):
    cameras = ("wrist",)
    def __init__(self, port="/dev/null", names={SPEC.action_names!r}):
        self.spec = RobotSpec(names, {SPEC.state_names!r})
    def connect(self): raise AssertionError("a check touches no hardware")
    def read_state(self, out): raise AssertionError
    def write_action(self, action): raise AssertionError
    def read_frame(self, camera, out): raise AssertionError

class Eager(Arm):
    def __init__(self, port):
        self.port = open(port)
"""

CAMERAS = """
from holdfast import Camera as Base

class Camera(Base):
    def __init__(self, width, height, fps):
        self.width, self.height = width, height
    def open(self): raise AssertionError("a check touches no hardware")
    def read(self, out): raise AssertionError
"""

GOOD = """\
name: cell
services:
  pick: {policy: constant, checkpoint: conveyor-flow}
robots:
  - name: left
    service: pick
    driver: my_arms:Arm
    cameras:
      overhead: {driver: my_cameras:Camera}
      wrist: {driver: robot}
"""

RIGHT = """\
  - name: right
    service: pick
    driver: my_arms:Arm
    options:
      port: /dev/tty  # here
    cameras: {overhead: {driver: my_cameras:Camera}, wrist: {driver: robot}}
"""


def fleet_with(changes: dict[str, str]) -> str:
    """`GOOD` with `changes`: a text, and what stands for it."""
    text = GOOD
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


DRIVER = "driver: my_arms:Arm\n"

WRONG = {
    "the module is missing": (
        {DRIVER: "driver: my_armz:Arm  # here\n"},
        "$.robots[0].driver: driver 'my_armz:Arm' cannot be imported",
        (
            "No module named 'my_armz'; it is looked for in {folder} and among the installed "
            "packages of {python}: mend the name, or put it there"
        ),
    ),
    "the class is missing": (
        {DRIVER: "driver: my_arms:Amr  # here\n"},
        "$.robots[0].driver: driver 'my_arms:Amr': {folder}/my_arms.py has no 'Amr'",
        "did you mean 'Arm'?",
    ),
    "the constructor raises": (
        {DRIVER: "driver: my_arms:Eager  # here\n    options: {port: /no/port}\n"},
        "$.robots[0].driver: my_arms:Eager(port='/no/port') raised FileNotFoundError",
        (
            "({folder}/my_arms.py:15 in __init__); mend its `options` or its constructor, which "
            "has to work without the hardware (`connect` opens it)"
        ),
    ),
    "its names are not the policy's": (
        {DRIVER: DRIVER + "    options: {names: [x, y, z, wrist, claw]}\n"},
        (
            "$.robots[0].rename: the action of left is x, y, z, wrist, claw; the policy of service "
            "'pick' has x, y, z, wrist, gripper"
        ),
        "`rename: {{claw: gripper}}`",
    ),
    "its names are in another order": (
        {DRIVER: DRIVER + "    options: {names: [y, x, z, wrist, gripper]}\n"},
        "$.robots[0].rename: the action of left is y, x, z, wrist, gripper",
        "have the driver name them in the policy's order",
    ),
    "a camera is missing": (
        {"    cameras:": "    cameras:  # here", "      wrist: {driver: robot}\n": ""},
        "$.robots[0].cameras: the policy conveyor-flow sees overhead, wrist",
        "add wrist, or `rename` a camera to it",
    ),
    "its interpreter has no holdfast": (
        {DRIVER: DRIVER + "    python: bare/bin/python  # here\n"},
        "$.robots[0].python: {folder}/bare/bin/python has no holdfast",
        "`{folder}/bare/bin/python -m pip install ",
    ),
    "it limits an unknown joint": (
        {DRIVER: DRIVER + "    limits:\n      wirst: {upper: 1}  # here\n"},
        "$.robots[0].limits.wirst: no action 'wirst'",
        "did you mean 'wrist'?",
    ),
    "its serial port is absent": (
        {DRIVER: DRIVER + "    options:\n      port: /dev/ttyACM97  # here\n"},
        "$.robots[0].options.port: there is no /dev/ttyACM97 now; there are: ",
        "plug it in, or name another",
    ),
    "two robots are on one port": (
        {
            DRIVER: DRIVER + "    options: {port: /dev/tty}\n",
            "      wrist: {driver: robot}\n": "      wrist: {driver: robot}\n" + RIGHT,
        },
        "$.robots[1].options.port: '/dev/tty' is used at $.robots[0].options.port too",
        "each needs its own (`actorctl doctor` lists the ports)",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where fleet.yaml and the user's modules are."""
    (tmp_path / "my_arms.py").write_text(ARMS)
    (tmp_path / "my_cameras.py").write_text(CAMERAS)
    return tmp_path


def test_the_section_that_the_wrong_ones_are_made_of_is_right(folder: Path) -> None:
    """A check of it finds nothing."""
    (folder / "fleet.yaml").write_text(fleet_with({}))
    done = subprocess.run(
        [Path(sys.executable).parent / "supervisor", "check"],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_robot_is_one_line_with_place_what_was_found_and_what_to_do(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line in the file is that of the key to mend, or of the robot where it has no such key."""
    changes, found, remedy = WRONG[what]
    if "bare/" in str(changes):
        venv.create(folder / "bare", symlinks=True)
    text = fleet_with(changes)
    (folder / "fleet.yaml").write_text(text)
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 2
    heading, *lines = done.stderr.splitlines()
    assert heading == "fleet.yaml: one thing is wrong" and len(lines) == 1, done.stderr
    marked = [n for n, line in enumerate(text.splitlines(), 1) if "# here" in line]
    robot = text.splitlines().index("  - name: left") + 1
    names = {"folder": str(folder), "python": sys.executable}
    assert lines[0].startswith(f"  line {[*marked, robot][0]}: {found.format(**names)}")
    assert remedy.format(**names) in lines[0]
