"""The segments that actors share: their names and sizes. Each actor's own board is in
`HostContext.spec`."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from ...errors import PolicyError
from ...robot.base import RobotSpec
from ...transport.frame_ring import FrameRing
from ...transport.outbox import Outbox
from ...transport.seqlock import Seqlock
from ..control.plan_memory import SEGMENT_BYTES
from ..control.teleop_register import teleop_bytes
from ..driver import registers
from ..jitter_probe import KEPT
from ..runtime.ring_times import KEPT_S
from ..runtime.spec import SegmentUse
from ..runtime.status_board import BOARD_SIZE
from .places import places_on
from .robot_entry import RobotEntry
from .schema import FleetFile
from .service_entry import ServiceEntry
from .specs import policy_spec

_PAUSE_BYTES = 16
_IMAGE_ALIGNMENT = 64


def frames(fleet: FleetFile, robot: RobotEntry, name: str, writable: bool = False) -> SegmentUse:
    """The newest frames of a camera, and as many as its policy looks back. Where replicas read them
    in place, each is there for `KEPT_S` after the next has come."""
    camera = robot.cameras[name]
    history_s = history_steps(fleet, robot) / robot.fps
    # A camera may be a little faster than it is configured, and a frame is older than its use.
    earlier = ceil(1.1 * (history_s + robot.images.max_frame_age_s) * camera.fps)
    kept = 2 + ceil(1.1 * KEPT_S * camera.fps) if name in _read(fleet, robot).values() else 0
    slots = max(4, kept) + (earlier if history_s else 0)
    size = FrameRing.size_for((camera.height, camera.width, 3), slots)
    return SegmentUse(f"{robot.name}/{name}", size, writable)


def history_steps(fleet: FleetFile, robot: RobotEntry) -> int:
    """For how many policy steps back the robot keeps its frames."""
    service = fleet.services.get(robot.service)
    if robot.images.history_steps is not None:
        return robot.images.history_steps
    if service is None or service.external:
        return 0
    try:
        return policy_spec(fleet, service).observation_window_steps
    except PolicyError:  # a policy of another host
        return 0


def scene(robot: RobotEntry, writable: bool = False) -> SegmentUse:
    from ...robot.sim import scene as simulated

    return SegmentUse(f"{robot.name}/scene", Seqlock.size_for(simulated.SIZE), writable)


def state(robot: RobotEntry, spec: RobotSpec, writable: bool = False) -> SegmentUse:
    size = registers.state_bytes(len(spec.state_names))
    return SegmentUse(f"{robot.name}/state", Seqlock.size_for(size), writable)


def command(robot: RobotEntry, spec: RobotSpec, writable: bool = False) -> SegmentUse:
    size = registers.command_bytes(len(spec.action_names))
    return SegmentUse(f"{robot.name}/command", Seqlock.size_for(size), writable)


def plan(robot: RobotEntry, writable: bool = False) -> SegmentUse:
    """The plan and the tick log."""
    return SegmentUse(f"{robot.name}/plan", SEGMENT_BYTES, writable)


def teleop(robot: RobotEntry, spec: RobotSpec, writable: bool = False) -> SegmentUse:
    """What the robot's teleoperator says."""
    size = teleop_bytes(len(spec.action_names))
    return SegmentUse(f"{robot.name}/teleop/reading", Seqlock.size_for(size), writable)


def driver_board(robot: RobotEntry) -> SegmentUse:
    """The board of the robot's driver, as another actor reads it."""
    return SegmentUse(f"{robot.name}/driver/board", BOARD_SIZE)


def control_board(robot: RobotEntry) -> SegmentUse:
    """The board of the robot's control, as another actor reads it."""
    return SegmentUse(f"{robot.name}/control/board", BOARD_SIZE)


def is_near(service: ServiceEntry, robot: RobotEntry) -> bool:
    """Whether the robot's images reach a replica of the service by shared memory: one that the
    fleet runs on the robot's host."""
    return bool(places_on(service, robot.host))


def outbox(fleet: FleetFile, robot: RobotEntry, writable: bool) -> SegmentUse:
    """Room for the images of one request to the robot's service, at the size in which they
    travel."""
    capacity = _request_bytes(fleet, robot, robot.service)
    return SegmentUse(f"{robot.name}/outbox", Outbox.size_for(capacity), writable)


def outbox_takes(fleet: FleetFile, robot: RobotEntry, service: str) -> bool:
    """Whether the robot has an outbox, and in it room for the images of `service`, which it may
    use in place of its own. Those of another one travel to it as JPEG."""
    own = fleet.services.get(robot.service)
    if own is None or not is_near(own, robot):
        return False
    if service == robot.service:
        return True
    try:
        return _request_bytes(fleet, robot, service) <= _request_bytes(fleet, robot, robot.service)
    except PolicyError:  # a policy that cannot be described here
        return False


def rings_read(fleet: FleetFile, robot: RobotEntry) -> dict[str, SegmentUse]:
    """The rings, by the cameras' names on the wire, from which replicas of the robot's own service
    read its frames: all, or none if an image travels in another size than it is captured in."""
    return {wire: frames(fleet, robot, name) for wire, name in _read(fleet, robot).items()}


def _read(fleet: FleetFile, robot: RobotEntry) -> Mapping[str, str]:
    """The cameras of `rings_read` by their names on the wire."""
    own = fleet.services.get(robot.service)
    if own is None or not is_near(own, robot):
        return {}
    try:
        policy = policy_spec(fleet, own)
    except PolicyError:  # a policy that cannot be described here
        return {}
    sizes = {camera.name: (camera.width, camera.height) for camera in policy.cameras}
    wire = {robot.rename.get(name, name): name for name in robot.cameras}
    seen = {name: robot.cameras[wire[name]] for name in sizes if name in wire}
    if robot.images.resize == "edge" and any(
        (camera.width, camera.height) != sizes[name] for name, camera in seen.items()
    ):
        return {}
    return {name: wire[name] for name in seen}


def _request_bytes(fleet: FleetFile, robot: RobotEntry, service: str) -> int:
    policy = policy_spec(fleet, fleet.services[service])
    sizes = [(camera.width, camera.height) for camera in policy.cameras]
    if robot.images.resize == "server":
        sizes = [(camera.width, camera.height) for camera in robot.cameras.values()]
    # A policy that sees nothing sends no images; an outbox holds at least one of no size.
    one = sum(w * h * 3 + _IMAGE_ALIGNMENT for w, h in sizes) or _IMAGE_ALIGNMENT
    return one * policy.observation_steps


def pauses(writable: bool = False) -> SegmentUse:
    return SegmentUse("witness/pauses", Seqlock.size_for(KEPT * _PAUSE_BYTES), writable)
