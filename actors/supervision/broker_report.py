"""The report on the broker's board: the robots, replicas, services and hosts that it knows."""

from __future__ import annotations

from msgspec import Struct, field

from ...transport.bodies import ActorVitals
from .measures import BatchSize, Count, Measure, Quantiles


class VitalsRow(Struct, kw_only=True):
    """The vitals of a robot of a script or of another host; None where it sends none."""

    state: str = ""
    reason: str = ""
    plan_s: Measure | None = None
    fps: Measure | None = None
    steps: Count | None = None
    missed_steps: Count | None = None
    stalled_steps: Count | None = None
    refused: Count | None = None
    refusing_s: Measure = 0.0
    refusing: str = ""
    dropped: dict[str, Count] = {}
    latency_ms: Quantiles = {}
    warnings: list[str] = []
    uplink: dict[str, Measure] = {}
    uplink_limit: str = ""


class SessionRow(Struct, kw_only=True):
    """A robot as the broker knows it."""

    robot: str
    service: str = ""
    replica: str = ""
    state: str = ""
    silent_s: Measure = 0.0
    kind: str = ""
    host: str = ""
    vitals: VitalsRow = field(default_factory=VitalsRow)


class ReplicaRow(Struct, kw_only=True):
    """A replica as the broker knows it."""

    name: str
    service: str = ""
    sessions: Count = 0
    capacity: Count = 0
    load: Measure = 0.0
    progress_age_s: Measure = 0.0
    draining: bool = False
    kind: str = ""
    host: str = ""
    batch_ms: dict[BatchSize, Measure] = {}
    chunk_s: Measure = 0.0
    stateful: bool = False


class ServiceRow(Struct, frozen=True, kw_only=True):
    """A service as the broker knows it.

    Attributes:
        name: what a robot names as its `service`.
        external: whether it is declared as one that scripts serve.
        replicas: how many serve it now; without any, nothing is known of its policy.
        sessions: the robots it has, of `capacity` that it takes.
        capacity: robots.
        load: the share of the time that its devices compute, 0 to 1.
        waiting: robots that it has no place for.
        offered: request rate times service time, summed over its replicas: devices that its robots
            would use.
        requests_per_s: that arrive.
        misses_per_s: requests that are answered after their robot's slack, or not at all.
        superseded_per_s: requests that a newer one of their robot replaces.
        queue_ms: how long requests wait at the busiest replica, p50 and p95 of the last 10 s.
        latency_ms: p50 and p95 of the last answers, as the broker sees them.
        slo_ms: within which p95 is to stay, as the fleet file says.
        wanted: how many replicas it should have; `why_wanted` in words.
        why_wanted: what `wanted` follows from.
        listed: whether what follows is known: there is a replica, and room for its names.
        model: the policy.
        revision: of its weights.
        checkpoint: the hash of its weights.
        cameras: (width, height) of each image that it sees.
        state_names: the entries of a state, in order.
        action_names: the columns of a chunk, in order.
        control_mode: whether actions are positions or velocities.
        chunk_size: the steps of a chunk.
        fps: steps per second.
        prefix: how a chunk continues the plan under way: none, guided or trained.
        max_prefix_steps: for how many steps it does.
        pin_task: the only task, if there is one.
        default_task: the task of a robot that names none.
        strict_fps: whether a robot of another rate is refused; else it is warned.
        observation_steps: how many observations it sees.
        observation_stride_steps: steps between two of them.
    """

    name: str
    external: bool = False
    replicas: Count = 0
    sessions: Count = 0
    capacity: Count = 0
    load: Measure = 0.0
    waiting: Count = 0
    offered: Measure = 0.0
    requests_per_s: Measure = 0.0
    misses_per_s: Measure = 0.0
    superseded_per_s: Measure = 0.0
    queue_ms: Quantiles = {}
    latency_ms: Quantiles = {}
    slo_ms: Measure | None = None
    wanted: Count | None = None
    why_wanted: str = ""
    listed: bool = False
    model: str = ""
    revision: str = ""
    checkpoint: str = ""
    cameras: dict[str, tuple[Count, Count]] = {}
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    control_mode: str = ""
    chunk_size: Count = 0
    fps: Measure = 0.0
    prefix: str = "none"
    max_prefix_steps: Count = 0
    pin_task: str | None = None
    default_task: str = ""
    strict_fps: bool = False
    observation_steps: Count = 1
    observation_stride_steps: Count = 1


class RefusedReplicaRow(Struct, kw_only=True):
    """A replica that the broker refused, and why."""

    name: str
    service: str = ""
    kind: str = ""
    host: str = ""
    reason: str = ""


class ReportedActorRow(ActorVitals, frozen=True, kw_only=True):
    """An actor of another host, as `reporter`, a robot or replica of that host, said `heard_s`
    ago."""

    host: str = ""
    reporter: str = ""
    heard_s: Measure = 0.0


class BrokerReport(Struct, kw_only=True):
    """Of the broker."""

    session_count: Count | None = None
    replica_count: Count | None = None
    sessions: list[SessionRow] = []
    replicas: list[ReplicaRow] = []
    refused: list[RefusedReplicaRow] = []
    services: list[ServiceRow] = []
    actors: list[ReportedActorRow] = []
    counters: dict[str, Count] = {}
