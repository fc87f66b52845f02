"""The reports on actors' boards: the shape that the rest of the status relies on, for each kind of
actor. `report_reader` brings what was reported into it."""

from __future__ import annotations

from msgspec import Struct, field

from .broker_report import BrokerReport
from .measures import BatchSize, Count, Measure, Quantiles


class StopReport(Struct, kw_only=True):
    """Of a robot's emergency stop, by the process that commands its device."""

    confirmed: bool = False
    by: str = ""
    why: str = ""
    at_s: Measure = 0.0
    error: str = ""


class ControlReport(Struct, kw_only=True):
    """Of a control actor; a row of the status's `robots` has all of these."""

    state: str | None = None
    reason: str = ""
    ticks: Count = 0
    missed_ticks: Count = 0
    missed_ticks_machine: Count = 0
    missed_ticks_restart: Count = 0
    tick_lateness_us: Quantiles = field(
        default_factory=lambda: dict.fromkeys(("p50", "p99", "p999", "max"))
    )
    tick_lateness_recent_us: Quantiles = field(
        default_factory=lambda: dict.fromkeys(("p50", "p99", "p999", "max"))
    )
    tick_lateness_buckets_us: list[tuple[Measure, Count]] = []
    plan_s: Measure = 0.0
    action_age_s: Measure | None = None
    requests: Count = 0
    merged: Count = 0
    dropped: dict[str, Count] = {}
    request_latency_ms: Quantiles = field(default_factory=lambda: dict.fromkeys(("p50", "p99")))
    stalled_ticks: Count = 0
    stale_dropped: Count = 0
    driver_gaps: Count = 0
    void_dropped: Count = 0
    refused_commands: dict[str, Count] = {}
    manual: bool = False
    moves: bool = False
    """Whether it goes to a pose, on a person's word."""
    service: str | None = None
    """What it asks for chunks; empty for a robot that a person alone moves."""
    refusing_s: Measure = 0.0
    refusing: str = ""
    fallback_ticks: Count = 0
    estop: StopReport | None = None
    warnings: list[str] = []
    episodes: Count = 0
    successes: Count | None = None
    task: str | None = None


class DeliveredCameraRow(Struct, kw_only=True):
    """A camera whose frames a robot's driver delivers."""

    name: str
    reason: str = ""
    frames: Count = 0
    errors: Count = 0
    frame_age_ms: Measure | None = None
    freezes: Count = 0


class DriverReport(Struct, kw_only=True):
    """Of a robot's driver; the episodes where the robot counts them itself."""

    phase: str = ""
    reason: str = ""
    state_age_ms: Measure | None = None
    errors: dict[str, Count] = {}
    last_error: str = ""
    outages: Count = 0
    dropped: dict[str, Count] = {}
    unlimited: list[str] = []
    cameras: list[DeliveredCameraRow] = []
    estop: StopReport | None = None
    tried: Count | None = None
    successes: Count | None = None
    task: str | None = None


class TeleoperatorReport(Struct, kw_only=True):
    """Of a robot's teleoperator."""

    reason: str = ""
    outages: Count = 0
    readings: Count = 0
    in_command: bool = False
    presses: dict[str, Count] = {}


class SensorReport(Struct, kw_only=True):
    """Of a camera."""

    reason: str = ""
    frames: Count | None = None
    frame_age_ms: Measure | None = None
    stamp: str = ""
    outages: Count = 0
    freezes: Count = 0


class UploadReport(Struct, kw_only=True):
    """Of a recorder's episodes to the hub. `state` is waiting (`waits_for` says for what, besides
    episodes), sending, paused (an episode is recorded) or done; `waiting` counts episodes; the
    sizes are of the upload in progress, or of the last one; `error` is why the last one failed."""

    repo_id: str = ""
    state: str = ""
    waiting: Count = 0
    waits_for: str = ""
    sent_mb: Measure = 0.0
    size_mb: Measure = 0.0
    error: str = ""


