"""Which fleet a script means when it names none: the one that runs on this machine."""

from __future__ import annotations

from pathlib import Path

from ...errors import FleetNotFoundError
from ...transport import sockets
from ..runtime.runtime_dir import running


def only_fleet(name: str | None = None) -> Path:
    """The runtime directory of the fleet `name`, or of the only one that runs.

    Raises FleetNotFoundError when there is none, or several to choose from.
    """
    fleets = running()
    if name is not None and name in fleets:
        return fleets[name]
    if name is None and len(fleets) == 1:
        return next(iter(fleets.values()))
    if not fleets:
        raise FleetNotFoundError(
            "no fleet runs on this machine: start one with `supervisor start fleet.yaml`"
        )
    wanted = f"no fleet {name!r} runs here" if name else "it is not clear which fleet is meant"
    raise FleetNotFoundError(f"{wanted}: name one of {', '.join(fleets)}")


def front_of(fleet: str | None = None) -> str:
    """Where robots reach the broker of a fleet on this machine."""
    return sockets.ipc(only_fleet(fleet), "broker.front")


def back_of(fleet: str | None = None) -> str:
    """Where replicas reach it."""
    return sockets.ipc(only_fleet(fleet), "broker.back")
