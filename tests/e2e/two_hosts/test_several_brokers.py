"""A site with two brokers: a robot goes on by one when the other is dead, or cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.e2e.conftest import StartFleet, all_well, row
from holdfast.tests.e2e.two_hosts.conftest import SpreadFleet, kill, laid, site_file
from holdfast.tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

HOSTS = ("cell", "hub1", "hub2", "gpu")


class Twin(SpreadFleet):
    """By which broker the robot goes, and what each broker has of it."""

    def used(self) -> str:
        """The host of the broker by which the robot's session goes; empty without one."""
        report = row(self.status("cell")["actors"], "r1/network")["report"] or {"brokers": []}
        hosts = {"tcp://10.77.0.2:7447": "hub1", "tcp://10.77.0.3:7447": "hub2"}
        return "".join(hosts[each["endpoint"]] for each in report["brokers"] if each["used"])

    def held(self, host: str) -> tuple[list[str], list[str]]:
        """The replicas that a broker knows, and the robots that it has sessions of; none while it
        is not there."""
        status = self.parts[host].asked()
        report = status and row(status["actors"], "broker")["report"]
        if not report:
            return [], []
        robots = [each["robot"] for each in report["sessions"] if each["state"] == "open"]
        return [each["name"] for each in report["replicas"]], robots

    def tear(self, *hosts: str) -> None:
        """Cut the way between two hosts."""
        self.wire.torn.add(frozenset(map(self.namespace, hosts)))


@pytest.fixture
def twin(start_fleet: StartFleet, tmp_path: Path) -> Iterator[Twin]:
    """All four started; the robot streams, and its replica is known to both brokers."""
    path = site_file(tmp_path, "twin", HOSTS, brokers=["hub1", "hub2"], serve=["gpu"])
    with laid(*HOSTS) as wire:
        made = Twin.started(start_fleet, path, wire, *HOSTS)
        wait_until(lambda: made.held("hub1")[0] == made.held("hub2")[0] == ["pick/0"])
        yield made


def goes_on(twin: Twin, before: dict[str, Any], at: str, gone: str = "") -> None:
    """The robot is served by the broker at `at`, of which it noticed nothing; the other one, unless
    it is gone, has no session of it left."""
    wait_until(lambda: twin.used() == at, f"the robot goes by {at}", every_s=0.1)
    merged = twin.robot()["merged"]
    wait_until(
        lambda: twin.robot()["merged"] >= merged + 3 and all_well(twin.status("cell")),
        "it streams there",
    )
    after = twin.robot()
    for count in ("stalled_ticks", "epoch", "void_dropped", "stale_dropped"):
        assert after[count] == before[count], count
    wait_until(lambda: twin.held(at)[1] == ["r1"], f"{at} has its session")
    if not gone:
        other = "hub2" if at == "hub1" else "hub1"
        wait_until(lambda: twin.held(other) == (["pick/0"], []))


def test_a_robot_goes_on_by_the_other_broker(twin: Twin) -> None:
    """Cut from the robot, cut from the replica, or killed: no tick stalls, the session holds."""
    before, first = twin.robot(), wait_until(twin.used, "the robot goes by one")
    second = "hub2" if first == "hub1" else "hub1"

    twin.tear("cell", first)
    goes_on(twin, before, second, gone=first)
    twin.wire.torn.clear()
    goes_on(twin, before, second)

    twin.tear("gpu", second)
    goes_on(twin, before, first, gone=second)
    twin.wire.torn.clear()
    goes_on(twin, before, first)

    kill(twin.parts[first])
    goes_on(twin, before, second, gone=first)
    twin.parts[first].again()
    wait_until(lambda: twin.held(first)[0] == ["pick/0"], "the dead one is back", 180.0)
    goes_on(twin, before, second)
