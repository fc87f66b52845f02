"""What the actors of one host have in common: their keys, their addresses and their rules."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from ...transport import sockets
from ..runtime.host_board import HOST_BOARD, HOST_BOARD_SIZE
from ..runtime.key_files import KeyFiles
from ..runtime.kinds import modules_of
from ..runtime.spec import ActorSpec, Member, SegmentUse
from ..runtime.status_board import BOARD_SIZE, BROKER_BOARD_SIZE
from .host_keys import HostKeys
from .hosts import back_address, front_address
from .robot_entry import RobotEntry
from .schema import FleetFile
from .supervision_defaults import HANG_HINTS, memory_mb_of, rules_of, spares_of

ENROLS_S = 86400.0
"""How long an actor may wait for the broker at which it enrols: hosts start in any order. A
replica, whose start may hang for other reasons, is started again instead."""


class HostContext:
    """One host of a fleet while its actors are derived, in their start order."""

    def __init__(self, fleet: FleetFile, host: str | None, rundir: Path, evidence: Path) -> None:
        self.fleet = fleet
        self.host = host
        self.rundir = rundir
        self.evidence = str(evidence)
        self.groups = {
            member: group
            for group, members in fleet.supervision.groups.items()
            for member in members
        }
        self.known: set[str] = set()
        """The names of the actors so far."""
        self.keys = HostKeys(fleet)

    def other_brokers(self) -> dict[str, str]:
        """Where the fronts of the other brokers are, by the names of their keys; empty without
        security."""
        if self.fleet.security.keys is None:
            return {}
        broker = self.fleet.broker
        return {
            broker.key_name(host): address
            for host in broker.placed
            if host != self.host and (address := front_address(self.fleet, host))
        }

    def endpoints(self, end: Literal["front", "back"], host: str | None) -> tuple[str, ...]:
        """Where an actor on `host` reaches the brokers: its own host's by a socket file."""
        address_of = front_address if end == "front" else back_address
        return tuple(
            (address_of(self.fleet, broker) if broker != host else None) or self.own_broker(end)
            for broker in self.fleet.broker.placed
        )

    def own_broker(self, end: Literal["front", "back"]) -> str:
        """The socket file of this host's broker."""
        return sockets.ipc(self.rundir, f"broker.{end}")

    def _host_board(self, kind: str) -> list[SegmentUse]:
        """What an actor that talks to a broker tells it about its host, where there are several."""
        if kind not in ("network", "inference") or not self.fleet.hosts:
            return []
        return [SegmentUse(HOST_BOARD, HOST_BOARD_SIZE, writable=False)]

    def own_endpoint(self, robot: RobotEntry) -> str:
        """Where the robot's control reaches its network actor."""
        return sockets.ipc(self.rundir, f"{robot.name}.network")

    def wake(self, robot: RobotEntry) -> str:
        """The path of the socket that wakes the robot's driver."""
        return sockets.path_of(sockets.ipc(self.rundir, f"{robot.name}.driver"))

    def spec(
        self,
        kind: str,
        name: str,
        config: msgspec.Struct,
        segments: list[SegmentUse],
        robot: RobotEntry | None = None,
        after: list[str] | None = None,
        python: str | None = None,
        stop_timeout_s: float = 0.0,
        reconfigurable: tuple[str, ...] = (),
    ) -> ActorSpec:
        """One actor; of `after`, those that this host has start before it. It runs in the
        interpreter `python`, gets `stop_timeout_s` at least to end, and takes over changes of the
        `reconfigurable` keys while it runs."""
        start_timeout_s = 0.0
        keys = getattr(config, "keys", None)
        if kind != "inference" and isinstance(keys, KeyFiles) and keys.tokens:
            start_timeout_s = ENROLS_S
        rules = rules_of(self.fleet, kind)
        rules = replace(
            rules,
            start_timeout_s=max(rules.start_timeout_s, start_timeout_s),
            stop_timeout_s=max(rules.stop_timeout_s, stop_timeout_s),
        )
        before = [other for other in after or [] if other in self.known]
        self.known.add(name)
        board_size = BROKER_BOARD_SIZE if kind == "broker" else BOARD_SIZE
        return ActorSpec(
            kind=kind,
            member=Member(
                name, rules, tuple(before), self.groups.get(name), HANG_HINTS.get(kind, "")
            ),
            # By way of JSON, so that it equals itself after travelling: no tuples.
            config=msgspec.json.decode(msgspec.json.encode(config)),
            segments=(
                SegmentUse(f"{name}/board", board_size, writable=True),
                *segments,
                *self._host_board(kind),
            ),
            robot=None if robot is None else robot.name,
            memory_mb=memory_mb_of(self.fleet, kind),
            # A standby runs in the supervisor's interpreter.
            warm=None if python else modules_of(kind, getattr(config, "policy", None)),
            python=python,
            spares=spares_of(self.fleet, kind),
            reconfigurable=reconfigurable,
        )
