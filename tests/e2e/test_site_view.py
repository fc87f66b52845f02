"""Two hosts of a fleet, here on two loopback addresses: the broker's shows them both, and each
answers for its own health."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row
from holdfast.tests.free_ports import free_port
from holdfast.tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

FLEET = """
name: two
hosts: {hub: {address: 127.0.0.1}, cell: {address: 127.0.0.2}}
broker: {host: hub, front_port: %d, back_port: %d}
supervision: {spares: 0, policy_spare: false, rules: {driver: {hang_timeout_s: 20}}}
services:
  pick: {policy: constant, checkpoint: conveyor-flow, host: hub}
robots:
  - name: r1
    host: cell
    service: pick
    cameras: {overhead: &small {width: 64, height: 48, fps: 15}, wrist: *small}
"""


@pytest.fixture
def hosts(start_fleet: StartFleet, tmp_path: Path) -> dict[str, FleetProcess]:
    """Both hosts by name; the robot streams."""
    file = tmp_path / "two.yaml"
    file.write_text(FLEET % (free_port(), free_port()))
    parts: dict[str, FleetProcess] = {}
    for host in ("hub", "cell"):
        own = {"HOLDFAST_RUNTIME": str(tmp_path / f"{host}-r")}
        own["HOLDFAST_STATE"] = str(tmp_path / f"{host}-s")
        parts[host] = start_fleet("--host", host, fleet=file, environment=own)
    parts["cell"].streaming()
    return parts


def shows(host: FleetProcess, metric: str) -> None:
    """Wait until the metrics of the host's gateway have that line."""
    wait_until(lambda: metric in host.page("metrics")[1].splitlines(), metric, 60, every_s=0.2)


def elsewhere(hub: FleetProcess) -> dict[str, dict[str, Any]]:
    """The hub's rows of the other host's actors, by their names there."""
    rows = hub.asked().get("site", {}).get("actors", [])
    return {each["actor"]: each for each in rows if each["where"] == "cell"}


def test_the_brokers_host_shows_every_host_and_each_answers_for_its_own_health(
    hosts: dict[str, FleetProcess],
) -> None:
    """A killed driver shows in the status elsewhere, a hung one in its own host's health only."""
    hub, cell = hosts["hub"], hosts["cell"]
    everything = {actor["name"] for actor in cell.asked()["actors"]}
    assert "gateway" in everything
    wait_until(lambda: elsewhere(hub).keys() == everything, "all are shown", every_s=0.2)
    hub.wait_for(lambda s: [robot["name"] for robot in s["site"]["robots"]] == ["r1"], 60)
    assert not any(each["where"] == "hub" for each in hub.asked()["site"]["actors"])

    pid = row(cell.asked()["actors"], "r1/driver")["pid"]
    wait_until(lambda: elsewhere(hub)["r1/driver"]["pid"] == pid, "its process", every_s=0.2)
    os.kill(pid, signal.SIGKILL)

    def restarted() -> bool:
        shown = elsewhere(hub).get("r1/driver", {"restarts": 0})
        return bool(shown["restarts"] >= 1 and shown["state"] == "READY")

    wait_until(restarted, "the restart is shown on the broker's host", 60, every_s=0.2)

    def said() -> bool:
        words = hub.actorctl("status").stdout
        return "other actor" in words and "r1/driver" in words

    wait_until(said, "the driver in the words of the broker's host")

    wait_until(lambda: cell.page("healthz")[0] == 200, "the cell is well again", 60, every_s=0.2)
    # Each answer comes from a gateway that asks for the status now and then.
    shows(cell, 'holdfast_host_info{host="cell"} 1.0')
    shows(hub, 'holdfast_host_info{host="hub"} 1.0')
    labels = 'actor="r1/driver",kind="driver",where="cell"'
    restarts = row(cell.asked()["actors"], "r1/driver")["restarts"]
    shows(hub, f"holdfast_site_actor_restarts_total{{{labels}}} {restarts:.1f}")

    def hung() -> bool:
        status, faults = cell.page("healthz")
        age_s = elsewhere(hub)["r1/driver"]["progress_age_s"]
        seen = status == 503 and "r1/driver" in faults and age_s > 1.0
        return bool(seen and hub.page("healthz")[0] == 200)

    pid = row(cell.asked()["actors"], "r1/driver")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(hung, "a hang is seen in the cell's health only", 60, every_s=0.2)
    finally:
        os.kill(pid, signal.SIGCONT)
