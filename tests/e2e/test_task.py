"""The task of a running robot is changed from the command line and from code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast import Fleet
from holdfast.errors import ControlSocketError
from holdfast.tests.e2e.conftest import StartFleet, row, without_a_stall
from holdfast.tests.e2e.scripts import ARM
from holdfast.tests.waiting import wait_until

FLEET = """
name: tasks
services:
  any: {policy: "lab:Reach", options: {seen: "SEEN"}}
  one: {policy: "lab:Reach", options: {seen: ""}, pin_task: wave}
  cell: {policy: constant, checkpoint: conveyor-flow}
robots:
  - {name: r1, driver: "lab:Arm", service: any, fps: 50, task: wave}
  - {name: r2, driver: "lab:Arm", service: one, fps: 50}
  - {name: s1, service: cell, cameras: {overhead: &small {width: 64, height: 48}, wrist: *small}}
gateway: {enabled: false}
"""

LAB = f"""
{ARM}

from pathlib import Path

from holdfast import Chunk, PolicySpec


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


def lines(path: Path) -> list[str]:
    """The tasks that the policy has seen, but for one that is being written."""
    return [line[:-1] for line in path.read_text().splitlines(keepends=True) if line[-1] == "\n"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_task_is_changed_while_the_robot_plays_on(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """In its episode, also after a kill of control; a pinned service refuses by its sentence."""
    seen = tmp_path / "seen.txt"
    (tmp_path / "lab.py").write_text(LAB)
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("SEEN", str(seen)))
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml")
    before = row(fleet.streaming()["robots"], "r1")
    assert before["task"] == "wave"

    told = fleet.actorctl("task", "r1", "bow to the left")
    assert told.returncode == 0, told.stderr
    assert "task bow to the left" in told.stdout
    fleet.wait_for(lambda _: "bow to the left" in lines(seen), 60)
    tasks = lines(seen)
    assert "wave" not in tasks[tasks.index("bow to the left") :]
    status = fleet.wait_for(lambda now: row(now["robots"], "r1")["task"] == "bow to the left", 60)
    assert row(status["robots"], "r1")["episode"] == before["episode"]
    fleet.wait_for(without_a_stall(50), 60)

    assert fleet.actorctl("kill", "r1/control").returncode == 0
    fleet.wait_for(lambda now: row(now["actors"], "r1/control")["restarts"] >= 1, 60)
    fleet.streaming()
    fleet.wait_for(lambda now: row(now["robots"], "r1")["task"] == "bow to the left", 60)
    known = len(lines(seen))
    fleet.wait_for(lambda _: len(lines(seen)) > known + 1, 60)
    assert set(lines(seen)[known + 1 :]) == {"bow to the left"}

    refused = fleet.actorctl("task", "r2", "dance")
    assert refused.returncode != 0
    assert "service 'one' is pinned to 'wave' and does not do 'dance'" in " ".join(
        refused.stderr.split()
    )
    assert not row(fleet.status()["robots"], "r2")["task"]
    assert fleet.actorctl("task", "r2", "wave").returncode == 0
    fleet.wait_for(lambda now: row(now["robots"], "r2")["task"] == "wave", 60)

    # Of a simulated cell: until the cell's next episode, which may begin at any time.
    given = json.loads(fleet.actorctl("status", "--json").stdout)
    assert "bin" in row(given["robots"], "s1")["task"]
    assert "task rest" in fleet.actorctl("task", "s1", "rest").stdout
    fleet.wait_for(lambda now: row(now["robots"], "s1")["task"] != "rest", 180.0)


@pytest.mark.timeout(600)
def test_a_task_is_changed_from_code(tmp_path: Path) -> None:
    """By `Fleet.change_task`; what the service refuses is an error."""
    (tmp_path / "lab.py").write_text(LAB)
    file = tmp_path / "fleet.yaml"
    lines = FLEET.replace("SEEN", str(tmp_path / "seen.txt")).splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "cell" not in line))
    with Fleet(file) as fleet:
        fleet.wait(60)
        fleet.change_task("r1", "bow")
        wait_until(lambda: row(fleet.status()["robots"], "r1")["task"] == "bow", "the task")
        with pytest.raises(ControlSocketError, match="pinned to 'wave'"):
            fleet.change_task("r2", "bow")
