"""A fleet as processes: the configuration of each actor of one host, and the memory it shares.

The order of the list is the start order; the reverse is the order of the stop. The same fleet, host
and key files give the same list.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ...errors import Fault, FleetError, PolicyError, RobotError
from ...policy.base import PolicySpec
from ..clients.describe_embodiment import robot_keys
from ..clients.named_mapping import mapping_of
from ..runtime.client_configs import GrootConfig, ObservationMapping, OpenpiConfig
from ..runtime.configs import (
    BrokerConfig,
    GatewayConfig,
    JitterProbeConfig,
)
from ..runtime.spec import ActorSpec
from ..runtime.telemetry_config import TelemetryConfig
from . import robot_actors, segment_uses, service_actors
from .client_entries import GrootEntry, OpenpiEntry
from .host_context import HostContext
from .hosts import listening_addresses
from .places import places_on, pools
from .robot_entry import RobotEntry
from .schema import FleetFile, Telemetry
from .specs import policy_spec
from .supervision_defaults import memory_mb_of

_TRACED_BYTES = 4 << 20
"""Of the broker's audit, which the telemetry actor follows."""


def expand(
    fleet: FleetFile, host: str | None, rundir: Path, evidence: Path | None = None
) -> list[ActorSpec]:
    """The actors of `fleet` on `host` (see `here`), in start order. Their sockets are in `rundir`,
    their audit and captures in `evidence`.

    Raises FleetError for keys, drivers and policies that this host lacks.
    """
    context = HostContext(fleet, host, rundir, evidence or rundir)
    try:
        made = _actors(context)
    except (RobotError, ValueError) as error:
        raise FleetError(fleet.name, [Fault("$.robots", str(error))]) from error
    except PolicyError as error:
        raise FleetError(fleet.name, [Fault("$.services", str(error))]) from error
    if missing := context.keys.missing():
        names = ", ".join(path.name for path in missing)
        fault = Fault(
            "$.security.keys",
            f"{fleet.security.keys} lacks {names}",
            remedy="`actorctl keys new NAME` makes them, or put a token in their place",
        )
        raise FleetError(fleet.name, [fault])
    return made


def _actors(context: HostContext) -> list[ActorSpec]:
    fleet = context.fleet
    robots = [robot for robot in fleet.robots if robot.host == context.host]
    made = [_witness(context, robots)] if robots else []
    if context.host in fleet.broker.placed:
        made.append(_broker(context))
    for name, service in fleet.services.items():
        for place in places_on(service, context.host):
            made += [service_actors.replica(context, name, place, k) for k in place.numbers]
    if fleet.broker.placed[0] == context.host:
        made += [
            service_actors.pool(context, name, pool)
            for name, service in fleet.services.items()
            for pool in pools(service)
        ]
    made += [robot_actors.driver(context, robot) for robot in robots if not robot.in_process]
    made += [
        robot_actors.sensor(context, robot, name, camera)
        for robot in robots
        for name, camera in robot.cameras.items()
        if camera.driver != "robot"
    ]
    made += [
        robot_actors.teleoperator(context, robot, robot.teleop) for robot in robots if robot.teleop
    ]
    made += [robot_actors.network(context, robot) for robot in robots if robot.service]
    if fleet.logs.executed_mb:
        made += [robot_actors.executed(context, robot) for robot in robots if not robot.service]
    made += [robot_actors.control(context, robot) for robot in robots]
    made += [robot_actors.recorder(context, robot, r) for robot in robots if (r := robot.record)]
    if fleet.gateway.enabled:
        made.append(_gateway(context, robots))
    if fleet.telemetry is not None:
        made.append(_telemetry(context, fleet.telemetry, robots))
    if fleet.broker.placed[0] == context.host:
        if (openpi := fleet.gateway.openpi) is not None:
            made.append(_openpi(context, openpi))
        if (groot := fleet.gateway.groot) is not None:
            made.append(_groot(context, groot))
    return made


def _witness(context: HostContext, robots: list[RobotEntry]) -> ActorSpec:
    pauses = segment_uses.pauses(writable=True)
    rate = max(robot.fps * robot.interpolate for robot in robots)
    return context.spec(
        "witness", "witness", JitterProbeConfig(segment=pauses.name, rate_hz=rate), [pauses]
    )


