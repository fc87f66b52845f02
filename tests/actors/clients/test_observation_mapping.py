"""Observations of openpi's robots, read by name or by the mapping of fleet.yaml."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.clients.observation_mapping import ObservationReader
from holdfast.actors.runtime.client_configs import ObservationMapping
from holdfast.errors import WireError
from holdfast.policy.base import CameraFeature, PolicySpec

RNG = np.random.default_rng(0)


def reader(features: str, states: int, **mapping: Any) -> ObservationReader:
    """A reader for a policy with these cameras, of 8 × 6 pixels, and so many state values."""
    spec = PolicySpec(
        model="m",
        revision="1",
        cameras=tuple(CameraFeature(name, width=8, height=6) for name in features.split()),
        state_names=tuple(f"s{i}" for i in range(states)),
        action_names=("a",),
        chunk_size=4,
        fps=10.0,
    )
    return ObservationReader(spec, ObservationMapping(**mapping))


def image(height: int = 6, width: int = 8) -> np.ndarray[Any, Any]:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_observation_of_libero_is_read_by_its_names() -> None:
    """`observation/image`, `observation/wrist_image`, `observation/state` and `prompt`."""
    whole, wrist = image(), image()
    state, images, prompt = reader("image wrist_image", 8).read(
        {
            "observation/image": whole,
            "observation/wrist_image": wrist,
            "observation/state": np.arange(8.0),
            "prompt": "open the drawer",
        }
    )
    assert state.dtype == np.float32
    assert state.tolist() == list(range(8))
    assert np.array_equal(images["image"], whole)
    assert np.array_equal(images["wrist_image"], wrist)
    assert prompt == "open the drawer"


def test_an_observation_of_droid_has_its_state_in_two_parts() -> None:
    """Joint and gripper positions are joined in this order, without a mapping and with one."""
    observation: dict[str, Any] = {
        "observation/exterior_image_1_left": image(),
        "observation/wrist_image_left": image(),
        "observation/gripper_position": np.float64(7),
        "observation/joint_position": np.arange(7),
        "prompt": "p",
    }
    parts = ("observation/joint_position", "observation/gripper_position")
    for mapping in ({}, {"state": parts}):
        state, images, _ = reader("exterior_1_left wrist_left", 8, **mapping).read(observation)
        assert state.tolist() == list(range(8))
        wrist = observation["observation/wrist_image_left"]
        assert np.array_equal(images["wrist_left"], wrist)


def test_an_observation_of_aloha_has_its_channels_first() -> None:
    """Images within `images`, [3, h, w] as its clients send them, are read as [h, w, 3]."""
    high, wrist = image(12, 16), image()
    observation = {
        "state": np.zeros(14),
        "images": {"cam_high": high.transpose(2, 0, 1), "cam_left_wrist": wrist},
    }
    state, images, prompt = reader("cam_high cam_left_wrist", 14).read(observation)
    assert len(state) == 14
    assert images["cam_high"].shape == (6, 8, 3)
    assert np.array_equal(images["cam_left_wrist"], wrist)
    assert prompt == ""


def test_a_floating_image_is_scaled_as_openpi_does() -> None:
    """0 to 1 becomes 0 to 255, rounded down; what lies outside is refused."""
    floating = RNG.random((6, 8, 3))
    found = reader("top", 1)
    _, images, _ = found.read({"anything": floating, "state": [0.5]})
    assert np.array_equal(images["top"], (255 * floating).astype(np.uint8))
    with pytest.raises(WireError, match="not all from 0 to 1"):
        found.read({"anything": floating * 255, "state": [0.5]})


def test_the_mapping_goes_before_the_names() -> None:
    """A key that fleet.yaml names is used although another has the camera's name."""
    named, mapped = image(), image()
    read = reader("top", 1, cameras={"top": "cam/7"}, state="q", prompt="say").read
    state, images, prompt = read(
        {"top": named, "cam": {"7": mapped}, "q": 3, "state": [1], "say": "go", "prompt": "stop"}
    )
    assert np.array_equal(images["top"], mapped)
    assert (state.tolist(), prompt) == ([3.0], "go")


@pytest.mark.parametrize(
    ("observation", "why"),
    [
        ({}, "Came: nothing"),
        ({"state": np.zeros(2)}, "state have 2 values, the policy m takes 1: s0"),
        ({"state": [np.nan]}, "not finite"),
        ({"state": np.zeros((1, 1))}, "expected a vector of numbers"),
        ({"state": "1"}, "state is str"),
        ({"state": ["1"]}, "expected a vector"),
        ({"state": [[1], [2, 3]]}, "expected a vector"),
        ({"state": [1e300]}, "not finite"),
        ({"a/state": [1], "b/state": [1]}, "a/state, b/state may all be it"),
        ({"state": [1]}, "which is camera left"),
        ({"state": [1], "view": "x"}, "Came: state list, view str"),
        ({"state": [1], "left": "x"}, "left is str, expected an image .h, w, 3."),
        (
            {"state": [1], "c/left": np.zeros((1, 6, 8, 3)), "right": image()},
            "c/left is float64.1,",
        ),
        ({"state": [1], "left": np.zeros((6, 8)), "right": image()}, "left is float64.6, 8., exp"),
        ({"state": [1], "left": np.zeros((6, 8, 3))}, "camera right"),
        ({"state": [1], "a/left": image(), "b/left": image()}, "may all be it"),
        ({"state": [1], "left": np.zeros((6, 8, 4), np.uint8), "right": image()}, "uint8 .h, w, 3"),
        ({"state": [1], "left": np.zeros((6, 8, 3), np.int32), "right": image()}, "int32.6, 8, 3"),
        ({"state": [1], "left": np.zeros((0, 8, 3), np.uint8), "right": image()}, "expected an im"),
        ({"state": [1], "left": np.zeros((5000, 1, 3), np.uint8), "right": image()}, "at most"),
        ({"state": [1], "left": image(), "right": image(), "prompt": 3}, "prompt is int"),
        ({"state": [1], "left": image(), "right": image(), "prompt": "x" * 9999}, "9999 char"),
        ({3: 4}, "a key of the observation is 3"),
        ([1], "an observation is a map, list came"),
    ],
)
def test_what_does_not_fit_is_named(observation: Any, why: str) -> None:
    """A WireError says what came, or what was expected."""
    with pytest.raises(WireError, match=why):
        reader("left right", 1).read(observation)


def test_a_policy_with_several_cameras_takes_none_by_guess() -> None:
    """The only image of an observation is a camera's only if the policy has one camera."""
    with pytest.raises(WireError, match=r"mapping\.cameras\.left"):
        reader("left right", 1).read({"state": [1], "view": image()})


VALUES = st.recursive(
    st.none()
    | st.integers(-5, 5)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.sampled_from([image(), np.zeros(1), np.zeros((6, 8)), np.zeros((6, 8, 3), bool)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["state", "left", "right", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_any_observation_is_read_or_refused(observation: Any) -> None:
    """Nothing but WireError is raised, and what is read fits the policy."""
    try:
        state, images, prompt = reader("left", 1).read(observation)
    except WireError:
        return
    assert state.shape == (1,)
    assert state.dtype == np.float32
    assert images["left"].shape == (6, 8, 3)
    assert prompt == ""
