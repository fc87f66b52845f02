"""A robot without a service: a person alone moves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.provenance import MOTION
from holdfast.tests.e2e.conftest import FleetProcess, row
from holdfast.tests.waiting import wait_until
from holdfast.tools.cli import executed_plot

FILE = """
name: by-hand
robots:
  - name: r1
    teleop: {driver: expert}
    record: {root: data}
    options: {seed: 1}
    cameras: {overhead: {width: 64, height: 48, fps: 15}}
gateway: {enabled: false}
"""


def test_a_robot_without_a_service_waits_for_a_person_and_follows_them(
    start_fleet: Any, tmp_path: Path
) -> None:
    """It starts paused, does a task under the expert's hands, and says what goes on when."""
    file = tmp_path / "by-hand.yaml"
    file.write_text(FILE)
    environment = {"HOLDFAST_STATE": str(tmp_path / "state")}
    fleet: FleetProcess = start_fleet(fleet=file, environment=environment)

    def robot(status: dict[str, Any]) -> dict[str, Any]:
        return row(status["robots"], "r1")

    said = "`actorctl take-over r1` goes on"
    fleet.wait_for(lambda s: (robot(s)["state"], robot(s)["reason"]) == ("PAUSED", said), 60)
    refused = fleet.actorctl("resume", "r1")
    assert refused.returncode == 2 and "has no service to give back to" in refused.stderr
    assert fleet.actorctl("take-over", "r1").returncode == 0
    done = fleet.wait_for(lambda s: robot(s)["successes"] >= 1 and s["healthy"], 180.0)
    assert robot(done)["state"] == "MANUAL"
    assert fleet.actorctl("pause", "r1").returncode == 0
    fleet.wait_for(lambda s: robot(s)["state"] == "PAUSED", 60)
    begun = fleet.actorctl("episode", "start", "r1")
    assert begun.returncode == 0, begun.stderr
    moved = fleet.actorctl("go-to", "r1")
    assert moved.returncode == 0, moved.stderr
    fleet.wait_for(lambda s: robot(s)["recording"]["frames"] > 10, 60.0)
    assert fleet.actorctl("episode", "stop", "r1").returncode == 0
    check_origins(fleet, tmp_path)


def check_origins(fleet: FleetProcess, folder: Path) -> None:
    """Rows of the motion have a provenance of their own, and the executed log tells both apart."""
    dataset = Dataset(folder / "data")
    sessions = dataset.episode(len(dataset) - 1).column("provenance")[:, 0].tolist()
    assert MOTION in sessions
    (log,) = (folder / "state").rglob("executed/r1.jsonl")

    def written() -> executed_plot.ExecutedRun | None:
        """The log, once it has both, which are written some time after they were executed."""
        run = executed_plot.newest(log, None, seconds=600.0)
        return run if {step.by for step in run.steps} >= {"person", "motion"} else None

    run = wait_until(written, "steps by the person and by the motion")
    assert run is not None and run.seams() == []
