"""What can be wrong with a robot in a fleet file, alone and with the policy that it uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from ...errors import Fault, RobotError
from ...policy.base import PolicySpec
from ...robot.base import RobotSpec
from ..control import config as control
from ..control.config import PlanSettings
from ..driver.describe import Description
from ..inference.service_terms import same_fps
from ..runtime import interpreters
from ..runtime.suggestions import closest
from . import kind_options
from .camera_checks import camera_faults, renamed_nothing
from .hosts import is_here
from .record_checks import record_faults
from .robot_entry import RobotEntry
from .schema import FleetFile
from .specs import described, limited
from .tag_checks import tag_faults
from .teleop_checks import teleop_faults

MAX_SECONDS = 1e6


def robot_faults(
    fleet: FleetFile, robot: RobotEntry, path: str, specs: dict[str, PolicySpec]
) -> Iterator[Fault]:
    """What is wrong with the robot at `path`; `specs` are those of the services that have one."""
    said: Description | None = None
    if (kind := kind_options.of_robot(robot.driver)) is not None:
        yield from kind_options.faults(f"{path}.options", robot.options, kind)
    try:
        said = described(fleet, robot)
    except RobotError as error:
        if is_here(fleet, robot.host):
            yield _of_driver(robot, path, str(error))
    spec: RobotSpec | None = None
    if said is not None:
        spec = said.spec.spec()
        yield from _limits(robot, path, spec)
        with suppress(ValueError):
            spec = limited(spec, robot.limits)
        yield from _control(robot, path, spec)
        yield from _rest(robot, path, said)
        if robot.teleop is not None:
            yield from teleop_faults(fleet, robot, robot.teleop, f"{path}.teleop", spec)
    if robot.images.max_uplink_kbps is not None and not robot.images.jpeg_quality:
        yield Fault(
            f"{path}.images.max_uplink_kbps",
            "raw images (jpeg_quality: 0) cannot be made smaller",
            remedy="write `jpeg_quality: 90`, or remove this",
        )
    if robot.in_process and robot.python is not None:
        found = "has no effect: the driver is called in the control loop's own process"
        yield Fault(f"{path}.python", found, remedy="remove it, or `in_process`")
    if robot.plan.merge != "blend" and robot.plan.blend_weight != PlanSettings().blend_weight:
        yield Fault(
            f"{path}.plan.blend_weight",
            f"{robot.plan.blend_weight:g} has no effect with merge: {robot.plan.merge}",
            remedy="write `merge: blend`, or remove this",
        )
    if robot.plan.buffer_time_s >= robot.safety.max_action_age_s:
        yield Fault(
            f"{path}.safety.max_action_age_s",
            f"{robot.safety.max_action_age_s:g} s is not more than plan.buffer_time_s "
            f"({robot.plan.buffer_time_s:g}): every action would be too old",
            remedy="use 3.0",
        )
    if robot.driver == "sim" and robot.task:
        found = f"{robot.task!r} has no effect: a simulated cell sets its own tasks"
        yield Fault(f"{path}.task", found, remedy="remove it")
    yield from tag_faults(robot, path)
    yield from camera_faults(fleet, robot, path, said)
    yield from record_faults(fleet, robot, path)
    if not robot.service:
        if robot.teleop is None:
            remedy = f"name one: {', '.join(fleet.services)}" if fleet.services else "name one"
            found = "nothing commands it: it has neither a service nor a teleoperator"
            yield Fault(f"{path}.service", found, remedy=f"{remedy}, or give it a `teleop`")
    elif robot.service not in fleet.services:
        remedy = closest(robot.service, fleet.services)
        yield Fault(f"{path}.service", f"no service {robot.service!r}", remedy=remedy)
    elif robot.service in specs:
        # What a misspelt renaming would have offered is missing: one fault says it.
        intended = {robot.rename[old] for old in renamed_nothing(robot, said)}
        strict = fleet.services[robot.service].strict_fps
        yield from _with_policy(robot, path, specs[robot.service], spec, intended, strict=strict)


def _with_policy(
    robot: RobotEntry,
    path: str,
    policy: PolicySpec,
    spec: RobotSpec | None,
    intended: set[str],
    *,
    strict: bool,
) -> Iterator[Fault]:
    """What does not fit between the robot and the policy of its service, which is `strict` about
    its rate; about names in `intended` nothing is said."""
    if not intended & {camera.name for camera in policy.cameras}:
        yield from _cameras_of(robot, path, policy)
    if spec is not None and not intended & {*policy.action_names, *policy.state_names}:
        yield from _names(robot, path, spec, policy)
    yield from _against_policy(robot, path, policy, spec)
    if strict and not same_fps(robot.fps, policy.fps):
        yield Fault(
            f"{path}.fps",
            f"{robot.fps:g}, and the policy {policy.model} was trained at {policy.fps:g}; "
            f"service {robot.service!r} is strict about it",
            remedy=f"use {policy.fps:g}, or `strict_fps: false`",
        )


def _of_driver(robot: RobotEntry, path: str, error: str) -> Fault:
    """Why a driver cannot be asked, at the key that is to be mended."""
    if robot.python is not None and (unusable := interpreters.unusable(robot.python)):
        return Fault(f"{path}.python", unusable)
    return Fault(f"{path}.driver", error)


def _limits(robot: RobotEntry, path: str, spec: RobotSpec) -> Iterator[Fault]:
    for action in robot.limits:
        if action not in spec.action_names:
            remedy = closest(action, spec.action_names)
            yield Fault(f"{path}.limits.{action}", f"no action {action!r}", remedy=remedy)
    try:
        limited(spec, robot.limits)
    except ValueError as error:
        yield Fault(f"{path}.limits", str(error))


def _control(robot: RobotEntry, path: str, spec: RobotSpec) -> Iterator[Fault]:
    """What the control loop itself refuses, with the place in the file."""
    for section in ("plan", "safety"):
        for key, value in msgspec.structs.asdict(getattr(robot, section)).items():
            if key.endswith("_s") and isinstance(value, float) and value > MAX_SECONDS:
                expected = f"at most {MAX_SECONDS:g} seconds"
                yield Fault(f"{path}.{section}.{key}", f"found {value:g}", expected)
    settings = control.ControlConfig(
        robot=robot.name,
        service=robot.service,
        endpoint="",
        plan="",
        fps=robot.fps,
        interpolate=robot.interpolate,
        plan_settings=robot.plan,
        safety=robot.safety,
        timing=robot.timing,
    )
    for fault in control.faults(settings, spec.control_mode):
        yield fault.within(path)


def _rest(robot: RobotEntry, path: str, said: Description) -> Iterator[Fault]:
    """A rest that the driver does not have would end every run as `hold` does."""
    at_stop = robot.safety.at_stop
    methods = {
        "park": ("safe_stop", said.has_safe_stop),
        "torque_off": ("release", said.has_release),
    }
    method, there = methods.get(at_stop, ("", True))
    if not there:
        yield Fault(
            f"{path}.safety.at_stop",
            f"{at_stop!r}, but the driver {robot.driver} has no `{method}`",
            remedy=f"write `at_stop: hold`, or give the driver `{method}`",
        )
    elif at_stop == "torque_off" and robot.in_process:
        yield Fault(
            f"{path}.safety.at_stop",
            "'torque_off' has no effect with in_process",
            remedy="remove one of them",
        )


def _cameras_of(robot: RobotEntry, path: str, policy: PolicySpec) -> Iterator[Fault]:
    """Cameras that the policy does not see, and those that it misses."""
    features = [camera.name for camera in policy.cameras]
    offered = {robot.rename.get(name, name): name for name in robot.cameras}
    for feature, name in offered.items():
        if feature not in features and name in robot.rename:
            remedy = closest(feature, [each for each in features if each not in offered])
            found = f"no feature of the policy {policy.model} is called {feature!r}"
            yield Fault(f"{path}.rename.{name}", found, remedy=remedy)
        elif feature not in features:
            yield Fault(
                f"{path}.cameras.{name}",
                f"no feature of the policy {policy.model} is called {feature!r} (it sees "
                f"{', '.join(features) or 'none'})",
                remedy=f"rename the camera with `rename: {{{name}: ...}}` or remove it",
            )
    missing = [feature for feature in features if feature not in offered]
    misspelt = [robot.rename[name] for name in robot.cameras if name in robot.rename]
    if len(missing) > sum(feature not in features for feature in misspelt):
        yield Fault(
            f"{path}.cameras",
            f"the policy {policy.model} sees {', '.join(features)}",
            remedy=f"add {', '.join(missing)}, or `rename` a camera to it",
        )


def _against_policy(
    robot: RobotEntry, path: str, policy: PolicySpec, spec: RobotSpec | None
) -> Iterator[Fault]:
    """What the service would refuse this robot for at the handshake, beside its names."""
    lasts_s = policy.chunk_size / robot.fps
    if robot.plan.buffer_time_s >= lasts_s:
        yield Fault(
            f"{path}.plan.buffer_time_s",
            f"{robot.plan.buffer_time_s:g} s, but a chunk of {policy.chunk_size} actions at "
            f"{robot.fps:g} fps lasts {lasts_s:.3g} s only",
            remedy=f"use less, e.g. {lasts_s / 2:.2g}",
        )
    horizon = robot.plan.rtc.execution_horizon or 0
    if horizon > policy.chunk_size:
        yield Fault(
            f"{path}.plan.rtc.execution_horizon",
            f"{horizon} steps, but a chunk of the policy {policy.model} has {policy.chunk_size}",
            remedy=f"use {policy.execution_horizon} or less, or remove it",
        )
    if spec is not None and policy.control_mode != spec.control_mode:
        yield Fault(
            f"{path}.service",
            f"{policy.model} commands {policy.control_mode}, {robot.name} obeys "
            f"{spec.control_mode}",
            remedy="choose a service whose policy was trained for it",
        )


def _names(robot: RobotEntry, path: str, spec: RobotSpec, policy: PolicySpec) -> Iterator[Fault]:
    """Names and order: a chunk's columns are motors. What is wrong with both is said once."""
    wrong: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for what, own, wanted in (
        ("action", spec.action_names, policy.action_names),
        ("state", spec.state_names, policy.state_names),
    ):
        renamed = tuple(robot.rename.get(name, name) for name in own)
        if policy.by_count and len(renamed) == len(wanted):
            continue
        if renamed != tuple(wanted):
            wrong.setdefault((renamed, tuple(wanted)), []).append(what)
    for (renamed, wanted), whats in wrong.items():
        yield Fault(
            f"{path}.rename",
            f"the {' and the '.join(whats)} of {robot.name} {'are' if whats[1:] else 'is'} "
            f"{', '.join(renamed)}; the policy of service {robot.service!r} has "
            f"{', '.join(wanted)}, in that order",
            remedy=_renaming(renamed, wanted),
        )


def _renaming(own: Sequence[str], wanted: Sequence[str]) -> str:
    """What to do when a robot has the names `own` and its policy `wanted`."""
    if sorted(own) == sorted(wanted):
        return "have the driver name them in the policy's order, or train a policy for this robot"
    if len(own) != len(wanted):
        missing = [name for name in wanted if name not in own]
        further = [name for name in own if name not in wanted]
        found = [f"{', '.join(missing)} missing"] if missing else []
        found += [f"{', '.join(further)} not the policy's"] if further else []
        return f"{'; '.join(found)}: choose a policy trained for this robot"
    pairs = [(name, other) for name, other in zip(own, wanted, strict=True) if name != other]
    if any(name in wanted or other in own for name, other in pairs):
        return "choose a policy trained for this robot"
    renaming = ", ".join(f"{name}: {other}" for name, other in pairs)
    return f"if they mean the same: `rename: {{{renaming}}}`; else choose another policy"
