"""ALOHA, DROID and LIBERO, as openpi's policies see them, and embodiments of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import PolicyError, StepError
from holdfast.policy.base import Observation
from holdfast.policy.normalize import Stats
from holdfast.policy.steps import (
    AlohaInputs,
    AlohaOutputs,
    DroidInputs,
    Embodiment,
    Family,
    LiberoInputs,
    RobotKeys,
    StepPair,
    aloha,
    droid,
    embodiment_of,
    libero,
    register,
    registered,
)

FAMILIES: tuple[Family, ...] = ("pi0", "pi05", "pi0_fast")
EVERY = (
    aloha(),
    aloha(adapt_to_pi=False),
    aloha(delta_joints=False),
    droid(),
    droid(joint_position=True),
    libero(),
    libero(extra_delta=True),
)


def image(value: int = 9) -> np.ndarray[Any, Any]:
    return np.full((6, 8, 3), value, np.uint8)


def observed(robot: RobotKeys, seed: int = 0, **others: Any) -> dict[str, Any]:
    """What a client of this robot sends, with other entries."""
    state = np.tanh(robot.spec("m", 4).example(seed).state)
    pixels = {name: image(7 * k) for k, name in enumerate(robot.used_cameras, 1)}
    return {**robot.observed(Observation(state, pixels, "go")), **others}


def test_alohas_joints_turn_and_its_grippers_open_by_angle() -> None:
    """By hand: joints 1, 2 change sign; an opening of 0.5 is asin(0.38579) - 0.5476 of 1.0820."""
    state = np.array([1.0, 2, 3, 4, 5, 6, 0.0, 1, 2, 3, 4, 5, 6, 0.5])
    made = AlohaInputs()({"state": state, "images": {"cam_high": image().transpose(2, 0, 1)}})
    expected = [1, -2, -3, 4, 5, 6, -1.0798655475, 1, -2, -3, 4, 5, 6, -0.1400559217]
    assert np.allclose(made["state"], expected, rtol=0, atol=1e-9)
    assert state[1] == 2.0
    open_wide = AlohaInputs()({**made, "state": np.ones(14), "images": {"cam_high": image()[:3]}})
    assert open_wide["state"][6] == pytest.approx((np.pi / 2 - 0.5476) / 1.0820)


def test_alohas_actions_come_back_as_commands() -> None:
    """By hand: (0.5 + 0.5476 + 0.6213) of 2.1123; the first 14 columns; the inverse in training."""
    actions = np.zeros((2, 32))
    actions[:, :14] = [1, 2, 3, 4, 5, 6, 0.5, 1, 2, 3, 4, 5, 6, 0]
    made = AlohaOutputs()({"actions": actions, "state": np.zeros(32)})
    assert set(made) == {"actions"}
    expected = [1, -2, -3, 4, 5, 6, 0.7900866354, 1, -2, -3, 4, 5, 6, 0.5533778346]
    assert np.allclose(made["actions"], [expected] * 2, rtol=0, atol=1e-9)
    assert actions[0, 1] == 2.0
    data = {"state": np.zeros(14), "images": {"cam_high": image()[:3]}, **made}
    assert np.allclose(AlohaInputs()(data)["actions"], actions[:, :14], atol=1e-12)


def test_an_aloha_without_conversion_keeps_its_values() -> None:
    """`adapt_to_pi: False`, of robots that are in π0's space, or of models of one's own."""
    data = {"state": np.arange(14.0), "images": {"cam_high": image()[:3]}}
    assert AlohaInputs(adapt_to_pi=False)(data)["state"].tolist() == list(range(14))
    actions = np.arange(32.0)[None]
    made = AlohaOutputs(adapt_to_pi=False)({"actions": actions})
    assert made["actions"].tolist() == [list(range(14))]


def test_alohas_wrists_may_be_absent_and_are_masked_for_every_family() -> None:
    """cam_high is needed, cam_low is not used, another camera is refused."""
    high = image(5).transpose(2, 0, 1)
    data = {
        "state": np.zeros(14),
        "images": {"cam_high": high, "cam_right_wrist": high, "cam_low": high},
    }
    for family in FAMILIES:
        made = aloha().steps(family).before(data)
        assert list(made["image"]) == ["base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb"]
        assert list(made["image_mask"].values()) == [True, False, True]
        assert np.array_equal(made["image"]["right_wrist_0_rgb"], image(5))
        assert not made["image"]["left_wrist_0_rgb"].any()
    with pytest.raises(StepError, match="expected images of cam_high, cam_low, cam_left_wrist"):
        AlohaInputs()({"state": np.zeros(14), "images": {"cam_high": high, "front": high}})
    with pytest.raises(StepError, match=r"AlohaInputs: 'state' is float64.13., expected 14 values"):
        AlohaInputs()({"state": np.zeros(13), "images": {"cam_high": high}})


def test_droids_joints_and_gripper_are_one_state() -> None:
    """The gripper last, as a number or a vector; a prompt of bytes is read."""
    for gripper in (np.float64(0.5), np.array([0.5])):
        data = observed(droid()) | {
            "observation/joint_position": np.arange(7.0),
            "observation/gripper_position": gripper,
            "prompt": b"stack",
            "actions": np.zeros((2, 8)),
        }
        made = DroidInputs()(data)
        assert made["state"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0.5]
        assert (made["prompt"], made["actions"].shape) == ("stack", (2, 8))
    with pytest.raises(StepError, match=r"DroidInputs: there is no 'observation/joint_position'"):
        DroidInputs()({"observation/gripper_position": 1.0})
    with pytest.raises(StepError, match=r"'observation/joint_position' is float64.6., expected 7"):
        DroidInputs()({**data, "observation/joint_position": np.zeros(6)})


@pytest.mark.parametrize(
    ("family", "slots", "masks"),
    [
        ("pi0", ["base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb"], [True, True, False]),
        ("pi05", ["base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb"], [True, True, False]),
        ("pi0_fast", ["base_0_rgb", "base_1_rgb", "wrist_0_rgb"], [True, True, True]),
    ],
)
def test_droids_cameras_are_where_each_family_has_them(
    family: Family, slots: list[str], masks: list[bool]
) -> None:
    """π0-FAST has a second view from outside, which is black, and masks nothing."""
    made = DroidInputs(family)(observed(droid()))
    assert list(made["image"]) == slots
    assert list(made["image_mask"].values()) == masks
    filled = [name for name, pixels in made["image"].items() if pixels.any()]
    assert filled == [slots[0], slots[2] if family == "pi0_fast" else slots[1]]


@pytest.mark.parametrize(("family", "mask"), [("pi0", False), ("pi05", False), ("pi0_fast", True)])
def test_liberos_right_wrist_is_empty(family: Family, mask: bool) -> None:
    """It is masked but for π0-FAST; state and prompt are passed on."""
    made = LiberoInputs(family)(observed(libero()))
    assert list(made["image_mask"].values()) == [True, True, mask]
    assert not made["image"]["right_wrist_0_rgb"].any()
    assert made["image"]["left_wrist_0_rgb"].all()
    assert (made["state"].shape, made["prompt"]) == ((8,), "go")


def statistics(size: int, seed: int) -> Stats:
    rng = np.random.default_rng(seed)
    mean, std, low = rng.uniform(1, 2, (3, size))
    return Stats(*(tuple(map(float, each)) for each in (mean, std, low, low + 1 + std)))


@given(st.sampled_from(EVERY), st.sampled_from(FAMILIES), st.booleans(), st.integers(0, 1000))
def test_actions_come_back_through_the_whole_pipeline(
    robot: Embodiment, family: Family, normalized: bool, seed: int
) -> None:
    """What training makes of a dataset's actions, serving turns back to what the robot did."""
    width = len(robot.action_names)
    stats = {"state": statistics(len(robot.state_names), 1), "actions": statistics(width, 2)}
    pair = robot.pipeline(family, stats if normalized else None)
    actions = np.random.default_rng(seed).uniform(-1, 1, (5, width))
    before = pair.before(observed(robot, seed, actions=actions))
    assert {pixels.shape for pixels in before["image"].values()} == {(224, 224, 3)}
    size = {"pi0_fast": width}.get(family, 32)
    assert before["actions"].shape == (5, size)
    after = pair.after({"state": before["state"], "actions": before["actions"]})
    assert np.allclose(after["actions"], actions, atol=1e-5)


