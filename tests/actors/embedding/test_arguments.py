"""Arguments of the Python API: what is wrong is refused where it enters, by its name."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast import (
    Fleet,
    PlanSettings,
    RemotePolicy,
    RtcSettings,
    SafetySettings,
)

from .conftest import Loop
from .wrong_values import MEGABYTE, NAN, NO_LABEL, NO_NAMES, NO_RATE, NO_TEXT, ROBOT, identity

WRONG_OF_ROBOT: list[tuple[str, Any]] = [
    *(("service", value) for value in NO_LABEL),
    *(("robot", value) for value in NO_LABEL if value is not None),
    *(("action_names", value) for value in (*NO_NAMES, [], [str(n) for n in range(300)])),
    *(("state_names", value) for value in (*NO_NAMES, [])),
    *(("fps", value) for value in NO_RATE),
    *(("task", value) for value in (*NO_TEXT, "\ud800", MEGABYTE)),
    *(("control_mode", value) for value in (None, "torque", 3)),
    *(("jpeg_quality", value) for value in (-1, 101, 90.5, "90", None, True)),
    # The images of its robot are raw.
    *(("max_uplink_kbps", value) for value in (0, -1, "400", True, float("nan"), 400)),
    *(("plan", value) for value in ({"merge": "append"}, SafetySettings(), "append")),
    *(("safety", value) for value in ({"max_offline_s": 6}, PlanSettings(), 6)),
    *(("audit", value) for value in (3, b"x", "", ["a"])),
    *(("key", value) for value in (3, "no/such/file")),
    *(
        ("broker", value)
        for value in (
            3,
            b"x",
            "",
            "lab",
            "tcp://lab",
            "tcp://lab:x",
            "tcp://*:7447",
            "tcp://a:99999",
        )
    ),
    *(
        ("cameras", value)
        for value in (
            None,
            ["top"],
            "top",
            {"top": 640},
            {"top": (640,)},
            {"top": (640, 480, 3)},
            {"top": "640x480"},
            {"top": (0, 480)},
            {"top": (640.0, 480.0)},
            {"top": (5000, 480)},
            {"top": (4096, 4096)},
            {3: (640, 480)},
            {"": (640, 480)},
            {f"c{n}": (64, 48) for n in range(17)},
        )
    ),
]


@pytest.mark.parametrize(("argument", "value"), WRONG_OF_ROBOT, ids=map(identity, WRONG_OF_ROBOT))
def test_an_argument_of_remote_policy_that_cannot_work_is_refused_by_its_name(
    argument: str, value: Any
) -> None:
    """TypeError or ValueError that begins with the name; no thread is left behind."""
    threads = set(threading.enumerate())
    with pytest.raises((TypeError, ValueError), match=f"^{argument}"):
        RemotePolicy(**{**ROBOT, argument: value})
    assert set(threading.enumerate()) <= threads


def test_arrays_lists_and_numpy_scalars_are_converted(loop: Callable[..., Loop]) -> None:
    """What is kept is of Python's types."""
    script = loop(
        robot=np.str_("r-1"),
        task=np.str_("pick"),
        action_names=np.array(["t"]),
        state_names=[np.str_("t")],
        cameras={np.str_("top"): [np.int64(6), 4]},
        fps=np.float32(30),
    )
    assert script.policy._config.control.fps == 30.0
    kept = (*script.policy._config.robot.action_names, *script.policy._config.robot.state_names)
    assert {type(name) for name in kept} == {str}
    image = np.zeros((4, 6, 3), np.uint8)
    script.policy.act({"state": [np.float64(1)], "images": {"top": image}, "task": np.str_("put")})
    assert type(script.policy._loop.cycle.session.task.sentence) is str


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (None, "observation: None"),
        ([0.0], "observation: a list"),
        ({}, "observation: has nothing, expected 'state'"),
        ({"stat": [0]}, "observation: has stat, expected 'state'"),
        ({"state": None}, "state: None"),
        ({"state": "0"}, "state: a str"),
        ({"state": [0, 0]}, r"state of shape \(2,\), expected one number for each of t"),
        ({"state": 0.0}, r"state of shape \(\)"),
        ({"state": [[0], [0, 0]]}, "state: a list"),
        ({"state": [1j]}, "state: a list"),
        ({"state": [NAN]}, "state: t not finite"),
        ({"state": [1e300]}, "state: t not finite"),
        ({"state": [0]}, "camera top: no image"),
        ({"state": [0], "images": []}, "images: a list"),
        ({"state": [0], "images": {"top": [[[0, 0, 0]]]}}, "camera top: a list"),
        (
            {"state": [0], "images": {"top": np.zeros((6, 4, 3), np.uint8)}},
            r"camera top: an image uint8 \(6, 4, 3\), expected a numpy array uint8 \(4, 6, 3\) RGB",
        ),
        ({"state": [0], "images": {"top": np.zeros((4, 6, 3))}}, "camera top: an image float64"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused_by_its_part(
    loop: Callable[..., Loop], observation: Any, message: str
) -> None:
    """TypeError or ValueError with what was found and what was expected."""
    script = loop(cameras={"top": (6, 4)})
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        script.policy.act(observation)


@pytest.mark.parametrize("task", [b"pick", ["pick"], 3, "\ud800", MEGABYTE])
def test_a_task_that_cannot_travel_is_refused_each_time(
    loop: Callable[..., Loop], task: Any
) -> None:
    """By `act` and by `reset`; the calls after it go on streaming."""
    script = loop()
    script.run(30, 2)
    for _ in range(3):
        with pytest.raises((TypeError, ValueError), match=r"^task: "):
            script.act(task=task)
        with pytest.raises((TypeError, ValueError), match=r"^task: "):
            script.policy.reset(task)
    with pytest.raises(TypeError, match=r"^task: None"):
        script.act(task=None)
    script.run(30, 2)
    assert script.policy.state == "STREAMING"


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        (PlanSettings, "merge", "replac"),
        (PlanSettings, "trim", None),
        (PlanSettings, "blend_weight", "1"),
        (PlanSettings, "buffer_time_s", [1]),
        (SafetySettings, "max_offline_s", "60"),
        (SafetySettings, "fallback", "stop"),
    ],
)
def test_a_setting_of_a_wrong_type_is_refused_where_it_is_made(
    settings: Any, field: str, value: Any
) -> None:
    """TypeError that begins with the field's name."""
    with pytest.raises(TypeError, match=f"^{field}: "):
        settings(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("execution_horizon", 0),
        ("execution_horizon", 1.5),
        ("schedule", "steep"),
        ("clip", NAN),
        ("clip", "5"),
    ],
)
def test_a_setting_of_how_a_plan_is_continued_is_refused_where_it_is_made(
    field: str, value: Any
) -> None:
    """TypeError or ValueError that begins with the field's name."""
    with pytest.raises((TypeError, ValueError), match=f"^{field}: "):
        RtcSettings(**{field: value})


