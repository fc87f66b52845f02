"""What is known is shown: in the status, the log, metrics and health of a running fleet."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.e2e.conftest import FleetProcess, StartFleet
from holdfast.tests.e2e.scripts import LAB, PLAY, SERVE
from holdfast.tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

SIXTY = """
name: sixty
services:
  pick: {policy: constant, checkpoint: conveyor-flow}
robots:
  - name: r1
    service: pick
    fps: 60
    cameras: {overhead: &small {width: 64, height: 48, fps: 15}, wrist: *small}
"""
PATIENT = LAB + "supervision: {rules: {broker: {hang_timeout_s: 20}}}\n"
"""With time to ask for the health of a hung broker, also on a busy machine: it counts as failing
after half of it, and the test ends it then."""


def shows(fleet: FleetProcess, metric: str) -> None:
    """Wait until the metrics of its gateway, which asks now and then, have that text."""
    wait_until(lambda: metric in fleet.page("metrics")[1], metric, every_s=0.2)


def test_a_handshakes_warning_is_in_status_log_and_metrics_and_leaves_the_fleet_healthy(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """A robot of 60 Hz on a policy of 30 Hz is warned of; exit status and readiness stay good."""
    (tmp_path / "fleet.yaml").write_text(SIXTY)
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml")
    status = fleet.wait_for(lambda s: s["robots"][0]["warnings"], 60)
    fleet.streaming()
    (warning,) = [w for w in status["robots"][0]["warnings"] if "60 Hz" in w]

    def healthy_and_warned() -> bool:
        done = fleet.actorctl("status")
        shown = " ".join(done.stdout.split())
        return done.returncode == 0 and f"r1: warning: {warning}" in shown

    wait_until(healthy_and_warned, "exit status 0 with the warning")
    fleet.wait_for(lambda s: warning in fleet.actorctl("logs", "--level", "warning").stdout, 60)
    shows(fleet, 'holdfast_robot_warnings{robot="r1"} 1.0')
    wait_until(lambda: fleet.page("readyz")[0] == 200, "readiness", every_s=0.2)


def test_scripts_that_serve_or_play_are_in_status_capacity_and_metrics(
    start_fleet: StartFleet, scripts: Callable[[str], None], tmp_path: Path
) -> None:
    """With their state, the reason for it, and that they are scripts; the API needs the token."""
    (tmp_path / "fleet.yaml").write_text(LAB)
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml")
    fleet.streaming()
    fleet.wait_for(lambda s: not any(s["site"].values()), 60)
    scripts(SERVE)
    fleet.wait_for(lambda s: s["site"]["replicas"], 60)
    scripts(PLAY.format(service="nod", robot="bench"))
    scripts(PLAY.format(service="nodd", robot="lost"))

    def both(status: dict[str, Any]) -> bool:
        rows = {row["name"]: row for row in status["site"]["robots"]}
        states = {name: row["state"] for name, row in rows.items()}
        return (
            states == {"bench": "STREAMING", "lost": "CONNECTING"}
            and any("100 Hz" in warning for warning in rows["bench"]["warnings"])
            and "nodd" in rows["lost"]["reason"]
            and bool(status["healthy"])  # whose they are has to mend them
        )

    status = fleet.wait_for(both, 60)
    assert {row["where"] for row in status["site"]["robots"]} == {"script"}

    def shown() -> bool:
        text = " ".join(fleet.actorctl("status").stdout.split())
        return "lost (script): CONNECTING: " in text and "nodd" in text

    def carried() -> bool:
        """Whether both forms say the same of the capacity, which is measured again and again."""
        rows = json.loads(fleet.actorctl("capacity", "--json").stdout)
        words = fleet.actorctl("capacity").stdout
        return len(rows) == 1 and (
            rows[0]["where"] == "script"
            and rows[0]["robots"] > 0
            and f"carries {rows[0]['robots']} robots" in words
        )

    wait_until(shown, "the robot without a service is shown")
    wait_until(carried, "the capacity of the script is shown")
    shows(fleet, 'holdfast_site_robot_state{robot="bench",state="STREAMING",where="script"} 1.0')
    shows(fleet, "holdfast_site_replica_load_ratio{")
    assert fleet.page("api/status")[0] == 401


@pytest.mark.slow
def test_the_health_page_names_an_actor_that_hangs_before_it_is_killed(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """It answers with the actor's name while progress is missing, and 200 once it is back."""
    (tmp_path / "fleet.yaml").write_text(PATIENT)
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml")
    fleet.streaming()
    wait_until(lambda: fleet.page("healthz") == (200, "ok\n"), "health", every_s=0.2)
    pid = fleet.actor("broker")["pid"]
    os.kill(pid, signal.SIGSTOP)
    fleet.wait_for(lambda s: "broker has made no progress" in fleet.page("healthz")[1], 60)
    os.kill(pid, signal.SIGCONT)
    fleet.wait_for(lambda s: fleet.page("healthz")[0] == 200, 60)
    assert fleet.actor("broker")["pid"] == pid, "it was named before the supervisor ended it"


def test_the_exit_status_of_status_is_1_while_an_actor_is_stopped_by_a_person(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """0 needs every actor READY; a stop on request leaves the fleet healthy."""
    (tmp_path / "fleet.yaml").write_text(LAB)
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml")
    fleet.streaming()
    wait_until(lambda: fleet.actorctl("status").returncode == 0, "all is ready")
    assert fleet.actorctl("stop", "broker").returncode == 0
    done = fleet.actorctl("status")
    assert done.returncode == 1
    assert "broker: STOPPED: stopped by a person; `actorctl start broker`" in done.stdout
    fleet.wait_for(lambda s: s["healthy"], 60)
