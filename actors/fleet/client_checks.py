"""What can be wrong with the ports for clients of other projects in a fleet file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...errors import Fault
from ...policy.base import PolicySpec
from ...transport.keys import is_local
from ..runtime.suggestions import closest
from .schema import FleetFile

OPENPI = "openpi"
"""The name of the actor for openpi's clients, and of their key."""


def client_faults(fleet: FleetFile, specs: Mapping[str, PolicySpec]) -> Iterator[Fault]:
    """What is wrong with them; `specs` are those of the services that have one."""
    entry, path = fleet.gateway.openpi, "$.gateway.openpi"
    if entry is None:
        return
    if entry.service not in fleet.services:
        remedy = closest(entry.service, fleet.services)
        yield Fault(f"{path}.service", f"no service {entry.service!r}", remedy=remedy)
    elif fleet.services[entry.service].external:
        # Clients name neither motors nor cameras: the port must know them.
        found = f"scripts serve {entry.service!r}: what it takes is not known from this file"
        yield Fault(f"{path}.service", found, remedy="use a service with a `policy`")
    if any(robot.name == OPENPI for robot in fleet.robots):
        found = f"a robot is called {OPENPI!r} too"
        yield Fault(path, found, remedy="give the robot another name")
    if fleet.gateway.enabled and entry.port == fleet.gateway.port:
        found = f"{entry.port} is the port of the page too"
        yield Fault(f"{path}.port", found, remedy="use another, e.g. 8000")
    local = is_local(f"tcp://{entry.host}:{entry.port}")
    if not local and entry.api_key is None and not fleet.security.insecure:
        yield Fault(
            f"{path}.host",
            f"other machines reach {entry.host}, and every client that connects is served",
            remedy="write `api_key: FILE`, or `security: {insecure: true}`",
        )
    spec = specs.get(entry.service)
    if spec is None:
        return
    features = [camera.name for camera in spec.cameras]
    for name in entry.mapping.cameras:
        if name not in features:
            found = f"the policy {spec.model} has no camera {name!r}"
            remedy = closest(name, features)
            yield Fault(f"{path}.mapping.cameras.{name}", found, remedy=remedy)
