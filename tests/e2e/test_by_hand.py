"""A robot without a service: a person alone moves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.tests.e2e.conftest import FleetProcess, row

FILE = """
name: by-hand
robots:
  - name: r1
    teleop: {driver: expert}
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
    fleet: FleetProcess = start_fleet(fleet=file)

    def robot(status: dict[str, Any]) -> dict[str, Any]:
        return row(status["robots"], "r1") if status else {"state": "", "successes": 0}

    waiting = fleet.wait_for(lambda s: robot(s)["state"] == "PAUSED", 30.0)
    assert robot(waiting)["reason"] == "`actorctl take-over r1` goes on"
    refused = fleet.actorctl("resume", "r1")
    assert refused.returncode == 2 and "has no service to give back to" in refused.stderr
    assert fleet.actorctl("take-over", "r1").returncode == 0
    done = fleet.wait_for(lambda s: robot(s)["successes"] >= 1, 40.0)
    assert robot(done)["state"] == "MANUAL" and done["healthy"], done["health"]
    assert fleet.actorctl("pause", "r1").returncode == 0
    fleet.wait_for(lambda s: robot(s)["state"] == "PAUSED", 10.0)
