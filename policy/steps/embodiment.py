"""`Embodiment`: one kind of robot for openpi's models: its keys, and the steps of its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from ..normalize import Mode, Stats
from .data_step import StepPair
from .normalization import NormalizeKeys, UnnormalizeKeys
from .padding import PadToModel
from .prompts import DefaultPrompt
from .repack import Repack
from .resize_with_pad import ResizeImages
from .robot_keys import RobotKeys

Family = Literal["pi0", "pi05", "pi0_fast"]

IMAGE_SIZE = 224
MODEL_SIZE = 32
"""Of states and actions, for π0 and π0.5."""


class Embodiment(RobotKeys, frozen=True, kw_only=True):
    """A kind of robot, for training as for inference.

    Attributes:
        steps: the robot's own steps for a family of models, before normalization and after it.
        repack: the keys of a LeRobot dataset of it to those that its clients send.
    """

    steps: Callable[[Family], StepPair]
    repack: Repack | None = None

    @property
    def keys(self) -> RobotKeys:
        """The plain values without the steps."""
        fields = RobotKeys.__struct_fields__
        return RobotKeys(**{field: getattr(self, field) for field in fields})

    def pipeline(
        self,
        family: Family,
        stats: Mapping[str, Stats] | None = None,
        mode: Mode | None = None,
        prompt: str | None = None,
        size: int | None = MODEL_SIZE,
        pixels: int = IMAGE_SIZE,
    ) -> StepPair:
        """Everything between a client and a model but the tokens, in openpi's order
        (`policies/policy_config.py`, `training/config.py`).

        `stats` are those of `read_norm_stats`; None leaves values as they are. `mode` is z-score
        for π0 and quantile for the others unless given. `prompt` is the one of observations that
        have none. States and actions are padded to `size`, but not for π0-FAST or None. Images are
        `pixels` high and wide. Raises StepError for statistics that lack what the mode needs.
        """
        pair = StepPair([DefaultPrompt(prompt)]).push(self.steps(family))
        if stats is not None:
            mode = mode or ("zscore" if family == "pi0" else "quantile")
            scale = StepPair([NormalizeKeys(stats, mode)], [UnnormalizeKeys(stats, mode)])
            pair = pair.push(scale)
        pair = pair.push(StepPair([ResizeImages(pixels, pixels)]))
        if family == "pi0_fast" or size is None:
            return pair
        return pair.push(StepPair([PadToModel(size)]))
