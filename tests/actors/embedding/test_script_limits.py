"""The limits of a script's robot: stated as in fleet.yaml, held by the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from holdfast import ControlMode, PlanSettings, RemotePolicy, RobotSpec

from .conftest import Loop

Make = Callable[..., Loop]

FPS = 30.0
RATE = 1.0
"""Units per second: the server's actions are the instant that they are meant for, in seconds."""
AMPLE = {"t": {"max_rate": RATE * 1.2}}
BY_TIME = PlanSettings(trim="time", buffer_time_s=1.0)


def follow(script: Loop, hz: float, seconds: float) -> list[float | None]:
    """Call `act` at `hz` with an arm that is at 3, or where it was commanded, and a server that
    plans from where it is: its actions."""
    script.server.from_state = True
    found: list[float | None] = []
    position = 3.0
    for _ in range(round(hz * seconds)):
        action = script.policy.act({"state": np.array([position])})
        found.append(None if action is None else float(action[0]))
        position = position if action is None else float(action[0])
        script.clock.sleep(1 / hz)
    script.server.from_state = False
    return found


@pytest.mark.parametrize("limits", [AMPLE, RobotSpec(("u", "t"), ("t",), max_rate=(9, RATE * 1.2))])
def test_actions_within_the_limits_are_played(loop: Make, limits: object) -> None:
    """Given by name, or taken from a RobotSpec by name."""
    script = loop(limits=limits)
    assert None not in follow(script, FPS, 3)[10:]
    assert script.policy.stats().refused == 0


def test_an_action_out_of_range_is_refused_and_explained(loop: Make) -> None:
    """`act` returns None; the stats say which joint, its value and its range."""
    script = loop(limits={"t": {"lower": -1.0, "upper": 1.0}})
    assert [meant for _, meant in script.run(FPS, 2) if meant is not None] == []
    stats = script.policy.stats()
    assert stats.refused > 10 and stats.refusing_s > 1
    assert stats.refusing.startswith("t: 10") and "outside its range -1 to 1" in stats.refusing


def test_the_first_action_is_within_a_step_of_the_observed_state(loop: Make) -> None:
    """At the start, after a pause, a reset and a break: a plan that begins elsewhere is refused."""
    script = loop(limits=AMPLE)
    assert all(action is None for _, action in script.run(FPS, 2)), "the arm is at 0, not at 102"
    assert "from where the robot is (0)" in script.policy.stats().refusing
    follow(script, FPS, 2)

    def paused() -> None:
        script.policy.pause()
        script.act()
        script.policy.resume()

    for interrupt in (paused, script.policy.reset, lambda: script.clock.sleep(3.0)):
        assert script.policy.stats().refusing == ""
        interrupt()
        assert all(action is None for _, action in script.run(FPS, 1)), "the arm was moved to 0"
        follow(script, FPS, 2)


@pytest.mark.parametrize("hz", [12.0, 25.0, 30.0])
def test_a_slow_loop_that_plays_by_time_is_held_to_the_rate_of_the_clock(
    loop: Make, hz: float
) -> None:
    """It leaves out steps, and may move as far as they would have; not farther."""
    # A new chunk may be ahead of the one before by less than a step: hence twice the rate.
    allowed = loop(plan=BY_TIME, limits={"t": {"max_rate": RATE * 2.01}})
    allowed.run(hz, 1)
    assert None not in follow(allowed, hz, 5)[round(hz) :]
    refused = loop(plan=BY_TIME, limits={"t": {"max_rate": RATE * 0.5}})
    refused.run(hz, 1)
    assert follow(refused, hz, 5).count(None) > hz


def test_a_fast_loop_is_held_to_the_rate_of_the_clock(loop: Make) -> None:
    """Each call plays the next action: called thrice as often, the arm would be thrice as fast."""
    script = loop(chunk_size=400, limits={"t": {"max_rate": RATE * 1.5}})
    script.run(3 * FPS, 2)
    steps = np.diff([a for a in follow(script, 3 * FPS, 4) if a is not None])
    assert script.policy.stats().refused > 30
    assert len(steps) == 0 or abs(steps).max() <= RATE * 1.5 * 0.31


WRONG: list[tuple[Any, str]] = [
    (3, "3"),
    ([("t", 1)], "expected {action"),
    ({"u": {}}, "no action 'u'"),
    ({"t": 3}, "limits['t']: a int (3)"),
    ({"t": {"rate": 3}}, "no limit 'rate'"),
    ({"t": {"lower": "low"}}, "limits['t']['lower']"),
    ({"t": {"max_rate": 0}}, "limits['t']['max_rate']"),
    ({"t": {"lower": 2, "upper": 1}}, "t"),
    (RobotSpec(("u",), ()), "no action 't'"),
    (RobotSpec(("t",), (), ControlMode.VELOCITY), "velocity"),
]


@pytest.mark.parametrize(("limits", "found"), WRONG)
def test_limits_that_cannot_be_held_are_refused_by_their_place(limits: Any, found: str) -> None:
    """TypeError or ValueError that begins with `limits`, and names what is wrong."""
    with pytest.raises((TypeError, ValueError), match=r"^limits") as raised:
        RemotePolicy(
            "ok",
            action_names=["t"],
            state_names=["t"],
            cameras={},
            broker="ipc:///nowhere/front",
            limits=limits,
        )
    assert found in str(raised.value)
