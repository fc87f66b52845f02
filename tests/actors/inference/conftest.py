"""Tiny policies on disk, robots that speak the wire protocol, and a replica's service without
sockets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.actors.inference.capture import Capture, Origin
from holdfast.actors.inference.example import Examples
from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.actors.inference.replica_metrics import Meters
from holdfast.actors.inference.service import ReplicaCore
from holdfast.actors.runtime.audit import Audit
from holdfast.actors.runtime.configs import InferenceConfig
from holdfast.policy.base import CameraFeature, Chunk, Observation, PolicySpec
from holdfast.policy.checkpoint import Config, NormStats, save
from holdfast.policy.normalize import Stats
from holdfast.policy.tokens import Vocabulary
from holdfast.transport.header import Header, Kind
from holdfast.transport.host import boot_id
from holdfast.transport.messages import Blobs, Message, Open, Request, Reset, decode, encode
from holdfast.transport.outbox import Outbox, OutboxReader

SPEC = PolicySpec(
    model="tiny",
    revision="1",
    cameras=(CameraFeature("overhead", 32, 24), CameraFeature("wrist", 16, 16)),
    state_names=("x", "y", "belt"),
    action_names=("x", "y"),
    chunk_size=12,
    fps=30.0,
    prefix="trained",
    max_prefix_steps=6,
)
TASK = "put the red parcel in the left bin"


class RobotSide:
    """One robot's end of the wire: the frames of what it says, without any transport."""

    def __init__(self, name: str, outbox: Outbox | None = None) -> None:
        self.name = name
        self.outbox = outbox

    def open(self, epoch: int = 1, **changes: Any) -> list[Any]:
        asked = Open(
            robot=self.name,
            service="pick",
            action_names=SPEC.action_names,
            state_names=SPEC.state_names,
            cameras={c.name: (c.width, c.height) for c in SPEC.cameras},
            fps=SPEC.fps,
            rtc=True,
            boot_id=boot_id() if self.outbox else "",
            outbox_nonce=self.outbox.nonce if self.outbox else 0,
        )
        return encode(Header(Kind.OPEN, epoch=epoch), msgspec.structs.replace(asked, **changes))

    def request(
        self,
        seen: Observation,
        seq: int = 1,
        episode: int = 0,
        epoch: int = 1,
        slack_s: float = 1.0,
        quality: int = 0,
        **changes: Any,
    ) -> list[Any]:
        """The request that a replica should turn into exactly `seen`."""
        blobs = Blobs()
        if self.outbox is not None:
            images = {n: Blobs.reference(r) for n, r in self.outbox.put(seen.images).items()}
        else:
            images = {n: blobs.image(i, quality) for n, i in seen.images.items()}
        body = Request(
            state=blobs.array(seen.state),
            images=images,
            task=seen.task,
            delay_steps=seen.delay_steps,
            prefix=None if seen.prefix is None else blobs.array(seen.prefix),
            prefix_robot=None if seen.prefix_robot is None else blobs.array(seen.prefix_robot),
            slack_s=slack_s,
            seed=seen.seed,
        )
        body = msgspec.structs.replace(body, **changes)
        header = Header(Kind.REQUEST, seq=seq, episode=episode, epoch=epoch, token=77)
        return [bytes(f) for f in encode(header, body, blobs)]

    def reset(self, episode: int, epoch: int = 1) -> list[Any]:
        return encode(Header(Kind.RESET, episode=episode, epoch=epoch), Reset())


class Bench:
    """A service with its device, driven by hand; answers are decoded."""

    def __init__(self, service: ReplicaCore, device: PolicyRunner, meters: Meters) -> None:
        self.service, self.device, self.meters = service, device, meters

    def receive(self, robot: str, frames: list[Any], now_ns: int = 0) -> list[Message[Any]]:
        header = Header.unpack(frames[0])
        return [decode(f) for f in self.service.receive(robot, header, frames, now_ns)]

    def join(self, *names: str) -> None:
        for name in names:
            [answer] = self.receive(name, RobotSide(name).open())
            assert answer.header.kind is Kind.ACCEPT, answer.body

    def work(self, now_ns: int = 0) -> list[tuple[str, Message[Any]]]:
        return [(robot, decode(frames)) for robot, frames in self.service.work(now_ns)]


class Echo:
    """A chunk that shows which observation it is from: the state's first value and the seed."""

    checkpoint_hash = "echo"

    def __init__(self, spec: PolicySpec = SPEC) -> None:
        self.spec = spec
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        return [self.chunk(o) for o in batch]

    def chunk(self, seen: Observation) -> Chunk:
        if seen.state[0] < -100:
            raise ValueError("x is out of this world")
        chunk = np.full((SPEC.chunk_size, 2), seen.state[0], np.float32)
        chunk[:, 1] = seen.seed % 1000
        return Chunk(model=chunk, robot=chunk + 1)


def seen(seed: int, **changes: Any) -> Observation:
    """A valid observation, different for each seed."""
    return dataclasses.replace(SPEC.example(seed, TASK), **changes)


@pytest.fixture
def example() -> Callable[..., Observation]:
    return seen


@pytest.fixture
def robot_side() -> type[RobotSide]:
    return RobotSide


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """Makes a service around a policy; `outboxes` by robot, the rest is its configuration."""

    def make(
        policy: Any, outboxes: dict[str, OutboxReader] | None = None, /, **config: Any
    ) -> Bench:
        told = InferenceConfig(
            **{
                "service": "pick",
                "replica": 0,
                "broker": "",
                "policy": "echo",
                "max_wait_ms": 0,
                **config,
            }
        )
        examples = Examples(policy.spec, told.pin_task or told.default_task)
        device, meters = PolicyRunner(policy, examples), Meters()
        device.warm_up(told.max_batch)
        origin = Origin(
            service="pick",
            policy=told.policy,
            checkpoint=told.checkpoint or "",
            checkpoint_hash=policy.checkpoint_hash,
            device="cpu",
            dtype="float32",
            threads=1,
        )
        service = ReplicaCore(
            "pick/0",
            told,
            device,
            outboxes or {},
            meters,
            Audit(tmp_path / "audit.jsonl", told.audit_bytes),
            Capture(tmp_path / "capture", told.capture_bytes, origin),
        )
        return Bench(service, device, meters)

    return make


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """What replicas set for themselves: with another number kernels sum in another order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flow policy with random weights, small enough to make and run in milliseconds."""
    import torch

    from holdfast.policy.kinds import untrained_network

    config = Config(
        kind="flow",
        spec=SPEC,
        network={"width": 16, "layers": 2, "heads": 2, "camera_width": 8, "places": 4},
        vocabulary=Vocabulary.of([TASK]).words,
    )
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    stats = NormStats(
        state=Stats.of(rng.normal(0.3, 2.0, (50, len(SPEC.state_names)))),
        action=Stats.of(rng.normal(-1.0, 0.5, (50, len(SPEC.action_names)))),
    )
    weights = {
        name: (0.3 * torch.randn(p.shape, generator=generator)).numpy()
        for name, p in untrained_network(config).named_parameters()
    }
    directory = tmp_path_factory.mktemp("policies") / "tiny"
    save(directory, config, stats, weights)
    return directory
