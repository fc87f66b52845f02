"""Which TCP ports that a fleet file names are held by another program on this machine.

The other program may have ended by the time the fleet starts, so these are warnings.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

import psutil

from ...errors import Fault
from .hosts import listening_addresses
from .schema import FleetFile


def held(fleet: FleetFile, host: str | None, own: Callable[[], set[int]] = set) -> Iterator[Fault]:
    """The ports of `host`, this machine, that another program has, with its process where that can
    be read. `own` gives the processes of the fleet itself, if it runs."""
    for path, address, port in _named(fleet, host):
        why = _unusable(address, port)
        if not why:
            continue
        holder = _holder(port)
        if holder is not None:
            if holder in own():
                continue
            why = f"is held by {_described(holder)}"
        yield Fault(path, f"port {port} {why}", remedy="end that program, or name another port")


def _named(fleet: FleetFile, host: str | None) -> Iterator[tuple[str, str, int]]:
    """The place in the file, address and port of each that this host's actors listen at."""
    gateway = fleet.gateway
    if gateway.enabled and gateway.port is not None:
        yield "$.gateway.port", gateway.host, gateway.port
    if host not in fleet.broker.placed:
        return
    for name, entry in (("openpi", gateway.openpi), ("groot", gateway.groot)):
        if entry is not None and fleet.broker.placed[0] == host:
            yield f"$.gateway.{name}.port", entry.host, entry.port
    for key, listening in zip(
        ("front_port", "back_port"), listening_addresses(fleet, host), strict=True
    ):
        if listening is not None:
            address, _, port = listening.removeprefix("tcp://").rpartition(":")
            yield f"$.broker.{key}", address, int(port)


def _unusable(address: str, port: int) -> str:
    """Why nothing can listen there, as far as that has to do with the port; empty if it can."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            address.strip("[]"), port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is held by another program, whose process this user cannot see"
        if error.errno == errno.EACCES:
            return "is not for this user: those below 1024 are for root"
    return ""


def _holder(port: int) -> int | None:
    """The process that listens at `port`, where this user can see it."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    return next(
        (
            each.pid
            for each in connections
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        ),
        None,
    )


def _described(pid: int) -> str:
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"process {pid}"
