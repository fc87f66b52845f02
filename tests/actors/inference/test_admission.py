"""The table of what a service demands of a robot, row by row."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.actors.inference.admission import Admitted, Occupancy, Terms, admit
from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.transport.messages import Open, Reject

SPEC = PolicySpec(
    model="picker",
    revision="1",
    cameras=(CameraFeature("overhead", 96, 72), CameraFeature("wrist", 96, 72)),
    state_names=("x", "y", "belt"),
    action_names=("x", "y", "gripper"),
    chunk_size=45,
    fps=30,
    prefix="trained",
    max_prefix_steps=20,
)
TERMS = Terms(service="pick", spec=SPEC, limit=4)
ROOM = Occupancy(sessions=0, load=0.0, capacity=4)
ROBOT = Open(
    robot="r1",
    service="pick",
    action_names=SPEC.action_names,
    state_names=SPEC.state_names,
    cameras={"overhead": (640, 480), "wrist": (640, 480)},
    fps=30,
    rtc=True,
)


def verdict(
    robot: dict[str, Any], terms: dict[str, Any] | None = None, occupancy: Occupancy = ROOM
) -> Admitted | Reject:
    service = Terms(**{"service": "pick", "spec": SPEC, "limit": 4, **(terms or {})})
    return admit(msgspec.structs.replace(ROBOT, **robot), service, occupancy)


def test_a_robot_that_fits_is_accepted_without_a_word() -> None:
    assert admit(ROBOT, TERMS, ROOM) == Admitted(version=1, prefix="trained", warnings=())


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
    ],
)
def test_what_can_never_work_is_refused_for_good(
    robot: dict[str, Any], terms: dict[str, Any], reason: str, says: list[str]
) -> None:
    """Found, expected and what to do are all in the message."""
    refused = verdict(robot, terms)
    assert isinstance(refused, Reject)
    assert (refused.reason, refused.final) == (reason, True)
    for words in says:
        assert words in refused.message
    assert len(refused.message) < 2048


@pytest.mark.parametrize(
    ("robot", "terms", "says"),
    [
        ({"fps": 20.0}, {}, ["20 Hz", "30 Hz", "0.67 times"]),
        ({"cameras": {"overhead": (640, 480), "wrist": (1280, 720)}}, {}, ["'wrist'", "stretched"]),
        ({"state_names": ("a", "b", "c")}, {}, ["[a, b, c]", "mean the same"]),
        (
            {},
            {"spec": msgspec.structs.replace(SPEC, prefix="none", max_prefix_steps=0)},
            ["real-time chunking", "appended"],
        ),
    ],
)
def test_what_may_work_is_accepted_with_a_warning(
    robot: dict[str, Any], terms: dict[str, Any], says: list[str]
) -> None:
    accepted = verdict(robot, terms)
    assert isinstance(accepted, Admitted)
    [warning] = accepted.warnings
    for words in says:
        assert words in warning


@pytest.mark.parametrize(
    ("robot", "terms"),
    [
        ({"fps": 29.97}, {"strict_fps": True}),
        ({"cameras": {"overhead": (96, 72), "wrist": (1920, 1440), "spare": (9, 9)}}, {}),
        ({"task": "pick the cup"}, {"pin_task": "pick the cup"}),
        ({"task": ""}, {"pin_task": "pick the cup"}),
        ({"task": "dance"}, {}),
        ({"versions": (0, 9)}, {}),
    ],
)
def test_what_does_not_matter_costs_no_word(robot: dict[str, Any], terms: dict[str, Any]) -> None:
    """Broadcast rates, other resolutions of the same shape, spare cameras, agreeing tasks."""
    accepted = verdict(robot, terms)
    assert isinstance(accepted, Admitted) and accepted.warnings == ()


def test_a_full_replica_says_how_full_and_that_it_may_change() -> None:
    refused = verdict({}, occupancy=Occupancy(sessions=4, load=0.63, capacity=6))
    assert isinstance(refused, Reject)
    assert refused.reason == "capacity"
    assert not refused.final and refused.retry_after_s > 0
    assert refused.load == 0.63
    for words in ("4 of 4", "63%", "carries 6 robots", "max_sessions"):
        assert words in refused.message


def test_a_replica_beyond_its_measured_capacity_says_so_and_serves() -> None:
    accepted = verdict({}, occupancy=Occupancy(sessions=2, load=0.9, capacity=2))
    assert isinstance(accepted, Admitted)
    assert "has 3 and carries 2" in accepted.warnings[0]


def test_a_misfit_is_told_its_fault_even_when_the_replica_is_full() -> None:
    """Waiting for room would be in vain."""
    refused = verdict({"cameras": {}}, occupancy=Occupancy(sessions=4, load=1.0, capacity=4))
    assert isinstance(refused, Reject) and refused.final


def test_a_robot_that_did_not_ask_for_real_time_chunking_gets_none() -> None:
    accepted = verdict({"rtc": False})
    assert isinstance(accepted, Admitted) and accepted.prefix == "none"


def test_the_newest_version_both_speak_is_chosen() -> None:
    accepted = verdict({"versions": (1, 5)}, {"versions": (2, 3)})
    assert isinstance(accepted, Admitted) and accepted.version == 3
