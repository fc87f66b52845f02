"""The interface of a policy: its spec, observations, chunks.

This module imports no torch: a robot's computer reads the spec of a policy that it cannot run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from .. import arguments

Schedule = Literal["zeros", "ones", "linear", "exp"]
"""How agreement with the prefix decreases between the delay and the execution horizon."""
Clip = Annotated[float, msgspec.Meta(gt=0, le=1e6, description="a number, more than 0, e.g. 5")]
Horizon = Annotated[int, msgspec.Meta(ge=1, description="steps from the observation, 1 or more")]
MAX_OBSERVATION_STEPS = 32


class CameraFeature(msgspec.Struct, frozen=True):
    """One image of an observation, at the policy's resolution: uint8 [height, width, 3] RGB.

    Raises TypeError or ValueError that begins with the field.

    >>> CameraFeature("wrist", width=128, height=96)
    CameraFeature(name='wrist', width=128, height=96)
    """

    name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        arguments.name("name", self.name)
        for side in ("width", "height"):
            arguments.count(side, getattr(self, side), 1, 4096)


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True):
    """The contract of a policy; the `spec` of a checkpoint's config.json.

    Attributes:
        model: the name of the policy.
        revision: the version of its weights.
        cameras: the images of an observation.
        state_names: the entries of an observation's state, in order.
        action_names: the columns of a chunk, in order.
        chunk_size: the steps of a chunk.
        fps: steps per second.
        control_mode: whether actions are positions or velocities.
        prefix: how a chunk continues the current plan: `none`, `guided` while denoising (RTC,
            arXiv 2506.07339) or `trained` conditioning (arXiv 2512.05964).
        max_prefix_steps: for at most how many steps it does.
        stateful: whether the policy keeps state between calls, so that an instance serves one
            robot.
        by_count: whether the names are placeholders: the robot's are taken, by their count.
        observation_steps: how many observations the policy sees, the newest included; 1: no earlier
            ones.
        observation_stride_steps: policy steps between two of them.
        only_task: the instruction that it was trained on, where that was a single one.

    >>> spec = PolicySpec(
    ...     model="reach",
    ...     revision="1",
    ...     cameras=(CameraFeature("wrist", width=128, height=96),),
    ...     state_names=("x", "y"),
    ...     action_names=("x", "y"),
    ...     chunk_size=30,
    ...     fps=30,
    ... )
    >>> spec.execution_horizon
    30
    >>> spec.example(seed=1).images["wrist"].shape
    (96, 128, 3)
    """

    model: str
    revision: str
    cameras: tuple[CameraFeature, ...]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    chunk_size: int
    fps: float
    control_mode: Literal["position", "velocity"] = "position"
    prefix: Literal["none", "guided", "trained"] = "none"
    max_prefix_steps: int = 0
    stateful: bool = False
    by_count: bool = False
    observation_steps: int = 1
    observation_stride_steps: int = 1
    only_task: str = ""

    def __post_init__(self) -> None:
        """Convert sequences to tuples. Raises TypeError or ValueError that begins with the
        field."""
        for name, plain in (
            ("model", arguments.name("model", self.model)),
            ("revision", arguments.name("revision", self.revision)),
            ("cameras", _features(self.cameras)),
            ("state_names", arguments.names("state_names", self.state_names)),
            ("action_names", arguments.names("action_names", self.action_names, least=1)),
            ("chunk_size", arguments.count("chunk_size", self.chunk_size, 1, 1 << 16)),
            ("fps", arguments.number("fps", self.fps, most=1000)),
            (
                "max_prefix_steps",
                arguments.count("max_prefix_steps", self.max_prefix_steps, 0, 1 << 16),
            ),
            (
                "observation_steps",
                arguments.count(
                    "observation_steps", self.observation_steps, 1, MAX_OBSERVATION_STEPS
                ),
            ),
            (
                "observation_stride_steps",
                arguments.count("observation_stride_steps", self.observation_stride_steps, 1, 1000),
            ),
            ("only_task", arguments.text("only_task", self.only_task)),
        ):
            msgspec.structs.force_setattr(self, name, plain)
        arguments.fields(self)

    @property
    def execution_horizon(self) -> int:
        """The steps for which a chunk can continue the current plan; the whole chunk for a policy
        that continues none."""
        return (self.prefix != "none" and self.max_prefix_steps) or self.chunk_size

    @property
    def observation_window_steps(self) -> int:
        """The policy steps from the oldest observation that the policy sees to the newest."""
        return (self.observation_steps - 1) * self.observation_stride_steps

    def contract(self, checkpoint_hash: str) -> str:
        """A hash, 64 hex digits, of everything that a robot relies on: policies of equal contracts
        are interchangeable within a session."""
        content = {**msgspec.to_builtins(self), "checkpoint": checkpoint_hash}
        # Sharing between robots is the replica's decision, and a robot's task its own.
        content.pop("stateful")
        content.pop("only_task")
        if not self.by_count:
            content.pop("by_count")  # as before there were such policies
        if self.observation_steps == 1:
            content.pop("observation_steps")
            content.pop("observation_stride_steps")
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()

    def example(self, seed: int = 0, task: str = "") -> Observation:
        """A valid synthetic observation, a function of the seed, for warm-up and tests."""
        rng = np.random.default_rng(seed)
        prefix = None
        shape = (self.max_prefix_steps, len(self.action_names))
        if self.prefix != "none":
            prefix = rng.standard_normal(shape, dtype=np.float32)
        state = rng.standard_normal(len(self.state_names), dtype=np.float32)
        images: dict[str, NDArray[np.uint8]] = {
            c.name: rng.integers(0, 256, (c.height, c.width, 3), dtype=np.uint8)
            for c in self.cameras
        }
        states, earlier = None, self.observation_steps - 1
        histories: dict[str, NDArray[np.uint8]] = {}
        if earlier:
            before = rng.standard_normal((earlier, len(state)), dtype=np.float32)
            states = np.concatenate([before, state[None]])
            for name, image in images.items():
                frames = rng.integers(0, 256, (earlier, *image.shape), dtype=np.uint8)
                histories[name] = np.concatenate([frames, image[None]])
        return Observation(
            state=state,
            images=images,
            task=task,
            seed=seed,
            prefix=prefix,
            prefix_robot=None if prefix is None else rng.standard_normal(shape, dtype=np.float32),
            delay_steps=0 if prefix is None else len(prefix) // 2,
            state_history=states,
            image_history=histories,
        )


@dataclass(frozen=True)
class Observation:
    """The input of one chunk. The same observation gives the same chunk.

    Attributes:
        state: float32 [S] in the order of `spec.state_names`, in the robot's units.
        images: uint8 [h, w, 3] RGB by camera name, at the policy's resolution.
        task: the instruction; may be empty.
        seed: the seed of the sampling noise, so that a replayed request gives the same bytes and
            each sample of a batch has its own noise.
        prefix: float32 [P, A] in model space: the rest of the current plan, from this
            observation's instant. None without a plan.
        prefix_robot: the same in robot space, for policies whose actions are relative to a state.
        delay_steps: ticks until the chunk is expected to arrive; so many steps of `prefix` are
            certain to be executed.
        execution_horizon: how far the chunk must agree with `prefix`, in steps from this
            observation. None, here and in the next two: as the policy itself has it.
        guidance_schedule: how agreement decreases from `delay_steps` to `execution_horizon`.
        guidance_clip: the bound of the guidance weight.
        state_history: float32 [k, S], where `spec.observation_steps` k is more than 1: the states
            at its stride, the oldest first and `state` last. What is before the episode is its
            first observation. None with a k of 1.
        image_history: the same of the images: uint8 [k, h, w, 3] by camera name. Empty with a k of
            1.
        session: which robot, connection and episode it belongs to, for processors that keep
            something of an episode; empty where there is no session.

    >>> observation = Observation(
    ...     state=np.zeros(2, np.float32),
    ...     images={"wrist": np.zeros((96, 128, 3), np.uint8)},
    ...     task="put the red parcel in the left bin",
    ... )
    >>> observation.prefix is None
    True
    """

    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    task: str = ""
    seed: int = 0
    prefix: NDArray[np.float32] | None = None
    prefix_robot: NDArray[np.float32] | None = None
    delay_steps: int = 0
    execution_horizon: int | None = None
    guidance_schedule: Schedule | None = None
    guidance_clip: float | None = None
    state_history: NDArray[np.float32] | None = None
    image_history: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    session: str = ""


@dataclass(frozen=True)
class Chunk:
    """Future actions, float32 [H, A]: step `i` is for `i` ticks after the observation.

    Attributes:
        model: in model space, from which a later prefix is made.
        robot: the same in the robot's units.
        clipped: how many values of the observation the policy bounded before their use.

    >>> actions = np.zeros((30, 2), np.float32)
    >>> Chunk(model=actions, robot=actions).robot.shape
    (30, 2)
    """

    model: NDArray[np.float32]
    robot: NDArray[np.float32]
    clipped: int = 0


class ChunkPolicy(Protocol):
    """An object that predicts chunks from observations.

    >>> class HoldPosition:
    ...     checkpoint_hash = "1"
    ...
    ...     def __init__(self, spec: PolicySpec) -> None:
    ...         self.spec = spec
    ...
    ...     def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
    ...         chunks = [np.tile(o.state, (self.spec.chunk_size, 1)) for o in batch]
    ...         return [Chunk(model=c, robot=c) for c in chunks]
    """

    spec: PolicySpec
    checkpoint_hash: str
    """Identifies the weights: a robot that reconnects to another hash stops for good."""

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order; no sample influences another. Called by one
        thread.

        Raises ValueError, naming the feature, for an observation that does not fit `spec`.
        """


def _features(cameras: object) -> tuple[CameraFeature, ...]:
    """The cameras of a spec, whose names differ. Raises TypeError or ValueError."""
    if isinstance(cameras, str | bytes) or not isinstance(cameras, Iterable):
        raise TypeError(
            f"cameras: {arguments.shown(cameras)}, expected CameraFeature(name, width, height)s"
        )
    found = tuple(cameras)
    for place, each in enumerate(found):
        if not isinstance(each, CameraFeature):
            raise TypeError(
                f"cameras[{place}]: {arguments.shown(each)}, expected "
                "CameraFeature(name, width, height)"
            )
    arguments.names("cameras", [each.name for each in found])
    return found
