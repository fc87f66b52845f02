"""ALOHA: two arms of six joints and a gripper each, in the data of Trossen's software and in the
space that the π0 base models were trained in.

Source: openpi, `src/openpi/policies/aloha_policy.py`, with the constants of ALOHA's and
Interbotix's software. In both spaces a vector is [left joints 6, left gripper, right joints 6,
right gripper]. π0's has joints 1, 2 of each arm turned the other way round, and the grippers' angle
from 0.5476 to 1.6296 rad (encoder counts 2405 to 3110 of 4096, from 2048) as 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .data_step import Data, StepPair
from .delta_actions import AbsoluteActions, DeltaActions, bool_mask
from .embodiment import Embodiment, Family
from .image_slots import ImageSlots
from .key_paths import array_at, unfit
from .repack import Repack

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
NAMES = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in JOINTS)
CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")

_FLIPPED = np.array([1, -1, -1, 1, 1, 1, 1] * 2)
_GRIPPERS = [6, 13]
_ANGLES = (0.5476, 1.6296)
"""Of a gripper that π0 has at 0 and at 1, rad."""
_OPENING = (0.01844, 0.05800)
"""Of a follower's fingers that ALOHA has at 0 and at 1, m."""
_COMMAND = (-0.6213, 1.4910)
"""Of a follower's gripper joint that ALOHA commands by 0 and by 1, rad."""
_ARM, _HORN = 0.036, 0.022
"""The linkage from the motor to the fingers, m."""

Vector = NDArray[np.floating]


def gripper_state_to_pi(value: Vector) -> Vector:
    """A gripper's measured opening (0 to 1) as π0's angle: ALOHA's software made it linear."""
    opening = _from_unit(value, _OPENING)
    sine = (_HORN**2 + opening**2 - _ARM**2) / (2 * _HORN * opening)
    return _to_unit(np.arcsin(np.clip(sine, -1.0, 1.0)), _ANGLES)


def gripper_action_from_pi(value: Vector) -> Vector:
    """π0's angle as ALOHA's command. As openpi's, which adds the offset and does not scale."""
    return _to_unit(value + _ANGLES[0], _COMMAND)


def gripper_action_to_pi(value: Vector) -> Vector:
    """The inverse of `gripper_action_from_pi`."""
    return _from_unit(value, _COMMAND) - _ANGLES[0]


def _to_unit(value: Vector, ends: tuple[float, float]) -> Vector:
    return (value - ends[0]) / (ends[1] - ends[0])


def _from_unit(value: Vector, ends: tuple[float, float]) -> Vector:
    return value * (ends[1] - ends[0]) + ends[0]


@dataclass(frozen=True)
class AlohaInputs:
    """An ALOHA client's observation for a model: `state` [14], `images` of `CAMERAS` [3, h, w],
    `actions` [steps, 14] and `prompt` where there are any. `adapt_to_pi` converts the values to the
    space of the base models."""

    adapt_to_pi: bool = True

    def __call__(self, data: Data) -> Data:
        state = _vectors(data, "state", self)
        changed = {"state": self._converted(state, gripper_state_to_pi)}
        if "actions" in data:
            actions = _vectors(data, "actions", self)
            changed["actions"] = self._converted(actions, gripper_action_to_pi)
        return _SLOTS({**data, **changed})

    def _converted(self, values: Vector, gripper: object) -> Vector:
        if not self.adapt_to_pi:
            return values
        assert callable(gripper)
        values = _FLIPPED * values
        values[..., _GRIPPERS] = gripper(values[..., _GRIPPERS])
        return values


@dataclass(frozen=True)
class AlohaOutputs:
    """A model's actions as those of ALOHA: the first 14 values, converted back."""

    adapt_to_pi: bool = True

    def __call__(self, data: Data) -> Data:
        actions = array_at(data, "actions", self)
        if actions.ndim != 2 or actions.shape[1] < len(NAMES):
            raise unfit(self, "actions", actions, f"[steps, at least {len(NAMES)} values]")
        actions = actions[:, : len(NAMES)]
        if self.adapt_to_pi:
            actions = _FLIPPED * actions
            actions[:, _GRIPPERS] = gripper_action_from_pi(actions[:, _GRIPPERS])
        return {"actions": actions}


def _vectors(data: Data, key: str, step: object) -> Vector:
    values = array_at(data, key, step)
    if values.ndim == 0 or values.shape[-1] != len(NAMES):
        raise unfit(step, key, values, f"{len(NAMES)} values: {', '.join(NAMES)}")
    return values


_SLOTS = ImageSlots(
    slots={
        "base_0_rgb": "images/cam_high",
        "left_wrist_0_rgb": "images/cam_left_wrist",
        "right_wrist_0_rgb": "images/cam_right_wrist",
    },
    optional=("images/cam_left_wrist", "images/cam_right_wrist"),
    channels="first",
    within="images",
    allowed=tuple(f"images/{camera}" for camera in CAMERAS),
)


def aloha(*, adapt_to_pi: bool = True, delta_joints: bool = True) -> Embodiment:
    """ALOHA, as openpi's `pi0_aloha` has it. `delta_joints`: models predict joints as differences
    from the state, and grippers absolute; `pi0_aloha_sim` does not."""

    def steps(_family: Family) -> StepPair:
        pair = StepPair([AlohaInputs(adapt_to_pi)], [AlohaOutputs(adapt_to_pi)])
        mask = bool_mask(6, -1, 6, -1) if delta_joints else None
        return pair.push(StepPair([DeltaActions(mask)], [AbsoluteActions(mask)]))

    return Embodiment(
        name="aloha",
        cameras={camera: f"images/{camera}" for camera in CAMERAS},
        slots=dict(
            zip(_SLOTS.slots, ("cam_high", "cam_left_wrist", "cam_right_wrist"), strict=True)
        ),
        camera_size=(640, 480),
        state={"state": NAMES},
        action_names=NAMES,
        fps=50.0,
        nested=True,
        channels_first=True,
        steps=steps,
        repack=Repack(
            {
                "images": {"cam_high": "observation.images.top"},
                "state": "observation.state",
                "actions": "action",
                "prompt": "prompt",
            },
            optional=("action", "prompt"),
        ),
    )


def aloha_absolute() -> Embodiment:
    """With joints that are no differences, as openpi's `pi0_aloha_sim` has it."""
    return aloha(delta_joints=False)
