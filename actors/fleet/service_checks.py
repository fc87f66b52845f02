"""What can be wrong with the services of a fleet file."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...errors import Fault, PolicyError
from ...policy.base import PolicySpec
from ...policy.checkpoint import read_config, read_spec
from ...policy.policy_options import OPTIONS as POLICY_KINDS
from ..inference import user_policy
from ..runtime import interpreters
from ..runtime.suggestions import closest
from . import kind_options
from .entry_values import NAME, is_name
from .hosts import is_here
from .places import Place, described_at, places, pools
from .pool_checks import pool_faults
from .schema import FleetFile
from .service_entry import ServiceEntry
from .specs import policy_spec

WITHOUT_NETWORK = ("constant", "shape-only")
"""Kinds of policy that compute nothing on any device."""

_SCHEMES = {"openpi": ("ws://", "wss://"), "groot": ("tcp://",)}
"""How the address of another project's server begins."""


def service_faults(fleet: FleetFile, specs: dict[str, PolicySpec]) -> Iterator[Fault]:
    """What is wrong with the services; adds the spec of each policy that has one to `specs`."""
    for name, service in fleet.services.items():
        path = f"$.services.{name}"
        if not is_name(name):
            yield Fault(path, f"{name!r} is no name", remedy=f"use {NAME}")
        yield from _placements(service, path)
        yield from pool_faults(fleet, service, path)
        if service.address is not None and service.policy not in user_policy.SERVERS:
            remedy = f"remove it, or write `policy: {', '.join(user_policy.SERVERS)}`"
            yield Fault(f"{path}.address", f"{service.address} has no effect", remedy=remedy)
        if service.address is None and service.policy in user_policy.SERVERS:
            remedy = f"add `address: {_SCHEMES[service.policy][0]}host:port`, where it listens"
            yield Fault(f"{path}.address", "missing: another server runs it", remedy=remedy)
        elif service.address is not None and not service.address.startswith(
            schemes := _SCHEMES.get(service.policy, ("",))
        ):
            expected = f"{schemes[0]}host:port for policy {service.policy}"
            yield Fault(f"{path}.address", f"found {service.address}", expected)
        elif service.external:
            yield from _external(service, path)
        elif user_policy.is_own(service.policy):
            try:
                specs[name] = policy_spec(fleet, service)
            except PolicyError as error:
                place = described_at(fleet, service)
                if is_here(fleet, place.host):
                    yield of_policy(place, path, str(error))
        else:
            yield from _built_in(fleet, name, path, specs)


def of_policy(place: Place, path: str, error: str) -> Fault:
    """Why the user's policy, asked at a `place` of the service at `path`, does not answer, at the
    key that is to be mended."""
    if place.python is not None and (unusable := interpreters.unusable(place.python)):
        return Fault(f"{path}{place.python_at}", unusable)
    if error.startswith("options: "):
        return Fault(f"{path}.options", error.removeprefix("options: "))
    return Fault(f"{path}.policy", error)


def _external(service: ServiceEntry, path: str) -> Iterator[Fault]:
    """What only replicas of the fleet would heed."""
    for field in msgspec.structs.fields(service):
        value = getattr(service, field.name)
        if field.name not in ("replicas", "placements") and value not in (field.default, {}):
            yield Fault(
                f"{path}.{field.name}",
                f"{value!r} has no effect: scripts serve it, with the arguments of holdfast.serve",
                remedy="remove it, or `replicas: external`",
            )


def _placements(service: ServiceEntry, path: str) -> Iterator[Fault]:
    """The keys that `placements` stand in place of."""
    for key in ("host", "device", "replicas") if service.placements else ():
        value = getattr(service, key)
        if value is not None:
            found = f"{value!r} beside `placements`, of which each says it for itself"
            yield Fault(f"{path}.{key}", found, remedy="remove it here, or remove `placements`")


def _built_in(
    fleet: FleetFile, name: str, path: str, specs: dict[str, PolicySpec]
) -> Iterator[Fault]:
    service = fleet.services[name]
    if not service.policy:
        yield Fault(
            f"{path}.policy",
            "missing",
            remedy="add `policy:` (the kind of policy, e.g. flow, or module:Class beside this "
            "file), or `replicas: external` for one that scripts serve",
        )
        return
    if service.revision is not None:
        found = f"{service.revision!r} has no effect: policy {service.policy} has no hub"
        yield Fault(f"{path}.revision", found, remedy="remove it")
    if service.policy not in POLICY_KINDS:
        hint = closest(service.policy, [*POLICY_KINDS, *user_policy.ADAPTERS])
        remedy = f"{hint}; your own is named module:Class"
        yield Fault(f"{path}.policy", f"no policy kind {service.policy!r}", remedy=remedy)
    if service.checkpoint is None:
        remedy = "add `checkpoint:` (a checkpoint's directory, or the name of a shipped one)"
        yield Fault(f"{path}.checkpoint", "missing", remedy=remedy)
        return
    try:
        specs[name] = policy_spec(fleet, service)
    except PolicyError as error:
        yield Fault(f"{path}.checkpoint", str(error))
    else:
        yield from _policy(service, path, specs[name])


def _policy(service: ServiceEntry, path: str, spec: PolicySpec) -> Iterator[Fault]:
    """What does not go with the kind of policy: options, device, checkpoint."""
    kind = POLICY_KINDS.get(service.policy)
    if kind is None:
        return
    # The options are judged against what the checkpoint says, before they have changed it.
    own = spec if service.checkpoint is None else read_spec(service.checkpoint)
    yield from kind_options.faults(f"{path}.options", service.options, kind, own)
    if service.policy in WITHOUT_NETWORK:
        given = [f"{place.at}.device" for place in places(service) if place.device != "cpu"]
        given += [f"{pool.at}.device" for pool in pools(service) if pool.device != "cpu"]
        given += [".dtype"] if service.dtype != "float32" else []
        for key in given:
            found = f"has no effect: policy {service.policy} has no network"
            yield Fault(f"{path}{key}", found, remedy="remove it")
        return
    assert service.checkpoint is not None, "its spec was read from it"
    made_for = read_config(service.checkpoint).kind
    if made_for != service.policy:
        found = f"{service.policy!r}, but the checkpoint is one of kind {made_for!r}"
        yield Fault(f"{path}.policy", found, remedy="use that")
