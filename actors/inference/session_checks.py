"""May this robot be served by this policy? Pure: what the robot says against what was trained.

Every refusal says what was found, what was expected and what to do. `final` means that asking again
will not help until a person has changed something: a robot that hears it is not enabled.

It trusts what the robot says about itself: whether requests then look as promised is checked with
each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...policy.base import PolicySpec
from ...transport.header import VERSIONS
from ...transport.limits import DEFAULT
from ...transport.messages import Open, PrefixMode, Reject

ASPECT_TOLERANCE = 0.02
FPS_TOLERANCE = 0.01
RETRY_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a service demands. `limit` is how many sessions one replica holds; `alone` says why it
    is one, where its policy cannot be shared. Robots give up after `request_timeout_s`."""

    service: str
    spec: PolicySpec
    limit: int
    pin_task: str | None = None
    strict_fps: bool = False
    alone: str = ""
    request_timeout_s: float = 5.0
    versions: tuple[int, int] = VERSIONS


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How full the replica is: `sessions` of other robots, the device's busy share, how many robots
    its measured service times carry, how long one inference takes, how often each robot asks."""

    sessions: int = 0
    load: float = 0.0
    capacity: int = 0
    inference_s: float = 0.0
    rate_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The robot is served: in schema `version`, continuing its plan by `prefix`."""

    version: int
    prefix: PrefixMode
    warnings: tuple[str, ...]


def admit(robot: Open, terms: Terms, occupancy: Occupancy) -> Admitted | Reject:
    """Check everything, the most basic first; the first thing that cannot work decides."""
    spec = terms.spec
    refusal = (
        _service(robot, terms)
        or _version(robot, terms)
        or _actions(robot, spec)
        or _control_mode(robot, spec)
        or _state(robot, spec)
        or _cameras(robot, spec)
        or _task(robot, terms)
        or _fps(robot, terms)
        or _room(terms, occupancy)
    )
    if refusal is not None:
        return refusal
    return Admitted(
        version=min(robot.versions[1], terms.versions[1]),
        prefix=spec.prefix if robot.rtc else "none",
        warnings=tuple(_warnings(robot, terms, occupancy)),
    )


def _service(robot: Open, terms: Terms) -> Reject | None:
    if robot.service == terms.service:
        return None
    return _final(
        "service",
        f"robot {robot.robot} asked for service '{robot.service}', this replica serves "
        f"'{terms.service}': the broker's routes and this replica disagree; restart the replica",
    )


def _version(robot: Open, terms: Terms) -> Reject | None:
    low, high = max(robot.versions[0], terms.versions[0]), min(robot.versions[1], terms.versions[1])
    if low <= high:
        return None
    return _final(
        "version",
        f"robot {robot.robot} speaks wire versions {_range(robot.versions)}, service "
        f"'{terms.service}' speaks {_range(terms.versions)}: install releases of holdfast that "
        "overlap on both",
    )


def _actions(robot: Open, spec: PolicySpec) -> Reject | None:
    if robot.action_names == spec.action_names:
        return None
    same = sorted(robot.action_names) == sorted(spec.action_names)
    return _final(
        "action-order" if same else "action-names",
        f"robot {robot.robot} has actions {_list(robot.action_names)}, policy {spec.model} was "
        f"trained for {_list(spec.action_names)}"
        + (" in this order" if same else _difference(robot.action_names, spec.action_names))
        + ": a chunk's columns are motors; set the robot's `rename` in fleet.yaml, or serve a "
        "policy of this robot",
    )


def _control_mode(robot: Open, spec: PolicySpec) -> Reject | None:
    if robot.control_mode == spec.control_mode:
        return None
    return _final(
        "control-mode",
        f"robot {robot.robot} takes {robot.control_mode} commands, policy {spec.model} gives "
        f"{spec.control_mode} commands: choose a policy trained in the robot's control mode",
    )


def _state(robot: Open, spec: PolicySpec) -> Reject | None:
    have, want = robot.state_names, spec.state_names
    if len(have) == len(want) and (have == want or sorted(have) != sorted(want)):
        return None
    reason = "state-order" if len(have) == len(want) else "state-dimension"
    return _final(
        reason,
        f"robot {robot.robot} has {len(have)} state values {_list(have)}, policy {spec.model} "
        f"wants {len(want)}: {_list(want)}{_difference(have, want)}; configure the robot to "
        "report exactly these, in this order",
    )


