"""`serve`: a policy object of this program as a replica of a service.

For policies that live in a research script or a notebook: everything a replica does (validation,
deadline scheduling, batching, replay) around a callable that is not packaged.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from ... import arguments
from ...errors import ServingFailedError
from ...policy.base import ChunkPolicy, Observation, PolicySpec
from ...policy.weights import weights_hash
from ...transport.keys import Role
from ..inference.example import Examples
from ..inference.given_policy import GivenPolicy, Predict
from ..runtime.actor import EXIT_STOPPED, boot_in_memory
from ..runtime.configs import InferenceConfig
from ..runtime.link_messages import ExitReason
from ..runtime.supervisor_link import Link
from .discovery import back_of
from .given import GivenReplica, StopEvent, logged_to_stderr
from .identity import Identity, here, path
from .scratch import Scratch

_AUDIT_BYTES = 16_000_000


def serve(
    policy: ChunkPolicy | Predict,
    spec: PolicySpec | None = None,
    *,
    service: str,
    broker: str | Sequence[str] | None = None,
    name: str | None = None,
    max_sessions: int = 8,
    max_batch: int = 1,
    default_task: str = "",
    pin_task: str | None = None,
    example: Observation | None = None,
    checkpoint_hash: str | None = None,
    audit: str | Path | None = None,
    stop: StopEvent | None = None,
    key: str | Path | None = None,
    broker_key: str | Path | Sequence[str | Path] | None = None,
) -> None:
    """Serve `policy` until SIGINT or SIGTERM, which drain it: robots move to another replica.

        serve(predict, spec, service="pick")  # blocks until Ctrl-C, or until the fleet drains it

    `policy` is a `ChunkPolicy`, or a function from observations to chunks whose `spec` is given.
    `broker` is its back endpoint, by default that of the fleet that runs on this machine; a list of
    them where a site has several brokers: it registers with all of them. `key` is the file of the
    replica's own key, or of a token (`.token`) beside which it makes and enrols one, and
    `broker_key` that of the broker's public one, or a list with one for each broker. `name` is
    `service/` and a name of its own among the service's replicas. `audit` is a directory that gets
    a line for each request, at most 16 MB of them.

    In another thread than the main one, where signals do not arrive, setting the event `stop` does
    the same. What is waited for, readiness, and which robots come and go is logged, to stderr
    if the program has not set logging up.

    Raises TypeError or ValueError, which begin with the argument's name, for arguments that cannot
    work, FleetNotFoundError when no fleet runs here and no broker is named, ServingFailedError when
    the replica could not serve.

    Before it registers it is warmed up with observations that are made from its spec. Their task is
    `pin_task`, else `default_task`: a policy that knows only certain tasks must be given one of
    them. One that accepts only certain observations takes an `example`, which is then varied a
    little.

    `checkpoint_hash` names the weights, which must not change under a robot, and must be the same
    at all replicas of a service. By default it is the policy's own `checkpoint_hash`; else the
    SHA-256 of every torch module and every array (torch, numpy, JAX) that the policy is or holds:
    in attributes, in variables that its functions close over, in globals that they name. Weights
    elsewhere (in another server, in numbers) are not hashed: pass a `checkpoint_hash` for them, or
    change `spec.revision` with them, which stands in where nothing is found. A policy with an array
    that is no weight, and differs from start to start, takes a `checkpoint_hash` too.
    """
    service = arguments.label("service", service)
    spec = _spec(policy, spec)
    if example is not None and not isinstance(example, Observation):
        raise TypeError(f"example: {arguments.shown(example)}, expected an Observation(...)")
    Examples(spec, given=example)  # raises ValueError here, where the caller sees it
    if stop is not None and not callable(getattr(stop, "is_set", None)):
        raise TypeError(f"stop: {arguments.shown(stop)}, expected a threading.Event")
    if checkpoint_hash is not None:
        checkpoint_hash = arguments.name("checkpoint_hash", checkpoint_hash)
    brokers = (back_of(),) if broker is None else arguments.endpoints("broker", broker)
    identity = Identity.of(Role.REPLICA, key, broker_key, len(brokers))
    replica = _name(name, service, identity)
    config = InferenceConfig(
        service=service,
        replica=0,
        brokers=brokers,
        policy="given",
        max_sessions=arguments.count("max_sessions", max_sessions, 1, 4096),
        max_batch=arguments.count("max_batch", max_batch, 1, 1024),
        default_task=arguments.text("default_task", default_task),
        pin_task=None if pin_task is None else arguments.text("pin_task", pin_task),
        audit_bytes=0 if audit is None else _AUDIT_BYTES,
        evidence=path("audit", audit),
        script=True,
        keys=identity.files(replica),
    )
    weights = (
        checkpoint_hash
        or getattr(policy, "checkpoint_hash", None)
        or weights_hash(policy)
        or f"{spec.model}@{spec.revision}"
    )
    with closing(Scratch()) as scratch:
        boot, link, supervisor = boot_in_memory(
            "inference",
            replica,
            msgspec.to_builtins(config),
            incarnation=time.monotonic_ns() // 100_000_000,
            rundir=scratch.path,
        )
        actor = GivenReplica(boot, link, GivenPolicy(policy, spec, weights), example, stop)
        with logged_to_stderr(), _signals(link):
            code = actor.main()
        reasons = [m.reason for m in supervisor.messages()[0] if isinstance(m, ExitReason)]
        supervisor.close()
        link.close()
    if code != EXIT_STOPPED:
        raise ServingFailedError(f"{replica} ended: {reasons[-1] if reasons else f'code {code}'}")


def _spec(policy: object, spec: object) -> PolicySpec:
    """The spec that was given, else the policy's own."""
    if isinstance(policy, type):
        raise TypeError(f"policy: the class {policy.__name__}, expected an instance of it")
    whole = callable(getattr(policy, "predict_chunk", None))
    if not whole and not callable(policy):
        raise TypeError(
            f"policy: {arguments.shown(policy)}, expected an object with predict_chunk, or a "
            "function from observations to chunks"
        )
    spec = spec if spec is not None else getattr(policy, "spec", None)
    if spec is None:
        raise ValueError(
            "spec: None, a plain function needs spec=PolicySpec(...): what it sees, and what its "
            "chunks are"
        )
    if not isinstance(spec, PolicySpec):
        raise TypeError(f"spec: {arguments.shown(spec)}, expected PolicySpec(...)")
    return spec


def _name(name: object, service: str, identity: Identity) -> str:
    """The replica's name: the broker takes its service from it."""
    given = None if name is None else arguments.name("name", name)
    # Unique among the fleet's own <service>/<k>: two replicas of one name would replace each other.
    called = identity.named("name", given) or f"{service}/{here()}"
    before, _, own = called.rpartition("/")
    if before != service:
        where = "name" if given else "key: its name"
        raise ValueError(f"{where}: {called!r:.60}, expected {service}/ and a name of its own")
    arguments.label("name: after the slash", own)
    return called


@contextmanager
def _signals(link: Link) -> Iterator[None]:
    """Let SIGINT and SIGTERM drain and stop, within the block, in the thread that gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup = signal.set_wakeup_fd(-1)  # an event loop's, in a notebook
    link.catch_signals()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
