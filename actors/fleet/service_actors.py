"""The actors that serve policies: replicas of this host, and pools of them on a cluster."""

from __future__ import annotations

from msgspec.structs import replace

from ..inference.user_policy import is_own
from ..runtime.configs import InferenceConfig, ServiceTarget
from ..runtime.pool_config import PoolConfig
from ..runtime.spec import ActorSpec
from . import segment_uses
from .host_context import HostContext
from .places import Place, Pool, places, pools
from .service_entry import ServiceEntry

STOPS_S = 5.0
"""What a pool needs to stop beside the time in which its replicas drain."""


def target(service: ServiceEntry) -> ServiceTarget:
    """For how many replicas the broker is to say that the service needs."""
    found = pools(service)
    asked = ServiceTarget(slo_ms=service.slo_ms, down_after_s=service.scale_down_after_s)
    if not found:
        return asked
    fixed = sum(place.replicas for place in places(service))
    return replace(
        asked,
        fewest=fixed + sum(pool.fewest for pool in found),
        most=fixed + sum(pool.most for pool in found),
    )


def replica(context: HostContext, name: str, place: Place, k: int) -> ActorSpec:
    """The replica of that number of the service `name`."""
    service = context.fleet.services[name]
    # A robot may use another service than its own: see `actorctl use`.
    near = [
        robot
        for robot in context.fleet.robots
        if robot.host == place.host and segment_uses.outbox_takes(context.fleet, robot, name)
    ]
    outboxes = {
        robot.name: segment_uses.outbox(context.fleet, robot, writable=False) for robot in near
    }
    # Of its own robots only: a replica has one descriptor open for each ring.
    rings = {
        robot.name: found
        for robot in near
        if robot.service == name and (found := segment_uses.rings_read(context.fleet, robot))
    }
    config = replace(
        _served(context, name, place.host, place.device, k),
        evidence=context.evidence,
        outboxes={robot: outbox.name for robot, outbox in outboxes.items()},
        rings={
            robot: {camera: ring.name for camera, ring in uses.items()}
            for robot, uses in rings.items()
        },
        audit_bytes=service.audit_bytes,
        capture_bytes=service.capture_bytes,
        keys=context.keys.files(f"{name}/{k}"),
    )
    return context.spec(
        "inference",
        f"{name}/{k}",
        config,
        [*outboxes.values(), *(use for uses in rings.values() for use in uses.values())],
        after=["broker"],
        python=place.python,
        reconfigurable=("outboxes", "rings"),
    )


def pool(context: HostContext, name: str, where: Pool) -> ActorSpec:
    """The pool of the service `name`. Its replicas keep no audit and no capture: the nodes' disks
    are not this host's."""
    service = context.fleet.services[name]
    served = _served(context, name, None, where.device, where.first)
    config = PoolConfig(
        service=name,
        address=where.address,
        namespace=f"holdfast-{context.fleet.name}",
        first=where.first,
        fewest=where.fewest,
        most=where.most,
        fixed=sum(place.replicas for place in places(service)),
        replica=replace(served, audit_bytes=0, capture_bytes=0),
        keys=tuple(context.keys.files(f"{name}/{k}") for k in where.numbers),
    )
    return context.spec(
        "pool",
        f"pool/{name}",
        config,
        [],
        after=["broker"],
        python=service.python,
        stop_timeout_s=service.drain_s + STOPS_S,
    )


def _served(
    context: HostContext, name: str, host: str | None, device: str, number: int
) -> InferenceConfig:
    """What replicas of a service have in common, wherever they run; on `host` None they reach the
    brokers by TCP."""
    service = context.fleet.services[name]
    robots = [robot for robot in context.fleet.robots if robot.service == name]
    return InferenceConfig(
        service=name,
        replica=number,
        host=host,
        brokers=context.endpoints("back", host),
        policy=service.policy,
        checkpoint=service.checkpoint,
        revision=service.revision,
        options=service.all_options,
        device=device,
        dtype=service.dtype,
        threads=service.threads,
        max_sessions=service.max_sessions,
        max_batch=service.max_batch,
        max_wait_ms=service.max_wait_ms,
        scheduling=service.scheduling,
        pin_task=service.pin_task,
        default_task=service.default_task,
        strict_fps=service.strict_fps,
        heartbeat_s=context.fleet.broker.heartbeat_s,
        request_timeout_s=max((r.safety.request_timeout_s for r in robots), default=5.0),
        buffer_time_s=max((r.plan.buffer_time_s for r in robots), default=0.5),
        import_path=context.fleet.import_path if is_own(service.policy) else None,
        drain_s=service.drain_s,
    )