def _cameras(robot: Open, spec: PolicySpec) -> Reject | None:
    missing = [c.name for c in spec.cameras if c.name not in robot.cameras]
    if not missing:
        return None
    return _final(
        "cameras",
        f"robot {robot.robot} has cameras {_list(robot.cameras)}, policy {spec.model} also needs "
        f"{_list(missing)}: add them in fleet.yaml, or map the robot's names with `rename`",
    )


def _task(robot: Open, terms: Terms) -> Reject | None:
    pinned = terms.pin_task
    asked = [task for task in (robot.task, *robot.tasks) if task and task != pinned]
    if pinned is None or not asked:
        return None
    return _final(
        "task",
        f"robot {robot.robot} asks for {asked[0]!r}, service '{terms.service}' is pinned to "
        f"{pinned!r}: give the robot that task or none, or remove `pin_task` from the service",
    )


def _fps(robot: Open, terms: Terms) -> Reject | None:
    if not terms.strict_fps or _same_fps(robot.fps, terms.spec.fps):
        return None
    return _final(
        "fps",
        f"robot {robot.robot} runs at {robot.fps:g} Hz, policy {terms.spec.model} was trained at "
        f"{terms.spec.fps:g} Hz and service '{terms.service}' is strict about it: set the robot's "
        "fps, or `strict_fps: false`",
    )


def _room(terms: Terms, occupancy: Occupancy) -> Reject | None:
    if occupancy.sessions < terms.limit:
        return None
    if terms.alone:
        return Reject(
            reason="capacity",
            message=f"this replica of '{terms.service}' serves one robot at a time and has one, "
            f"because {terms.alone}: start another replica",
            retry_after_s=RETRY_AFTER_S,
            load=occupancy.load,
        )
    return Reject(
        reason="capacity",
        message=f"this replica of '{terms.service}' holds {occupancy.sessions} of {terms.limit} "
        f"sessions at load {occupancy.load:.0%}; by its measured service times it carries "
        f"{occupancy.capacity} robots: start another replica"
        + (", or raise `max_sessions`" if occupancy.capacity > terms.limit > 1 else ""),
        retry_after_s=RETRY_AFTER_S,
        load=occupancy.load,
    )


def _warnings(robot: Open, terms: Terms, occupancy: Occupancy) -> list[str]:
    spec, warnings = terms.spec, []
    for camera in spec.cameras:
        width, height = robot.cameras[camera.name]
        stretch = (width / height) / (camera.width / camera.height)
        if abs(math.log(stretch)) > ASPECT_TOLERANCE:
            warnings.append(
                f"camera '{camera.name}' is {width}x{height}, the policy sees "
                f"{camera.width}x{camera.height}: its image will be stretched; crop it at the robot"
            )
    if robot.state_names != spec.state_names:
        warnings.append(
            f"state values are named {_list(robot.state_names)}, the policy was trained with "
            f"{_list(spec.state_names)}: make sure that they mean the same in this order"
        )
    if not _same_fps(robot.fps, spec.fps):
        warnings.append(
            f"the robot runs at {robot.fps:g} Hz, the policy was trained at {spec.fps:g} Hz: "
            f"motions will be {robot.fps / spec.fps:.2g} times as fast as demonstrated"
        )
    if robot.rtc and spec.prefix == "none":
        warnings.append(
            f"policy {spec.model} cannot continue a plan (no real-time chunking): its chunks "
            "replace the plan, trimmed by what was played; the motion may jump where they begin"
        )
    if occupancy.sessions >= occupancy.capacity:
        warnings.append(
            f"with this robot the replica has {occupancy.sessions + 1} and carries "
            f"{occupancy.capacity} by its measured service times (one inference takes "
            f"{_s(occupancy.inference_s)}, each robot asks {occupancy.rate_hz:.2g} times a "
            "second): chunks may come late; start another replica"
        )
    warnings += _too_old(robot, spec, occupancy.inference_s)
    warnings += _too_slow(robot, terms, occupancy.inference_s)
    return warnings


