"""DROID: a Franka arm of seven joints with a gripper, seen from outside and from its wrist.

Source: openpi, `src/openpi/policies/droid_policy.py`, `examples/droid`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .data_step import Data, StepPair
from .delta_actions import AbsoluteActions, DeltaActions, bool_mask
from .embodiment import Embodiment, Family
from .image_slots import ImageSlots
from .key_paths import array_at, unfit
from .padding import CutActions
from .repack import Repack

JOINTS = tuple(f"joint_{number}" for number in range(1, 8))
NAMES = (*JOINTS, "gripper")
_BASE, _WRIST = "observation/exterior_image_1_left", "observation/wrist_image_left"
_JOINTS, _GRIPPER = "observation/joint_position", "observation/gripper_position"


@dataclass(frozen=True)
class DroidInputs:
    """A DROID client's observation for a model. π0-FAST has other slots than π0 and π0.5, and sees
    the empty one."""

    family: Family = "pi0"

    def __call__(self, data: Data) -> Data:
        gripper = np.atleast_1d(array_at(data, _GRIPPER, self))
        joints = array_at(data, _JOINTS, self)
        for key, array, size in ((_JOINTS, joints, len(JOINTS)), (_GRIPPER, gripper, 1)):
            if array.shape != (size,):
                raise unfit(self, key, array, f"{size} value{'s' * (size > 1)}")
        changed: Data = {"state": np.concatenate([joints, gripper])}
        if isinstance(prompt := data.get("prompt"), bytes):
            changed["prompt"] = prompt.decode()
        slots = _FAST if self.family == "pi0_fast" else _FLOW
        return slots({**data, **changed})


_FLOW = ImageSlots({"base_0_rgb": _BASE, "left_wrist_0_rgb": _WRIST, "right_wrist_0_rgb": None})
_FAST = ImageSlots(
    {"base_0_rgb": _BASE, "base_1_rgb": None, "wrist_0_rgb": _WRIST}, mask_empty=False
)


def droid(*, joint_position: bool = False) -> Embodiment:
    """DROID, as openpi's `pi0_droid`, `pi05_droid` and `pi0_fast_droid` have it: velocities of the
    joints and the position of the gripper. `joint_position`: a dataset's actions are positions,
    which models predict as differences from the state."""

    def steps(family: Family) -> StepPair:
        pair = StepPair([DroidInputs(family)], [CutActions(len(NAMES))])
        mask = bool_mask(7, -1) if joint_position else None
        return pair.push(StepPair([DeltaActions(mask)], [AbsoluteActions(mask)]))

    return Embodiment(
        name="droid",
        cameras={path.rpartition("/")[2]: path for path in (_BASE, _WRIST)},
        slots={
            "base_0_rgb": "exterior_image_1_left",
            "left_wrist_0_rgb": "wrist_image_left",
            "wrist_0_rgb": "wrist_image_left",
        },
        camera_size=(320, 180),
        state={_JOINTS: JOINTS, _GRIPPER: ("gripper",)},
        action_names=NAMES,
        fps=15.0,
        control_mode="position" if joint_position else "velocity",
        steps=steps,
        repack=Repack(
            {
                _BASE: "exterior_image_1_left",
                _WRIST: "wrist_image_left",
                _JOINTS: "joint_position",
                _GRIPPER: "gripper_position",
                "actions": "actions",
                "prompt": "prompt",
            },
            optional=("actions", "prompt"),
        ),
    )
