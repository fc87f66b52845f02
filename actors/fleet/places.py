"""Where the replicas of a service run: its `placements`, or the one place that its own keys name.

A placement with a `pool` is no place: its replicas run wherever the cluster puts them.

The replicas are numbered over all places in the order of the file, so every host gives each replica
the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .hosts import is_here
from .schema import FleetFile
from .service_entry import PlacementEntry, ServiceEntry


@dataclass(frozen=True, slots=True)
class Place:
    """Replicas of a service on one device: `replicas` processes, numbered from `first`.

    `at` is where the file names it, within the service, empty for the service's own keys;
    `python_at` is where it names the interpreter."""

    at: str
    host: str | None
    device: str
    python: str | None
    python_at: str
    first: int
    replicas: int

    @property
    def numbers(self) -> range:
        """Those of its replicas."""
        return range(self.first, self.first + self.replicas)


@dataclass(frozen=True, slots=True)
class Pool:
    """Between `fewest` and `most` replicas of a service on a cluster, numbered from `first`; `at`
    is where the file names it, within the service."""

    at: str
    address: str
    device: str
    first: int
    fewest: int
    most: int

    @property
    def numbers(self) -> range:
        """Those that its replicas may have."""
        return range(self.first, self.first + self.most)


def places(service: ServiceEntry) -> list[Place]:
    """All places of a service, in order; none where scripts serve it."""
    return [found for found in _numbered(service) if isinstance(found, Place)]


def pools(service: ServiceEntry) -> list[Pool]:
    """The pools of a service, in order."""
    return [found for found in _numbered(service) if isinstance(found, Pool)]


def _numbered(service: ServiceEntry) -> Iterator[Place | Pool]:
    if service.external:
        return
    entries = service.placements or [_of_own_keys(service)]
    first = 0
    for i, entry in enumerate(entries):
        at = f".placements[{i}]" if service.placements else ""
        if entry.pool is not None:
            fewest = entry.min or 1
            pool = Pool(
                at, entry.address or "auto", entry.device, first, fewest, entry.max or fewest
            )
            yield pool
            first += pool.most
            continue
        python, named = (entry.python, at) if entry.python else (service.python, "")
        replicas = entry.replicas or 1
        yield Place(at, entry.host, entry.device, python, f"{named}.python", first, replicas)
        first += replicas


def places_on(service: ServiceEntry, host: str | None) -> list[Place]:
    """Those on `host`."""
    return [place for place in places(service) if place.host == host]


def replica_names(fleet: FleetFile, host: str | None = None) -> Iterator[str]:
    """The names of all replicas of the fleet, in start order, or those on `host`, to which belong
    the pools' on the first broker's."""
    for name, service in fleet.services.items():
        for found in _numbered(service):
            at = found.host if isinstance(found, Place) else fleet.broker.placed[0]
            if host in (None, at):
                yield from (f"{name}/{k}" for k in found.numbers)


def described_at(fleet: FleetFile, service: ServiceEntry) -> Place:
    """The place whose interpreter is asked what the policy says about itself: one of this machine
    if there is any, else one whose interpreter exists here. The service has a place."""
    found = places(service) or [_of_pool(fleet, service, pool) for pool in pools(service)]
    here = [place for place in found if is_here(fleet, place.host)]
    runs = [place for place in found if place.python is None or Path(place.python).exists()]
    return (here or runs or found)[0]


def _of_pool(fleet: FleetFile, service: ServiceEntry, pool: Pool) -> Place:
    """Where a policy that is served by a pool only is asked: at the pool's own process."""
    host = fleet.broker.placed[0]
    return Place(pool.at, host, pool.device, service.python, ".python", pool.first, pool.most)


def _of_own_keys(service: ServiceEntry) -> PlacementEntry:
    assert service.replicas != "external"
    return PlacementEntry(
        host=service.host,
        device=service.device or "cpu",
        replicas=service.replicas or 1,
    )
