"""Every kind of actor killed, stopped and asked to end, one after the other in one running fleet:
the other robot misses no tick, no wrong action is played, and all is well again by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.tests.chaos.conftest import ChaosFleet, actor, robot, streams_again
from holdfast.tests.chaos.witnesses import Disturbance, Witnesses, harmed

pytestmark = pytest.mark.timeout(600)

VICTIMS = (
    "broker",
    "pick/0",
    "r1/control",
    "r1/network",
    "r1/overhead",
    "r1/driver",
    "gateway",
    "witness",
)
HANGS = {signal.SIGKILL: {}, signal.SIGTERM: {}, signal.SIGSTOP: {"hang_s": 2.5}}
"""Only what missing progress alone shows needs a hang timeout that is soon over."""
SERVICES = {"r1": "pick", "r2": "place"}
PERIOD_NS = round(1e9 / 30)


def disturb(fleet: ChaosFleet, victim: str, number: signal.Signals) -> Disturbance:
    """Send a signal and wait until all is well again."""
    before = fleet.streaming()
    pid = actor(before, victim)["pid"]
    again = streams_again(before)
    began = time.monotonic_ns()
    os.kill(pid, number)
    fleet.wait_for(
        lambda status: actor(status, victim)["pid"] not in (None, pid) and again(status), 60.0
    )
    return Disturbance(victim, began, time.monotonic_ns())


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGSTOP, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
    ],
    ids=lambda number: number.name,
)
def test_a_signalled_actor_comes_back_and_costs_no_other_robot_a_tick(
    start_chaos: Callable[..., ChaosFleet], number: signal.Signals, witnesses: Witnesses
) -> None:
    """SIGKILL, SIGTERM, and SIGSTOP, which only missing progress shows: one restart each."""
    fleet = start_chaos(f"chaos-{number.name.lower()}", **HANGS[number])
    recorders = fleet.record()
    began = time.monotonic()
    disturbances = [disturb(fleet, victim, number) for victim in VICTIMS]
    took_s = time.monotonic() - began
    report = fleet.end_well(recorders, SERVICES)
    pauses = witnesses.end()
    assert [r.robot for r in recorders] == list(SERVICES)
    for recorder in recorders:
        seen_s = (recorder.ticks[-1].instant_ns - recorder.ticks[0].instant_ns) / 1e9
        assert seen_s > took_s - 1, f"of {took_s} s the recorder saw {seen_s}"
        assert recorder.reader.lost == 0, "the recorder was too slow to judge by"
        fault = harmed(recorder.robot, recorder.ticks, PERIOD_NS, disturbances, pauses)
        assert not fault, fault
    restarts: dict[str, Any] = {a["name"]: a["restarts"] for a in report["actors"]}
    assert {name: count for name, count in restarts.items() if count} == dict.fromkeys(VICTIMS, 1)
    assert robot(report, "r2")["missed_ticks_restart"] == 0
