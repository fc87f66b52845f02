"""The reports on actors' boards, in the shape that the rest of the status relies on. Pure.

A board belongs to its actor and may hold any MessagePack value. `read` keeps the fields that fit
the shape of the actor's kind and replaces each other one by its default. Fields that no shape names
pass through as plain JSON values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, field

Count = Annotated[int, Meta(ge=0)]
Measure = Annotated[float, Meta(ge=0, le=1e300)]
"""Finite: JSON has no other numbers."""
Quantiles = dict[str, Measure | None]
BatchSize = Annotated[str, Meta(pattern="^[1-9][0-9]{0,5}$")]

MAX_MISFITS = 8
"""How many names of wrong fields are reported."""


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
    requests: Count = 0
    merged: Count = 0
    dropped: dict[str, Count] = {}
    request_latency_ms: Quantiles = field(default_factory=lambda: dict.fromkeys(("p50", "p99")))
    stalled_ticks: Count = 0
    stale_dropped: Count = 0
    driver_gaps: Count = 0
    void_dropped: Count = 0
    refused_commands: dict[str, Count] = {}
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


class SensorReport(Struct, kw_only=True):
    """Of a camera."""

    reason: str = ""
    frames: Count | None = None
    frame_age_ms: Measure | None = None
    stamp: str = ""
    outages: Count = 0
    freezes: Count = 0


class NetworkReport(Struct, kw_only=True):
    """Of a robot's network actor."""

    bytes_in: Count | None = None
    bytes_out: Count | None = None
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


class ServiceRow(Struct, kw_only=True):
    """A service as the broker knows it: what it wants of a robot, where `listed`."""

    name: str
    external: bool = False
    replicas: Count = 0
    sessions: Count = 0
    capacity: Count = 0
    load: Measure = 0.0
    listed: bool = False
    model: str = ""
    revision: str = ""
    checkpoint: str = ""
    cameras: dict[str, tuple[Count, Count]] = {}
    state_names: list[str] = []
    action_names: list[str] = []
    control_mode: str = ""
    chunk_size: Count = 0
    fps: Measure = 0.0
    prefix: str = "none"
    max_prefix_steps: Count = 0
    pin_task: str | None = None
    default_task: str = ""
    strict_fps: bool = False


class BrokerReport(Struct, kw_only=True):
    """Of the broker."""

    session_count: Count | None = None
    replica_count: Count | None = None
    sessions: list[SessionRow] = []
    replicas: list[ReplicaRow] = []
    services: list[ServiceRow] = []
    counters: dict[str, Count] = {}


class JitterProbeReport(Struct, kw_only=True):
    """Of the probe of the machine's pauses."""

    ticks: Count = 0
    pauses: Count = 0
    oversleep_us: Quantiles = field(default_factory=lambda: dict.fromkeys(("p50", "p99", "max")))


_SHAPES: dict[str, type[Struct]] = {
    "control": ControlReport,
    "driver": DriverReport,
    "sensor": SensorReport,
    "network": NetworkReport,
    "inference": InferenceReport,
    "broker": BrokerReport,
    "witness": JitterProbeReport,
}


def read(kind: str, reported: object) -> tuple[dict[str, Any] | None, list[str]]:
    """(report, misfits): what an actor of `kind` has `reported`, every field of its shape filled,
    and the names of the fields that were replaced (at most MAX_MISFITS). None, of an actor that
    has not reported yet, stays None. Raises nothing."""
    if reported is None:
        return None, []
    misfits: list[str] = []
    try:
        plain = msgspec.to_builtins(reported, str_keys=True)
    except (TypeError, ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict):
        plain, misfits = {}, ["the whole report"]
    shape = _SHAPES.get(kind)
    if shape is not None:
        plain = _filled(plain, shape, misfits, "")
    return plain, misfits[:MAX_MISFITS]


def unreported(kind: str) -> dict[str, Any]:
    """The default report of an actor of `kind`."""
    return read(kind, {})[0] or {}


class _Field(NamedTuple):
    name: str
    type: Any
    shape: type[Struct] | None
    """The struct in the field, or in each item of its list."""
    many: bool
    required: bool
    default: Any


@cache
def _fields(shape: type[Struct]) -> list[_Field]:
    fields = []
    for each in msgspec.structs.fields(shape):
        many = get_origin(each.type) is list
        inner = [one for one in (each.type, *get_args(each.type)) if _is_struct(one)]
        default = each.default
        if each.default_factory is not msgspec.NODEFAULT:
            default = each.default_factory()
        fields.append(
            _Field(each.name, each.type, inner[0] if inner else None, many, each.required, default)
        )
    return fields


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _filled(
    reported: Mapping[str, Any], shape: type[Struct], misfits: list[str], where: str
) -> dict[str, Any]:
    """`reported` with every field of `shape`. Raises ValidationError where a required one is
    missing or does not fit."""
    row = dict(reported)
    for each in _fields(shape):
        value = reported.get(each.name, msgspec.UNSET)
        try:
            row[each.name] = _fitted(value, each, misfits, where + each.name)
        except msgspec.ValidationError:
            if each.required:
                raise
            misfits.append(where + each.name)
            row[each.name] = _default(each)
    return row


def _fitted(value: Any, each: _Field, misfits: list[str], where: str) -> Any:
    if value is msgspec.UNSET:
        if each.required:
            raise msgspec.ValidationError
        return _default(each)
    if each.shape is not None and each.many and isinstance(value, list):
        return _rows(value, each.shape, misfits, where)
    if each.shape is not None and isinstance(value, dict):
        return _filled(value, each.shape, misfits, f"{where}.")
    if each.shape is not None and value is None:
        return _default(each)
    msgspec.convert(value, each.type)
    return value


def _rows(
    reported: list[Any], shape: type[Struct], misfits: list[str], where: str
) -> list[dict[str, Any]]:
    rows = []
    for k, item in enumerate(reported):
        try:
            rows.append(_filled(msgspec.convert(item, dict), shape, misfits, f"{where}[{k}]."))
        except msgspec.ValidationError:
            misfits.append(f"{where}[{k}]")
    return rows


def _default(each: _Field) -> Any:
    return msgspec.to_builtins(each.default)  # a copy, because callers change the rows
