"""The admission of a robot: its OPEN against the policy's spec and the service's terms. Pure.

Every refusal says what was found, what was expected and what to do. `final` means that a retry is
useless until a person has changed something: the robot is not enabled.

The OPEN is trusted; each request is checked against the spec when it is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...policy.base import PolicySpec
from ...transport.bodies import Open, PrefixMode, Reject
from ...transport.limits import DEFAULT
from .service_terms import Occupancy, Terms, listed, same_fps
from .session_warnings import warnings_of

RETRY_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The robot is accepted: the wire `version`, how its plan is continued, and the warnings."""

    version: int
    prefix: PrefixMode
    warnings: tuple[str, ...]


def admit(robot: Open, terms: Terms, occupancy: Occupancy) -> Admitted | Reject:
    """Accept or refuse a robot. The checks are in order, the most basic first; the first that fails
    decides."""
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
        or _horizon(robot, spec)
        or _history(robot, spec)
        or _room(terms, occupancy)
    )
    if refusal is not None:
        return refusal
    return Admitted(
        version=min(robot.versions[1], terms.versions[1]),
        prefix=spec.prefix if robot.rtc else "none",
        warnings=tuple(warnings_of(robot, terms, occupancy)),
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
    if spec.by_count and len(robot.action_names) == len(spec.action_names):
        return None
    same = sorted(robot.action_names) == sorted(spec.action_names)
    return _final(
        "action-order" if same else "action-names",
        f"robot {robot.robot} has actions {listed(robot.action_names)}, policy {spec.model} was "
        f"trained for {listed(spec.action_names)}"
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
    if len(have) == len(want) and (have == want or spec.by_count or sorted(have) != sorted(want)):
        return None
    reason = "state-order" if len(have) == len(want) else "state-dimension"
    return _final(
        reason,
        f"robot {robot.robot} has {len(have)} state values {listed(have)}, policy {spec.model} "
        f"wants {len(want)}: {listed(want)}{_difference(have, want)}; configure the robot to "
        "report exactly these, in this order",
    )


def _cameras(robot: Open, spec: PolicySpec) -> Reject | None:
    missing = [c.name for c in spec.cameras if c.name not in robot.cameras]
    if not missing:
        return None
    return _final(
        "cameras",
        f"robot {robot.robot} has cameras {listed(robot.cameras)}, policy {spec.model} also needs "
        f"{listed(missing)}: add them in fleet.yaml, or map the robot's names with `rename`",
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
    if not terms.strict_fps or same_fps(robot.fps, terms.spec.fps):
        return None
    return _final(
        "fps",
        f"robot {robot.robot} runs at {robot.fps:g} Hz, policy {terms.spec.model} was trained at "
        f"{terms.spec.fps:g} Hz and service '{terms.service}' is strict about it: set the robot's "
        "fps, or `strict_fps: false`",
    )


def _horizon(robot: Open, spec: PolicySpec) -> Reject | None:
    horizon = robot.execution_horizon or 0
    if spec.prefix == "none" or horizon <= spec.chunk_size:
        return None
    return _final(
        "execution-horizon",
        f"robot {robot.robot} has an execution_horizon of {horizon} steps, a chunk of policy "
        f"{spec.model} has {spec.chunk_size}: set the robot's plan.rtc.execution_horizon to "
        f"{spec.execution_horizon} or less, or remove it",
    )


def _history(robot: Open, spec: PolicySpec) -> Reject | None:
    keeps, wants = robot.observation_window_steps, spec.observation_window_steps
    if keeps >= wants:
        return None
    return _final(
        "history",
        f"policy {spec.model} sees the last {spec.observation_steps} observations, "
        f"{spec.observation_stride_steps} steps apart, and robot {robot.robot} keeps those of "
        f"{keeps} steps, {wants} are needed: set its images.history_steps in fleet.yaml; a client "
        "that sends single observations cannot use this policy",
    )


def _room(terms: Terms, occupancy: Occupancy) -> Reject | None:
    if occupancy.sessions < terms.limit:
        return _pace(terms, occupancy)
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


def _pace(terms: Terms, occupancy: Occupancy) -> Reject | None:
    """Robots are given a slower rate before one is refused."""
    if occupancy.most is None or occupancy.sessions < occupancy.most:
        return None
    return Reject(
        reason="capacity",
        message=f"this replica of '{terms.service}' has {occupancy.sessions} robots, and carries "
        f"{occupancy.most} at the slowest rate at which their plans last, by its shortest service "
        "times: start another replica",
        retry_after_s=RETRY_AFTER_S,
        load=occupancy.load,
    )


def _final(reason: str, message: str) -> Reject:
    return Reject(reason=reason, message=message[: DEFAULT.max_text_chars], final=True)


def _range(versions: tuple[int, int]) -> str:
    low, high = versions
    return str(low) if low == high else f"{low} to {high}"


def _difference(have: Sequence[str], want: Sequence[str]) -> str:
    """The missing and the unknown names, as a parenthesis; empty when only the order differs."""
    missing = [name for name in want if name not in have]
    extra = [name for name in have if name not in want]
    parts = [f"missing {listed(missing)}"] * bool(missing) + [f"not known {listed(extra)}"] * bool(
        extra
    )
    return f" ({'; '.join(parts)})" if parts else ""
