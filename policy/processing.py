"""The processing of an observation before the network and of its chunk after it.

A pipeline is a tuple of steps. Each changes the sample before the network; after it they reverse
their part in reverse order. Steps hold only constants: a value that a step needs in both directions
(the state that relative actions count from) is kept in the sample, so that samples of several
robots can be in one pipeline at once without mixing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import PolicyError
from .base import Chunk, Observation, PolicySpec
from .normalize import Normalizer, bounded
from .tokens import Vocabulary


@dataclass(frozen=True)
class Sample:
    """One observation on its way through a pipeline.

    `state` [S] and `prefix` [P, A] change from the robot's units to the network's; `anchor` [A] is
    the state that relative actions count from, `tokens` [L] the instruction, `clipped` the number
    of bounded values.
    """

    state: NDArray[np.float32]
    tokens: NDArray[np.int64] | None = None
    prefix: NDArray[np.float32] | None = None
    anchor: NDArray[np.float32] | None = None
    task: str = ""
    clipped: int = 0


class Step(Protocol):
    """One reversible change."""

    def before(self, sample: Sample) -> Sample:
        """The sample for the next step or the network."""

    def after(self, actions: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        """Actions [H, A] from the network's side to the robot's; `sample` as `before` left it."""


@dataclass(frozen=True)
class RelativeActions:
    """The network predicts offsets from the request's state; the robot gets absolute targets.

    `state_columns[i]` is the state entry that action `i` counts from, or None where it stays
    absolute (a gripper). A prefix is re-anchored: it is absolute in robot space, and becomes
    relative to the state of its own request.
    """

    state_columns: tuple[int | None, ...]

    @classmethod
    def named(cls, spec: PolicySpec, relative: Sequence[str]) -> RelativeActions:
        """The actions of the names `relative` count from the states of the same names. Raises
        PolicyError for a name that is not both."""
        for name in relative:
            if name not in spec.action_names or name not in spec.state_names:
                raise PolicyError(
                    f"relative action '{name}' must be an action and a state; actions: "
                    f"{', '.join(spec.action_names)}; states: {', '.join(spec.state_names)}"
                )
        return cls(
            tuple(spec.state_names.index(a) if a in relative else None for a in spec.action_names)
        )

    def anchors(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values that actions count from, [..., A], of states [..., S]; 0 for absolute ones."""
        zero = np.zeros(states.shape[:-1], states.dtype)
        columns = [zero if c is None else states[..., c] for c in self.state_columns]
        return np.stack(columns, axis=-1)

    def before(self, sample: Sample) -> Sample:
        anchor = self.anchors(sample.state)
        prefix = None if sample.prefix is None else sample.prefix - anchor
        return replace(sample, anchor=anchor, prefix=prefix)

    def after(self, actions: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        if sample.anchor is None:
            raise ValueError("a chunk of relative actions came without the state it counts from")
        return actions + sample.anchor


@dataclass(frozen=True)
class Clamp:
    """Clips targets in robot space to the command range of the demonstrations' robot."""

    # A network misses such a limit by a little, and a robot refuses a target out of its range. The
    # form in model space, of which the next prefix is made, is not clipped.
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]

    def before(self, sample: Sample) -> Sample:
        return sample

    def after(self, actions: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return np.clip(actions, self.lower, self.upper)


@dataclass(frozen=True)
class Normalize:
    """State and prefix to the network's scale, bounded to ±`bound`."""

    state: Normalizer
    action: Normalizer
    bound: float = math.inf

    def before(self, sample: Sample) -> Sample:
        state, clipped = bounded(self.state.normalize(sample.state), self.bound)
        prefix = sample.prefix
        if prefix is not None:
            prefix, more = bounded(self.action.normalize(prefix), self.bound)
            clipped += more
        return replace(sample, state=state, prefix=prefix, clipped=sample.clipped + clipped)

    def after(self, actions: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return self.action.unnormalize(actions)


@dataclass(frozen=True)
class Tokenize:
    """The instruction to tokens."""

    vocabulary: Vocabulary
    length: int

    def before(self, sample: Sample) -> Sample:
        return replace(sample, tokens=self.vocabulary.encode(sample.task, self.length))

    def after(self, actions: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return actions


class Pipeline:
    """Steps in order. Stateless: one pipeline serves several robots."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)
        self._relative = any(isinstance(s, RelativeActions) for s in self.steps)

    def before(self, observation: Observation) -> Sample:
        """The network's input for an observation.

        With relative actions the prefix is taken from robot space, because its model-space form
        counts from an older state. Else it is taken from model space unchanged, bit for bit. Raises
        ValueError for relative actions without a prefix in robot space.
        """
        if self._relative and observation.prefix is not None and observation.prefix_robot is None:
            raise ValueError(
                "prefix_robot is missing: the model-space prefix of a policy with relative actions "
                "counts from the state of an older request; send the prefix in both spaces"
            )
        sample = Sample(
            state=observation.state,
            task=observation.task,
            prefix=observation.prefix_robot if self._relative else None,
        )
        for step in self.steps:
            sample = step.before(sample)
        return sample if self._relative else replace(sample, prefix=observation.prefix)

    def after(self, actions: NDArray[np.float32], sample: Sample) -> Chunk:
        """The chunk of the network's actions [H, A], in both spaces."""
        robot = actions
        for step in reversed(self.steps):
            robot = step.after(robot, sample)
        return Chunk(actions, np.ascontiguousarray(robot, dtype=np.float32), sample.clipped)


def check_observation(spec: PolicySpec, observation: Observation) -> None:
    """Raise ValueError that names the feature if `observation` does not fit `spec`."""
    _check_array("state", observation.state, (len(spec.state_names),), np.float32)
    for camera in spec.cameras:
        image = observation.images.get(camera.name)
        if image is None:
            has = ", ".join(sorted(observation.images)) or "none"
            raise ValueError(f"image '{camera.name}' is missing, the observation has: {has}")
        shape = (camera.height, camera.width, 3)
        _check_array(f"image '{camera.name}'", image, shape, np.uint8)
    _check_history(spec, observation)
    for name in ("prefix", "prefix_robot"):
        value: NDArray[np.float32] | None = getattr(observation, name)
        if value is not None:
            if value.ndim != 2:
                raise ValueError(f"{name} must be [steps, actions], found shape {value.shape}")
            _check_array(name, value, (len(value), len(spec.action_names)), np.float32)
    if observation.delay_steps < 0:
        raise ValueError(f"delay_steps must be 0 or more, found {observation.delay_steps}")


def _check_history(spec: PolicySpec, observation: Observation) -> None:
    """Raise ValueError unless the histories are those of a policy that sees several observations,
    or absent for one that sees one."""
    steps, states = spec.observation_steps, observation.state_history
    if steps == 1:
        return
    if states is None:
        raise ValueError(
            f"state_history is missing: this policy sees the last {steps} observations, "
            f"{spec.observation_stride_steps} steps apart"
        )
    _check_array("state_history", states, (steps, len(spec.state_names)), np.float32)
    for camera in spec.cameras:
        frames = observation.image_history.get(camera.name)
        if frames is None:
            raise ValueError(f"image_history of '{camera.name}' is missing")
        shape = (steps, camera.height, camera.width, 3)
        _check_array(f"image_history of '{camera.name}'", frames, shape, np.uint8)


def _check_array(
    name: str, value: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    if value.shape != shape or value.dtype != dtype:
        raise ValueError(
            f"{name} must be {np.dtype(dtype)} {list(shape)}, "
            f"found {value.dtype} {list(value.shape)}"
        )
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise ValueError(f"{name} holds values that are not finite")
