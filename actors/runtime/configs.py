"""The configuration that each kind of actor gets in its boot: frozen, and complete.

The supervisor derives it from fleet.yaml (`fleet.expand`) and checks it there, so that an actor
trusts it: endpoints are final ZeroMQ addresses, segments are names in the boot's segment table,
names of cameras, state and actions are those of the wire (a robot's `rename` is applied). Imports
nothing heavy, because a control process imports this module. `ControlConfig` is beside its loop.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Scheduling = Literal["deadline", "round_robin"]


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


class InferenceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One replica of a service: one policy on one device.

    `policy` is the kind (`flow`, `constant`, ...), `checkpoint` a directory or the name of a
    shipped checkpoint. `outboxes` maps a robot of this host to the segment in which its frames
    arrive.
    """

    service: str
    replica: int
    broker: str
    policy: str
    checkpoint: str | None = None
    options: dict[str, Any] = {}
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    max_sessions: int = 8
    max_batch: int = 4
    max_wait_ms: float = 4.0
    scheduling: Scheduling = "deadline"
    pin_task: str | None = None
    default_task: str = ""
    strict_fps: bool = False
    heartbeat_s: float = 0.5
    outboxes: dict[str, str] = {}
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
    key: str | None = None
    broker_key: str | None = None
    """This replica's secret key file and the broker's public one: both or neither."""
    script: bool = False
    """Whether a program serves it (`holdfast.serve`), not a fleet."""


class CameraFeed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera of a robot as its network actor reads it: the segment of its frame ring, and its
    size in pixels. The key in `NetworkConfig.cameras` is its name on the wire."""

    segment: str
    width: int
    height: int


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot's connection to its service: it binds `control` for the loop and connects to
    `broker`.

    `resize` says where images get the policy's resolution: in the network actor (`edge`), or at the
    replica (`server`). `jpeg_quality` 0 sends raw pixels. On the host of the replica neither
    matters: frames travel by `outbox`.
    """

    robot: str
    service: str
    control: str
    broker: str
    cameras: dict[str, CameraFeed]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    outbox: str | None = None
    resize: Literal["edge", "server"] = "edge"
    jpeg_quality: int = 90
    max_frame_age_s: float = 0.5
    broker_lost_after_s: float = 2.0
    heartbeat_s: float = 0.5
    tags: dict[str, str] = {}
    audit_bytes: int = 4 << 20
    """The newest lines kept in `<evidence>/audit`, one per request; 0 keeps none."""
    evidence: str | None = None
    """A directory that outlives the fleet; None: the runtime directory, which does not."""
    key: str | None = None
    broker_key: str | None = None
    """This robot's secret key file and the broker's public one: both or neither."""
    script: bool = False
    """Whether the control loop is a program's own (`RemotePolicy`), not a fleet's."""


class SensorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera. `segment` is that of its frame ring, `scene` that of the simulated scene, if it
    is simulated."""

    robot: str
    camera: str
    driver: str
    width: int
    height: int
    fps: float
    segment: str
    scene: str | None = None
    options: dict[str, Any] = {}


class DriverConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot's simulation, stepped in real time. `scene` and `command` are segments."""

    robot: str
    scene: str
    command: str
    seed: int = 0


class JitterProbeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sleeping loop at the fleet's fastest control rate: when it oversleeps, the machine paused,
    not the control loop. It writes the pauses to `segment`."""

    segment: str
    rate_hz: float = 30.0


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dashboard, health and metrics over HTTP. `cameras` maps `robot/camera` to the segment of
    its frame ring, for thumbnails."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: the default one, or any free one when another fleet uses that."""
    cameras: dict[str, str] = {}
    metrics: Literal["owner", "anyone"] = "owner"
    """Which users of this machine may read /metrics: this one and root, or any."""
