"""What can be wrong with the pools of a service: replicas on a cluster."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from ...errors import Fault
from .places import pools
from .schema import FleetFile
from .service_entry import PlacementEntry, ServiceEntry

_OF_POOLS = ("address", "min", "max")
_OF_PLACES = ("host", "replicas", "python")


def pool_faults(fleet: FleetFile, service: ServiceEntry, path: str) -> Iterator[Fault]:
    """What is wrong with the placements of the service at `path`, as far as they have a pool."""
    for i, entry in enumerate(service.placements):
        at = f"{path}.placements[{i}]"
        if entry.pool is None:
            for key in _OF_POOLS:
                if (value := getattr(entry, key)) is not None:
                    found = f"{value!r} has no effect: it is of a pool"
                    yield Fault(f"{at}.{key}", found, remedy="add `pool: ray`, or remove it")
            continue
        yield from _of_one(entry, at)
        if not fleet.hosts:
            yield Fault(
                f"{at}.pool",
                "its replicas run on other machines, which reach no broker: there are no `hosts`",
                remedy="name this machine (`hosts: {NAME: {address: ...}}`) and put `host: NAME` "
                "under `broker`",
            )
    for pool in pools(service)[1:]:
        found = "this service has a pool already"
        yield Fault(f"{path}{pool.at}.pool", found, remedy="keep one, with the greater `max`")


def ray_missing(fleet: FleetFile, host: str | None) -> Iterator[Fault]:
    """Whether this machine, `host`, has a pool and lacks the engine."""
    if host != fleet.broker.placed[0] or importlib.util.find_spec("ray") is not None:
        return
    for name, service in fleet.services.items():
        if service.python is not None:
            continue
        for pool in pools(service):
            yield Fault(
                f"$.services.{name}{pool.at}.pool",
                "ray is not installed here",
                remedy="pip install 'holdfast[ray]', in the version of the cluster",
            )


def _of_one(entry: PlacementEntry, at: str) -> Iterator[Fault]:
    for key in _OF_PLACES:
        if (value := getattr(entry, key)) is not None:
            remedy = "write `min` and `max`" if key == "replicas" else "remove it"
            yield Fault(f"{at}.{key}", f"{value!r} has no effect in a pool", remedy=remedy)
    if entry.device.startswith("cuda:"):
        found = f"{entry.device!r}: Ray gives each replica a GPU"
        yield Fault(f"{at}.device", found, remedy="use cuda")
    fewest, most = entry.min or 1, entry.max
    if most is not None and fewest > most:
        yield Fault(f"{at}.max", f"{most} is less than `min`, {fewest}", remedy=f"use {fewest}")
