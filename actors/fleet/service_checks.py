"""What can be wrong with the services of a fleet file."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Fault, PolicyError
from ...policy.base import PolicySpec
from ...policy.checkpoint import read_config
from ...policy.policy_options import OPTIONS as POLICY_KINDS
from ..runtime.suggestions import closest
from . import kind_options
from .schema import NAME, FleetFile, ServiceEntry, is_name
from .specs import policy_spec

WITHOUT_NETWORK = ("constant", "shape-only")
"""Kinds of policy that compute nothing on any device."""


def service_faults(fleet: FleetFile, specs: dict[str, PolicySpec]) -> Iterator[Fault]:
    """What is wrong with the services; adds the spec of each policy that has one to `specs`."""
    for name, service in fleet.services.items():
        path = f"$.services.{name}"
        if not is_name(name):
            yield Fault(path, f"{name!r} is no name", remedy=f"use {NAME}")
        if service.policy not in POLICY_KINDS:
            remedy = closest(service.policy, POLICY_KINDS)
            yield Fault(f"{path}.policy", f"no policy kind {service.policy!r}", remedy=remedy)
        try:
            specs[name] = policy_spec(service)
        except PolicyError as error:
            yield Fault(f"{path}.checkpoint", str(error))
        else:
            yield from _policy(service, path, specs[name])


def _policy(service: ServiceEntry, path: str, spec: PolicySpec) -> Iterator[Fault]:
    """What does not go with the kind of policy: options, device, checkpoint."""
    kind = POLICY_KINDS.get(service.policy)
    if kind is None:
        return
    yield from kind_options.faults(f"{path}.options", service.options, kind, spec)
    if service.policy in WITHOUT_NETWORK:
        for key, value, usual in (
            ("device", service.device, "cpu"),
            ("dtype", service.dtype, "float32"),
        ):
            if value != usual:
                found = f"has no effect: policy {service.policy} has no network"
                yield Fault(f"{path}.{key}", found, remedy="remove it")
        return
    made_for = read_config(service.checkpoint).kind
    if made_for != service.policy:
        found = f"{service.policy!r}, but the checkpoint is one of kind {made_for!r}"
        yield Fault(f"{path}.policy", found, remedy="use that")
