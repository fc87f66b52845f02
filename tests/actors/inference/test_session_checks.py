"""The admission of robots, a row for each demand of a service."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.actors.inference.service_terms import Occupancy
from holdfast.actors.inference.session_checks import Admitted, admit
from holdfast.tests.actors.inference.admission import ROBOT, ROOM, SPEC, TERMS, verdict
from holdfast.transport.bodies import Reject


def test_a_robot_that_fits_is_accepted_without_a_warning() -> None:
    """The version and the prefix mode are those of the policy."""
    assert admit(ROBOT, TERMS, ROOM) == Admitted(version=1, prefix="trained", warnings=())


def test_a_policy_without_names_takes_the_robots_by_their_count() -> None:
    """The warning says that the order was not checked; another count is refused."""
    spec = msgspec.structs.replace(
        SPEC,
        action_names=("action_0", "action_1", "action_2"),
        state_names=("state_0", "state_1", "state_2"),
        by_count=True,
    )
    accepted = verdict({}, {"spec": spec})
    assert isinstance(accepted, Admitted)
    (warning,) = accepted.warnings
    assert "x, y, gripper" in warning and "the order was not checked" in warning
    refused = verdict({"action_names": ("x", "y")}, {"spec": spec})
    assert isinstance(refused, Reject) and refused.reason == "action-names"
    assert spec.contract("h") != msgspec.structs.replace(spec, by_count=False).contract("h")


@pytest.mark.parametrize(
    ("robot", "terms", "reason", "says"),
    [
        ({"service": "place"}, {}, "service", ["'place'", "'pick'", "restart"]),
        ({"versions": (2, 3)}, {}, "version", ["2 to 3", "speaks 1", "install"]),
        (
            {"action_names": ("y", "x", "gripper")},
            {},
            "action-order",
            ["[y, x, gripper]", "[x, y, gripper]", "in this order", "rename"],
        ),
        (
            {"action_names": ("x", "y", "z")},
            {},
            "action-names",
            ["missing [gripper]", "not known [z]", "rename"],
        ),
        ({"action_names": ("x", "y")}, {}, "action-names", ["missing [gripper]"]),
        ({"control_mode": "velocity"}, {}, "control-mode", ["velocity", "position", "choose"]),
        (
            {"state_names": ("x", "y")},
            {},
            "state-dimension",
            ["2 state values", "wants 3", "missing [belt]"],
        ),
        ({"state_names": ("y", "x", "belt")}, {}, "state-order", ["[x, y, belt]", "in this order"]),
        ({"cameras": {"overhead": (640, 480)}}, {}, "cameras", ["also needs [wrist]", "rename"]),
        ({"cameras": {}}, {}, "cameras", ["[overhead, wrist]"]),
        (
            {"task": "dance"},
            {"pin_task": "pick the cup"},
            "task",
            ["'dance'", "'pick the cup'", "pin_task"],
        ),
        ({"tasks": ("pick the cup", "dance")}, {"pin_task": "pick the cup"}, "task", ["'dance'"]),
        ({"fps": 50.0}, {"strict_fps": True}, "fps", ["50 Hz", "30 Hz", "strict_fps"]),
        (
            {"execution_horizon": 46},
            {},
            "execution-horizon",
            ["46 steps", "has 45", "to 20 or less"],
        ),
    ],
)
def test_a_robot_that_can_never_fit_is_refused_finally(
    robot: dict[str, Any], terms: dict[str, Any], reason: str, says: list[str]
) -> None:
    """The message says what was found, what was expected and what to do."""
    refused = verdict(robot, terms)
    assert isinstance(refused, Reject)
    assert (refused.reason, refused.final) == (reason, True)
    for part in says:
        assert part in refused.message
    assert len(refused.message) < 2048


def test_a_full_replica_refuses_for_the_moment() -> None:
    """The REJECT is not final and has the sessions, the load and the measured capacity."""
    refused = verdict({}, occupancy=Occupancy(sessions=4, load=0.63, capacity=6))
    assert isinstance(refused, Reject)
    assert refused.reason == "capacity"
    assert not refused.final and refused.retry_after_s > 0
    assert refused.load == 0.63
    for part in ("4 of 4", "63%", "carries 6 robots", "max_sessions"):
        assert part in refused.message


def test_a_robot_that_no_pace_makes_room_for_is_refused_for_the_moment() -> None:
    """The REJECT says how many the replica carries at the slowest."""
    refused = verdict({}, occupancy=Occupancy(sessions=3, load=1.0, capacity=2, most=3))
    assert isinstance(refused, Reject)
    assert refused.reason == "capacity"
    assert not refused.final and refused.retry_after_s > 0
    assert "has 3 robots" in refused.message and "slowest rate" in refused.message


def test_a_robot_that_can_never_fit_is_refused_finally_by_a_full_replica() -> None:
    """The final reason comes before the lack of room."""
    refused = verdict({"cameras": {}}, occupancy=Occupancy(sessions=4, load=1.0, capacity=4))
    assert isinstance(refused, Reject) and refused.final


def test_a_robot_without_real_time_chunking_gets_no_prefix_mode() -> None:
    """With `rtc` false the prefix mode is `none`."""
    accepted = verdict({"rtc": False})
    assert isinstance(accepted, Admitted) and accepted.prefix == "none"


def test_the_newest_common_version_is_chosen() -> None:
    """Of overlapping ranges the largest version is used."""
    accepted = verdict({"versions": (1, 5)}, {"versions": (2, 3)})
    assert isinstance(accepted, Admitted) and accepted.version == 3
