"""Everything that can be wrong with a fleet whose types are right, found before a process starts.

Each check is a function from the fleet to faults; each fault has its path in the file, what was
found, and what would be right. Nothing here opens a socket, a device or a policy's weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ...errors import Fault, PolicyError
from ...policy.base import PolicySpec
from ...policy.checkpoint import read_config, read_spec
from ...policy.policy_options import OPTIONS as POLICY_KINDS
from ...robot.base import RobotSpec
from ...transport.keys import is_local
from ..control import config as control
from ..control.config import PlanSettings
from ..runtime.kinds import KINDS as ACTOR_KINDS
from ..runtime.spec import Rules
from ..runtime.suggestions import closest
from . import kind_options
from .schema import (
    BrokerEntry,
    CameraEntry,
    FleetFile,
    GatewayEntry,
    RobotEntry,
    ServiceEntry,
    is_dir,
)
from .yaml_errors import mismatches_within

FRONT_PORT, BACK_PORT = 7447, 7448
MAX_SECONDS = 1e6
WITHOUT_NETWORK = ("constant", "shape-only")
"""Kinds of policy that compute nothing on any device."""

RESERVED = ("control", "network", "world", "recorder")
"""Names of a robot's own actors: a camera's actor stands beside them."""


def faults_of(fleet: FleetFile) -> list[Fault]:
    """All that is wrong with `fleet`; empty if it can run."""
    specs: dict[str, PolicySpec] = {}
    faults = [*_services(fleet, specs), *_hosts(fleet), *_gateway(fleet), *_supervision(fleet)]
    seen: dict[str, int] = {}
    for i, robot in enumerate(fleet.robots):
        path = f"$.robots[{i}]"
        if robot.name in seen:
            other = f"$.robots[{seen[robot.name]}]"
            message = f"{robot.name!r} is the name of {other} too; each robot needs its own"
            faults.append(Fault(f"{path}.name", message))
        elif robot.name in fleet.services:
            message = f"{robot.name!r} is a service's name too; rename one of them"
            faults.append(Fault(f"{path}.name", message))
        seen.setdefault(robot.name, i)
        faults += _robot(fleet, robot, path, specs)
    return faults


def ports_of(broker: BrokerEntry) -> tuple[int, int]:
    """The TCP ports of a broker that listens: its front's and its back's."""
    return broker.front_port or FRONT_PORT, broker.back_port or BACK_PORT


def policy_spec(service: ServiceEntry) -> PolicySpec:
    """What the service's policy wants and gives. Raises PolicyError."""
    return read_spec(service.checkpoint)


def robot_spec(robot: RobotEntry) -> RobotSpec | None:
    """What the robot's driver says about it; None for a driver that does not exist."""
    if robot.driver == "sim":
        from ...robot.sim import SPEC

        return SPEC
    return None


def _services(fleet: FleetFile, specs: dict[str, PolicySpec]) -> Iterator[Fault]:
    for name, service in fleet.services.items():
        path = f"$.services.{name}"
        if not _is_name(name):
            message = f"{name!r} is no name; use 1 to 32 letters, digits, `-` and `_`"
            yield Fault(path, message)
        if service.policy not in POLICY_KINDS:
            message = f"no policy kind {service.policy!r}; {closest(service.policy, POLICY_KINDS)}"
            yield Fault(f"{path}.policy", message)
        try:
            specs[name] = policy_spec(service)
        except PolicyError as error:
            yield Fault(f"{path}.checkpoint", str(error))
        else:
            yield from _policy(service, path, specs[name])


def _policy(service: ServiceEntry, path: str, spec: PolicySpec) -> Iterator[Fault]:
    """What the kind of policy makes of its options and its device."""
    kind = POLICY_KINDS.get(service.policy)
    if kind is None:
        return
    yield from kind_options.faults(f"{path}.options", service.options, kind, spec)
    if service.policy in WITHOUT_NETWORK:
        for key, value, usual in (
            ("device", service.device, "cpu"),
            ("dtype", service.dtype, "float32"),
        ):
            if value != usual:
                message = f"has no effect: policy {service.policy} has no network; remove it"
                yield Fault(f"{path}.{key}", message)
        return
    made_for = read_config(service.checkpoint).kind
    if made_for != service.policy:
        message = f"{service.policy!r}, but the checkpoint is one of kind {made_for!r}; use that"
        yield Fault(f"{path}.policy", message)


