"""One service on two GPU hosts, a robot on a third, the broker on a fourth: the robot of a dead or
unreachable GPU host goes on at the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.tests.e2e.conftest import StartFleet, all_well
from holdfast.tests.e2e.two_hosts.conftest import SpreadFleet, kill, laid, site_file
from holdfast.tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

HOSTS = ("cell", "hub", "gpu1", "gpu2")


class Spread(SpreadFleet):
    """Who serves the robot, as the broker on its hub says."""

    def replica(self) -> str:
        """Where the broker has the robot's session; empty without one."""
        rows = self.status("hub")["site"]["robots"]
        return next((r["replica"] for r in rows if r["name"] == "r1"), "")

    def served(self) -> set[str]:
        """The replicas that the broker knows."""
        return {r["name"] for r in self.status("hub")["site"]["replicas"]}


@pytest.fixture
def spread(start_fleet: StartFleet, tmp_path: Path) -> Iterator[Spread]:
    """All four started; the robot streams, and both replicas serve."""
    path = site_file(tmp_path, "spread", HOSTS, brokers=["hub"], serve=["gpu1", "gpu2"])
    with laid(*HOSTS) as wire:
        made = Spread.started(start_fleet, path, wire, *HOSTS)
        wait_until(lambda: made.served() == {"pick/0", "pick/1"})
        yield made


@pytest.mark.parametrize("fault", ["killed", "cut off"])
def test_the_robot_of_a_lost_gpu_host_goes_on_at_the_other(spread: Spread, fault: str) -> None:
    """It misses no tick, is never without a plan and keeps its session, also once that is back."""
    lost, other = ("gpu1", "pick/1") if spread.replica() == "pick/0" else ("gpu2", "pick/0")
    before = spread.robot()
    if fault == "killed":
        kill(spread.parts[lost])
    else:
        spread.wire.apart = {spread.namespace(lost)}
    states: set[str] = set()

    def moved() -> bool:
        robot = spread.robot()
        states.add(robot["state"])
        return spread.replica() == other and bool(robot["merged"] >= before["merged"] + 4)

    wait_until(moved, "the robot is served by the other host", every_s=0.1)
    wait_until(lambda: spread.served() == {other}, "the lost one is given up")
    after = spread.robot()
    assert states <= {"STREAMING", "DEGRADED"}
    assert after["missed_ticks"] == before["missed_ticks"]
    for count in ("stalled_ticks", "epoch", "void_dropped", "stale_dropped"):
        assert after[count] == before[count], count
    if fault == "killed":
        spread.parts[lost].again()
    else:
        spread.wire.apart = set()
    wait_until(lambda: len(spread.served()) == 2, "the lost host is back")
    merged = spread.robot()["merged"]
    wait_until(
        lambda: all_well(spread.status("cell")) and spread.robot()["merged"] >= merged + 3,
    )
    assert (spread.replica(), spread.robot()["epoch"]) == (other, before["epoch"])
