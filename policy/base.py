"""What a policy is, to the replica that serves it and to the robots that ask whether it fits.

This module imports no torch: a robot's computer reads a policy's spec without being able to run it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from .. import arguments


class CameraFeature(msgspec.Struct, frozen=True):
    """One image the policy sees, at the resolution it sees it: uint8 [height, width, 3] RGB."""

    name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        arguments.name("name", self.name)
        for side in ("width", "height"):
            arguments.count(side, getattr(self, side), 1, 4096)


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True):
    """The contract of a policy; the `spec` of a checkpoint's config.json.

    `action_names` is ordered: a chunk's columns are motors. `prefix` says how a chunk can be made
    to continue the plan under way: not at all, by guidance while denoising (RTC, arXiv 2506.07339)
    or by conditioning learned in training (arXiv 2512.05964), for at most `max_prefix_steps`.
    `stateful` policies remember between calls, so that one instance can serve only one robot.
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

    def __post_init__(self) -> None:
        """Sequences become tuples. Raises TypeError or ValueError that begins with the field."""
        for field, plain in (
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
        ):
            msgspec.structs.force_setattr(self, field, plain)
        arguments.fields(self)

    @property
    def execution_horizon(self) -> int:
        """For how many steps a chunk can continue the plan under way; a policy that continues none
        counts with its whole chunk."""
        return (self.prefix != "none" and self.max_prefix_steps) or self.chunk_size

    def contract(self, checkpoint_hash: str) -> str:
        """A hash, 64 hex digits, of all that a robot relies on: two policies whose contracts are
        equal can take each other's place in the middle of a session."""
        said = {**msgspec.to_builtins(self), "checkpoint": checkpoint_hash}
        # How a policy is shared is the replica's affair.
        said.pop("stateful")
        return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()

    def example(self, seed: int = 0, task: str = "") -> Observation:
        """A valid synthetic observation with that task, the same for the same seed, for warm-up and
        tests."""
        rng = np.random.default_rng(seed)
        prefix = None
        if self.prefix != "none":
            shape = (self.max_prefix_steps, len(self.action_names))
            prefix = rng.standard_normal(shape, dtype=np.float32)
        return Observation(
            state=rng.standard_normal(len(self.state_names), dtype=np.float32),
            images={
                c.name: rng.integers(0, 256, (c.height, c.width, 3), dtype=np.uint8)
                for c in self.cameras
            },
            task=task,
            seed=seed,
            prefix=prefix,
            delay_steps=0 if prefix is None else len(prefix) // 2,
        )


@dataclass(frozen=True)
class Observation:
    """What one chunk is predicted from. The same observation always gives the same chunk.

    Attributes:
        state: float32 [S] in `spec.state_names`' order, in the robot's units.
        images: uint8 [h, w, 3] RGB by camera name, already at the policy's resolution.
        task: the instruction; may be empty.
        seed: of the noise that sampling starts from, so that a replayed request gives the same
            bytes and a batch gives each sample its own.
        prefix: float32 [P, A] in model space: the actions the robot will go on playing, the first
            of them at this observation's instant. None when there is no plan to continue.
        prefix_robot: the same in robot space, for policies whose actions are relative to a state.
        delay_steps: ticks until the chunk is expected to arrive: so much of `prefix` is certain.
    """

    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    task: str = ""
    seed: int = 0
    prefix: NDArray[np.float32] | None = None
    prefix_robot: NDArray[np.float32] | None = None
    delay_steps: int = 0


@dataclass(frozen=True)
class Chunk:
    """Future actions, float32 [H, A] each: step `i` is meant for `i` ticks after the observation.
    `model` is in model space, what a later prefix needs; `robot` in the robot's units. `clipped`
    counts the values of the observation that the policy bounded before it used them."""

    model: NDArray[np.float32]
    robot: NDArray[np.float32]
    clipped: int = 0


class ChunkPolicy(Protocol):
    """Anything that turns observations into chunks."""

    spec: PolicySpec
    checkpoint_hash: str
    """Names the weights: a robot that reconnects to another hash stops for good."""

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order; samples never mix. Called by one thread.

        Raises ValueError for an observation that does not fit `spec`, naming the feature.
        """


def _features(cameras: object) -> tuple[CameraFeature, ...]:
    """A spec's cameras, each of another name."""
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
