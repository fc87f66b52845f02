"""Arguments of the Python API: what is wrong is refused where it enters, by its name."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast import (
    CameraFeature,
    Chunk,
    Fleet,
    PlanSettings,
    PolicySpec,
    RemotePolicy,
    RtcSettings,
    SafetySettings,
    serve,
)
from holdfast.transport import keys
from holdfast.transport.keys import Role

from .conftest import BROKER, Loop

NAN = math.nan
MEGABYTE = "pick " * 200_000

ROBOT: dict[str, Any] = {
    "service": "ok",
    "action_names": ["t"],
    "state_names": ["t"],
    "cameras": {},
    "broker": BROKER,
}
NO_TEXT = (None, b"pick", ["pick"], 3)
NO_LABEL = (*NO_TEXT, "", "a b", "a/b", "a:b", "-a", "ä", "a" * 33, "\ud800", MEGABYTE)
NO_NAMES = (None, "neck", b"neck", 3, {"a"}, {"a": 1}, ["a", "a"], [""], [None], ["\ud800"], [b"a"])
NO_RATE = (0, -1, NAN, math.inf, 1001, "30", None, True, [30])
NO_COUNT = (0, -1, 1.5, NAN, "1", None, True)

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


def identity(case: tuple[str, Any]) -> str:
    return f"{case[0]}={case[1]!r:.24}".encode("ascii", "replace").decode()


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
    assert script.policy._loop.fps == 30.0
    kept = (*script.policy._config.robot.action_names, *script.policy._config.robot.state_names)
    assert {type(name) for name in kept} == {str}
    image = np.zeros((4, 6, 3), np.uint8)
    script.policy.act({"state": [np.float64(1)], "images": {"top": image}, "task": np.str_("put")})
    assert type(script.policy._cycle.session.task.sentence) is str


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


SPEC: dict[str, Any] = {
    "model": "nod",
    "revision": "1",
    "cameras": [CameraFeature("top", 64, 48)],
    "state_names": ["neck"],
    "action_names": ["neck"],
    "chunk_size": 50,
    "fps": 50,
}
WRONG_OF_SPEC: list[tuple[str, Any]] = [
    *(("model", value) for value in (*NO_TEXT, "")),
    *(("revision", value) for value in (*NO_TEXT, "", 1)),
    *(("state_names", value) for value in NO_NAMES),
    *(("action_names", value) for value in (*NO_NAMES, [])),
    *(("chunk_size", value) for value in NO_COUNT),
    *(("fps", value) for value in NO_RATE),
    *(("max_prefix_steps", value) for value in (-1, 1.5, "1", None)),
    *(("prefix", value) for value in (None, "some", 1)),
    *(("control_mode", value) for value in (None, "torque")),
    *(("stateful", value) for value in (None, "no", 1)),
    *(
        ("cameras", value)
        for value in (
            None,
            "top",
            ["top"],
            [("top", 64, 48)],
            {"top": (64, 48)},
            [CameraFeature("top", 64, 48), CameraFeature("top", 32, 24)],
        )
    ),
]


@pytest.mark.parametrize(("field", "value"), WRONG_OF_SPEC, ids=map(identity, WRONG_OF_SPEC))
def test_a_spec_that_cannot_work_is_refused_by_its_field(field: str, value: Any) -> None:
    """TypeError or ValueError that begins with the field's name."""
    with pytest.raises((TypeError, ValueError), match=f"^{field}"):
        PolicySpec(**{**SPEC, field: value})


@pytest.mark.parametrize("wrong", [("top", 0, 48), ("top", 64, 5000), ("", 64, 48), (None, 64, 48)])
def test_a_camera_of_a_spec_without_a_name_or_a_size_is_refused(wrong: Any) -> None:
    """Each side is 1 to 4096 pixels."""
    with pytest.raises((TypeError, ValueError), match=r"^(name|width|height): "):
        CameraFeature(*wrong)


