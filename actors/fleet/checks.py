"""Everything that can be wrong with a fleet whose types are right, found before a process starts.

Each check is a function from the fleet to faults. None opens a socket, a device or a policy's
weights.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Fault
from ...policy.base import PolicySpec
from ..runtime.kinds import KINDS as ACTOR_KINDS
from ..runtime.spec import Rules
from ..runtime.suggestions import closest
from . import device_checks
from .client_checks import client_faults, client_ports
from .host_checks import host_faults
from .places import pools, replica_names
from .robot_checks import robot_faults
from .schema import FleetFile, GatewayEntry
from .service_checks import service_faults
from .specs import ask_all
from .yaml_errors import mismatches_within


def faults_of(fleet: FleetFile) -> list[Fault]:
    """All that is wrong with `fleet`; empty if it can run."""
    ask_all(fleet)
    specs: dict[str, PolicySpec] = {}
    faults = [
        *service_faults(fleet, specs),
        *host_faults(fleet),
        *_gateway(fleet),
        *client_faults(fleet, specs),
        *_supervision(fleet),
    ]
    seen: dict[str, int] = {}
    for i, robot in enumerate(fleet.robots):
        path = f"$.robots[{i}]"
        if robot.name in seen:
            other = f"$.robots[{seen[robot.name]}]"
            found = f"{robot.name!r} is the name of {other} too"
            faults.append(Fault(f"{path}.name", found, remedy="each robot needs its own"))
        elif robot.name in fleet.services:
            found = f"{robot.name!r} is a service's name too"
            faults.append(Fault(f"{path}.name", found, remedy="rename one of them"))
        seen.setdefault(robot.name, i)
        faults += robot_faults(fleet, robot, path, specs)
    faults += device_checks.shared(fleet)
    return faults


def _gateway(fleet: FleetFile) -> Iterator[Fault]:
    usual = GatewayEntry()
    for key in ("host", "port"):
        value = getattr(fleet.gateway, key)
        if not fleet.gateway.enabled and value != getattr(usual, key):
            remedy = "write `enabled: true`, or remove this"
            yield Fault(f"$.gateway.{key}", f"{value} has no effect", remedy=remedy)


def _supervision(fleet: FleetFile) -> Iterator[Fault]:
    path = "$.supervision"
    for section, kinds in (
        ("rules", fleet.supervision.rules),
        ("memory_mb", fleet.supervision.memory_mb),
    ):
        for kind in kinds:
            if kind not in ACTOR_KINDS and kind != "all":
                remedy = closest(kind, ["all", *ACTOR_KINDS])
                yield Fault(f"{path}.{section}.{kind}", f"no kind of actor {kind!r}", remedy=remedy)
    for kind, given in fleet.supervision.rules.items():
        yield from mismatches_within(f"{path}.rules.{kind}", given, Rules)
    names = actor_names(fleet)
    taken: dict[str, str] = {}
    for group, members in fleet.supervision.groups.items():
        for i, member in enumerate(members):
            at = f"{path}.groups.{group}[{i}]"
            if member not in names:
                yield Fault(at, f"no actor {member!r}", remedy=closest(member, names))
            elif member in taken:
                found = f"{member!r} is in the group {taken[member]!r} already"
                yield Fault(at, found, remedy="remove one")
            taken.setdefault(member, group)


def actor_names(fleet: FleetFile) -> list[str]:
    """Every actor of the fleet, on whichever host, in start order."""
    names = ["witness", "broker"]
    names += replica_names(fleet)
    names += [f"pool/{name}" for name, service in fleet.services.items() if pools(service)]
    for robot in fleet.robots:
        names += [] if robot.in_process else [f"{robot.name}/driver"]
        names += [
            f"{robot.name}/{name}"
            for name, camera in robot.cameras.items()
            if camera.driver != "robot"
        ]
        names += [f"{robot.name}/teleop"] if robot.teleop else []
        if robot.service:
            names.append(f"{robot.name}/network")
        elif fleet.logs.executed_mb:
            names.append(f"{robot.name}/executed")
        names.append(f"{robot.name}/control")
        names += [f"{robot.name}/recorder"] if robot.record else []
    names += ["gateway"] if fleet.gateway.enabled else []
    names += ["telemetry"] if fleet.telemetry is not None else []
    return [*names, *client_ports(fleet)]
