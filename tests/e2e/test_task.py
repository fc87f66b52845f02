"""The task of a running robot is changed from the command line and from code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast import Fleet
from holdfast.errors import ControlSocketError
from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row

FLEET = """
name: tasks
services:
  any: {policy: "lab:Reach", options: {seen: "SEEN"}}
  one: {policy: "lab:Reach", options: {seen: ""}, pin_task: wave}
  cell: {policy: constant, checkpoint: conveyor-flow}
robots:
  - {name: r1, driver: "lab:Arm", service: any, fps: 50, task: wave}
  - {name: r2, driver: "lab:Arm", service: one, fps: 50}
  - {name: s1, driver: sim, service: cell, cameras: {overhead: {}, wrist: {}}}
gateway: {enabled: false}
"""

LAB = """
import time
from pathlib import Path

import numpy as np

from holdfast import Chunk, PolicySpec, Robot, RobotSpec

JOINTS = ("base", "elbow")


class Arm(Robot):
    spec = RobotSpec(JOINTS, JOINTS)

    def __init__(self):
        self.at = np.zeros(2, np.float32)

    def connect(self):
        pass

    def read_state(self, out):
        out[:] = self.at
        return time.monotonic_ns()

    def write_action(self, action):
        self.at[:] = action


class Reach:
    spec = PolicySpec(
        model="reach", revision="1", cameras=(), state_names=JOINTS, action_names=JOINTS,
        chunk_size=100, fps=50.0,
    )

    def __init__(self, seen):
        self.seen = seen

    def predict_chunk(self, batch):
        for each in batch:
            if self.seen and "probe" not in each.task:
                with Path(self.seen).open("a") as file:
                    file.write(each.task + chr(10))
        return [self.chunk(each.state) for each in batch]

    def chunk(self, state):
        path = np.repeat(state[None].astype(np.float32), 100, 0)
        return Chunk(model=path, robot=path)
"""


def task_of(fleet: FleetProcess, robot: str) -> Any:
    return row(fleet.status()["robots"], robot)["task"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_task_is_changed_while_the_robot_plays_on(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """In its episode, also after a kill of control; a pinned service refuses by its sentence."""
    seen = tmp_path / "seen.txt"
    (tmp_path / "lab.py").write_text(LAB)
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("SEEN", str(seen)))
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml")
    before = row(fleet.streaming(60.0)["robots"], "r1")
    assert before["task"] == "wave"

    told = fleet.actorctl("task", "r1", "bow to the left")
    assert told.returncode == 0, told.stderr
    assert "task bow to the left" in told.stdout
    fleet.wait_for(lambda _: "bow to the left" in seen.read_text(), 60)
    tasks = seen.read_text().splitlines()
    assert "wave" not in tasks[tasks.index("bow to the left") :]
    after = row(fleet.status()["robots"], "r1")
    assert (after["task"], after["episode"]) == ("bow to the left", before["episode"])
    assert after["stalled_ticks"] == before["stalled_ticks"]

    assert fleet.actorctl("kill", "r1/control").returncode == 0
    fleet.wait_for(lambda now: row(now["actors"], "r1/control")["restarts"] == 1, 60)
    fleet.streaming()
    assert task_of(fleet, "r1") == "bow to the left"
    seen.write_text("")
    fleet.wait_for(lambda _: seen.read_text(), 60)
    assert set(seen.read_text().splitlines()) == {"bow to the left"}

    refused = fleet.actorctl("task", "r2", "dance")
    assert refused.returncode != 0
    assert "service 'one' is pinned to 'wave' and does not do 'dance'" in " ".join(
        refused.stderr.split()
    )
    assert not task_of(fleet, "r2")
    assert fleet.actorctl("task", "r2", "wave").returncode == 0
    assert row(fleet.streaming()["robots"], "r2")["task"] == "wave"

    # Of a simulated cell: until the cell's next episode, which may begin at any time.
    given = json.loads(fleet.actorctl("status", "--json").stdout)
    assert "bin" in row(given["robots"], "s1")["task"]
    assert "task rest" in fleet.actorctl("task", "s1", "rest").stdout
    fleet.wait_for(lambda now: row(now["robots"], "s1")["task"] != "rest", 60.0)


@pytest.mark.timeout(120)
def test_a_task_is_changed_from_code(tmp_path: Path) -> None:
    """By `Fleet.change_task`; what the service refuses is an error."""
    (tmp_path / "lab.py").write_text(LAB)
    file = tmp_path / "fleet.yaml"
    lines = FLEET.replace("SEEN", str(tmp_path / "seen.txt")).splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "cell" not in line))
    with Fleet(file) as fleet:
        fleet.wait(60)
        fleet.change_task("r1", "bow")
        assert row(fleet.status()["robots"], "r1")["task"] == "bow"
        with pytest.raises(ControlSocketError, match="pinned to 'wave'"):
            fleet.change_task("r2", "bow")
