"""The teleoperator of a robot in a fleet file: its faults, and its actor."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.tests.actors.fleet.files import actors, faults


def fleet(**teleop: Any) -> dict[str, Any]:
    """A file with a simulated robot that has such a teleoperator."""
    return {
        "services": {"pick": {"policy": "constant", "checkpoint": "conveyor-flow"}},
        "robots": [
            {
                "name": "r1",
                "service": "pick",
                "cameras": {"overhead": {}, "wrist": {}},
                "teleop": teleop,
            }
        ],
    }


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"driver": "keybord"}, "no teleoperator driver 'keybord'"),
        ({"driver": "keyboard", "options": {"step": {"elbow": 1.0}}}, "no action 'elbow'"),
        ({"driver": "keyboard", "options": {"step": {"x": 0}}}, "more than 0"),
        ({"driver": "keyboard", "options": {"steps": {}}}, "steps"),
        ({"driver": "expert", "options": {"speed": 2}}, "the expert has none"),
        ({"driver": "my_pad:Pad"}, "my_pad"),
        ({}, "driver"),
    ],
)
def test_what_cannot_work_is_said_before_a_process_starts(entry: dict[str, Any], why: str) -> None:
    """Each fault names the key and what is wrong with it."""
    (fault,) = faults(fleet(**entry))
    assert "$.robots[0].teleop" in fault
    assert why in fault


def test_the_expert_knows_the_simulated_cell_only() -> None:
    """A robot whose driver lives in its control loop has no scene that others read either."""
    values = fleet(driver="expert")
    values["robots"][0]["in_process"] = True
    assert any("simulated cell" in fault for fault in faults(values))


def test_a_teleoperator_is_an_actor_that_reads_the_plan_and_control_reads_it() -> None:
    """Its register is writable for it alone; it starts after the driver."""
    made = {spec.name: spec for spec in actors(fleet(driver="keyboard"))}
    teleop, control = made["r1/teleop"], made["r1/control"]
    writes = {use.name for use in teleop.segments if use.writable}
    assert writes == {"r1/teleop/reading", "r1/teleop/board"}
    assert "r1/plan" in {use.name for use in teleop.segments}
    assert "r1/teleop/reading" in {use.name for use in control.segments if not use.writable}
    order = list(made)
    assert order.index("r1/driver") < order.index("r1/teleop") < order.index("r1/control")
