"""Clients of openpi's robots, whose keys a name says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from holdfast.actors.clients.named_mapping import mapping_of, misfits
from holdfast.actors.clients.observation_mapping import ObservationReader
from holdfast.errors import WireError
from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.steps import aloha, droid, libero, resize_with_pad

RNG = np.random.default_rng(0)


def policy(cameras: str, states: int, actions: int, size: int = 32) -> PolicySpec:
    return PolicySpec(
        model="m",
        revision="1",
        cameras=tuple(CameraFeature(name, width=size, height=size) for name in cameras.split()),
        state_names=tuple(f"s{k}" for k in range(states)),
        action_names=tuple(f"a{k}" for k in range(actions)),
        chunk_size=4,
        fps=10.0,
    )


def image(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "cameras",
    [
        "exterior_image_1_left wrist_image_left",
        "base_0_rgb left_wrist_0_rgb",
        "base_0_rgb wrist_0_rgb",
        "exterior_1_left wrist_left",
    ],
)
def test_a_policys_cameras_are_found_by_either_name(cameras: str) -> None:
    """Those of DROID, those of openpi's models, and those without the word `image`."""
    spec = policy(cameras, 8, 8)
    assert list(misfits(droid(), spec)) == []
    base, wrist = image(18, 32, 3), image(32, 32, 3)
    state, images, prompt = ObservationReader(spec, mapping_of(droid(), spec)).read(
        {
            "observation/exterior_image_1_left": base,
            "observation/wrist_image_left": wrist,
            "observation/joint_position": np.arange(7.0),
            "observation/gripper_position": np.array([7.0]),
            "prompt": "stack",
        }
    )
    outside, own = cameras.split()
    assert np.array_equal(images[outside], resize_with_pad(base, 32, 32))
    assert np.array_equal(images[own], wrist)
    assert (state.tolist(), prompt) == (list(range(8)), "stack")


def test_an_observation_of_alohas_clients_is_read() -> None:
    """Images in a map with channels first; what the policy does not take is not read."""
    spec = policy("cam_high right_wrist_0_rgb", 14, 14)
    high, wrist = image(3, 24, 32), image(3, 32, 32)
    observation = {
        "state": np.arange(14.0),
        "images": {"cam_high": high, "cam_low": "?", "cam_right_wrist": wrist},
    }
    _, images, prompt = ObservationReader(spec, mapping_of(aloha(), spec)).read(observation)
    padded = resize_with_pad(high.transpose(1, 2, 0), 32, 32)
    assert np.array_equal(images["cam_high"], padded)
    assert np.array_equal(images["right_wrist_0_rgb"], wrist.transpose(1, 2, 0))
    assert prompt == ""


def test_an_image_too_flat_for_the_policy_is_an_error() -> None:
    """Nothing would remain of it within the padding: the client is answered so."""
    spec = policy("image", 8, 7)
    observation = {"observation/state": np.zeros(8), "observation/image": image(1, 100, 3)}
    with pytest.raises(WireError, match=r"observation/image: .* 100 x 1 pixels is too flat"):
        ObservationReader(spec, mapping_of(libero(), spec)).read(observation)


def test_a_policy_that_cannot_serve_such_clients_is_told() -> None:
    """Other counts of state and actions, and a camera that they do not have."""
    found = list(misfits(libero(), policy("image front", 7, 6)))
    assert "clients of libero have 8 values of state (hand_x, " in found[0]
    assert "have 7 actions (move_x, " in found[1]
    assert "has a camera 'front', those of libero's clients are image, wrist_image" in found[2]
    assert len(found) == 3
