"""Every kind of actor, killed, stopped and asked to end, one after the other in one running fleet:
the other robot misses no tick, nothing wrong is played, and all is well again without a person."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.tests.chaos.conftest import ChaosFleet, actor, robot, streams_again

pytestmark = pytest.mark.timeout(400)

VICTIMS = (
    "broker",
    "pick/0",
    "r1/control",
    "r1/network",
    "r1/overhead",
    "r1/world",
    "gateway",
    "witness",
)
ATTEMPTS = 3
SERVICES = {"r1": "pick", "r2": "place"}


def harm(fleet: ChaosFleet, victim: str, number: signal.Signals) -> str | None:
    """What every one of a few such disturbances costs the others, None for nothing.

    The witness tells most pauses of a shared machine from a loop's own, but not those in which only
    the loop was descheduled: these do not come back with the disturbance, and a fault does.
    """
    for _ in range(ATTEMPTS):
        cost = disturb(fleet, victim, number)
        if cost is None:
            return None
    return cost


def disturb(fleet: ChaosFleet, victim: str, number: signal.Signals) -> str | None:
    """Send a signal and wait until all is well again; the ticks that somebody missed for it."""
    before = fleet.streaming(60.0)
    pid = actor(before, victim)["pid"]
    again = streams_again(before)
    os.kill(pid, number)
    after = fleet.wait_for(
        lambda now: actor(now, victim)["pid"] not in (None, pid) and again(now), 60.0
    )
    if victim == "witness":
        return None  # while it is gone, nobody can tell the machine's pauses from a loop's
    for name in ("r1", "r2"):
        if victim != f"{name}/control":
            missed = robot(after, name)["missed_ticks"] - robot(before, name)["missed_ticks"]
            if missed:
                return f"{name} missed {missed} ticks after {number.name} to {victim}"
    return None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_one_after_the_other_comes_back_and_nobody_else_notices(
    start_chaos: Callable[..., ChaosFleet], number: signal.Signals
) -> None:
    """SIGSTOP is the hang: nothing but missing progress shows it."""
    fleet = start_chaos(f"chaos-{number.name.lower()}")
    recorders = fleet.record()
    began = time.monotonic()
    broken = [fault for victim in VICTIMS if (fault := harm(fleet, victim, number))]
    took_s = time.monotonic() - began
    assert not broken, broken
    report = fleet.end_well(recorders, SERVICES)
    restarts: dict[str, Any] = {a["name"]: a["restarts"] for a in report["actors"]}
    assert {name for name, count in restarts.items() if count} == set(VICTIMS)
    assert max(restarts.values()) <= ATTEMPTS
    assert robot(report, "r2")["missed_ticks_restart"] == 0
    assert took_s < 200
