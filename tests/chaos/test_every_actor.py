"""Every kind of actor, killed, stopped and asked to end, one after the other in one running fleet:
the other robot misses no tick, nothing wrong is played, and all is well again without a person."""

from __future__ import annotations

import os
import signal
import time
import warnings
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
ATTEMPTS = 2
SERVICES = {"r1": "pick", "r2": "place"}


def harm(fleet: ChaosFleet, victim: str, number: signal.Signals) -> str | None:
    """What such a disturbance costs the others, None for nothing. It is repeated where the witness
    saw the machine pause meanwhile: a loop that missed a tick then may not be to blame."""
    for _ in range(ATTEMPTS):
        before, after = disturb(fleet, victim, number)
        cost = missed(before, after, victim)
        if cost is None or not _paused(before, after):
            return cost
    warnings.warn(f"not judged, on a machine that pauses: {cost}", stacklevel=2)
    return None


def disturb(
    fleet: ChaosFleet, victim: str, number: signal.Signals
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Send a signal and wait until all is well again; the status before and after."""
    before = fleet.streaming(60.0)
    pid = actor(before, victim)["pid"]
    again = streams_again(before)
    os.kill(pid, number)
    after = fleet.wait_for(
        lambda now: actor(now, victim)["pid"] not in (None, pid) and again(now), 60.0
    )
    return before, after


def missed(before: dict[str, Any], after: dict[str, Any], victim: str) -> str | None:
    """Who missed ticks, but for the victim itself."""
    for name in ("r1", "r2"):
        ticks = robot(after, name)["missed_ticks"] - robot(before, name)["missed_ticks"]
        if ticks and victim != f"{name}/control":
            return f"{name} missed {ticks} ticks when {victim} was disturbed"
    return None


def _paused(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the machine paused; a witness that was itself the victim cannot say."""
    pids = {actor(status, "witness")["pid"] for status in (before, after)}
    counts = {(status["witness"] or {}).get("pauses") for status in (before, after)}
    return len(pids) > 1 or len(counts) > 1


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