def _hosts(fleet: FleetFile) -> Iterator[Fault]:
    placed = [("$.broker", fleet.broker.host)]
    placed += [(f"$.services.{name}", s.host) for name, s in fleet.services.items()]
    placed += [(f"$.robots[{i}]", robot.host) for i, robot in enumerate(fleet.robots)]
    for path, host in placed:
        if host is not None and host not in fleet.hosts:
            advice = closest(host, fleet.hosts)
            if not fleet.hosts:
                advice = "this fleet has no `hosts`: name its machines there, or remove this"
            yield Fault(f"{path}.host", f"no host {host!r}; {advice}")
        if host is None and fleet.hosts:
            message = f"missing, because there are `hosts`; add one of: {', '.join(fleet.hosts)}"
            yield Fault(f"{path}.host", message)
    yield from _broker(fleet)
    if fleet.security.keys and not is_dir(Path(fleet.security.keys)):
        yield Fault("$.security.keys", f"no directory {fleet.security.keys}; `actorctl keys new`")


def _broker(fleet: FleetFile) -> Iterator[Fault]:
    """Where it listens, and who may then speak to it."""
    broker = fleet.broker
    for key in ("replica_lost_after_s", "robot_lost_after_s"):
        if getattr(broker, key) < 2 * broker.heartbeat_s:
            yield Fault(
                f"$.broker.{key}",
                f"{getattr(broker, key):g} s is less than two heartbeats "
                f"({broker.heartbeat_s:g} s): a single late one would count as lost; use "
                f"{4 * broker.heartbeat_s:g}",
            )
    if not fleet.hosts:
        for key, port in (("front_port", broker.front_port), ("back_port", broker.back_port)):
            if port is not None:
                yield Fault(
                    f"$.broker.{key}",
                    f"{port} has no effect: without `hosts` the broker listens on no TCP port; "
                    "name this machine (`hosts: {NAME: {address: ...}}`) and put `host: NAME` "
                    "under `broker`, or remove this",
                )
        if fleet.security.insecure:
            message = "has no effect: without `hosts` no other machine reaches the broker; remove"
            yield Fault("$.security.insecure", message)
        return
    front, back = ports_of(broker)
    if front == back:
        yield Fault("$.broker.back_port", f"{back} is the front port too; use another")
    if fleet.security.keys and fleet.security.insecure:
        yield Fault("$.security.insecure", "has no effect, because there are `keys`: remove one")
    host = fleet.hosts.get(broker.host or "")
    if host is None or is_local(f"tcp://{host.address}:1"):
        return
    if not fleet.security.insecure and not fleet.security.keys:
        yield Fault(
            f"$.hosts.{broker.host}.address",
            f"the broker at {host.address} can be reached from other machines: make keys "
            "(`actorctl keys new NAME`) and name their directory with `security: {keys: ...}`, use "
            "a loopback address, or write `security: {insecure: true}` to let everyone on the "
            "network command the robots",
        )


def _gateway(fleet: FleetFile) -> Iterator[Fault]:
    usual = GatewayEntry()
    for key in ("host", "port"):
        value = getattr(fleet.gateway, key)
        if not fleet.gateway.enabled and value != getattr(usual, key):
            message = f"{value} has no effect: write `enabled: true`, or remove this"
            yield Fault(f"$.gateway.{key}", message)


def _supervision(fleet: FleetFile) -> Iterator[Fault]:
    path = "$.supervision"
    for section, kinds in (
        ("rules", fleet.supervision.rules),
        ("memory_mb", fleet.supervision.memory_mb),
    ):
        for kind in kinds:
            if kind not in ACTOR_KINDS and kind != "all":
                message = f"no kind of actor {kind!r}; {closest(kind, ['all', *ACTOR_KINDS])}"
                yield Fault(f"{path}.{section}.{kind}", message)
    for kind, given in fleet.supervision.rules.items():
        yield from mismatches_within(f"{path}.rules.{kind}", given, Rules)
    names = actor_names(fleet)
    taken: dict[str, str] = {}
    for group, members in fleet.supervision.groups.items():
        for i, member in enumerate(members):
            at = f"{path}.groups.{group}[{i}]"
            if member not in names:
                yield Fault(at, f"no actor {member!r}; {closest(member, names)}")
            elif member in taken:
                yield Fault(at, f"{member!r} is in the group {taken[member]!r} already; remove one")
            taken.setdefault(member, group)


