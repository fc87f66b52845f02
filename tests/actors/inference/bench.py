"""A replica's core without sockets, and a policy whose chunks identify their observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.actors.inference.replica_metrics import Meters
from holdfast.actors.inference.service import ReplicaCore
from holdfast.policy.base import Chunk, ChunkPolicy, Observation, PolicySpec
from holdfast.tests.actors.inference.robot_side import SPEC, RobotSide
from holdfast.transport.arrays import Buffer
from holdfast.transport.frames import FrameReader
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Message, decode
from holdfast.transport.outbox import OutboxReader


class Bench:
    """A replica's core with its policy, driven by hand; answers are decoded."""

    def __init__(self, service: ReplicaCore, runner: PolicyRunner, meters: Meters) -> None:
        self.service, self.runner, self.meters = service, runner, meters

    def receive(
        self, robot: str, frames: Sequence[Buffer], now_ns: int = 0, broker: int = 0
    ) -> list[Message[Any]]:
        """The immediate answers to a message of `robot`, which came by `broker`."""
        header = Header.unpack(frames[0])
        answers = self.service.receive(robot, header, list(frames), now_ns, broker)
        return [decode(frames) for frames in answers]

    def join(self, *names: str) -> None:
        """Open a session for each robot."""
        for name in names:
            [answer] = self.receive(name, RobotSide(name).open())
            assert answer.header.kind is Kind.ACCEPT, answer.body

    def work(self, now_ns: int = 0) -> list[tuple[str, Message[Any]]]:
        """Run what is due; the answers by robot."""
        return [(robot, decode(frames)) for robot, frames in self.service.work(now_ns)]


class Echo:
    """A policy whose chunks hold the state's first value and the seed of their observation.

    It calls `look` with each observation, and refuses states below -100.
    """

    checkpoint_hash = "echo"

    def __init__(self, spec: PolicySpec = SPEC) -> None:
        self.spec = spec
        self.resets = 0
        self.look: Callable[[Observation], object] = lambda observation: None

    def reset(self) -> None:
        self.resets += 1

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        return [self.chunk(o) for o in batch]

    def chunk(self, seen: Observation) -> Chunk:
        """The chunk of one observation."""
        self.look(seen)
        if seen.state[0] < -100:
            raise ValueError("x is out of this world")
        chunk = np.full((SPEC.chunk_size, 2), seen.state[0], np.float32)
        chunk[:, 1] = seen.seed % 1000
        return Chunk(model=chunk, robot=chunk + 1)


class MakeBench(Protocol):
    """The fixture `bench`: a core around `policy`, with `outboxes` by robot, the `rings` of each
    one's cameras, and a configuration."""

    def __call__(
        self,
        policy: ChunkPolicy,
        outboxes: Mapping[str, OutboxReader] | None = None,
        rings: Mapping[str, FrameReader] | None = None,
        /,
        **config: Any,
    ) -> Bench: ...
