"""`serve`: a policy object of this program as a replica of a service.

For policies that live in a research script or a notebook: everything a replica does (validation,
deadline scheduling, batching, replay) around a callable that nobody packaged.

    serve(predict, spec, service="pick")        # blocks until Ctrl-C, or until the fleet drains it
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from ...policy.base import Chunk, ChunkPolicy, Observation, PolicySpec
from ...policy.weights import weights_hash
from ..actor import EXIT_STOPPED, Link, boot_in_memory
from ..configs import InferenceConfig
from ..inference.example import Examples
from ..inference.replica import InferenceActor
from ..link import Farewell
from .discovery import back_of

Predict = Callable[[Sequence[Observation]], list[Chunk]]


class ServingFailed(Exception):
    """The replica ended otherwise than by being asked to: the message says why."""


class _Given:
    """What the caller gave, with the name of its weights."""

    def __init__(self, given: Any, spec: PolicySpec, checkpoint_hash: str) -> None:
        self.spec, self.checkpoint_hash = spec, checkpoint_hash
        self.predict_chunk: Predict = getattr(given, "predict_chunk", given)
        self.execution = str(getattr(given, "execution", ""))
        self.reset: Callable[[], object] | None = getattr(given, "reset", None)


def serve(
    policy: ChunkPolicy | Predict,
    spec: PolicySpec | None = None,
    *,
    service: str,
    broker: str | None = None,
    name: str | None = None,
    max_sessions: int = 8,
    max_batch: int = 1,
    default_task: str = "",
    pin_task: str | None = None,
    example: Observation | None = None,
    checkpoint_hash: str | None = None,
    key: str | None = None,
    broker_key: str | None = None,
) -> None:
    """Serve `policy` until SIGINT or SIGTERM, which drain it: robots move to another replica.

    `policy` is a `ChunkPolicy`, or a function from observations to chunks whose `spec` is given.
    `broker` is its back endpoint, by default that of the fleet that runs on this machine. Call it
    from the main thread. Raises ValueError when a function comes without a spec or the example does
    not fit it, ServingFailed when the replica could not serve.

    Before it registers it is warmed up with observations that are made from its spec. Their task is
    `pin_task`, else `default_task`: a policy that knows only certain tasks must be given one of
    them. One that accepts only certain observations takes an `example`, which is then varied a
    little.

    `checkpoint_hash` names the weights, which must not change under a robot, and must be the same
    at all replicas of a service. By default it is the policy's own `checkpoint_hash`; else the
    SHA-256 of the `state_dict` of every torch module that the policy is or holds: in attributes, in
    variables that its functions close over, in globals that they name. Weights elsewhere (numpy or
    JAX arrays, another server) are not hashed: pass a `checkpoint_hash` for them, or change
    `spec.revision` with them, which stands in where nothing is found.
    """
    spec = spec or getattr(policy, "spec", None)
    if spec is None:
        raise ValueError(
            "a plain function needs spec=PolicySpec(...): what it sees, and what its chunks are"
        )
    Examples(spec, given=example)  # raises ValueError here, where the caller sees it
    weights = (
        checkpoint_hash
        or getattr(policy, "checkpoint_hash", None)
        or weights_hash(policy)
        or f"{spec.model}@{spec.revision}"
    )
    given = _Given(policy, spec, weights)

    class Replica(InferenceActor):
        def _load(self) -> ChunkPolicy:
            return given

        def _example(self) -> Observation | None:
            return example

    # Unique among the fleet's own <service>/<k>: two replicas of one name would fight for it.
    replica = name or f"{service}/{socket.gethostname()}-{os.getpid()}"
    config = InferenceConfig(
        service=service,
        replica=0,
        broker=broker or back_of(),
        policy="given",
        max_sessions=max_sessions,
        max_batch=max_batch,
        default_task=default_task,
        pin_task=pin_task,
        audit_bytes=0,
        script=True,
        key=key,
        broker_key=broker_key,
    )
    with TemporaryDirectory(prefix="holdfast-") as directory:
        boot, link, supervisor = boot_in_memory(
            "inference",
            replica,
            msgspec.to_builtins(config),
            incarnation=time.monotonic_ns() // 100_000_000,
            rundir=Path(directory),
        )
        with _signals(link):
            code = Replica(boot, link).main()
        said = [m.reason for m in supervisor.messages()[0] if isinstance(m, Farewell)]
        supervisor.close()
        link.close()
    if code != EXIT_STOPPED:
        raise ServingFailed(f"{replica} ended: {said[-1] if said else f'code {code}'}")


@contextmanager
def _signals(link: Link) -> Iterator[None]:
    """Make SIGINT and SIGTERM mean `drain and stop` for a while."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup = signal.set_wakeup_fd(-1)  # an event loop's, in a notebook
    link.catch_signals()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
