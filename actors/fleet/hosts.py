"""Which host of a fleet this machine is, and where its broker is reached from the others."""

from __future__ import annotations

import socket

from ...errors import Fault, FleetError
from ..runtime.suggestions import closest
from .schema import BrokerEntry, FleetFile

FRONT_PORT, BACK_PORT = 7447, 7448


def here(fleet: FleetFile, host: str | None) -> str | None:
    """The host of `fleet` that this machine is; None for a fleet without hosts.

    Raises FleetError when it is none of them.
    """
    if not fleet.hosts:
        if host is None:
            return None
        message = f"no host {host!r}: this fleet has no `hosts`"
        raise FleetError(fleet.name, [Fault("$.hosts", message, remedy="leave --host away")])
    found = host or socket.gethostname()
    if found not in fleet.hosts:
        message = f"this machine is {found!r}, none of them"
        remedy = f"{closest(found, fleet.hosts)} (--host)"
        raise FleetError(fleet.name, [Fault("$.hosts", message, remedy=remedy)])
    return found


def is_here(fleet: FleetFile, host: str | None) -> bool:
    """Whether `host` is this machine, as far as its host name tells: drivers and policies of others
    need not be installed here."""
    return not fleet.hosts or host == socket.gethostname()


def ports_of(broker: BrokerEntry) -> tuple[int, int]:
    """The TCP ports of a broker that listens: its front's and its back's."""
    return broker.front_port or FRONT_PORT, broker.back_port or BACK_PORT


def front_address(fleet: FleetFile, broker: str | None) -> str | None:
    """Where robots of other hosts reach the broker of the host `broker`; None for a fleet without
    hosts."""
    return _address(fleet, broker, ports_of(fleet.broker)[0])


def back_address(fleet: FleetFile, broker: str | None) -> str | None:
    """Where replicas of other hosts do."""
    return _address(fleet, broker, ports_of(fleet.broker)[1])


def listening_addresses(
    fleet: FleetFile, broker: str | None
) -> tuple[str, str] | tuple[None, None]:
    """Where the broker of the host `broker` listens for both; (None, None) for a fleet without
    hosts."""
    if broker is None:
        return None, None
    local = fleet.broker.listen or fleet.hosts[broker].address
    front, back = ports_of(fleet.broker)
    return f"tcp://{local}:{front}", f"tcp://{local}:{back}"


def _address(fleet: FleetFile, broker: str | None, port: int) -> str | None:
    return None if broker is None else f"tcp://{fleet.hosts[broker].address}:{port}"
