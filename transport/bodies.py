"""The types of all message bodies, each a MessagePack map on the wire.

Evolution is additive: receivers ignore keys they do not know, and default those that are missing.
A field without a default has been there since version 1 and will stay.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from .arrays import Array
from .header import VERSIONS, Kind
from .images import Image
from .key_bodies import Enrol, Enrolled, Keys
from .limits import DEFAULT
from .session_id import SESSION_BITS
from .stop_bodies import Stops

Name = Annotated[str, msgspec.Meta(max_length=DEFAULT.max_name_chars)]
Text = Annotated[str, msgspec.Meta(max_length=DEFAULT.max_text_chars)]
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Word = Annotated[int, msgspec.Meta(ge=0)]
SessionId = Annotated[int, msgspec.Meta(ge=0, lt=1 << SESSION_BITS)]
Steps = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Load = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Measure = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Megabytes = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Hertz = Annotated[float, msgspec.Meta(gt=0, le=1e5)]
Pixel = Annotated[int, msgspec.Meta(ge=1, le=DEFAULT.max_image_width)]
Version = Annotated[int, msgspec.Meta(ge=0, le=255)]

_few = msgspec.Meta(max_length=DEFAULT.max_items)
Names = Annotated[tuple[Name, ...], _few]
Texts = Annotated[tuple[Text, ...], _few]
Cameras = Annotated[dict[Name, tuple[Pixel, Pixel]], _few]
ControlMode = Literal["position", "velocity"]
PrefixMode = Literal["none", "guided", "trained"]
GuidanceSchedule = Literal["zeros", "ones", "linear", "exp"]
Horizon = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
GuidanceClip = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
History = Annotated[tuple[Image, ...], msgspec.Meta(max_length=DEFAULT.max_frames)]


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A robot asks a service for a session. `cameras`: (width, height) by the policy's names.

    `boot_id` and `outbox_nonce` offer shared memory to a replica on the same host; with `host`,
    `boot_id` shows one that it is. `host`, `pid` and `kind` ("fleet", "script") say where the
    robot's loop runs; "client": a port of that host asks for a program of another project, whose
    loop is not of Holdfast.
    `max_action_age_s` and `buffer_time_s` are the robot's settings (0: not said): how old an action
    may be when it is played, and with how much playback left it asks for the next chunk.
    `execution_horizon`, `guidance_schedule` and `guidance_clip` are those of its requests, None
    where the policy's own count. `observation_window_steps`: for how many policy steps back it
    keeps its observations.
    `move`: how often the robot has changed its broker within this epoch; `holder`: the replica that
    holds its session of this epoch, "" if none does. `session`: the id that the session has in all
    records; 0: the replica makes one.
    """

    robot: Name
    service: Name
    action_names: Names
    state_names: Names
    cameras: Cameras
    fps: Hertz
    versions: tuple[Version, Version] = VERSIONS
    control_mode: ControlMode = "position"
    rtc: bool = False
    task: Text = ""
    tasks: Texts = ()
    tags: Annotated[dict[Name, Text], _few] = {}
    boot_id: Name = ""
    outbox_nonce: Word = 0
    incarnation: Count = 0
    host: Name = ""
    pid: Count = 0
    kind: Name = ""
    max_action_age_s: Seconds = 0.0
    buffer_time_s: Seconds = 0.0
    execution_horizon: Horizon | None = None
    guidance_schedule: GuidanceSchedule | None = None
    guidance_clip: GuidanceClip | None = None
    observation_window_steps: Steps = 0
    move: Count = 0
    holder: Name = ""
    session: SessionId = 0