def _broker(context: HostContext) -> ActorSpec:
    broker = context.fleet.broker
    front_tcp, back_tcp = listening_addresses(context.fleet, context.host)
    config = BrokerConfig(
        front=context.own_broker("front"),
        back=context.own_broker("back"),
        front_tcp=front_tcp,
        back_tcp=back_tcp,
        heartbeat_s=broker.heartbeat_s,
        replica_lost_after_s=broker.replica_lost_after_s,
        robot_lost_after_s=broker.robot_lost_after_s,
        session_idle_s=broker.session_idle_s,
        key=context.keys.broker(context.host),
        keyring=context.fleet.security.keys,
        insecure=context.fleet.security.insecure,
        memory_mb=memory_mb_of(context.fleet, "broker"),
        others=context.other_brokers(),
        external=tuple(name for name, s in context.fleet.services.items() if s.external),
        targets={
            name: service_actors.target(service) for name, service in context.fleet.services.items()
        },
        audit_bytes=_TRACED_BYTES if context.fleet.telemetry is not None else 0,
        evidence=context.evidence,
    )
    return context.spec("broker", "broker", config, [], reconfigurable=("external", "targets"))


def _gateway(context: HostContext, robots: list[RobotEntry]) -> ActorSpec:
    rings = {
        f"{robot.name}/{name}": segment_uses.frames(context.fleet, robot, name)
        for robot in robots
        for name in robot.cameras
    }
    config = GatewayConfig(
        host=context.fleet.gateway.host,
        site_host=context.host,
        port=context.fleet.gateway.port,
        metrics=context.fleet.gateway.metrics,
        cameras={camera: ring.name for camera, ring in rings.items()},
        datasets=_named([r.record.root for r in robots if r.record]),
        tags={robot.name: robot.tags for robot in robots},
    )
    segments = list(rings.values())
    return context.spec(
        "gateway", "gateway", config, segments, reconfigurable=("cameras", "datasets", "tags")
    )


def _telemetry(context: HostContext, entry: Telemetry, robots: list[RobotEntry]) -> ActorSpec:
    services = context.fleet.services.items()
    places = [(name, place) for name, s in services for place in places_on(s, context.host)]
    config = TelemetryConfig(
        otlp=entry.otlp,
        fleet=context.fleet.name,
        host=context.host,
        evidence=context.evidence,
        robots=tuple(robot.name for robot in robots if robot.service),
        replicas=tuple(f"{name}/{k}" for name, place in places for k in place.numbers),
        broker=context.host in context.fleet.broker.placed,
    )
    return context.spec("telemetry", "telemetry", config, [])


def _named(roots: list[str]) -> dict[str, str]:
    """Roots by names that are short and differ: that of the folder, numbered where it is taken."""
    made: dict[str, str] = {}
    for root in dict.fromkeys(roots):
        name = folder = Path(root).name or "dataset"
        number = 1
        while name in made:
            number += 1
            name = f"{folder}-{number}"
        made[name] = root
    return made


def _openpi(context: HostContext, entry: OpenpiEntry) -> ActorSpec:
    spec = policy_spec(context.fleet, context.fleet.services[entry.service])
    config = OpenpiConfig(
        service=entry.service,
        broker=context.own_broker("front"),
        spec=msgspec.to_builtins(spec),
        host=entry.host,
        port=entry.port,
        api_key=entry.api_key,
        mapping=_mapping(context, entry, spec),
        metadata=entry.metadata,
        roboarena=entry.dialect == "roboarena",
        keys=context.keys.files("openpi", brokers=1),
        stops=context.evidence,
        keyring=context.fleet.security.keys,
    )
    return context.spec("openpi", "openpi", config, [], after=["broker"])


def _groot(context: HostContext, entry: GrootEntry) -> ActorSpec:
    spec = policy_spec(context.fleet, context.fleet.services[entry.service])
    config = GrootConfig(
        service=entry.service,
        broker=context.own_broker("front"),
        spec=msgspec.to_builtins(spec),
        host=entry.host,
        port=entry.port,
        api_token=entry.api_token,
        dialect=entry.dialect,
        mapping=entry.mapping,
        keys=context.keys.files("groot", brokers=1),
        stops=context.evidence,
        keyring=context.fleet.security.keys,
    )
    return context.spec("groot", "groot", config, [], after=["broker"])


def _mapping(context: HostContext, entry: OpenpiEntry, spec: PolicySpec) -> ObservationMapping:
    if isinstance(entry.mapping, ObservationMapping):
        return entry.mapping
    return mapping_of(robot_keys(entry.mapping, context.fleet.import_path), spec)
