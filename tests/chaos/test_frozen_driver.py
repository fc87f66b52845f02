"""A driver that stands still, in a running fleet, seen from outside: by the tick log."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from holdfast.robot.sim.arm import DT
from holdfast.tests.chaos.conftest import ChaosFleet, actor, robot, streams_again

FROZEN_S = 1.3
LOST_AFTER_S = 0.3
GONE = "driver is gone: its state stands still for more than 0.3 s"
TICK_S = 1 / 30


@pytest.mark.timeout(600)
def test_a_robot_with_a_frozen_driver_is_commanded_nothing_and_drops_its_plan(
    start_chaos: Callable[..., ChaosFleet],
) -> None:
    """No command from 0.3 s on; what is played later was observed after its return."""
    fleet = start_chaos("frozen")
    recorders = fleet.record()
    before = fleet.streaming()
    pid = actor(before, "r1/driver")["pid"]
    os.kill(pid, signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    held = fleet.wait_for(
        lambda status: (
            time.monotonic_ns() - stopped_ns > FROZEN_S * 1e9
            and robot(status, "r1")["ticks"] > robot(before, "r1")["ticks"] + 60
            and GONE in robot(status, "r1")["reason"]
        ),
        60,
    )
    continued_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGCONT)
    after = fleet.wait_for(streams_again(held), 60.0)
    for recorder in recorders:
        recorder.end()

    # A gap, not a tick without a state: a slow machine may add one or two of its own.
    assert 1 <= robot(after, "r1")["driver_gaps"] - robot(before, "r1")["driver_gaps"] < 10
    assert robot(after, "r1")["void_dropped"] > robot(before, "r1")["void_dropped"]
    assert actor(after, "r1/driver")["pid"] == pid, "it was not restarted"
    ticks = next(r.ticks for r in recorders if r.robot == "r1")
    # A state that was read is at most a tick old, and so is what is found out about it.
    lost_ns = stopped_ns + (LOST_AFTER_S + 2 * TICK_S) * 1e9
    silent = [t for t in ticks if lost_ns < t.instant_ns < continued_ns]
    assert len(silent) > 15
    assert [t for t in silent if t.command is not None] == []
    played = [t.provenance.seq for t in ticks if t.provenance and t.instant_ns <= continued_ns]
    later = [t for t in ticks if t.provenance and t.instant_ns > continued_ns]
    assert later and min(t.provenance.seq for t in later if t.provenance) > max(played)
    # The state of a simulated robot is that of its last physics step.
    seen_ns = continued_ns - round(DT * 1e9)
    assert min(t.observed_ns or 0 for t in later) > seen_ns, "made from what was seen since"