@pytest.mark.parametrize("value", [0, -1, NAN, math.inf])
@pytest.mark.parametrize("field", ["max_offline_s", "max_action_age_s", "liveness_s"])
def test_a_setting_out_of_range_is_refused_by_remote_policy(field: str, value: float) -> None:
    """ValueError that begins with the argument and the field."""
    with pytest.raises(ValueError, match=rf"^safety\.{field}: "):
        RemotePolicy(**ROBOT, safety=msgspec.structs.replace(SafetySettings(), **{field: value}))


@pytest.mark.parametrize(("argument", "value"), [("path", 3), ("path", None), ("path", b"x")])
def test_a_path_of_a_fleet_that_is_none_is_refused(argument: str, value: Any) -> None:
    """TypeError that begins with the argument's name."""
    with pytest.raises(TypeError, match=f"^{argument}: "):
        Fleet(value)


@pytest.mark.parametrize("value", [3, b"lab", ["lab"]])
def test_a_host_of_a_fleet_that_is_no_name_is_refused(tmp_path: Any, value: Any) -> None:
    """TypeError that begins with the argument's name."""
    (tmp_path / "fleet.yaml").write_text("name: lab\nservices: {}\nrobots: []\n")
    with pytest.raises(TypeError, match=r"^host: "):
        Fleet(tmp_path / "fleet.yaml", host=value)


def test_every_exported_name_can_be_imported() -> None:
    """Another name raises AttributeError with the list of them."""
    import holdfast

    assert all(getattr(holdfast, name) for name in holdfast.__all__)
    with pytest.raises(AttributeError, match=re.escape("it has Actor, ")):
        _ = holdfast.RemotPolicy
