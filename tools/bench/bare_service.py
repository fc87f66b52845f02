"""What the benchmarks of the replica share: a service without sockets, and requests for it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ...actors.inference.capture import Capture, Origin
from ...actors.inference.policy_runner import PolicyRunner
from ...actors.inference.replica_metrics import Meters
from ...actors.inference.robot_memory import RobotMemory
from ...actors.inference.service import ReplicaCore
from ...actors.runtime.audit import Audit
from ...actors.runtime.configs import InferenceConfig
from ...policy.base import ChunkPolicy, Observation, PolicySpec
from ...transport.bodies import Open, Request
from ...transport.header import Header, Kind
from ...transport.host import boot_id
from ...transport.messages import Blobs, encode
from ...transport.outbox import Outbox, OutboxReader

BUFFER_TIME_S = 0.5
"""Robots ask when so much playback is left: their deadline."""
MAX_WAIT_S = 0.004


def service_of(
    policy: ChunkPolicy, outboxes: dict[str, OutboxReader], **settings: Any
) -> ReplicaCore:
    served = InferenceConfig(
        service="bench", replica=0, brokers=(), policy="", max_wait_ms=MAX_WAIT_S * 1e3, **settings
    )
    device = PolicyRunner(policy)
    device.warm_up(served.max_batch if served.scheduling == "deadline" else 1)
    origin = Origin(
        service="bench",
        policy="",
        checkpoint="",
        checkpoint_hash="",
        device="",
        dtype="",
        threads=served.threads,
    )
    place = Path(tempfile.gettempdir()) / f"holdfast-bench-{os.getpid()}"
    return ReplicaCore(
        "bench/0",
        served,
        device,
        {robot: RobotMemory(outbox) for robot, outbox in outboxes.items()},
        Meters(),
        Audit(place, 0),
        Capture(place, 0, origin),
    )


def request(
    seen: Observation,
    outbox: Outbox | None = None,
    quality: int = 0,
    images: dict[str, Any] | None = None,
) -> list[Any]:
    """The frames of a request for what is seen, its playback nearly at the deadline's."""
    blobs, pixels = Blobs(), images or seen.images
    if outbox is not None:
        described = {n: Blobs.reference(r) for n, r in outbox.put(pixels).items()}
    else:
        described = {n: blobs.image(i, quality) for n, i in pixels.items()}
    body = Request(
        state=blobs.array(seen.state),
        images=described,
        task=seen.task,
        delay_steps=seen.delay_steps,
        prefix=None if seen.prefix is None else blobs.array(seen.prefix),
        slack_s=BUFFER_TIME_S,
    )
    return encode(Header(Kind.REQUEST, epoch=1), body, blobs)


def join(service: ReplicaCore, name: str, spec: PolicySpec, nonce: int = 0) -> None:
    """Open a session for `name`, which offers the outbox of that `nonce`."""
    asked = Open(
        robot=name,
        service="bench",
        action_names=spec.action_names,
        state_names=spec.state_names,
        cameras={c.name: (c.width, c.height) for c in spec.cameras},
        fps=spec.fps,
        rtc=spec.prefix != "none",
        boot_id=boot_id(),
        outbox_nonce=nonce,
    )
    header = Header(Kind.OPEN, epoch=1)
    [answer] = service.receive(name, header, encode(header, asked), 0)
    assert Header.unpack(answer[0]).kind is Kind.ACCEPT


def ns(seconds: float) -> int:
    return round(seconds * 1e9)
