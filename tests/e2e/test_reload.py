"""`supervisor reload` of a fleet at work: what a new robot or service does not concern runs on."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from holdfast.tests.waiting import wait_until

from .conftest import BIN, StartFleet, all_well, row

ROBOT = """
  - name: {name}
    service: pick
    options: {{seed: {seed}}}
    cameras: {{overhead: {{width: 128, height: 96}}, wrist: {{width: 128, height: 96}}}}
"""
FLEET = """
name: growing
services:
  pick: {policy: constant, checkpoint: conveyor-flow}
"""


def test_a_robot_and_a_service_are_added_while_all_others_run_on(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """The new robot's images are read in its cameras' rings by the replica that runs, too."""
    path = tmp_path / "growing.yaml"
    path.write_text(FLEET + "robots:" + ROBOT.format(name="r1", seed=1))
    fleet = start_fleet(fleet=path)
    fleet.streaming()
    before = fleet.pids()
    robots = "".join(ROBOT.format(name=f"r{k}", seed=k) for k in (1, 2))
    path.write_text(FLEET + "  mine: {replicas: external}\nrobots:" + robots)
    done = subprocess.run(
        [BIN / "supervisor", "reload", path],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    assert "= broker  runs on with (external: [] -> ['mine']" in done.stdout
    assert "= pick/0  runs on with (outboxes.r2 is new: 'r2/outbox'" in done.stdout
    assert "= gateway  runs on with (cameras.r2/overhead is new" in done.stdout
    assert "~" not in done.stdout

    def by_memory(status: dict[str, Any], robot: str) -> bool:
        report = row(status["actors"], f"{robot}/network")["report"] or {}
        shared = report.get("shared_frames", {})
        # A frame that the machine's other work delayed for too long is gone, for a minute.
        return bool(report.get("shm") and shared.get("in_rings", 0) > shared.get("gone", 0))

    fleet.wait_for(
        lambda s: (
            len(s["robots"]) == 2 and all_well(s) and all(by_memory(s, r) for r in ("r1", "r2"))
        ),
        180,
    )
    assert before.items() <= fleet.pids().items()
    said = "a script has to serve it"
    wait_until(lambda: said in fleet.actorctl("services").stdout, said)
