"""A robot on a rough link: its path is lost for a while, or whatever is between forgets its
connection. It comes back by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.e2e.conftest import StartFleet, all_well
from holdfast.tests.e2e.two_hosts.conftest import SpreadFleet, Wire, site_file
from holdfast.tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


@pytest.fixture
def pair(wire: Wire, start_fleet: StartFleet, tmp_path: Path) -> SpreadFleet:
    """The robot's host and the GPU's; the robot streams."""
    hosts = ("cell", "gpu")
    path = site_file(tmp_path, "rough", hosts, brokers=["gpu"], serve=["gpu"])
    return SpreadFleet.started(start_fleet, path, wire, *hosts)


def recovery_s(pair: SpreadFleet, mend: Callable[[], None]) -> float:
    """How long after `mend` a chunk becomes part of the robot's plan."""
    merged = pair.robot()["merged"]
    began_s = time.monotonic()
    mend()
    wait_until(lambda: pair.robot()["merged"] > merged, "a chunk", within_s=60.0, every_s=0.02)
    return time.monotonic() - began_s


def lose(pair: SpreadFleet, for_s: float) -> tuple[dict[str, Any], dict[str, Any], float]:
    """The robot before its path is lost for so long, and once it streams again; how long until
    its first chunk."""
    before = pair.robot()
    pair.wire.cut = True
    time.sleep(for_s)  # how long the path is lost is what is tested

    def mend() -> None:
        pair.wire.cut = False

    took_s = recovery_s(pair, mend)
    wait_until(lambda: all_well(pair.status("cell")), "it streams", within_s=60.0)
    return before, pair.robot(), took_s


def test_a_robot_comes_back_by_itself(pair: SpreadFleet) -> None:
    """With its session if its connections were forgotten; after ten seconds with the next one."""
    before = pair.robot()
    recovery_s(pair, pair.wire.forget)
    wait_until(lambda: all_well(pair.status("cell")), "it streams", within_s=60.0)
    assert pair.robot()["epoch"] == before["epoch"]
    lost, after, _ = lose(pair, 10.0)
    assert after["epoch"] > lost["epoch"]
