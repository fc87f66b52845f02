"""The configuration that each kind of actor gets in its boot: frozen, and complete.

The supervisor derives it from fleet.yaml (`fleet.expand`) and checks it there, so that an actor
trusts it: endpoints are final ZeroMQ addresses, segments are names in the boot's segment table,
names of cameras, state and actions are those of the wire (a robot's `rename` is applied). Imports
nothing heavy, because a control process imports this module. `ControlConfig` is beside its loop;
those of devices are in `device_configs`, those of ports for clients in `client_configs`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .key_files import KeyFiles

Scheduling = Literal["deadline", "round_robin"]


class ServiceTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the fleet file asks of a service: requests answered within `slo_ms` at the 95th
    percentile, by between `fewest` and `most` replicas, and by fewer once the load has fitted them
    for `down_after_s`."""

    slo_ms: float | None = None
    fewest: int = 1
    most: int = 1024
    down_after_s: float = 60.0


class BrokerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Routes between robots (`front`) and replicas (`back`); it binds both, and beside them
    `front_tcp` and `back_tcp` where other hosts shall reach it.

    `key` is the broker's own secret key file and `keyring` the directory of its peers' public ones:
    both or neither. `insecure` lets it bind where other machines reach it without keys. At
    `memory_mb` the supervisor restarts it; None for no limit.
    """

    front: str
    back: str
    front_tcp: str | None = None
    back_tcp: str | None = None
    heartbeat_s: float = 0.5
    replica_lost_after_s: float = 2.0
    robot_lost_after_s: float = 5.0
    session_idle_s: float = 300.0
    key: str | None = None
    keyring: str | None = None
    insecure: bool = False
    memory_mb: int | None = None
    others: dict[str, str] = {}
    """The other brokers of a site with keys: their fronts, by the names of their keys."""
    external: tuple[str, ...] = ()
    """Services that scripts fill, so that the broker can say what a robot waits for."""
    targets: dict[str, ServiceTarget] = {}
    """By service, for how many replicas it should have."""
    audit_bytes: int = 0
    """The newest lines kept in `<evidence>/audit`, one per answered request; 0 keeps none."""
    evidence: str | None = None
    """A directory that outlives the fleet; None: the runtime directory, which does not."""


class InferenceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One replica of a service: one policy on one device.

    `policy` is the kind (`flow`, `constant`, ...) or the user's own `module:Class`, `checkpoint` a
    directory or the name of a shipped checkpoint. `outboxes` maps a robot of this host to the
    segment in which its frames arrive. `rings`: by such a robot, the segments of the rings in which
    the replica may read frames, by the cameras' names on the wire.
    """

    service: str
    replica: int
    brokers: tuple[str, ...]
    """Where it registers: with all brokers of the site."""
    host: str | None = None
    """The fleet file's name of this machine, for people; None: its host name."""
    policy: str
    checkpoint: str | None = None
    revision: str | None = None
    options: dict[str, Any] = {}
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    max_sessions: int = 8
    """Robots at all replicas of the service together, but of a script's: at this one."""
    max_batch: int = 4
    max_wait_ms: float = 4.0
    scheduling: Scheduling = "deadline"
    pin_task: str | None = None
    default_task: str = ""
    strict_fps: bool = False
    heartbeat_s: float = 0.5
    outboxes: dict[str, str] = {}
    rings: dict[str, dict[str, str]] = {}
    request_timeout_s: float = 5.0
    """How long robots wait for a reply: older requests are dropped."""
    buffer_time_s: float = 0.5
    """How long before the end of its plan a robot asks for the next chunk: from this follows how
    many robots one replica carries."""
    drain_s: float = 2.0
    """How long a replica that is stopping waits for the broker to move its robots."""
    audit_bytes: int = 16_000_000
    """The newest lines kept in `<evidence>/audit`, one per request; 0 keeps none."""
    capture_bytes: int = 0
    """The newest requests and replies kept whole in `<evidence>/capture`, to run again offline."""
    evidence: str | None = None
    """A directory that outlives the fleet; None: the runtime directory, which does not."""
    keys: KeyFiles = KeyFiles()
    script: bool = False
    """Whether a program serves it (`holdfast.serve`), not a fleet."""
    import_path: str | None = None
    """The fleet file's directory, where a user's own policy lies."""


