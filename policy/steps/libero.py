"""LIBERO: a simulated arm whose hand is moved, seen from outside and from its wrist.

Source: openpi, `src/openpi/policies/libero_policy.py`, `examples/libero`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .data_step import Data, StepPair
from .delta_actions import AbsoluteActions, DeltaActions, bool_mask
from .embodiment import Embodiment, Family
from .image_slots import ImageSlots
from .key_paths import array_at
from .padding import CutActions
from .repack import Repack

STATE = (
    *(f"hand_{axis}" for axis in "xyz"),
    *(f"hand_axis_angle_{axis}" for axis in "xyz"),
    "finger_left",
    "finger_right",
)
ACTIONS = ("move_x", "move_y", "move_z", "turn_x", "turn_y", "turn_z", "gripper")
_IMAGE, _WRIST, _STATE = "observation/image", "observation/wrist_image", "observation/state"


@dataclass(frozen=True)
class LiberoInputs:
    """A LIBERO client's observation for a model. π0-FAST sees the empty slot."""

    family: Family = "pi0"

    def __call__(self, data: Data) -> Data:
        slots = ImageSlots(
            {"base_0_rgb": _IMAGE, "left_wrist_0_rgb": _WRIST, "right_wrist_0_rgb": None},
            mask_empty=self.family != "pi0_fast",
        )
        return slots({**data, "state": array_at(data, _STATE, self)})


def libero(*, extra_delta: bool = False) -> Embodiment:
    """LIBERO, as openpi's `pi05_libero` has it. Its actions are differences already; `extra_delta`
    subtracts the state nevertheless, as `pi0_libero` and `pi0_fast_libero` were trained."""

    def steps(family: Family) -> StepPair:
        pair = StepPair([LiberoInputs(family)], [CutActions(len(ACTIONS))])
        mask = bool_mask(6, -1) if extra_delta else None
        return pair.push(StepPair([DeltaActions(mask)], [AbsoluteActions(mask)]))

    return Embodiment(
        name="libero",
        cameras={"image": _IMAGE, "wrist_image": _WRIST},
        slots={"base_0_rgb": "image", "left_wrist_0_rgb": "wrist_image"},
        camera_size=(256, 256),
        state={_STATE: STATE},
        action_names=ACTIONS,
        fps=10.0,
        # A repeated action would move the hand again: what stops it is 0.
        control_mode="velocity",
        steps=steps,
        repack=Repack(
            {
                _IMAGE: "image",
                _WRIST: "wrist_image",
                _STATE: "state",
                "actions": "actions",
                "prompt": "prompt",
            },
            optional=("actions", "prompt"),
        ),
    )


def libero_delta() -> Embodiment:
    """With differences from the state, as openpi's `pi0_libero` has it."""
    return libero(extra_delta=True)