def test_a_spec_of_lists_and_numpy_values_equals_that_of_tuples() -> None:
    """It is compared name by name with what robots declare."""
    plain = PolicySpec(
        model="nod",
        revision="1",
        cameras=(CameraFeature("top", 64, 48),),
        state_names=("neck",),
        action_names=("neck",),
        chunk_size=50,
        fps=50.0,
    )
    assert PolicySpec(**SPEC) == plain
    loose = {
        **SPEC,
        "model": np.str_("nod"),
        "state_names": np.array(["neck"]),
        "chunk_size": np.int64(50),
        "fps": np.float32(50),
    }
    assert PolicySpec(**loose) == plain
    assert type(PolicySpec(**loose).model) is str


def predict(batch: Any) -> list[Chunk]:
    raise AssertionError("nothing is served")


WRONG_OF_SERVICE: list[tuple[str, Any]] = [
    *(("service", value) for value in NO_LABEL),
    *(("name", value) for value in (3, b"x", "x", "ok/", "other/1", "ok/a:b", "ok/ä", "ok/a b")),
    *(("max_sessions", value) for value in (*NO_COUNT, 5000)),
    *(("max_batch", value) for value in (*NO_COUNT, 5000)),
    *(("spec", value) for value in (None, {"model": "m"}, "spec")),
    *(("policy", value) for value in (None, 3, "flow")),
    *(("broker", value) for value in ("lab", 3, "tcp://lab")),
    *(("audit", value) for value in (3, "")),
    *(("key", value) for value in (3, "no/such/file")),
    *(("stop", value) for value in (True, 3)),
]


@pytest.mark.parametrize(
    ("argument", "value"), WRONG_OF_SERVICE, ids=map(identity, WRONG_OF_SERVICE)
)
def test_an_argument_of_serve_that_cannot_work_is_refused_by_its_name(
    argument: str, value: Any
) -> None:
    """TypeError or ValueError that begins with the name, before anything is served."""
    given: dict[str, Any] = {
        "policy": predict,
        "spec": PolicySpec(**SPEC),
        "service": "ok",
        "broker": BROKER,
    }
    given[argument] = value
    with pytest.raises((TypeError, ValueError), match=f"^{argument}"):
        serve(given.pop("policy"), given.pop("spec"), **given)


def test_a_robot_or_replica_with_a_key_has_the_name_of_its_key(
    tmp_path: Path, loop: Callable[..., Loop]
) -> None:
    """Another name is refused where it is given: the broker would drop its messages."""
    for name, role in (("arm", Role.ROBOT), ("ok/1", Role.REPLICA), ("broker", Role.BROKER)):
        keys.new(name, role, tmp_path)
    files: dict[str, Any] = {"broker_key": tmp_path / "broker.pub"}
    (of_arm,), (of_replica,) = tmp_path.rglob("arm.key"), tmp_path.rglob("*1.key")
    assert loop(robot=None, key=of_arm, **files).policy._loop.robot == "arm"
    with pytest.raises(ValueError, match=r"^robot: 'leg', expected 'arm', the name of its key"):
        RemotePolicy(**ROBOT, robot="leg", key=of_arm, **files)
    with pytest.raises(ValueError, match=r"^key: .* is the key of replica:ok/1"):
        RemotePolicy(**ROBOT, key=of_replica, **files)
    with pytest.raises(ValueError, match=r"^key, broker_key: "):
        RemotePolicy(**ROBOT, key=of_arm)
    for wrong in ([files["broker_key"]] * 2, [files["broker_key"]] * 3):
        with pytest.raises(ValueError, match=rf"^broker_key: {len(wrong)} files for 1 brokers"):
            RemotePolicy(**ROBOT, key=of_arm, broker_key=wrong)
    given: dict[str, Any] = {"spec": PolicySpec(**SPEC), "broker": BROKER, **files}
    with pytest.raises(ValueError, match=r"^key: .* is the key of robot:arm"):
        serve(predict, service="ok", key=of_arm, **given)
    with pytest.raises(ValueError, match=r"^name: 'ok/2', expected 'ok/1', the name of its key"):
        serve(predict, service="ok", name="ok/2", key=of_replica, **given)
    with pytest.raises(ValueError, match=r"^key: its name: 'ok/1', expected other/"):
        serve(predict, service="other", key=of_replica, **given)


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
