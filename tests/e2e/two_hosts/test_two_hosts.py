"""One fleet.yaml on two hosts: the robot's, which dials out only, and the GPU's, over a wire that
delays, loses and breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, all_well, row
from holdfast.tests.e2e.two_hosts.conftest import Wire, site_file, started

pytestmark = pytest.mark.timeout(600)

Pair = tuple[FleetProcess, FleetProcess]


@pytest.fixture
def pair(wire: Wire, start_fleet: StartFleet, tmp_path: Path) -> Pair:
    """The robot's half and the GPU's of one fleet, each in its own namespace."""
    hosts = ("cell", "gpu")
    path = site_file(tmp_path, "pair", hosts, brokers=["gpu"], serve=["gpu"])
    halves = started(start_fleet, path, dict(zip(hosts, wire.names, strict=True)))
    return halves["cell"], halves["gpu"]


def robot(status: dict[str, Any]) -> dict[str, Any]:
    return row(status["robots"], "r1")


@pytest.mark.slow
def test_a_robot_streams_over_a_slow_and_lossy_wire(wire: Wire, pair: Pair) -> None:
    """20 ms each way, 2 % of the packets lost: the latency grows and no tick is missed."""
    wire.delay_s, wire.loss = 0.02, 0.02
    cell, _ = pair
    before = cell.streaming()
    after = cell.wait_for(
        lambda s: robot(s)["merged"] >= robot(before)["merged"] + 8, within_s=60.0
    )
    assert robot(after)["request_latency_ms"]["p50"] >= 40 + 30
    assert robot(after)["missed_ticks"] == robot(before)["missed_ticks"]
    assert wire.lost > 0


@pytest.mark.slow
def test_a_robot_whose_address_changes_keeps_its_session(wire: Wire, pair: Pair) -> None:
    """It comes back by a connection from the new one, without a handshake or a missed tick."""
    cell, gpu = pair
    before = cell.streaming()
    wire.readdress(0, "10.77.0.9")
    after = cell.wait_for(
        lambda s: (
            all_well(s)
            and robot(s)["merged"] >= robot(before)["merged"] + 5
            and (row(s["actors"], "r1/network")["report"] or {}).get("reconnects", 0) > 0
        ),
        within_s=60,
    )
    assert robot(after)["epoch"] == robot(before)["epoch"]
    assert robot(after)["missed_ticks"] == robot(before)["missed_ticks"]
    for half in (cell, gpu):
        half.interrupt()
        assert half.wait(60) == 0, half.said()


@pytest.mark.slow
@pytest.mark.parametrize("until", ["STALLED", "RECONNECTING"])
def test_a_robot_misses_no_tick_while_its_wire_is_cut_and_streams_again_after(
    wire: Wire, pair: Pair, until: str
) -> None:
    """A new session is opened only if the old one was given up before the wire was mended."""
    cell, gpu = pair
    before = cell.streaming()
    wire.cut = True
    cut = cell.wait_for(lambda s: robot(s)["state"] in (until, "RECONNECTING"), within_s=60)
    wire.cut = False
    after = cell.wait_for(
        lambda s: all_well(s) and robot(s)["merged"] > robot(cut)["merged"], within_s=40.0
    )
    assert robot(after)["missed_ticks"] == robot(before)["missed_ticks"]
    assert robot(after)["ticks"] > robot(cut)["ticks"] > robot(before)["ticks"]
    if robot(cut)["state"] == "RECONNECTING":
        assert robot(after)["epoch"] > robot(before)["epoch"]
    for half in (cell, gpu):
        half.interrupt()
        assert half.wait(60) == 0, half.said()


def test_a_robot_holds_while_its_gpu_host_is_dead_and_streams_again_after(
    wire: Wire, pair: Pair
) -> None:
    """SIGKILL of the other host's supervisor; its next start gives the robot a new session."""
    cell, gpu = pair
    before = cell.streaming()
    gpu.process.kill()
    gpu.process.wait(60)
    alone = cell.wait_for(lambda s: robot(s)["state"] in ("RECONNECTING", "STALLED"), within_s=60)
    # Until here: the other host's new start takes this machine's cores, not a robot's.
    assert robot(alone)["missed_ticks"] == robot(before)["missed_ticks"]
    gpu.again()
    after = cell.streaming()
    assert robot(after)["epoch"] > robot(before)["epoch"]
