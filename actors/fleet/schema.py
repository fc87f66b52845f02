"""fleet.yaml as typed structs: what a person may write, with the meaning of every key.

The descriptions appear in error messages and in the JSON schema. `loading.load` gives a fleet in
which everything is right, or a FleetError with everything that is wrong; `expand.expand` derives
its actors.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .client_entries import GrootEntry, OpenpiEntry, Port
from .entry_values import ADDRESS, Host, Name, Positive, Seconds
from .robot_entry import RobotEntry
from .service_entry import ServiceEntry


class HostEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine of the fleet. Its key is its host name, or the value of `--host` there."""

    address: Annotated[
        str,
        Meta(
            pattern=ADDRESS,
            description="the IP address or name that other hosts reach it by",
        ),
    ]


class BrokerEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The router between robots and replicas, on one `host`, or on several `hosts`, one each: then
    every replica registers with all of them, and a robot uses the first that answers. In a fleet
    with `hosts` a broker listens on TCP at its host's address: `front_port` is for robots (7447),
    `back_port` for replicas (7448)."""

    host: Host = None
    hosts: Annotated[
        list[str], Meta(description="names under the fleet's `hosts`, instead of `host`")
    ] = []
    listen: (
        Annotated[
            str,
            Meta(
                pattern=ADDRESS,
                description="the local IP address to listen on, without it the host's `address`; "
                "0.0.0.0 where others reach it by an address that is not this machine's own, as in "
                "a container or behind a NAT",
            ),
        ]
        | None
    ) = None
    front_port: Port | None = None
    back_port: Port | None = None
    # At most half of what the robots' connections wait (`dead_after_ns`), and less than
    # `ROBOT_TAKEOVER_NS`.
    heartbeat_s: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="seconds between two heartbeats, more than 0, at most 1: a connection on "
            "which nothing is heard for 2 s counts as dead",
        ),
    ] = 0.5
    replica_lost_after_s: Seconds = 2.0
    robot_lost_after_s: Seconds = 5.0
    session_idle_s: Seconds = 300.0
    direct_late_s: Annotated[
        float,
        Meta(
            ge=0,
            le=1e6,
            description="seconds within which an answer comes straight from a replica of the "
            "robot's host; where answers take longer, requests go by the broker; 0: all of them",
        ),
    ] = 0.04

    @property
    def placed(self) -> tuple[str | None, ...]:
        """The hosts that run a broker, in the robots' order; (None,) in a fleet without hosts."""
        return tuple(self.hosts) or (self.host,)

    def key_name(self, host: str | None) -> str:
        """The name of the key of the broker on `host`: each of several has one of its own."""
        return f"broker/{host}" if self.hosts else "broker"


class Supervision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How actors are restarted.

    `rules` are by kind of actor, and so is `memory_mb`, the most that an actor may use. Those that
    untrusted peers reach have a limit by default: broker 1024, network and gateway 512, openpi
    and groot 1536; the broker ends the connections that fill its memory 134 MB earlier. `groups`
    are of actor names: a failure of one restarts those listed after it. At most `spares` control
    processes, one per robot of a host, stand ready for those that die: each takes 20 MB. With
    `policy_spare`, one per kind of policy that needs torch stands ready for its replicas, without
    weights, which takes 150 MB.
    """

    rules: dict[str, dict[str, Any]] = {}
    memory_mb: dict[str, Positive] = {}
    groups: dict[str, list[str]] = {}
    spares: Annotated[int, Meta(ge=0, description="a whole number, 0 or more")] = 4
    policy_spare: bool = True


class Logs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log on disk: `files` of at most `file_mb` each, the oldest dropped. Of each robot's
    executed steps, which `actorctl plot` shows, the newest `executed_mb` are kept; 0 keeps none."""

    file_mb: Annotated[int, Meta(ge=1, le=100_000, description="megabytes, 1 to 100000")] = 16
    files: Annotated[int, Meta(ge=2, le=1000, description="a whole number, 2 to 1000")] = 4
    executed_mb: Annotated[int, Meta(ge=0, le=100_000, description="megabytes, 0 to 100000")] = 32


class GatewayEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page, health and metrics over HTTP, on every host, and the ports for clients of other
    projects, on the broker's. `enabled` is about the page, health and metrics."""

    enabled: bool = True
    host: Annotated[str, Meta(description="the address to listen on")] = "127.0.0.1"
    port: Annotated[
        Port | None, Meta(description="1 to 65535; left away, the usual one or any free one")
    ] = None
    metrics: Annotated[
        Literal["owner", "anyone"],
        Meta(description="who on this machine may read /metrics: this user and root, or anyone"),
    ] = "owner"
    openpi: OpenpiEntry | None = None
    groot: GrootEntry | None = None


class Telemetry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests as OpenTelemetry traces, from every host to the collector at `otlp`. Needs the otel
    extra."""

    otlp: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^\s/]+(/\S*)?\Z",
            description="the address of a collector that takes OTLP over HTTP, such as "
            "http://localhost:4318",
        ),
    ]


class Security(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may speak. `keys` is a directory of key files, relative to this file (`actorctl keys
    new`); `insecure` lets the broker be reached from other machines without any."""

    keys: str | None = None
    insecure: bool = False


class FleetFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole fleet. Without services and robots it is a broker for those of scripts."""

    name: Name = "fleet"
    import_path: Annotated[
        str,
        Meta(description="where module:Class is looked for, relative to this file; its directory"),
    ] = "."
    hosts: dict[str, HostEntry] = {}
    broker: BrokerEntry = BrokerEntry()
    services: dict[str, ServiceEntry] = {}
    robots: list[RobotEntry] = []
    supervision: Supervision = Supervision()
    logs: Logs = Logs()
    gateway: GatewayEntry = GatewayEntry()
    security: Security = Security()
    telemetry: Telemetry | None = None