def test_the_mode_is_the_familys_unless_given() -> None:
    """z-score for π0, quantiles for the others; statistics without them are refused at once."""
    bare = {"state": Stats((0.0,) * 8, (1.0,) * 8)}
    assert droid().pipeline("pi0", bare)
    with pytest.raises(StepError, match="quantile needs"):
        droid().pipeline("pi05", bare)
    assert droid().pipeline("pi05", bare, mode="zscore")


def test_the_default_prompt_is_before_all_steps() -> None:
    """An observation without an instruction gets it, another keeps its own."""
    pair = libero().pipeline("pi0", prompt="open the drawer")
    data = observed(libero())
    assert pair.before(data)["prompt"] == "go"
    del data["prompt"]
    assert pair.before(data)["prompt"] == "open the drawer"


def test_an_observation_of_ours_becomes_a_clients() -> None:
    """ALOHA's in maps with channels first, DROID's state in two parts; the prefix as actions."""
    state = np.arange(14, dtype=np.float32)
    data = aloha().keys.observed(Observation(state, {"cam_high": image()}))
    assert set(data) == {"images", "state"}
    assert data["images"]["cam_high"].shape == (3, 6, 8)
    prefix = np.ones((2, 8), np.float32)
    observation = Observation(
        state[:8],
        {"exterior_image_1_left": image(), "wrist_image_left": image()},
        "go",
        prefix_robot=prefix,
    )
    data = droid().keys.observed(observation)
    assert data["observation/joint_position"].tolist() == list(range(7))
    assert data["observation/gripper_position"].tolist() == [7]
    assert data["observation/wrist_image_left"].shape == (6, 8, 3)
    assert (data["prompt"], data["actions"] is prefix) == ("go", True)


