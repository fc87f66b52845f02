"""An actor that dies as often as it is started ends in BACKOFF and then FAILED; no other actor is
harmed, and a person starts it again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.tests.chaos.conftest import ChaosFleet, actor, robot, streams_again
from holdfast.tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

# Nothing that is killed so soon counts as settled, however long it takes to see it.
RULES = """
    sensor: {max_restarts: 4, backoff_s: 0.2, settle_s: 600}
"""


def kill_until_failed(fleet: ChaosFleet, victim: str) -> None:
    """Kill every incarnation as soon as it is there, until it is FAILED; the log has its BACKOFF,
    which may be over before it is seen in a status."""

    def failed() -> bool:
        row = actor(fleet.status(), victim)
        if row["pid"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(row["pid"], signal.SIGKILL)
        return bool(row["state"] == "FAILED")

    wait_until(failed, f"{victim} is FAILED", within_s=120.0, every_s=0.05)
    words = ("logs", "--grep", rf"{victim}: \w+ -> BACKOFF")
    wait_until(lambda: fleet.actorctl(*words).stdout, "the record", every_s=0.5)


def test_an_actor_in_a_crash_loop_ends_failed_and_the_others_go_on(
    start_chaos: Callable[..., ChaosFleet],
) -> None:
    """Its reason names the remedy; a camera stops its robot's requests, a replica no robot."""
    fleet = start_chaos("crash-loop", RULES)
    recorders = fleet.record()
    before = fleet.status()

    kill_until_failed(fleet, "r1/overhead")
    failed = actor(fleet.status(), "r1/overhead")
    assert failed["restarts"] == 4
    assert "5 times in a row" in failed["reason"] and "actorctl start" in failed["reason"]
    assert fleet.actorctl("status").returncode != 0, "a fleet that needs a person"
    hungry = fleet.wait_for(
        lambda status: (
            robot(status, "r1")["state"] != "STREAMING"
            and robot(status, "r2")["state"] == "STREAMING"
        ),
        60,
    )
    ticks = robot(hungry, "r1")["ticks"]
    fleet.wait_for(lambda status: robot(status, "r1")["ticks"] > ticks + 60, 60)
    assert fleet.actorctl("start", "r1/overhead").returncode == 0
    fleet.wait_for(streams_again(hungry), 60)

    kill_until_failed(fleet, "pick/0")
    bereft = fleet.status()

    def streaming(status: dict[str, Any]) -> bool:
        row = robot(status, "r1")
        return row["state"] == "STREAMING" and bool(row["merged"] > robot(bereft, "r1")["merged"])

    fleet.wait_for(streaming, 60)
    after = fleet.status()
    untouched = {"broker", "r1/control", "r1/network", "r1/driver", "r2/control", "place/0"}
    for name in untouched:
        assert actor(after, name)["pid"] == actor(before, name)["pid"], f"{name} was restarted"
    assert robot(after, "r2")["stalled_ticks"] == robot(before, "r2")["stalled_ticks"]
    fleet.actorctl("start", "pick/0")
    fleet.streaming()
    fleet.end_well(recorders, {"r1": "pick", "r2": "place"})
