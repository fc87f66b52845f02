"""What a robot that is admitted is warned of."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.inference.service_terms import Occupancy
from holdfast.actors.inference.session_checks import Admitted
from holdfast.tests.actors.inference.admission import SPEC, verdict


@pytest.mark.parametrize(
    ("robot", "terms", "says"),
    [
        ({"fps": 20.0}, {}, ["20 Hz", "30 Hz", "0.67 times"]),
        ({"cameras": {"overhead": (640, 480), "wrist": (1280, 720)}}, {}, ["'wrist'", "stretched"]),
        ({"state_names": ("a", "b", "c")}, {}, ["[a, b, c]", "mean the same"]),
        (
            {},
            {"spec": msgspec.structs.replace(SPEC, prefix="none", max_prefix_steps=0)},
            ["cannot continue a plan", "may jump", "`prefix`"],
        ),
    ],
)
def test_a_robot_that_may_fit_is_accepted_with_a_warning(
    robot: dict[str, Any], terms: dict[str, Any], says: list[str]
) -> None:
    """There is one warning, and it has the figures."""
    accepted = verdict(robot, terms)
    assert isinstance(accepted, Admitted)
    [warning] = accepted.warnings
    for part in says:
        assert part in warning


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
def test_an_insignificant_difference_causes_no_warning(
    robot: dict[str, Any], terms: dict[str, Any]
) -> None:
    """Broadcast rates, other resolutions of the same shape, spare cameras, equal tasks."""
    accepted = verdict(robot, terms)
    assert isinstance(accepted, Admitted) and accepted.warnings == ()


@pytest.mark.parametrize(
    ("prefix", "robot", "says"),
    [
        (
            "none",
            {"execution_horizon": 60, "guidance_clip": 2.0},
            ["execution_horizon, clip have no effect", "cannot continue a plan", "remove them"],
        ),
        ("trained", {"guidance_schedule": "ones"}, ["schedule has no effect", "as it was trained"]),
        ("guided", {"execution_horizon": 30}, ["30 steps counts as 20"]),
        ("trained", {"execution_horizon": 30}, ["30 steps counts as 20"]),
        ("guided", {"execution_horizon": 20, "guidance_clip": 2.0}, []),
        ("trained", {"execution_horizon": 5}, []),
    ],
)
def test_a_robot_is_warned_of_settings_that_its_policy_cannot_follow(
    prefix: str, robot: dict[str, Any], says: list[str]
) -> None:
    """The warning names the settings, the reason and the remedy."""
    spec = msgspec.structs.replace(SPEC, prefix=prefix)
    accepted = verdict({"rtc": prefix != "none", **robot}, {"spec": spec})
    assert isinstance(accepted, Admitted)
    assert len(accepted.warnings) == bool(says)
    for part in says:
        assert part in accepted.warnings[0]


def test_a_replica_beyond_its_measured_capacity_accepts_with_a_warning() -> None:
    """The warning has both numbers of robots."""
    accepted = verdict({}, occupancy=Occupancy(sessions=2, load=0.9, capacity=2, most=3))
    assert isinstance(accepted, Admitted)
    assert "had 3 robots and" in accepted.warnings[0]
    assert "carried 2" in accepted.warnings[0]


@pytest.mark.parametrize(
    ("robot", "takes_s", "says"),
    [
        ({"max_action_age_s": 1.0}, 0.1, ["lasts 1.5 s at 30 Hz", "1 s", "last 0.5 s", "asks"]),
        ({"max_action_age_s": 1.4, "buffer_time_s": 0.5}, 0.02, ["last 0.1 s", "next one is late"]),
        ({}, 6.0, ["takes 6 s", "wait 5 s", "request_timeout_s", "faster device"]),
        ({"max_action_age_s": 3.0}, 3.5, ["takes 3.5 s", "older than 3 s", "ever be played"]),
        ({"max_action_age_s": 3.0}, 1.7, ["takes 1.7 s", "lasts 1.5 s", "over before"]),
        ({"max_action_age_s": 3.0}, 1.0, ["takes 1 s", "for 1.5 s", "stalls for 0.5 s"]),
        ({"buffer_time_s": 0.3}, 1.0, ["takes 1 s", "for 1.5 s", "stalls for 0.7 s"]),
        ({"buffer_time_s": 0.5}, 0.6, ["takes 0.6 s", "with 0.5 s", "stalls for 0.1 s", "above"]),
        ({"buffer_time_s": 1.0}, 0.7, ["takes 0.7 s", "20 steps, 0.667 s"]),
        ({"fps": 30.2, "buffer_time_s": 0.05}, 0.08, ["80 ms", "50 ms", "stalls for 30 ms"]),
    ],
)
def test_a_robot_whose_settings_the_measured_times_cannot_meet_is_warned(
    robot: dict[str, Any], takes_s: float, says: list[str]
) -> None:
    """There is one warning, that of the worst consequence, and it has the figures."""
    accepted = verdict(robot, occupancy=Occupancy(capacity=4, inference_s=takes_s))
    assert isinstance(accepted, Admitted)
    [warning] = accepted.warnings
    for part in says:
        assert part in warning


@given(
    age_s=st.floats(0.1, 10),
    buffer_s=st.floats(0.01, 3),
    takes_s=st.floats(0.001, 20),
    fps=st.sampled_from((29.9, 30.0, 30.1)),
    rtc=st.booleans(),
)
def test_a_robot_without_a_warning_never_stalls_when_it_is_alone(
    age_s: float, buffer_s: float, takes_s: float, fps: float, rtc: bool
) -> None:
    """In simulation each chunk arrives before the one before is over or too old."""
    settings = {"max_action_age_s": age_s, "buffer_time_s": buffer_s, "fps": fps, "rtc": rtc}
    accepted = verdict(settings, occupancy=Occupancy(capacity=4, inference_s=takes_s))
    assert isinstance(accepted, Admitted)
    if accepted.warnings:
        return
    lasts_s = min(SPEC.chunk_size / fps, age_s)
    observed_s, arrives_s = 0.0, takes_s
    for _ in range(20):
        asked_s = max(arrives_s, observed_s + SPEC.chunk_size / fps - buffer_s)
        assert asked_s + takes_s <= observed_s + lasts_s + 1e-9
        observed_s, arrives_s = asked_s, asked_s + takes_s


ONLY = {"spec": msgspec.structs.replace(SPEC, only_task="uncap the pen")}


@pytest.mark.parametrize(
    ("robot", "service", "found"),
    [
        ({}, ONLY, ""),
        ({"task": "uncap the pen"}, ONLY, ""),
        ({"task": "cap it"}, ONLY, "cap it"),
        ({"tasks": ("uncap the pen", "cap it")}, ONLY, "cap it"),
        ({}, {**ONLY, "pin_task": "uncap the pen"}, ""),
        ({"task": "cap it"}, {**ONLY, "pin_task": "cap it"}, "cap it"),
        ({"task": "cap it"}, {}, ""),
        ({}, {**ONLY, "default_task": "uncap the pen"}, ""),
        ({}, {**ONLY, "default_task": "cap it"}, "cap it"),
        ({"task": "uncap the pen"}, {**ONLY, "default_task": "cap it"}, ""),
        ({}, {**ONLY, "default_task": "cap it", "pin_task": "uncap the pen"}, ""),
    ],
)
def test_a_task_that_a_policy_of_one_instruction_has_not_seen_is_warned_of(
    robot: dict[str, Any], service: dict[str, Any], found: str
) -> None:
    """The robot's, or the service's for it; with the task that the policy was trained on."""
    accepted = verdict(robot, service)
    assert isinstance(accepted, Admitted)
    assert len(accepted.warnings) == bool(found)
    for warning in accepted.warnings:
        assert warning.startswith(f"the task is '{found}', policy picker was trained on 'uncap the")
        assert "`pin_task: uncap the pen`" in warning


def test_the_remedy_for_a_default_task_is_at_the_service() -> None:
    """A robot that names no task has none to change; one that names another has."""
    service = {**ONLY, "default_task": "cap it"}
    for robot, remedy in (
        ({}, "remove the service's `default_task`"),
        ({"task": "shake it"}, "give the robot that task"),
    ):
        accepted = verdict(robot, service)
        assert isinstance(accepted, Admitted)
        [warning] = accepted.warnings
        assert remedy in warning