def test_the_contract_of_a_policy_follows_from_the_keys() -> None:
    """Cameras that models use, names in order, rate and mode; the rest is the policy's."""
    spec = aloha().spec("mine", 50)
    assert [c.name for c in spec.cameras] == ["cam_high", "cam_left_wrist", "cam_right_wrist"]
    assert spec.action_names[6:8] == ("left_gripper", "right_waist")
    assert (spec.fps, spec.control_mode) == (50.0, "position")
    assert (spec.cameras[0].width, spec.cameras[0].height) == (640, 480)
    assert aloha().spec("mine", 50, size=(224, 112)).cameras[0].height == 112
    spec = droid().spec("mine", 10, prefix="guided", max_prefix_steps=5)
    assert (len(spec.state_names), spec.control_mode, spec.prefix) == (8, "velocity", "guided")
    assert libero().camera_of("base_0_rgb") == "image"
    assert libero().camera_of("front") is None


def test_a_dataset_is_repacked_to_the_keys_that_clients_send() -> None:
    """The names of openpi's LeRobot datasets; what a robot lacks may be absent."""
    sample = {"observation.images.top": "i", "observation.state": "s", "action": "a", "index": 1}
    repack = aloha().repack
    assert repack is not None
    assert repack(sample) == {"images": {"cam_high": "i"}, "state": "s", "actions": "a"}
    repack = droid().repack
    assert repack is not None
    assert repack(
        {
            "exterior_image_1_left": "e",
            "wrist_image_left": "w",
            "joint_position": "j",
            "gripper_position": "g",
            "prompt": "p",
        }
    ) == {
        "observation/exterior_image_1_left": "e",
        "observation/wrist_image_left": "w",
        "observation/joint_position": "j",
        "observation/gripper_position": "g",
        "prompt": "p",
    }


def mine(name: str = "mine") -> Embodiment:
    return Embodiment(
        name=name,
        cameras={"top": "top"},
        state={"state": ("a",)},
        action_names=("a",),
        fps=10.0,
        steps=lambda _family: StepPair(),
    )


def test_an_own_embodiment_is_found_by_its_name() -> None:
    """Once registered; a name that another has is refused."""
    assert registered()[:3] == ("aloha", "droid", "libero")
    own = register(mine("mine-1"))
    assert register(own) is own
    assert embodiment_of("mine-1") is own
    for taken in (mine("droid"), mine("a:b")):
        with pytest.raises(ValueError, match="choose another"):
            register(taken)


def test_an_own_embodiment_is_found_in_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`module:name` is an Embodiment, or a function that makes one."""
    (tmp_path / "own_robot_7.py").write_text(
        "from holdfast.policy.steps import droid\nFR3 = droid()\nmake, wrong = droid, 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert embodiment_of("own_robot_7:FR3").name == "droid"
    assert embodiment_of("own_robot_7:make").name == "droid"
    for name in ("own_robot_7:wrong", "own_robot_7:absent"):
        with pytest.raises(PolicyError, match=r"own_robot_7\.py has .* there, expected"):
            embodiment_of(name)
    del sys.modules["own_robot_7"]


def test_an_unknown_name_is_answered_by_those_that_there_are() -> None:
    """With the one that is close, and how one's own is named."""
    with pytest.raises(PolicyError, match=r"did you mean 'droid'.*known are aloha, droid, libero"):
        embodiment_of("drodi")
