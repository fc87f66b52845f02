"""A person's hands in a running fleet: the robot never jumps, whichever process dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from holdfast.actors.control.tick_log import TickRecord
from holdfast.robot.sim.arm import SPEC
from holdfast.tests.chaos.conftest import ChaosFleet, actor, robot, streams_again

TICK_S = 1 / 30
MOVED = np.array(SPEC.max_rate) * TICK_S * 1.01 + 1e-3
"""The furthest from one tick's command to the next's."""


def jumps(ticks: list[TickRecord]) -> list[int]:
    """The ticks whose command is further than a tick's step from the command before; after ticks
    without one, or that a busy machine missed, it may be as many steps away as periods passed."""
    found, last, last_s = [], None, 0.0
    for tick in ticks:
        if tick.command is None:
            continue
        due_s = (tick.instant_ns - tick.lateness_ns) / 1e9
        periods = round((due_s - last_s) / TICK_S)
        if last is not None and (np.abs(tick.command - last) > MOVED * min(periods + 1, 10)).any():
            found.append(tick.number)
        last, last_s = tick.command, due_s
    return found


@pytest.mark.timeout(600)
def test_a_person_takes_over_and_gives_back_and_nothing_that_dies_makes_the_robot_jump(
    start_chaos: Callable[..., ChaosFleet],
) -> None:
    """Device killed: a pause. Control killed: still the person's. Given back: a new plan."""
    fleet = start_chaos("handover")
    recorders = fleet.record()
    before = fleet.streaming()
    assert "r2: it has no teleoperator" in fleet.actorctl("take-over", "r2").stderr.replace(
        "r2/control", "r2"
    )
    assert fleet.actorctl("take-over", "r1").returncode == 0
    manual = fleet.wait_for(
        lambda s: (
            robot(s, "r1")["state"] == "MANUAL"
            and actor(s, "r1/teleop")["report"]["in_command"]
            and robot(s, "r1")["ticks"] > robot(before, "r1")["ticks"] + 60
            and s["healthy"]
        ),
        60,
    )
    os.kill(actor(manual, "r1/teleop")["pid"], signal.SIGSTOP)
    silent = fleet.wait_for(lambda s: "silent" in robot(s, "r1")["reason"], 60)
    assert robot(silent, "r1")["state"] == "MANUAL"
    # Its hang timeout is longer than all of this: it is there until now.
    os.kill(actor(manual, "r1/teleop")["pid"], signal.SIGKILL)
    back = fleet.wait_for(
        lambda s: actor(s, "r1/teleop")["incarnation"] > 1 and "resume" in robot(s, "r1")["reason"],
        60,
    )
    os.kill(actor(back, "r1/control")["pid"], signal.SIGKILL)
    fleet.wait_for(
        lambda s: (
            actor(s, "r1/control")["incarnation"] > 1
            and robot(s, "r1")["state"] == "MANUAL"
            and "resume" in robot(s, "r1")["reason"]
        ),
        60,
    )
    assert fleet.actorctl("resume", "r1").returncode == 0
    fleet.wait_for(streams_again(before), 60)
    for recorder in recorders:
        recorder.end()
    ticks = next(r.ticks for r in recorders if r.robot == "r1")
    by_hand = [tick for tick in ticks if tick.manual and tick.command is not None]
    assert len(by_hand) > 30 and not any(tick.provenance for tick in by_hand)
    assert jumps(ticks) == []
    last = max(tick.number for tick in ticks if tick.manual)
    played = [t for t in ticks if t.provenance and t.observed_ns]
    handed_ns = next(t.instant_ns for t in ticks if t.number == last)
    later = [t for t in played if t.number > last]
    period_ns = round(TICK_S * 1e9)
    assert later and min(t.observed_ns or 0 for t in later) > handed_ns - 3 * period_ns
    assert all(a.number < b.number for a, b in pairwise(ticks))