def _robot(
    fleet: FleetFile, robot: RobotEntry, path: str, specs: dict[str, PolicySpec]
) -> Iterator[Fault]:
    spec = robot_spec(robot)
    if spec is None:
        yield Fault(f"{path}.driver", f"no driver {robot.driver!r}; expected one of: sim")
    else:
        yield from _control(robot, path, spec)
    if (kind := kind_options.of_robot(robot.driver)) is not None:
        yield from kind_options.faults(f"{path}.options", robot.options, kind)
    if robot.plan.merge != "blend" and robot.plan.blend_weight != PlanSettings().blend_weight:
        yield Fault(
            f"{path}.plan.blend_weight",
            f"{robot.plan.blend_weight:g} has no effect with merge: {robot.plan.merge}; write "
            "`merge: blend`, or remove this",
        )
    if robot.driver == "sim" and robot.task:
        message = f"{robot.task!r} has no effect: a simulated world sets its own tasks; remove it"
        yield Fault(f"{path}.task", message)
    yield from _cameras(robot, path)
    if robot.service not in fleet.services:
        message = f"no service {robot.service!r}; {closest(robot.service, fleet.services)}"
        yield Fault(f"{path}.service", message)
    elif robot.service in specs:
        yield from _against_policy(robot, path, specs[robot.service], spec)


def _control(robot: RobotEntry, path: str, spec: RobotSpec) -> Iterator[Fault]:
    """What the control loop itself refuses, said at the place in the file where it is mended."""
    for section in ("plan", "safety"):
        for key, value in msgspec.structs.asdict(getattr(robot, section)).items():
            if key.endswith("_s") and isinstance(value, float) and value > MAX_SECONDS:
                message = f"found {value:g}; expected at most {MAX_SECONDS:g} seconds"
                yield Fault(f"{path}.{section}.{key}", message)
    settings = control.ControlConfig(
        robot=robot.name,
        driver=robot.driver,
        service=robot.service,
        endpoint="",
        plan="",
        fps=robot.fps,
        interpolate=robot.interpolate,
        plan_settings=robot.plan,
        safety=robot.safety,
        timing=robot.timing,
    )
    for sentence in control.faults(settings, spec.control_mode):
        key, _, message = sentence.partition(": ")
        section = next(
            (
                f".{name}"
                for name in ("plan", "safety", "timing")
                if key in getattr(robot, name).__struct_fields__
            ),
            "",
        )
        yield Fault(f"{path}{section}.{key}", message)


def _cameras(robot: RobotEntry, path: str) -> Iterator[Fault]:
    for old in robot.rename:
        known = [*robot.cameras, *_own_names(robot)]
        if old not in known:
            yield Fault(f"{path}.rename.{old}", f"nothing is called {old!r}; {closest(old, known)}")
        elif known.count(old) > 1 and old in robot.cameras:
            message = (
                f"{old!r} is a camera and a joint of {robot.name}, both would be renamed: call the "
                "camera something else under `cameras` (a simulated one says what it sees with "
                f"`options: {{view: {old}}}`) and rename that"
            )
            yield Fault(f"{path}.rename.{old}", message)
    wire: dict[str, str] = {}
    for name, camera in robot.cameras.items():
        at = f"{path}.cameras.{name}"
        if not _is_name(name) or name in RESERVED:
            message = f"{name!r} cannot be a camera's name: an actor of the robot is called so"
            if name not in RESERVED:
                message = f"{name!r} is no name; use 1 to 32 letters, digits, `-` and `_`"
            yield Fault(at, message)
        as_policy = robot.rename.get(name, name)
        if as_policy in wire:
            message = f"becomes {as_policy!r}, as the camera {wire[as_policy]!r} does; rename one"
            yield Fault(at, message)
        wire[as_policy] = name
        kind = kind_options.of_camera(camera.driver)
        yield from kind_options.faults(f"{at}.options", camera.options, kind)
        yield from _frame_age(robot, camera, at)
        if camera.driver == "sim":
            yield from _simulated_camera(robot, name, at)


def _frame_age(robot: RobotEntry, camera: CameraEntry, at: str) -> Iterator[Fault]:
    """A request needs a frame of every camera that is young enough."""
    newest_s, bound_s = 1 / camera.fps, robot.images.max_frame_age_s
    if newest_s < bound_s:
        return
    share = f"only {bound_s / newest_s:.0%} of the requests find one that is young enough"
    if newest_s == bound_s:
        share = "any delay makes it too old for a request"
    yield Fault(
        f"{at}.fps",
        f"at {camera.fps:g} fps the newest frame is up to {newest_s:.3g} s old, and "
        f"images.max_frame_age_s is {bound_s:g}: {share}; use fps {2 / bound_s:.3g} or more, or "
        f"`images: {{max_frame_age_s: {1.5 * newest_s:.3g}}}`",
    )


