"""What can be wrong with the ports for clients of other projects in a fleet file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ...errors import Fault, PolicyError
from ...policy.base import PolicySpec
from ...transport.keys import is_local
from ..clients.describe_embodiment import robot_keys
from ..clients.groot_modalities import mapping_faults
from ..clients.named_mapping import misfits
from ..runtime.configs import PAGE_PORT
from ..runtime.suggestions import closest
from .client_entries import GrootEntry, OpenpiEntry
from .schema import FleetFile

_SECRETS = {"openpi": "api_key", "groot": "api_token"}


def client_ports(fleet: FleetFile) -> dict[str, OpenpiEntry | GrootEntry]:
    """The entries of such ports, by the names of their actors, which are those of their keys."""
    gateway = fleet.gateway
    found = {"openpi": gateway.openpi, "groot": gateway.groot}
    return {name: entry for name, entry in found.items() if entry is not None}


def client_faults(fleet: FleetFile, specs: Mapping[str, PolicySpec]) -> Iterator[Fault]:
    """What is wrong with them; `specs` are those of the services that have one."""
    taken = {fleet.gateway.port or PAGE_PORT: "the page"} if fleet.gateway.enabled else {}
    for name, entry in client_ports(fleet).items():
        path = f"$.gateway.{name}"
        if entry.port in taken:
            found = f"{entry.port} is the port of {taken[entry.port]} too"
            yield Fault(f"{path}.port", found, remedy="use another, e.g. 8000")
        taken[entry.port] = f"the clients of {name}"
        yield from _port(fleet, name, entry, path)
        if (spec := specs.get(entry.service)) is not None:
            yield from _mapping(fleet, entry, spec, f"{path}.mapping")
            if spec.observation_steps > 1:
                yield Fault(
                    f"{path}.service",
                    f"the policy {spec.model} sees the last {spec.observation_steps} observations, "
                    "and these clients send single ones",
                    remedy="use another service",
                )


def _port(
    fleet: FleetFile, name: str, entry: OpenpiEntry | GrootEntry, path: str
) -> Iterator[Fault]:
    if entry.service not in fleet.services:
        remedy = closest(entry.service, fleet.services)
        yield Fault(f"{path}.service", f"no service {entry.service!r}", remedy=remedy)
    elif fleet.services[entry.service].external:
        # Clients name neither motors nor cameras: the port must know them.
        found = f"scripts serve {entry.service!r}: what it takes is not known from this file"
        yield Fault(f"{path}.service", found, remedy="use a service with a `policy`")
    if any(robot.name == name for robot in fleet.robots):
        found = f"a robot is called {name!r} too"
        yield Fault(path, found, remedy="give the robot another name")
    secret = _SECRETS[name]
    local = is_local(f"tcp://{entry.host}:{entry.port}")
    if not local and getattr(entry, secret) is None and not fleet.security.insecure:
        yield Fault(
            f"{path}.host",
            f"other machines reach {entry.host}, and every client that connects is served",
            remedy=f"write `{secret}: FILE`, or `security: {{insecure: true}}`",
        )


def _mapping(
    fleet: FleetFile, entry: OpenpiEntry | GrootEntry, spec: PolicySpec, path: str
) -> Iterator[Fault]:
    if isinstance(entry, GrootEntry):
        for place, found in mapping_faults(spec, entry.mapping):
            yield Fault(f"{path}.{place}", found)
        return
    if isinstance(entry.mapping, str):
        yield from _named(fleet, entry.mapping, spec, path)
        return
    features = [camera.name for camera in spec.cameras]
    for name in entry.mapping.cameras:
        if name not in features:
            found = f"the policy {spec.model} has no camera {name!r}"
            yield Fault(f"{path}.cameras.{name}", found, remedy=closest(name, features))


def _named(fleet: FleetFile, name: str, spec: PolicySpec, path: str) -> Iterator[Fault]:
    """What is wrong with a mapping by the name of an embodiment."""
    try:
        robot = robot_keys(name, fleet.import_path)
    except PolicyError as error:
        yield Fault(path, str(error))
        return
    for found in misfits(robot, spec):
        remedy = "use a policy of such a robot, or name the keys: {cameras, state, prompt}"
        yield Fault(path, found, remedy=remedy)


def client_secret_faults(fleet: FleetFile, host: str | None) -> Iterator[Fault]:
    """The files with what clients of other projects must have: present, readable, and one line."""
    if fleet.broker.placed[0] != host:
        return
    for name, entry in client_ports(fleet).items():
        file = getattr(entry, _SECRETS[name])
        if file is None:
            continue
        path = f"$.gateway.{name}.{_SECRETS[name]}"
        try:
            secret = Path(file).read_bytes().strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            yield Fault(path, f"{file} cannot be read ({why})")
            continue
        if not secret or b"\n" in secret:
            yield Fault(path, f"{file} holds no key", "one line that is not empty")