class TranscodingReport(Struct, kw_only=True):
    """Of a recorder's saved videos to the codec of the archive. `state` is waiting, transcoding,
    paused (an episode is recorded; `waits_for` says by another robot) or done. The counts and
    sizes are of the run in progress, or of the last one: `video` is the file at work, `left` says
    why videos stay as they are, and `error` why the run failed."""

    codec: str = ""
    state: str = ""
    transcoded: Count = 0
    videos: Count = 0
    video: str = ""
    waits_for: str = ""
    before_mb: Measure = 0.0
    after_mb: Measure = 0.0
    left: list[str] = []
    error: str = ""


class RecorderReport(Struct, kw_only=True):
    """Of a robot's recorder. `state` is idle, recording, saving or paused (`reason` says why);
    `yields`: it keeps up with less processor time than others get."""

    state: str = ""
    reason: str = ""
    root: str = ""
    episode: Count = 0
    frames: Count = 0
    rows: Count = 0
    saved: Count = 0
    repeated: Count = 0
    dropped: Count = 0
    idle: Count = 0
    encoder: str = ""
    yields: bool = False
    strategy: str = ""
    """What its strategy does, and how far it is."""
    done: bool | None = None
    """Whether all its strategy's episodes are on the disk; None where it has no last one."""
    awaits: str = ""
    """What its next episode waits for while the robot rests: start, time or nothing."""
    held_s: Measure | None = None
    """How much is held in memory, for a highlight."""
    transcoding: TranscodingReport | None = None
    upload: UploadReport | None = None


class NetworkReport(Struct, kw_only=True):
    """Of a robot's network actor."""

    bytes_in: Count | None = None
    bytes_out: Count | None = None
    evidence_lost: Count = 0
    uplink: dict[str, Measure] = {}
    uplink_limit: str = ""


class ExecutedReport(Struct, kw_only=True):
    """Of the log of a robot without a service."""

    evidence_lost: Count = 0


class RobotLoad(Struct, kw_only=True):
    """What one robot requires of a replica."""

    rate_hz: Measure = 0.0
    horizon_s: Measure = 0.0
    rtt_s: Measure = 0.0


class InferenceReport(Struct, kw_only=True):
    """Of a replica; without a `service` it has not reported yet."""

    service: str = ""
    sessions: list[str] = []
    max_sessions: Count = 0
    capacity: Count | None = None
    each: RobotLoad | None = None
    queue: Count = 0
    load: Measure = 0.0
    batch_ms: dict[BatchSize, Measure] = {}
    batches: dict[str, Count] = {}
    inference_ms: Quantiles = {}
    queue_ms: Quantiles = {}
    counts: dict[str, Count] = {}
    evidence_lost: Count = 0


class PooledReplicaRow(Struct, kw_only=True):
    """A replica of a pool, with the node that it runs on."""

    name: str
    state: str = ""
    node: str = ""
    pid: Count = 0
    restarts: Count = 0
    reason: str = ""


class PoolReport(Struct, kw_only=True):
    """Of a pool of replicas on a cluster."""

    service: str = ""
    wanted: Count = 0
    ready: Count = 0
    fewest: Count = 0
    most: Count = 0
    replicas: list[PooledReplicaRow] = []
    reason: str = ""


class JitterProbeReport(Struct, kw_only=True):
    """Of the probe of the machine's pauses."""

    ticks: Count = 0
    pauses: Count = 0
    oversleep_us: Quantiles = field(default_factory=lambda: dict.fromkeys(("p50", "p99", "max")))


SHAPES: dict[str, type[Struct]] = {
    "control": ControlReport,
    "driver": DriverReport,
    "sensor": SensorReport,
    "teleoperator": TeleoperatorReport,
    "recorder": RecorderReport,
    "network": NetworkReport,
    "executed": ExecutedReport,
    "inference": InferenceReport,
    "pool": PoolReport,
    "broker": BrokerReport,
    "witness": JitterProbeReport,
}
