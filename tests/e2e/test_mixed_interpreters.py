"""One fleet whose drivers, sensors and policies run in different Pythons."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import psutil
import pytest

from holdfast.robot.sim import SPEC
from holdfast.tests.peers.environments import importable, interpreter_of, peers

from .conftest import BIN, FleetProcess, StartFleet, row

ARMS = f"""
import sys
import time

import numpy as np

from holdfast import Robot, RobotSpec


class Arm(Robot):
    spec = RobotSpec({SPEC.action_names!r}, {SPEC.state_names!r}, max_rate=(60,) * 5)

    def __init__(self, version):
        found = ".".join(map(str, sys.version_info[:2]))
        assert found == version, f"made in Python {{found}}"
        self.pose = np.zeros(7, np.float32)

    def connect(self):
        pass

    def read_state(self, out):
        out[:] = self.pose
        return time.monotonic_ns()

    def write_action(self, action):
        self.pose[:5] = action

    def report(self):
        return {{"reports_from": sys.version.split()[0]}}


class Camera:
    patience_s = 1.0

    def __init__(self, width, height, fps, version):
        assert sys.version_info[:2] == tuple(map(int, version.split("."))), sys.version
        self.width, self.height, self.fps = width, height, fps

    def open(self):
        self.frame = 0

    def read(self, out):
        time.sleep(1 / self.fps)
        self.frame += 1
        out[:] = self.frame % 256
        return time.monotonic_ns()

    def close(self):
        pass
"""

ROBOT = """\
  - name: {name}
    service: {service}
    driver: my_arms:Arm
    options: {{version: "{version}"}}
    python: {python}
    cameras:
      overhead: {{driver: my_arms:Camera, python: {camera}, options: {{version: "3.13"}}}}
      wrist: {{driver: my_arms:Camera, python: {camera}, options: {{version: "3.13"}}}}
"""


def fleet_file(folder: Path, drivers: dict[str, Path], camera: Path, policy: Path | None) -> Path:
    """A fleet of robot `a` in Python 3.12 and robot `b` in 3.13; `a` uses a policy in `policy`."""
    (folder / "my_arms.py").write_text(ARMS)
    python = "" if policy is None else f", python: {policy}"
    text = "name: mixed\nservices:\n"
    text += f"  first: {{policy: constant, checkpoint: conveyor-flow{python}}}\n"
    text += "  second: {policy: constant, checkpoint: conveyor-flow}\nrobots:\n"
    for name, service, version in (("a", "first", "3.12"), ("b", "second", "3.13")):
        text += ROBOT.format(
            name=name, service=service, version=version, python=drivers[version], camera=camera
        )
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path


def interpreter(fleet: FleetProcess, pid: int) -> str:
    """The command that the process was started with."""
    return str(psutil.Process(pid).cmdline()[0])


def test_a_fleet_mixes_interpreters(start_fleet: StartFleet, tmp_path: Path) -> None:
    """All actors are READY, both robots stream, and the status says which actor runs where."""
    drivers = {version: interpreter_of(f"plain-{version}") for version in ("3.12", "3.13")}
    lerobot = peers() / "lerobot-0.6"
    policy = lerobot / "bin" / "python" if (lerobot / "complete").is_file() else None
    path = fleet_file(tmp_path, drivers, drivers["3.13"], policy)
    there = {"PYTHONPATH": str(importable(tmp_path / "importable"))}
    fleet = start_fleet(fleet=path, environment=there)
    fleet.streaming()
    status = fleet.wait_for(
        lambda now: all(
            "reports_from" in (row(now["actors"], f"{robot}/driver")["report"] or {})
            for robot in "ab"
        ),
        60,
    )
    rows = {row["name"]: row for row in status["actors"]}
    expected = {"a/driver": drivers["3.12"], "b/driver": drivers["3.13"]}
    expected |= {
        f"{robot}/{name}": drivers["3.13"] for robot in "ab" for name in ("overhead", "wrist")
    }
    expected |= {"first/0": policy} if policy else {}
    assert {name: row["python"] for name, row in rows.items() if row["python"]} == {
        name: str(python) for name, python in expected.items()
    }
    for name, python in expected.items():
        assert interpreter(fleet, rows[name]["pid"]) == str(python)
    assert rows["a/driver"]["report"]["reports_from"].startswith("3.12.")
    assert rows["b/driver"]["report"]["reports_from"].startswith("3.13.")
    said = "".join(fleet.actorctl("status").stdout.split())
    assert f"{drivers['3.12']}runsa/driver" in said
    assert f"{drivers['3.13']}runs" in said


@pytest.mark.parametrize("what", ["bare", "text", "directory"])
def test_an_interpreter_that_cannot_run_an_actor_is_refused_before_anything_starts(
    tmp_path: Path, what: str
) -> None:
    """One without holdfast with the command to install it; a file that is no Python; a folder."""
    venv.create(tmp_path / "bare", symlinks=True)
    (tmp_path / "text").write_text("no program")
    (tmp_path / "directory").mkdir()
    python = tmp_path / "bare" / "bin" / "python" if what == "bare" else tmp_path / what
    drivers = dict.fromkeys(("3.12", "3.13"), python)
    path = fleet_file(tmp_path, drivers, python, python)
    done = subprocess.run(
        [BIN / "supervisor", "start", str(path)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2, done.stdout
    expected = f"`{python} -m pip install " if what == "bare" else f"{python} cannot be run ("
    assert done.stderr.count(expected) == 2, done.stderr  # the policy's and cameras' come after
    assert "robots[0].python: " in done.stderr and "robots[1].python: " in done.stderr
