"""Policies of the user's own in a running fleet: of a file beside fleet.yaml, and of a script."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row
from holdfast.tests.peers.environments import importable, interpreter_of
from holdfast.tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_policy"

EXTERNAL = """
name: external
services: {mine: {replicas: external}}
robots: [{name: r1, service: mine}]
gateway: {enabled: false}
"""

SCRIPT = """
import holdfast
from lab_policy import Swing

holdfast.serve(Swing(0.2), service="mine")
"""


def shown(fleet: FleetProcess, words: str) -> str:
    """What `actorctl services` prints, once it has the words: it is of a report."""
    told = fleet.actorctl("services").stdout
    return told if words in told else ""


@pytest.mark.timeout(600)
def test_the_example_of_an_own_policy_runs_as_it_is(start_fleet: StartFleet) -> None:
    """Its replica is supervised: it is probed and hashed, and restarted when it dies."""
    fleet = start_fleet(fleet=EXAMPLE / "fleet.yaml")
    status = fleet.streaming()
    replica = row(status["actors"], "swing/0")
    report = replica["report"]
    assert (report["model"], report["mode"]) == ("swing", "shared")
    assert len(report["checkpoint"]) == 64
    services = wait_until(lambda: shown(fleet, "swing  1 replica, 1 of 8 robots"), "the service")
    assert "x, y, z, wrist, gripper (position)" in services
    assert "no service 'swong'; did you mean 'swing'?" in fleet.actorctl("services", "swong").stderr
    (row_of,) = wait_until(lambda: json.loads(fleet.actorctl("services", "--json").stdout))
    assert (row_of["chunk_size"], row_of["fps"], row_of["task_rule"]) == (45, 30.0, "the robot's")
    assert fleet.actorctl("kill", "swing/0").returncode == 0

    def again(now: dict[str, Any]) -> object:
        after = row(now["actors"], "swing/0")
        return (
            after["restarts"] >= 1
            and after["state"] == "READY"
            and after["report"]["checkpoint"] == report["checkpoint"]
            and row(now["robots"], "r1")["state"] == "STREAMING"
        )

    fleet.wait_for(again, 60.0)


@pytest.mark.timeout(600)
def test_a_policy_runs_in_the_interpreter_of_its_service(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """It is described and served there; the fleet stays in its own."""
    python = interpreter_of("plain-3.12")
    (tmp_path / "fleet.yaml").write_text(
        (EXAMPLE / "fleet.yaml")
        .read_text()
        .replace("  swing:\n", f"  swing:\n    python: {python}\n")
    )
    shutil.copy(EXAMPLE / "lab_policy.py", tmp_path)
    path = str(importable(tmp_path / "path"))
    status = start_fleet(fleet=tmp_path / "fleet.yaml", environment={"PYTHONPATH": path}).streaming(
        60.0
    )
    running = Path(f"/proc/{row(status['actors'], 'swing/0')['pid']}/exe").resolve()
    assert running == python.resolve()


@pytest.mark.timeout(600)
def test_a_robot_waits_for_the_script_that_serves_it(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """The reason says what to do; it streams once the script serves."""
    (tmp_path / "fleet.yaml").write_text(EXTERNAL)
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml")
    said = "service 'mine' has no replica: a script has to serve it: holdfast.serve("
    fleet.wait_for(lambda now: now["robots"] and said in now["robots"][0]["reason"], 60.0)
    line = "mine  no replica: a script has to serve it: holdfast.serve(policy, service='mine')\n"
    assert wait_until(lambda: shown(fleet, "mine  "), "the service") == line
    shutil.copy(EXAMPLE / "lab_policy.py", tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    script = subprocess.Popen([sys.executable, tmp_path / "script.py"], env=fleet.environment)
    try:
        fleet.streaming()
    finally:
        script.terminate()
        script.wait(60)
