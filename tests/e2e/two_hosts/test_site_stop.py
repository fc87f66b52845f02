"""The emergency stop over two hosts with keys: the broker's, with a robot of its own, and another
robot's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import ControlSocketError
from holdfast.tests.e2e.conftest import StartFleet, row
from holdfast.tests.e2e.two_hosts.conftest import SpreadFleet, Wire, kill, site_file
from holdfast.tests.waiting import wait_until
from holdfast.transport.keys import Role, new

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

ROBOTS = {"r1": "cell", "r2": "hub"}
KEYS = {
    "broker": Role.BROKER,
    "pick/0": Role.REPLICA,
    "operator": Role.OPERATOR,
    **dict.fromkeys(ROBOTS, Role.ROBOT),
}


class Stoppable(SpreadFleet):
    """Its robots, and what `actorctl estop` says on a host."""

    def states(self) -> dict[str, str]:
        """By robot; "" while its host's supervisor does not answer."""
        found = {}
        for robot, host in ROBOTS.items():
            try:
                found[robot] = row(self.status(host)["robots"], robot)["state"]
            except ControlSocketError:
                found[robot] = ""
        return found

    def are(self, **states: str) -> None:
        """Wait until the robots are so."""
        wait_until(lambda: self.states() == states, f"robots are {states}", within_s=90.0)

    def estop(self, host: str, *words: str) -> tuple[int, dict[str, Any]]:
        """The exit status, and the outcome of each robot."""
        # Inside: a driver answers to an address that only its own namespace has.
        inside = ("ip", "netns", "exec", self.namespace(host))
        done = self.parts[host].actorctl("estop", "--json", *words, inside=inside)
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, {outcome["robot"]: outcome for outcome in outcomes}


@pytest.fixture
def site(wire: Wire, start_fleet: StartFleet, tmp_path: Path) -> Stoppable:
    """Both hosts started; both robots stream."""
    for name, role in KEYS.items():
        new(name, role, tmp_path / "keys")
    hosts = ("cell", "hub")
    security = {"keys": str(tmp_path / "keys")}
    where: dict[str, Any] = {"brokers": ["hub"], "serve": ["hub"], "robots": ROBOTS}
    path = site_file(tmp_path, "halt", hosts, **where, security=security)
    made = Stoppable.started(start_fleet, path, wire, *hosts)
    made.are(r1="STREAMING", r2="STREAMING")
    return made


Outcome = dict[str, Any]


def all_are(outcomes: dict[str, Outcome], what: Callable[[Outcome], bool]) -> bool:
    return outcomes.keys() == ROBOTS.keys() and all(what(each) for each in outcomes.values())


def test_a_stop_reaches_the_robots_of_every_host_and_is_lifted_by_an_operator(
    site: Stoppable, tmp_path: Path
) -> None:
    """It outlasts the death of both, and reaches a robot that was cut off once that is back."""
    operator = ("--key", str(tmp_path / "keys" / "operator.key"))
    status, outcomes = site.estop("hub", "--why", "smoke")
    assert status == 0 and all_are(outcomes, lambda o: o["latched"] and o["confirmed"]), outcomes
    site.are(r1="STOPPED", r2="STOPPED")
    assert "smoke" in site.robot()["reason"]

    for part in site.parts.values():
        kill(part)
    for part in site.parts.values():
        part.again()
    site.are(r1="STOPPED", r2="STOPPED")
    status, outcomes = site.estop("cell", "--release", "--all")
    assert status == 1 and all_are(outcomes, lambda o: "operator" in o["message"]), outcomes
    site.are(r1="STOPPED", r2="STOPPED")
    wait_until(lambda: site.estop("cell", "--release", "--all", *operator)[0] == 0, within_s=60.0)
    site.are(r1="STREAMING", r2="STREAMING")

    site.wire.cut = True
    status, outcomes = site.estop("hub")
    assert status == 1 and outcomes["r2"]["confirmed"] and not outcomes["r1"]["latched"]
    assert "not reached" in outcomes["r1"]["message"] and "host cell" in outcomes["r1"]["message"]
    assert site.states()["r1"] != "STOPPED"
    site.wire.cut = False
    site.are(r1="STOPPED", r2="STOPPED")
    wait_until(lambda: site.estop("hub", "--release", "--all", *operator)[0] == 0, within_s=60.0)
    site.are(r1="STREAMING", r2="STREAMING")

    status, outcomes = site.estop("cell", "r2")
    assert status == 0 and list(outcomes) == ["r2"]
    site.are(r1="STREAMING", r2="STOPPED")