class CameraFeed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera of a robot as its network actor reads it: the segment of its frame ring, and its
    size in pixels. The key in `NetworkConfig.cameras` is its name on the wire."""

    segment: str
    width: int
    height: int


ROBOT_TAKEOVER_NS = 1_500_000_000
"""For how long the holder of a robot's name must be silent before an older claim to it may replace
it. Robots are heard of sooner (`BeatSchedule`)."""


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot's connection to its service: it binds `control` for the loop and connects to
    `brokers`, of which it uses the first that answers.

    `resize` says where images get the policy's resolution: in the network actor (`edge`), or at the
    replica (`server`). `jpeg_quality` 0 sends raw pixels; it has no effect on the host of the
    replica, where frames travel by `outbox` or stay in their rings.
    """

    robot: str
    service: str
    control: str
    brokers: tuple[str, ...]
    host: str | None = None
    """The fleet file's name of this machine, for people; None: its host name."""
    cameras: dict[str, CameraFeed]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    outbox: str | None = None
    direct_late_s: float = 0.04
    """How long an answer that comes straight from a replica of this host is awaited before the
    broker is asked too. Where answers take longer, all requests go by the broker; 0: always."""
    resize: Literal["edge", "server"] = "edge"
    jpeg_quality: int = 90
    max_uplink_kbps: float | None = None
    """What requests and heartbeats may take, in kbit/s over 5 s; None: no limit."""
    max_frame_age_s: float = 0.5
    history_steps: int = 0
    """For how many policy steps back the cameras' rings hold the frames."""
    broker_lost_after_s: float = 4.0
    """After how much silence of the broker the session is lost: sooner than at the broker, which
    ends it after 5 s. The connection is made anew before that."""
    heartbeat_s: float = 0.5
    tags: dict[str, str] = {}
    audit_bytes: int = 4 << 20
    """The newest lines kept in `<evidence>/audit`, one per request; 0 keeps none."""
    plan: str | None = None
    """The segment with the tick log; None: the control loop is a program's own."""
    fps: float = 0.0
    """Policy steps per second of the control loop of `plan`."""
    executed_bytes: int = 0
    """The newest steps kept in `<evidence>/executed`, one line each; 0 keeps none."""
    evidence: str | None = None
    """A directory that outlives the fleet; None: the runtime directory, which does not."""
    keys: KeyFiles = KeyFiles()
    keyring: str | None = None
    """The directory of public keys: with one, a stop of the site is lifted by an operator only."""
    stops: str | None = None
    """The directory of the site's stops; None: `evidence`."""
    script: bool = False
    """Whether the control loop is a program's own (`RemotePolicy`), not a fleet's."""


class JitterProbeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sleeping loop at the fleet's fastest control rate: when it oversleeps, the machine paused,
    not the control loop. It writes the pauses to `segment`."""

    segment: str
    rate_hz: float = 30.0


PAGE_PORT = 8807
"""The dashboard's, unless fleet.yaml sets another or another fleet has it."""


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dashboard, health and metrics over HTTP. `cameras` maps `robot/camera` to the segment of
    its frame ring, for thumbnails."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: the default one, or any free one when another fleet uses that."""
    site_host: str | None = None
    """The fleet file's name of this machine, for the metrics; None: its host name."""
    cameras: dict[str, str] = {}
    datasets: dict[str, str] = {}
    """The roots of those that this host's robots record to, by names that the page shows."""
    tags: dict[str, dict[str, str]] = {}
    """Those of each robot of this host, by its name, for the metrics."""
    metrics: Literal["owner", "anyone"] = "owner"
    """Which users of this machine may read /metrics: this one and root, or any."""