class Accept(msgspec.Struct, frozen=True, kw_only=True):
    """The session is open, on these terms. `session`: its id, in decimal digits. `cameras`: the
    sizes that the policy sees.

    `shm`: references to the outbox that was offered will be honoured; `rings`: those to frames in
    the rings of these cameras too. `pin_task`: the only task that requests may have, if there is
    one. `observation_steps`: how many observations each request carries,
    `observation_stride_steps` policy steps apart.
    `direct`: where, on the robot's own host, the replica takes REQUESTs straight, with or without
    shared memory; "" if nowhere.
    """

    session: Name
    replica: Name
    model: Name
    revision: Name
    checkpoint: Name
    chunk_size: Steps
    fps: Hertz
    action_names: Names
    cameras: Cameras
    prefix: PrefixMode = "none"
    max_prefix_steps: Steps = 0
    shm: bool = False
    warnings: Texts = ()
    version: Version = VERSIONS[1]
    limits: Annotated[dict[Name, Count], _few] = {}
    pin_task: Text | None = None
    observation_steps: Steps = 1
    observation_stride_steps: Steps = 1
    direct: Name = ""
    rings: Names = ()


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """No session. `final`: asking again is useless; else ask again after `retry_after_s`."""

    reason: Name
    message: Text
    final: bool = False
    retry_after_s: Seconds = 0.0
    load: Load = 0.0
    alternatives: Names = ()


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """The robot ends its session."""

    reason: Name = ""


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """The header's episode has begun. Losing this costs nothing: requests carry the episode."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One observation, to be answered by a chunk.

    `state` f4 [S]; `images` by the policy's camera names, `frame_age_s` how old each was when the
    request was made; `prefix` f4 [P, A] in model space and `prefix_robot` in robot space: the
    leftover plan, absent if there is none; `delay_steps`: ticks until the chunk is expected;
    `slack_s`: playback left, the deadline that the scheduler goes by; `seed` of the noise.
    `execution_horizon` in steps from the observation, `guidance_schedule` and `guidance_clip`: how
    the chunk continues the prefix, None where the policy's own count.

    For a policy that sees k observations: `state_history` f4 [k, S] and `image_history` [k] by
    camera, the oldest first and the last those of this request; `history_age_s` [k]: how old each
    was when the request was made; `episode_age_s`: how long its episode had lasted by then.
    """

    state: Array
    images: Annotated[dict[Name, Image], msgspec.Meta(max_length=DEFAULT.max_images)] = {}
    frame_age_s: Annotated[dict[Name, Seconds], _few] = {}
    task: Text = ""
    delay_steps: Steps = 0
    prefix: Array | None = None
    prefix_robot: Array | None = None
    slack_s: Seconds = 0.0
    episode_start: bool = False
    seed: Count = 0
    execution_horizon: Horizon | None = None
    guidance_schedule: GuidanceSchedule | None = None
    guidance_clip: GuidanceClip | None = None
    state_history: Array | None = None
    image_history: Annotated[dict[Name, History], msgspec.Meta(max_length=DEFAULT.max_images)] = {}
    history_age_s: Annotated[tuple[Seconds, ...], _few] = ()
    episode_age_s: Seconds = 0.0


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The chunk, f4 [H, A] in model space and in robot space, and what it cost to make.

    `oldest_input_age_s`: how old the oldest image was when the robot asked; its own network actor
    fills that in, because the age of an action counts from the oldest input. `interval_s`: the
    replica has more robots than it carries at their own pace, and asks each for one request in so
    long at most; 0: no bound.
    """

    chunk_model: Array
    chunk: Array
    queue_s: Seconds = 0.0
    inference_s: Seconds = 0.0
    batch: Count = 1
    superseded: Count = 0
    load: Load = 0.0
    oldest_input_age_s: Seconds = 0.0
    interval_s: Seconds = 0.0


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """The request that the header names failed, alone."""

    reason: Name
    message: Text = ""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something about the session: `lost`, `available`, `draining`, `replayed`, `reset` (the
    replica knows the header's episode), ... Receivers ignore unknown ones."""

    what: Name
    message: Text = ""


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a robot, for display only. Counts continue over restarts.

    Attributes:
        state: the fail-safe's: CONNECTING, STREAMING, DEGRADED, STALLED, RECONNECTING, DEAD,
            PAUSED, or MANUAL; REFUSED where a port gives its client no chunk.
        reason: why the state is what it is: what is not reachable, not accepted, not answering.
        plan_s: how long the plan lasts.
        fps: policy steps per second, as measured.
        steps: policy steps taken.
        missed_steps: steps whose time passed while the loop did something else.
        stalled_steps: steps without an action although chunks had come before.
        refused: commands that the robot's limits refused.
        refusing_s: for how long every command of the plan has been refused, 0 if none or some.
        refusing: why, in words.
        dropped: answers that did not become part of the plan, by reason.
        latency_ms: `p50` and `p99` from asking to having a chunk; empty until there is one.
        warnings: what the service, or the loop, warns of.
        uplink: of its link: `request_bytes` of the last request, `kbps` over 5 s and the limit
            `max_kbps` (0: none), `jpeg_quality` (0: images travel raw, or in shared memory),
            `round_trip_ms` of the last heartbeat, `waiting_ms` of the one that awaits its answer.
        uplink_limit: what the limit lowers at present: `quality`, `rate`, or nothing.

    >>> vitals = Vitals(state="STREAMING", plan_s=0.5)
    >>> vitals.state, vitals.refused, vitals.warnings
    ('STREAMING', 0, ())
    """

    state: Name = ""
    reason: Text = ""
    plan_s: Seconds = 0.0
    fps: Rate = 0.0
    steps: Count = 0
    missed_steps: Count = 0
    stalled_steps: Count = 0
    refused: Count = 0
    refusing_s: Seconds = 0.0
    refusing: Text = ""
    dropped: Annotated[dict[Name, Count], _few] = {}
    latency_ms: Annotated[dict[Name, Milliseconds], _few] = {}
    warnings: Texts = ()
    uplink: Annotated[dict[Name, Measure], _few] = {}
    uplink_limit: Name = ""


class ActorVitals(msgspec.Struct, frozen=True, kw_only=True):
    """An actor of the sender's host, as its supervisor sees it, for display only.

    Attributes:
        state: the supervisor's: READY, STARTING, BACKOFF, FAILED, STOPPED and so on.
        restarts: since the start of the host's part of the fleet.
        up_s: the age of this incarnation.
        progress_age_s: how long ago its own loop made progress.
        last_exit: how the incarnation before this ended.
        reason: why it is not READY.
    """

    name: Name
    kind: Name = ""
    state: Name = ""
    pid: Count = 0
    restarts: Count = 0
    up_s: Seconds = 0.0
    progress_age_s: Seconds = 0.0
    memory_mb: Megabytes = 0.0
    last_exit: Text = ""
    reason: Text = ""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What robots ask of a replica. Counts are of its incarnation.

    Attributes:
        requests: those that arrived.
        misses: those that were answered after their slack, or not at all because they expired.
        superseded: those that a newer one of their robot replaced.
        offered: request rate times service time: the share of a device that its robots want, above
            1 where that is more than one device.
        queue_ms: `p50` and `p95` of how long its last requests waited; empty without any.
    """

    requests: Count = 0
    misses: Count = 0
    superseded: Count = 0
    offered: Load = 0.0
    queue_ms: Annotated[dict[Name, Milliseconds], _few] = {}


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """`progress` is counted by the sender's own loop: equal counts mean that it hangs. A robot's
    carries its vitals, a replica's how many sessions it holds by other brokers (`elsewhere`) and
    what robots ask of it (`demand`), and those of another host than the broker's some of the actors
    of theirs. `direct_answers`: how many requests of its session a robot had answered
    straight by its replica, without the broker; `direct_s`: how long the last of them took.
    `stops`: between a robot and the broker, the digest of the stops of the site that the sender
    knows, "" if it takes none."""

    progress: Count
    load: Load = 0.0
    vitals: Vitals | None = None
    elsewhere: Count = 0
    actors: Annotated[tuple[ActorVitals, ...], _few] = ()
    demand: Demand | None = None
    direct_answers: Count = 0
    direct_s: Annotated[tuple[Seconds, ...], _few] = ()
    stops: Name = ""