def _too_old(robot: Open, spec: PolicySpec, inference_s: float) -> list[str]:
    """The end of a chunk that is too old when its turn comes."""
    chunk_s, age_s = spec.chunk_size / robot.fps, robot.max_action_age_s
    if not age_s or chunk_s <= age_s:
        return []
    asks_s = chunk_s - robot.buffer_time_s
    stalls = (
        f"it asks for the next one after {_s(asks_s)}, so that it stalls within each chunk"
        if age_s < asks_s + inference_s
        else "it stalls whenever the next one is late"
    )
    return [
        f"a chunk of {spec.chunk_size} actions lasts {_s(chunk_s)} at {robot.fps:g} Hz, and the "
        f"robot plays none that is older than its max_action_age_s of {_s(age_s)}: the last "
        f"{_s(chunk_s - age_s)} of each are never played, and {stalls}; raise max_action_age_s, or "
        "serve shorter chunks"
    ]


def _too_slow(robot: Open, terms: Terms, inference_s: float) -> list[str]:
    """An inference that takes longer than the robot's plan or patience: the worst of it."""
    spec = terms.spec
    chunk_s, horizon_s = spec.chunk_size / robot.fps, spec.execution_horizon / robot.fps
    takes = f"one inference takes {_s(inference_s)} here"
    if inference_s >= terms.request_timeout_s:
        what = f"and robots wait {_s(terms.request_timeout_s)} for an answer (request_timeout_s)"
        return [f"{takes}, {what}: no chunk will ever arrive; serve on a faster device"]
    if robot.max_action_age_s and inference_s >= robot.max_action_age_s:
        what = f"and the robot plays nothing older than {_s(robot.max_action_age_s)}"
        return [f"{takes}, {what} (max_action_age_s): no action will ever be played; raise it"]
    if inference_s >= chunk_s:
        what = f"and a chunk lasts {_s(chunk_s)} at {robot.fps:g} Hz"
        return [f"{takes}, {what}: each is over before it arrives; serve longer chunks"]
    lasts_s = min(chunk_s, robot.max_action_age_s or chunk_s)
    if 2 * inference_s > lasts_s:
        # The next is asked for when this one has come, as old as the inference took, or later: when
        # so little of it is left that the robot asks.
        what = f"and a chunk can be played for {_s(lasts_s)} after its observation"
        asks_s = max(inference_s, chunk_s - (robot.buffer_time_s or chunk_s))
        stall_s = min(asks_s, lasts_s) + inference_s - lasts_s
        return [f"{takes}, {what}: the robot stalls for {_s(stall_s)} in each; serve longer chunks"]
    if robot.buffer_time_s and inference_s >= robot.buffer_time_s:
        stall_s = inference_s - robot.buffer_time_s
        what = f"and the robot asks with {_s(robot.buffer_time_s)} of playback left"
        mend = f"set its plan.buffer_time_s above {_s(inference_s)}"
        return [f"{takes}, {what}: it stalls for {_s(stall_s)} before each chunk; {mend}"]
    if robot.rtc and spec.prefix != "none" and inference_s >= horizon_s:
        what = f"and policy {spec.model} continues a plan for {spec.execution_horizon} steps"
        return [f"{takes}, {what}, {_s(horizon_s)}: its chunks begin where none was continued"]
    return []


def _s(seconds: float) -> str:
    """Three digits are enough for a person, and milliseconds where there are no seconds."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.0995 else f"{seconds:.3g} s"


def _final(reason: str, message: str) -> Reject:
    return Reject(reason=reason, message=message[: DEFAULT.max_text_chars], final=True)


def _same_fps(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=FPS_TOLERANCE)


def _range(versions: tuple[int, int]) -> str:
    low, high = versions
    return str(low) if low == high else f"{low} to {high}"


def _list(names: Sequence[str] | dict[str, tuple[int, int]]) -> str:
    return "[" + ", ".join(names) + "]"


def _difference(have: Sequence[str], want: Sequence[str]) -> str:
    """Which names are too few and too many, as a parenthesis; empty when it is only the order."""
    missing = [name for name in want if name not in have]
    extra = [name for name in have if name not in want]
    parts = [f"missing {_list(missing)}"] * bool(missing) + [f"not known {_list(extra)}"] * bool(
        extra
    )
    return f" ({'; '.join(parts)})" if parts else ""
