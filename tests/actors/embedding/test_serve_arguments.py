"""Arguments of a policy's spec and of `serve`: what is wrong is refused where it enters, by its
name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast import CameraFeature, Chunk, PolicySpec, RemotePolicy, serve
from holdfast.transport import keys
from holdfast.transport.keys import Role

from .conftest import BROKER, Loop
from .wrong_values import NO_COUNT, NO_LABEL, NO_NAMES, NO_RATE, NO_TEXT, ROBOT, identity

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
    assert loop(robot=None, key=of_arm, **files).policy._config.control.robot == "arm"
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
