"""What can be wrong with the hosts of a fleet file, and with the access to its broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import Fault
from ...transport.keys import is_local
from ..runtime.suggestions import closest
from .file_paths import is_dir
from .hosts import ports_of
from .places import places
from .schema import FleetFile


def host_faults(fleet: FleetFile) -> Iterator[Fault]:
    """What is wrong with `hosts`, each `host`, the broker's ports and timeouts, and `security`."""
    placed: list[tuple[str, str | None]] = [
        (f"$.broker.hosts[{i}]", host) for i, host in enumerate(fleet.broker.hosts)
    ] or [("$.broker.host", fleet.broker.host)]
    placed += [
        (f"$.services.{name}{place.at}.host", place.host)
        for name, service in fleet.services.items()
        for place in places(service)
    ]
    placed += [(f"$.robots[{i}].host", robot.host) for i, robot in enumerate(fleet.robots)]
    for path, host in placed:
        if host is not None and host not in fleet.hosts:
            advice = closest(host, fleet.hosts)
            if not fleet.hosts:
                advice = "this fleet has no `hosts`: name its machines there, or remove this"
            yield Fault(path, f"no host {host!r}", remedy=advice)
        if host is None and fleet.hosts:
            remedy = f"add one of: {', '.join(fleet.hosts)}"
            yield Fault(path, "missing, because there are `hosts`", remedy=remedy)
    yield from _brokers(fleet)
    yield from _broker(fleet)
    if fleet.security.keys and not is_dir(Path(fleet.security.keys)):
        found = f"no directory {fleet.security.keys}"
        yield Fault("$.security.keys", found, remedy="`actorctl keys new`")


def _brokers(fleet: FleetFile) -> Iterator[Fault]:
    """Whether each broker has a machine of its own."""
    broker, seen = fleet.broker, dict[str, str]()
    if broker.host is not None and broker.hosts:
        yield Fault("$.broker.host", "there are `hosts` too", remedy="keep one of the two")
    for i, name in enumerate(broker.hosts):
        address = fleet.hosts[name].address if name in fleet.hosts else ""
        if name in broker.hosts[:i]:
            found = f"{name!r} is there already: a host runs one broker"
            yield Fault(f"$.broker.hosts[{i}]", found, remedy="remove it")
        elif address in seen:
            found = f"{name!r} has the address of {seen[address]!r}, {address}"
            yield Fault(f"$.broker.hosts[{i}]", found, remedy="name another machine")
        elif address:
            seen[address] = name


def _broker(fleet: FleetFile) -> Iterator[Fault]:
    """Where the broker listens, and which peers it then admits."""
    broker = fleet.broker
    # A robot whose requests are answered sends every third heartbeat (`BeatSchedule`).
    for key, beats, words in (("replica_lost", 2, "two"), ("robot_lost", 4, "four")):
        lost_after_s = getattr(broker, f"{key}_after_s")
        if lost_after_s < beats * broker.heartbeat_s:
            yield Fault(
                f"$.broker.{key}_after_s",
                f"{lost_after_s:g} s is less than {words} heartbeats "
                f"({broker.heartbeat_s:g} s): a single late one would count as lost",
                remedy=f"use {4 * broker.heartbeat_s:g}",
            )
    if not fleet.hosts:
        for key in ("listen", "front_port", "back_port"):
            if (given := getattr(broker, key)) is not None:
                yield Fault(
                    f"$.broker.{key}",
                    f"{given} has no effect: without `hosts` the broker listens on no TCP port",
                    remedy="name this machine (`hosts: {NAME: {address: ...}}`) and put "
                    "`host: NAME` under `broker`, or remove this",
                )
        if fleet.security.insecure:
            found = "has no effect: without `hosts` no other machine reaches the broker"
            yield Fault("$.security.insecure", found, remedy="remove it")
        return
    front, back = ports_of(broker)
    if front == back:
        yield Fault("$.broker.back_port", f"{back} is the front port too", remedy="use another")
    if fleet.security.keys and fleet.security.insecure:
        found = "has no effect, because there are `keys`"
        yield Fault("$.security.insecure", found, remedy="remove one")
    if fleet.security.insecure or fleet.security.keys:
        return
    for name in dict.fromkeys(broker.placed):
        host = fleet.hosts.get(name or "")
        listens = broker.listen or (host.address if host is not None else "")
        if host is None or is_local(f"tcp://{listens}:1"):
            continue
        yield Fault(
            "$.broker.listen" if broker.listen else f"$.hosts.{name}.address",
            f"the broker at {listens} can be reached from other machines",
            remedy="make keys (`actorctl keys new NAME`) and name their directory with "
            "`security: {keys: ...}`, use a loopback address, or write "
            "`security: {insecure: true}` to let every machine on the network command the robots",
        )
