"""A replica in memory that the robot `ROBOT` asks straight or by a broker: its core is real, its
connections are queues."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from holdfast.actors.broker.peers import Peer
from holdfast.actors.inference.capture import Capture, Origin
from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.actors.inference.replica_metrics import Meters
from holdfast.actors.inference.served_session import BY_BROKER
from holdfast.actors.inference.service import ReplicaCore
from holdfast.actors.runtime.audit import Audit
from holdfast.actors.runtime.configs import InferenceConfig
from holdfast.tests.actors.inference.bench import Echo
from holdfast.transport.arrays import Buffer
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import decode, encode

ROBOT = "r1"
ROBOTS_PEER = Peer(b"r1:1", ROBOT, 1)
_NOWHERE = Path("/nonexistent")
Queue = deque[list[Buffer]]


@dataclass
class Replica:
    """A replica's core with its connections: what lies in them has not been read yet."""

    name: str
    peer: Peer
    core: ReplicaCore
    far: bool
    shares: bool
    """Whether it sees the shared memory of the robot, if it is on its host."""
    shared: set[int]
    """The requests whose images are in the shared memory of the robot's host."""
    hung: bool = False
    progress: int = 0
    door: Queue = field(default_factory=deque)
    """Requests that came straight."""
    back: deque[tuple[str, list[Buffer]]] = field(default_factory=deque)
    """Messages of the broker."""
    answers: Queue = field(default_factory=deque)
    """Answers that go straight to the robot."""
    sent: deque[tuple[str, list[Buffer]]] = field(default_factory=deque)
    """Messages to the broker."""

    def read_door(self, now_ns: int) -> None:
        frames = self.door.popleft()
        header = Header.unpack(frames[0])
        self._see(header)
        way = ROBOTS_PEER.identity
        self.answers += self.core.receive(ROBOT, header, frames, now_ns, way=way)

    def read_back(self, now_ns: int) -> None:
        robot, frames = self.back.popleft()
        if robot:
            header = Header.unpack(frames[0])
            self._see(header)
            for answer in self.core.receive(robot, header, frames, now_ns):
                self.sent.append((robot, self._with_door(answer)))

    def work(self, now_ns: int) -> None:
        for robot, frames in self.core.work(now_ns):
            session = self.core.sessions[robot]
            for way in session.ways:
                if way == BY_BROKER:
                    self.sent.append((robot, frames))
                else:
                    self.answers.append(frames)
            session.answered(frames)

    def _see(self, header: Header) -> None:
        lost = self.far and header.kind is Kind.REQUEST and header.seq in self.shared
        assert not lost, f"{self.name} cannot see the images of request {header.seq}"

    def _with_door(self, answer: list[Buffer]) -> list[Buffer]:
        message = decode(answer)
        if message.header.kind is not Kind.ACCEPT or self.far:
            return answer
        terms = msgspec.structs.replace(message.body, direct=f"ipc://{self.name}", shm=self.shares)
        return encode(message.header, terms)


def core_of(name: str) -> ReplicaCore:
    """The core of the replica `name`, whose policy is an `Echo`."""
    config = InferenceConfig(
        service="pick",
        replica=int(name.rpartition("/")[2]),
        brokers=(),
        policy="echo",
        max_wait_ms=0,
        max_batch=1,
        audit_bytes=0,
    )
    runner = PolicyRunner(Echo())
    runner.warm_up(1)
    origin = Origin(
        service="pick",
        policy="echo",
        checkpoint="",
        checkpoint_hash="echo",
        device="cpu",
        dtype="float32",
        threads=1,
    )
    return ReplicaCore(
        name, config, runner, {}, Meters(), Audit(_NOWHERE, 0), Capture(_NOWHERE, 0, origin)
    )
