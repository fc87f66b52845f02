"""What a server of openpi expects, by the options of its service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.clients.openpi_policy import OpenpiPolicy
from holdfast.actors.clients.server_robot import options_of, robot_of
from holdfast.errors import PolicyError
from holdfast.policy.base import PolicySpec
from holdfast.policy.steps import RobotKeys
from holdfast.tests.actors.fleet.files import faults

ADDRESS = {"address": "ws://127.0.0.1:1"}


def robot(**options: Any) -> tuple[PolicySpec, RobotKeys]:
    return robot_of(options_of({**ADDRESS, **options}))


def sent(**options: Any) -> dict[str, Any]:
    """What the server gets of the example of the spec."""
    spec, keys = robot(**options)
    return keys.observed(spec.example(task="go"))


def test_a_droid_server_gets_what_droids_clients_send() -> None:
    """Two cameras at DROID's size, joints and gripper apart; velocities at 15 Hz come back."""
    spec, _ = robot(mapping="droid", chunk_size=10)
    assert [(c.name, c.width, c.height) for c in spec.cameras] == [
        ("exterior_image_1_left", 320, 180),
        ("wrist_image_left", 320, 180),
    ]
    assert spec.action_names == (*(f"joint_{k}" for k in range(1, 8)), "gripper")
    assert (spec.fps, spec.control_mode, spec.chunk_size) == (15.0, "velocity", 10)
    data = sent(mapping="droid", chunk_size=10)
    assert {key: getattr(value, "shape", value) for key, value in data.items()} == {
        "observation/exterior_image_1_left": (180, 320, 3),
        "observation/wrist_image_left": (180, 320, 3),
        "observation/joint_position": (7,),
        "observation/gripper_position": (1,),
        "prompt": "go",
    }


def test_an_aloha_server_gets_its_images_in_a_map_with_channels_first() -> None:
    """The cameras that models have a place for, and one state."""
    data = sent(mapping="aloha", chunk_size=50)
    assert set(data) == {"images", "state", "prompt"}
    assert {name: image.shape for name, image in data["images"].items()} == dict.fromkeys(
        ("cam_high", "cam_left_wrist", "cam_right_wrist"), (3, 480, 640)
    )
    assert data["state"].shape == (14,)


def test_a_libero_server_gets_what_liberos_clients_send() -> None:
    """Two images, the hand's pose and the fingers as one state, and the instruction."""
    data = sent(mapping="libero", chunk_size=10)
    assert data["observation/wrist_image"].shape == (256, 256, 3)
    assert data["observation/state"].shape == (8,)
    assert data["prompt"] == "go"


def test_an_option_replaces_what_the_mapping_says() -> None:
    """Cameras, their sizes and names, names and parts of the state, rate, mode, and prompt."""
    high = {"images/cam_high": [320, 240]}
    names = [f"m{k}" for k in range(14)]
    spec, keys = robot(
        mapping="aloha",
        chunk_size=25,
        cameras=high,
        names={"images/cam_high": "top"},
        state_names=names,
        action_names=names,
        fps=30,
        control_mode="velocity",
        prompt="task",
    )
    assert [(c.name, c.width, c.height) for c in spec.cameras] == [("top", 320, 240)]
    assert spec.state_names == spec.action_names == tuple(names)
    assert (spec.fps, spec.control_mode) == (30.0, "velocity")
    data = keys.observed(spec.example(task="go"))
    assert data["images"]["cam_high"].shape == (3, 240, 320)
    assert data["task"] == "go"
    parts = {"observation/joint_position": 6, "observation/gripper_position": 1}
    seven = [f"j{k}" for k in range(7)]
    assert "prompt" not in sent(mapping="aloha", chunk_size=25, prompt="")
    spec, keys = robot(mapping="droid", chunk_size=1, state_names=seven, state=parts)
    assert spec.state_names == tuple(seven)
    assert keys.state["observation/gripper_position"] == ("j6",)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "state_names, action_names, chunk_size, fps: missing.*name its robot by `mapping`"),
        ({"mapping": "droid"}, "options: chunk_size: missing, and no such server says it$"),
        ({"mapping": "drodi", "chunk_size": 1}, "options: mapping: there is no .*'droid'"),
        ({"mapping": "droid", "chunk_size": 0}, "options: chunk_size: 0, expected 1 to"),
        ({"mapping": "droid", "chunk_size": 1, "chunck": 2}, "chunck.*takes address, api_key"),
        ({"mapping": "droid", "chunk_size": 1, "cameras": ["a"]}, "cameras"),
        ({"mapping": "droid", "chunk_size": 1, "state_names": ["a"]}, "expected 1 values in all"),
        ({"mapping": "droid", "chunk_size": 1, "timeout_s": 0}, "timeout_s"),
        ({"mapping": "droid", "chunk_size": 1, "address": "http://x"}, "address"),
    ],
)
def test_an_option_that_does_not_fit_is_named(options: dict[str, Any], why: str) -> None:
    """The error begins with it, so that fleet.yaml's fault is at the options."""
    with pytest.raises(PolicyError, match=why) as caught:
        robot(**options)
    assert str(caught.value).startswith("options: ")


def test_a_fleet_file_names_the_mapping_of_a_server(tmp_path: Path) -> None:
    """A wrong one is a fault at the options of the service; nothing need listen for that."""
    service = {"policy": "openpi", **ADDRESS, "options": {"mapping": "drodi", "chunk_size": 10}}
    (fault,) = faults({"services": {"pick": service}})
    assert "services.pick.options: mapping: there is no embodiment 'drodi'" in fault


def test_an_own_robots_server_is_described_by_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mapping: module:name`, importable as the fleet's other modules are."""
    (tmp_path / "fr3_lab_9.py").write_text(
        "import msgspec\nfrom holdfast.policy.steps import droid\n"
        "FR3 = msgspec.structs.replace(droid(), name='fr3', fps=20.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = OpenpiPolicy.describe(**ADDRESS, mapping="fr3_lab_9:FR3", chunk_size=8)
    assert (spec.fps, len(spec.action_names)) == (20.0, 8)
    del sys.modules["fr3_lab_9"]
