"""Fixtures: a replica's core without sockets, and a tiny policy on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.actors.inference.capture import Capture, Origin
from holdfast.actors.inference.example import Examples
from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.actors.inference.replica_metrics import Meters
from holdfast.actors.inference.robot_memory import RobotMemory
from holdfast.actors.inference.service import ReplicaCore
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.actors.runtime.audit import Audit
from holdfast.actors.runtime.configs import InferenceConfig
from holdfast.policy.base import ChunkPolicy
from holdfast.policy.checkpoint import Config, NormStats, save
from holdfast.policy.normalize import Stats
from holdfast.policy.tokens import Vocabulary
from holdfast.tests.actors.inference.bench import Bench, Echo, MakeBench
from holdfast.tests.actors.inference.broker_side import BrokerSide
from holdfast.tests.actors.inference.replica_thread import Replica, StartReplica
from holdfast.tests.actors.inference.robot_side import SPEC, TASK
from holdfast.transport import sockets
from holdfast.transport.frames import FrameReader
from holdfast.transport.outbox import OutboxReader


@pytest.fixture
def echo() -> Echo:
    """A policy whose chunks identify their observations."""
    return Echo()


@pytest.fixture
def bench(tmp_path: Path) -> MakeBench:
    """Makes a replica's core around a policy."""

    def make(
        policy: ChunkPolicy,
        outboxes: Mapping[str, OutboxReader] | None = None,
        rings: Mapping[str, FrameReader] | None = None,
        /,
        **config: Any,
    ) -> Bench:
        configured = InferenceConfig(
            **{
                "service": "pick",
                "replica": 0,
                "brokers": [],
                "policy": "echo",
                "max_wait_ms": 0,
                **config,
            }
        )
        examples = Examples(policy.spec, configured.pin_task or configured.default_task)
        runner, meters = PolicyRunner(policy, examples), Meters()
        runner.warm_up(configured.max_batch)
        origin = Origin(
            service="pick",
            policy=configured.policy,
            checkpoint=configured.checkpoint or "",
            checkpoint_hash=policy.checkpoint_hash,
            device="cpu",
            dtype="float32",
            threads=1,
        )
        service = ReplicaCore(
            "pick/0",
            configured,
            runner,
            {name: RobotMemory(outbox, rings) for name, outbox in (outboxes or {}).items()},
            meters,
            Audit(tmp_path / "audit.jsonl", configured.audit_bytes),
            Capture(tmp_path / "capture", configured.capture_bytes, origin),
        )
        return Bench(service, runner, meters)

    return make


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """The address of the broker's socket for replicas."""
    address = f"ipc://{tmp_path}/back"
    yield address
    sockets.unlink_stale(address)


@pytest.fixture
def broker(endpoint: str) -> Iterator[BrokerSide]:
    """A broker's socket at `endpoint`."""
    side = BrokerSide(endpoint)
    yield side
    side.close()


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """One thread, as in a replica: with another number kernels sum in another order."""
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


@pytest.fixture
def replica(checkpoint: Path, endpoint: str, tmp_path: Path) -> StartReplica:
    """Starts a replica in a thread, with a configuration."""

    @contextmanager
    def running(segments: dict[str, int] | None = None, **config: Any) -> Iterator[Replica]:
        configured = {
            "service": "pick",
            "replica": 0,
            "brokers": [endpoint],
            "policy": "shape-only",
            "checkpoint": str(checkpoint),
            "heartbeat_s": 0.05,
            "max_wait_ms": 1.0,
            **config,
        }
        boot, link, supervisor = boot_in_memory(
            "inference", "pick/0", configured, segments, rundir=tmp_path
        )
        it = Replica(boot, link, supervisor)
        it.thread.start()
        try:
            yield it
        finally:
            it.supervisor.close()
            it.end()
            it.link.close()

    return running
