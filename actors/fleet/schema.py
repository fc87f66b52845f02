"""fleet.yaml as typed structs: what a person may write, with the meaning of every key.

The descriptions appear in error messages and in the JSON schema. `loading.load` gives a fleet in
which everything is right, or a FleetError with everything that is wrong; `expand.expand` derives
its actors.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..control.config import PlanSettings, SafetySettings, TimingSettings
from ..recorder.record_settings import RecordSettings
from ..recorder.strategy_settings import StrategySettings
from ..runtime.configs import Scheduling
from .client_entries import GrootEntry, OpenpiEntry, Port

NAME = "1 to 32 letters, digits, `-` and `_`"
Name = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$", description=f"a name of {NAME}")
]

Positive = Annotated[int, Meta(ge=1, le=10**9, description="a whole number, 1 or more")]

Seconds = Annotated[float, Meta(gt=0, le=1e6, description="seconds, more than 0, at most 1000000")]

Bytes = Annotated[int, Meta(ge=0, description="bytes of the newest kept on disk, 0 for none")]

Host = Annotated[str | None, Meta(description="a name under `hosts`")]

Python = Annotated[
    str | None,
    Meta(
        description="the interpreter of its process, e.g. ~/lerobot/.venv/bin/python; holdfast has "
        "to be installed there"
    ),
]


Device = Annotated[
    str, Meta(pattern=r"^(cpu|mps|cuda(:\d+)?)$", description="cpu, cuda, cuda:N or mps")
]

Replicas = Annotated[int, Meta(ge=1, le=64, description="processes, 1 to 64")]


class HostEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine of the fleet. Its key is its host name, or the value of `--host` there."""

    address: Annotated[
        str,
        Meta(
            pattern=r"^[^\s/:]+$|^\[[^\s/]+\]$",
            description="the IP address or name that other hosts reach it by",
        ),
    ]


class BrokerEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one router between robots and replicas. In a fleet with `hosts` it listens on TCP at its
    host's address: `front_port` is for robots (7447), `back_port` for replicas (7448)."""

    host: Host = None
    front_port: Port | None = None
    back_port: Port | None = None
    heartbeat_s: Seconds = 0.5
    replica_lost_after_s: Seconds = 2.0
    robot_lost_after_s: Seconds = 5.0
    session_idle_s: Seconds = 300.0


class PlacementEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replicas of a service on one device of one host. Without a `python` it is the service's."""

    host: Host = None
    device: Device = "cpu"
    replicas: Replicas = 1
    python: Python = None


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One policy that robots may use, and the processes that serve it.

    They are `replicas` processes on one `device` of one `host`, or those that `placements` list.
    """

    policy: Annotated[
        str,
        Meta(
            description="the kind of policy, e.g. flow or lerobot, or module:Class or "
            "module:function beside this file"
        ),
    ] = ""
    checkpoint: Annotated[
        str | None,
        Meta(
            description="a checkpoint's directory, or the name of a shipped one; your own policy "
            "gets what is written here as its keyword `checkpoint`"
        ),
    ] = None
    address: (
        Annotated[
            str,
            Meta(
                pattern=r"^(wss?|tcp)://[^\s/]+$",
                description="of a running server: ws://host:port for policy openpi, "
                "tcp://host:port for groot",
            ),
        ]
        | None
    ) = None
    revision: Annotated[
        str | None,
        Meta(
            description="of a checkpoint that a hub has: a commit, tag or branch; your own policy "
            "gets it as its keyword `revision`"
        ),
    ] = None
    options: Annotated[
        dict[str, Any],
        Meta(
            description="of the policy's kind: graphs (auto, or off for no CUDA graphs); for flow "
            "also euler_steps, prefix, and with prefix guided the fields of its guidance; for your "
            "own policy its keywords"
        ),
    ] = {}
    device: (
        Annotated[
            str,
            Meta(
                pattern=r"^(cpu|mps|cuda(:\d+)?)$",
                description="cpu, cuda, cuda:N or mps; without it cpu",
            ),
        ]
        | None
    ) = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: Annotated[int, Meta(ge=1, le=1024, description="processor threads, 1 to 1024")] = 1
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | Literal["external"] | None,
        Meta(
            description="processes on one host, 1 to 64, without it 1; or external: scripts that "
            "call holdfast.serve"
        ),
    ] = None
    host: Host = None
    placements: Annotated[
        list[PlacementEntry],
        Meta(
            description="several devices, of one host or of several, in place of host, device and "
            "replicas; the replicas are numbered in this order"
        ),
    ] = []
    max_sessions: Annotated[
        int, Meta(ge=1, le=10_000, description="robots at all replicas together, 1 to 10000")
    ] = 8
    max_batch: Annotated[int, Meta(ge=1, le=1024, description="requests, 1 to 1024")] = 4
    max_wait_ms: Annotated[float, Meta(ge=0, le=10_000, description="milliseconds, 0 to 10000")] = (
        4.0
    )
    scheduling: Scheduling = "deadline"
    pin_task: str | None = None
    default_task: str = ""
    strict_fps: bool = False
    python: Python = None
    drain_s: Seconds = 2.0
    audit_bytes: Bytes = 16_000_000
    capture_bytes: Bytes = 0

    @property
    def all_options(self) -> dict[str, Any]:
        """The options, with the address where there is one."""
        return {**self.options, **({"address": self.address} if self.address else {})}

    @property
    def external(self) -> bool:
        """Whether scripts serve it: then its policy is not known from the file."""
        return self.replicas == "external"


class CameraEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera of a robot."""

    driver: Annotated[
        str,
        Meta(
            description="sim, opencv, lerobot, robot (the robot's own driver delivers its frames), "
            "or module:Class beside this file"
        ),
    ] = "sim"
    python: Python = None
    width: Annotated[int, Meta(ge=1, le=8192, description="pixels, 1 to 8192, e.g. 640")] = 640
    height: Annotated[int, Meta(ge=1, le=8192, description="pixels, 1 to 8192, e.g. 480")] = 480
    fps: Annotated[
        float, Meta(gt=0, le=1000, description="frames per second, more than 0, e.g. 30")
    ] = 30.0
    offset_ms: Annotated[
        float,
        Meta(
            ge=-1000,
            le=10_000,
            description="milliseconds that a frame is older than its instant says, -1000 to 10000",
        ),
    ] = 0.0
    frozen_after_s: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=3600,
                description="seconds of identical frames after which it counts as frozen; 0: "
                "never; without it 3, but never for files, simulators and the frames of a "
                "robot's driver, which may have no noise",
            ),
        ]
        | None
    ) = None
    options: dict[str, Any] = {}


class LimitEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one action, in its units; `max_rate` is in units per second. What is left away is the
    driver's."""

    lower: float | None = None
    upper: float | None = None
    max_rate: Annotated[float, Meta(gt=0, description="more than 0")] | None = None


class TeleopEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's input device, which commands the robot after `actorctl take-over`. `rename` maps
    its action names to the robot's."""

    driver: Annotated[
        str,
        Meta(
            description="keyboard (keys pressed in actorctl teleop), lerobot (a leader arm or "
            "another teleoperator of that library), expert (of a simulated cell), or module:Class "
            "of your own, a file beside this one"
        ),
    ]
    python: Python = None
    options: dict[str, Any] = {}
    rename: dict[str, str] = {}


class Images(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a robot's frames get to its policy."""

    resize: Literal["edge", "server"] = "edge"
    jpeg_quality: Annotated[int, Meta(ge=0, le=100, description="1 to 100, or 0 for raw")] = 90
    max_frame_age_s: Seconds = 0.5
    history_steps: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=10_000,
                description="for how many actions back frames are kept, for policies that see "
                "several observations; without it as many as the service's policy sees, if this "
                "host knows it",
            ),
        ]
        | None
    ) = None


class RobotEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot: its driver and cameras, the service it uses, and how it plays what it gets."""

    name: Name
    service: Annotated[
        str,
        Meta(
            description="a name under `services`; left away for a robot that a person alone moves, "
            "by its `teleop`"
        ),
    ] = ""
    driver: Annotated[
        str,
        Meta(
            description="the robot's driver: sim, gym, lerobot, or module:Class or "
            "module:function beside this file"
        ),
    ] = "sim"
    python: Python = None
    options: dict[str, Any] = {}
    limits: Annotated[
        dict[str, LimitEntry],
        Meta(description="of single actions, by their names, in place of the driver's"),
    ] = {}
    in_process: Annotated[
        bool,
        Meta(
            description="call the driver in the control loop's own process: for one whose every "
            "call takes much less than a tick"
        ),
    ] = False
    host: Host = None
    fps: Annotated[
        float,
        Meta(gt=0, le=1000, description="actions per second, the policy's own rate, e.g. 30"),
    ] = 30.0
    interpolate: Annotated[int, Meta(ge=1, le=100, description="commands per action, 1 to 100")] = 1
    strategy: Annotated[
        Literal["base"] | StrategySettings,
        Meta(
            description="base: run; with `record`, record from each reset to the next, or a stop; "
            "or {type: episodic, teleop, dagger, sentry or highlight, ...}"
        ),
    ] = "base"
    record: RecordSettings | None = None
    task: str = ""
    cameras: dict[str, CameraEntry] = {}
    teleop: TeleopEntry | None = None
    rename: dict[str, str] = {}
    images: Images = Images()
    plan: PlanSettings = PlanSettings()
    safety: SafetySettings = SafetySettings()
    timing: TimingSettings = TimingSettings()
    tags: dict[str, str] = {}


class Supervision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How actors are restarted.

    `rules` are by kind of actor, and so is `memory_mb`, the most that an actor may use. Those that
    untrusted peers reach have a limit by default: broker 1024, network and gateway 512, openpi
    and groot 1536; the broker ends the connections that fill its memory 134 MB earlier. `groups`
    are of actor names: a failure of one restarts those listed after it. At most `spares` control
    processes, one per robot of a host, stand ready for those that die: each takes 20 MB. With
    `policy_spare`, one
    per kind of policy that needs torch stands ready for its replicas, without weights, which takes
    150 MB.
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
    """The page, health and metrics over HTTP, and the ports for clients of other projects, on the
    broker's host. `enabled` is about the page, health and metrics."""

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


def is_name(name: str) -> bool:
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        return False
    return True
