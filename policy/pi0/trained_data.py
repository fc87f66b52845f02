"""The steps between a robot and a network that `holdfast-train` made: the same in training and in
service.

They are openpi's (`Embodiment.pipeline`). A robot without an embodiment of its own is one whose
data are its cameras, its state and its actions, in the names of the spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import PolicyError
from ..base import PolicySpec
from ..checkpoint import Config, NormStats
from ..processing import RelativeActions
from ..steps import CutActions, Data, Embodiment, ImageSlots, StepPair, embodiment_of
from ..steps.embodiment import Family
from .pi_settings import settings_of


def robot_of(spec: PolicySpec, mapping: str, relative_actions: Sequence[str]) -> Embodiment:
    """The embodiment `mapping`, or that of the spec's names. Raises PolicyError."""
    if mapping:
        if relative_actions:
            raise PolicyError(
                f"relative_actions: the mapping {mapping} says itself which actions count from the "
                "state: remove it"
            )
        return embodiment_of(mapping)
    relative = RelativeActions.named(spec, relative_actions)

    def steps(_family: Family) -> StepPair:
        slots = ImageSlots({c.name: f"images/{c.name}" for c in spec.cameras}, channels="last")
        pair = StepPair([slots], [CutActions(len(spec.action_names))])
        return pair.push(StepPair([FromState(relative)], [ToTargets(relative)]))

    return Embodiment(
        name=spec.model,
        cameras={camera.name: f"images/{camera.name}" for camera in spec.cameras},
        state={"state": spec.state_names},
        action_names=spec.action_names,
        fps=spec.fps,
        control_mode=spec.control_mode,
        steps=steps,
    )


def steps_of(
    robot: Embodiment, family: Family, config: Config, stats: NormStats, prompt: str | None = None
) -> StepPair:
    """All steps up to the model's own. Raises PolicyError, and StepError for statistics that lack
    what the mode needs."""
    if config.state_mode != config.action_mode:
        raise PolicyError(
            f"state_mode is {config.state_mode} and action_mode {config.action_mode}: {family} has "
            "one for both"
        )
    settings = settings_of(config)
    pair = robot.pipeline(
        family,
        # A robot without a state has nothing to normalize there.
        {"actions": stats.action, **({"state": stats.state} if stats.state.mean else {})},
        config.state_mode,
        prompt=prompt or settings.prompt or None,
        size=None,
        pixels=settings.vision.pixels,
    )
    if config.action_limits is None:
        return pair
    lower, upper = (np.array(limit, np.float32) for limit in config.action_limits)
    return StepPair(outputs=[LimitActions(lower, upper)]).push(pair)


@dataclass(frozen=True)
class FromState:
    """Actions as offsets from the state, where `relative` says so."""

    relative: RelativeActions

    def __call__(self, data: Data) -> Data:
        if "actions" not in data:
            return data
        return {**data, "actions": data["actions"] - self.relative.anchors(data["state"])}


@dataclass(frozen=True)
class ToTargets:
    """The inverse of `FromState`; actions and state may be padded."""

    relative: RelativeActions

    def __call__(self, data: Data) -> Data:
        anchors = self.relative.anchors(data["state"])
        actions = np.array(data["actions"])
        actions[..., : len(anchors)] += anchors
        return {**data, "actions": actions}


@dataclass(frozen=True)
class LimitActions:
    """The robot's actions, clipped to `lower` and `upper` [A]."""

    lower: NDArray[np.float32]
    upper: NDArray[np.float32]

    def __call__(self, data: Data) -> Data:
        return {**data, "actions": np.clip(data["actions"], self.lower, self.upper)}