def _simulated_camera(robot: RobotEntry, name: str, at: str) -> Iterator[Fault]:
    from ...robot.sim.draw import CAMERAS

    if robot.driver != "sim":
        message = f"'sim' on a robot whose driver is {robot.driver!r}; use opencv"
        yield Fault(f"{at}.driver", message)
    view = robot.cameras[name].options.get("view", name)
    if view not in CAMERAS:
        message = f"the simulator has no view {view!r}; {closest(str(view), CAMERAS)}"
        where = f"{at}.options.view" if "view" in robot.cameras[name].options else at
        yield Fault(where, message)


def _against_policy(
    robot: RobotEntry, path: str, policy: PolicySpec, spec: RobotSpec | None
) -> Iterator[Fault]:
    """What the service would refuse this robot for: better now than at the handshake."""
    features = [camera.name for camera in policy.cameras]
    offered = {robot.rename.get(name, name): name for name in robot.cameras}
    for feature, name in offered.items():
        if feature not in features:
            yield Fault(
                f"{path}.cameras.{name}",
                f"no feature of the policy {policy.model} is called {feature!r} (it sees "
                f"{', '.join(features)}); rename the camera with `rename: {{{name}: ...}}` or "
                "remove it",
            )
    missing = [feature for feature in features if feature not in offered]
    if missing:
        yield Fault(
            f"{path}.cameras",
            f"the policy {policy.model} sees {', '.join(features)}; add {', '.join(missing)}, or "
            "`rename` a camera to it",
        )
    lasts_s = policy.chunk_size / robot.fps
    if robot.plan.buffer_time_s >= lasts_s:
        yield Fault(
            f"{path}.plan.buffer_time_s",
            f"{robot.plan.buffer_time_s:g} s, but a chunk of {policy.chunk_size} actions at "
            f"{robot.fps:g} fps lasts {lasts_s:.3g} s only; use less, e.g. {lasts_s / 2:.2g}",
        )
    if robot.plan.buffer_time_s >= robot.safety.max_action_age_s:
        yield Fault(
            f"{path}.safety.max_action_age_s",
            f"{robot.safety.max_action_age_s:g} s is not more than plan.buffer_time_s "
            f"({robot.plan.buffer_time_s:g}): every action would be too old; use 3.0",
        )
    if spec is not None:
        yield from _names(robot, path, "action", spec.action_names, policy.action_names)
        yield from _names(robot, path, "state", spec.state_names, policy.state_names)
        if policy.control_mode != spec.control_mode:
            yield Fault(
                f"{path}.service",
                f"{policy.model} commands {policy.control_mode}, {robot.name} obeys "
                f"{spec.control_mode}; choose a service whose policy was trained for it",
            )


def _names(
    robot: RobotEntry, path: str, what: str, own: Sequence[str], wanted: Sequence[str]
) -> Iterator[Fault]:
    """Names and order: a chunk's columns are motors."""
    renamed = [robot.rename.get(name, name) for name in own]
    if renamed != list(wanted):
        yield Fault(
            f"{path}.rename",
            f"the {what} of {robot.name} is {', '.join(renamed)}; the policy of service "
            f"{robot.service!r} has {', '.join(wanted)}, in that order: rename them, or choose a "
            "policy trained for this robot",
        )


def _own_names(robot: RobotEntry) -> list[str]:
    spec = robot_spec(robot)
    return [] if spec is None else [*spec.action_names, *spec.state_names]


def _is_name(name: str) -> bool:
    from .schema import Name

    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        return False
    return True


def actor_names(fleet: FleetFile) -> list[str]:
    """Every actor of the fleet, on whichever host, in start order."""
    names = ["witness", "broker"]
    names += [f"{name}/{k}" for name, s in fleet.services.items() for k in range(s.replicas)]
    for robot in fleet.robots:
        if robot.driver == "sim":
            names.append(f"{robot.name}/world")
        names += [f"{robot.name}/{camera}" for camera in robot.cameras]
        names += [f"{robot.name}/network", f"{robot.name}/control"]
    return [*names, "gateway"] if fleet.gateway.enabled else names