class Inquiry(msgspec.Struct, frozen=True, kw_only=True):
    """Would this OPEN be accepted? Asking changes nothing.

    A kind of its own, not a flag of OPEN: a peer that does not know it drops it, instead of taking
    an inquiry for a robot.
    """

    open: Open


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an inquiry: one of the two. `accept` opens no session."""

    accept: Accept | None = None
    reject: Reject | None = None


class Register(msgspec.Struct, frozen=True, kw_only=True):
    """A replica offers a service, on the terms that robots must meet.

    `batch_s`: measured duration of a batch of 1, 2, ... `host`, `boot_id`, `pid` and `kind`
    ("fleet", "script") say where it runs. `contract`: a hash of all that robots rely on, equal for
    all replicas of a service. `pin_task`, `default_task` and `strict_fps` are its rules for tasks
    and rates. `service_limit`: sessions at all replicas of the service together, 0 for no limit but
    their capacities. `load_s`: how long the replica took from its start to this.
    """

    replica: Name
    service: Name
    capacity: Count
    model: Name
    revision: Name
    checkpoint: Name
    cameras: Cameras
    state_names: Names
    action_names: Names
    chunk_size: Steps
    fps: Hertz
    control_mode: ControlMode = "position"
    prefix: PrefixMode = "none"
    max_prefix_steps: Steps = 0
    stateful: bool = False
    versions: tuple[Version, Version] = VERSIONS
    batch_s: Annotated[tuple[Seconds, ...], _few] = ()
    host: Name = ""
    boot_id: Name = ""
    pid: Count = 0
    incarnation: Count = 0
    kind: Name = ""
    contract: Name = ""
    pin_task: Text | None = None
    default_task: Text = ""
    strict_fps: bool = False
    observation_steps: Steps = 1
    observation_stride_steps: Steps = 1
    service_limit: Count = 0
    load_s: Seconds = 0.0


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """The replica is registered. `heartbeat_s`: how often it is to send a HEARTBEAT."""

    broker: Name = ""
    heartbeat_s: Seconds = 0.0


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """A replica will finish and leave, or the broker answers that it may."""

    reason: Name = ""


Body = (
    Open
    | Accept
    | Reject
    | Close
    | Reset
    | Request
    | Reply
    | Error
    | Event
    | Heartbeat
    | Inquiry
    | Verdict
    | Register
    | Welcome
    | Drain
    | Enrol
    | Enrolled
    | Keys
    | Stops
)
BODIES: dict[Kind, type[Body]] = {Kind[body.__name__.upper()]: body for body in get_args(Body)}
KINDS: dict[type[Body], Kind] = {body: kind for kind, body in BODIES.items()}
