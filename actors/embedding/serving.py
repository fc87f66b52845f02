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

import msgspec

from ...policy.base import Chunk, ChunkPolicy, Observation, PolicySpec
from ..actor import EXIT_STOPPED, Link, boot_in_memory
from ..configs import InferenceConfig
from ..inference.replica import InferenceActor
from ..link import Farewell
from .discovery import back_of

Predict = Callable[[Sequence[Observation]], list[Chunk]]


class ServingFailed(Exception):
    """The replica ended otherwise than by being asked to: the message says why."""


class _Callable:
    """A function as a policy. It has no weights to name: its identity is what it was called."""

    def __init__(self, predict: Predict, spec: PolicySpec) -> None:
        self.spec = spec
        self.checkpoint_hash = f"{spec.model}@{spec.revision}"
        self._predict = predict

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        return self._predict(batch)


def serve(
    policy: ChunkPolicy | Predict,
    spec: PolicySpec | None = None,
    *,
    service: str,
    broker: str | None = None,
    name: str | None = None,
    max_sessions: int = 8,
    max_batch: int = 1,
    key: str | None = None,
    broker_key: str | None = None,
) -> None:
    """Serve `policy` until SIGINT or SIGTERM, which drain it: robots move to another replica.

    `policy` is a `ChunkPolicy`, or a function from observations to chunks whose `spec` is given.
    `broker` is its back endpoint, by default that of the fleet that runs on this machine. Call it
    from the main thread. Raises ValueError when a function comes without a spec, ServingFailed when
    the replica could not serve.
    """
    if callable(getattr(policy, "predict_chunk", None)):
        given: ChunkPolicy = policy  # type: ignore[assignment]
    elif spec is None:
        raise ValueError(
            "a plain function needs spec=PolicySpec(...): what it sees, and what its chunks are"
        )
    else:
        given = _Callable(policy, spec)  # type: ignore[arg-type]

    class Replica(InferenceActor):
        def _load(self) -> ChunkPolicy:
            return given

    # Unique among the fleet's own <service>/<k>: two replicas of one name would fight for it.
    replica = name or f"{service}/{socket.gethostname()}-{os.getpid()}"
    config = InferenceConfig(
        service=service,
        replica=0,
        broker=broker or back_of(),
        policy="given",
        max_sessions=max_sessions,
        max_batch=max_batch,
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
