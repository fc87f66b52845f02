"""Where the replicas of a service run: its `placements`, or the one place that its own keys name.

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


def places(service: ServiceEntry) -> list[Place]:
    """All places of a service, in order; none where scripts serve it."""
    if service.external:
        return []
    entries = service.placements or [_of_own_keys(service)]
    found: list[Place] = []
    first = 0
    for i, entry in enumerate(entries):
        at = f".placements[{i}]" if service.placements else ""
        python, named = (entry.python, at) if entry.python else (service.python, "")
        found.append(
            Place(at, entry.host, entry.device, python, f"{named}.python", first, entry.replicas)
        )
        first += entry.replicas
    return found


def places_on(service: ServiceEntry, host: str | None) -> list[Place]:
    """Those on `host`."""
    return [place for place in places(service) if place.host == host]


def replica_names(fleet: FleetFile, host: str | None = None) -> Iterator[str]:
    """The names of all replicas of the fleet, in start order, or those on `host`."""
    for name, service in fleet.services.items():
        for place in places(service):
            if host in (None, place.host):
                yield from (f"{name}/{k}" for k in place.numbers)


def described_at(fleet: FleetFile, service: ServiceEntry) -> Place:
    """The place whose interpreter is asked what the policy says about itself: one of this machine
    if there is any, else one whose interpreter exists here. The service has a place."""
    found = places(service)
    here = [place for place in found if is_here(fleet, place.host)]
    runs = [place for place in found if place.python is None or Path(place.python).exists()]
    return (here or runs or found)[0]


def _of_own_keys(service: ServiceEntry) -> PlacementEntry:
    assert service.replicas != "external"
    return PlacementEntry(
        host=service.host,
        device=service.device or "cpu",
        replicas=service.replicas or 1,
    )
