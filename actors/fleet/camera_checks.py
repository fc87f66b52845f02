"""What can be wrong with the cameras of a robot in a fleet file."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Fault
from ..driver.describe import Description
from ..runtime import interpreters
from ..runtime.suggestions import closest
from ..sensor.describe_camera import AskedCamera, why_not
from . import kind_options
from .entry_values import NAME, is_name
from .hosts import is_here
from .robot_entry import CameraEntry, RobotEntry
from .schema import FleetFile

CAMERA_DRIVERS = ("sim", "opencv", "lerobot", "robot")
RESERVED = (
    "control",
    "network",
    "driver",
    "recorder",
    "board",
    "state",
    "command",
    "scene",
    "plan",
    "outbox",
    "teleop",
)
"""Names of a robot's own actors and segments: a camera's stand beside them."""


def camera_faults(
    fleet: FleetFile, robot: RobotEntry, path: str, said: Description | None
) -> Iterator[Fault]:
    """What is wrong with the cameras and renamings of the robot at `path`; `said` is what its
    driver says."""
    known = [*robot.cameras, *_own_names(said)]
    for old in robot.rename:
        if old in renamed_nothing(robot, said):
            at, found = f"{path}.rename.{old}", f"nothing is called {old!r}"
            yield Fault(at, found, remedy=closest(old, dict.fromkeys(known)))
        elif known.count(old) > 1 and old in robot.cameras:
            yield Fault(
                f"{path}.rename.{old}",
                f"{old!r} is a camera and a joint of {robot.name}, both would be renamed",
                remedy="call the camera something else under `cameras` (a simulated one says what "
                f"it sees with `options: {{view: {old}}}`) and rename that",
            )
    wire: dict[str, str] = {}
    for name, camera in robot.cameras.items():
        at = f"{path}.cameras.{name}"
        if name in RESERVED:
            found = f"{name!r} cannot be a camera's name: an actor of the robot is called so"
            yield Fault(at, found, remedy="rename it")
        elif not is_name(name):
            yield Fault(at, f"{name!r} is no name", remedy=f"use {NAME}")
        as_policy = robot.rename.get(name, name)
        if as_policy in wire:
            found = f"becomes {as_policy!r}, as the camera {wire[as_policy]!r} does"
            yield Fault(at, found, remedy="rename one")
        wire[as_policy] = name
        wrong: list[Fault] = []
        if (kind := kind_options.of_camera(camera.driver)) is not None:
            wrong = list(kind_options.faults(f"{at}.options", camera.options, kind))
        wrong += _driver(robot, name, at, said)
        yield from wrong
        if not wrong and is_here(fleet, robot.host):
            yield from _makeable(fleet, camera, at)
        yield from _frame_age(robot, camera, at)
        if camera.driver == "sim":
            yield from _simulated_camera(robot, name, at)


def renamed_nothing(robot: RobotEntry, said: Description | None) -> list[str]:
    """The names under `rename` that are no camera's and no joint's of the robot; none where its
    driver does not say its joints."""
    known = [*robot.cameras, *_own_names(said)]
    return [] if said is None else [old for old in robot.rename if old not in known]


def _driver(robot: RobotEntry, name: str, at: str, said: Description | None) -> Iterator[Fault]:
    """Whether the camera's driver exists, and the robot's delivers its frames if it is to."""
    camera = robot.cameras[name]
    if camera.driver == "robot":
        if robot.in_process:
            found = "'robot', but a driver in the control loop's own process delivers no frames"
            yield Fault(f"{at}.driver", found, remedy="remove `in_process`, or use another one")
        elif said is not None and name not in said.cameras:
            delivers = ", ".join(said.cameras) or "none"
            yield Fault(
                f"{at}.driver",
                f"'robot', but the driver {robot.driver} delivers no camera {name!r}",
                f"one of those that it delivers: {delivers}",
            )
        for key in ("options", "python"):
            if getattr(camera, key):
                found = "has no effect: the frames come from the robot's driver"
                yield Fault(f"{at}.{key}", found, remedy="remove it")
    elif camera.driver not in CAMERA_DRIVERS and ":" not in camera.driver:
        remedy = f"{closest(camera.driver, CAMERA_DRIVERS)}; your own is named module:Class"
        yield Fault(f"{at}.driver", f"no camera driver {camera.driver!r}", remedy=remedy)


def _makeable(fleet: FleetFile, camera: CameraEntry, at: str) -> Iterator[Fault]:
    """Whether its own code, or the library's, can make the camera. Nothing is opened."""
    if camera.python is not None and interpreters.unusable(camera.python):
        return  # which the machine's checks say
    if camera.driver not in ("sim", "opencv", "robot"):
        asked = AskedCamera(
            camera.driver,
            camera.options,
            camera.width,
            camera.height,
            camera.fps,
            fleet.import_path,
        )
        if why := why_not(asked, camera.python):
            yield Fault(f"{at}.{'options' if camera.driver == 'lerobot' else 'driver'}", why)


def _frame_age(robot: RobotEntry, camera: CameraEntry, at: str) -> Iterator[Fault]:
    """A request needs a frame of every camera that is recent enough."""
    newest_s, bound_s = 1 / camera.fps, robot.images.max_frame_age_s
    if newest_s < bound_s:
        return
    share = f"only {bound_s / newest_s:.0%} of the requests find one that is young enough"
    if newest_s == bound_s:
        share = "any delay makes it too old for a request"
    yield Fault(
        f"{at}.fps",
        f"at {camera.fps:g} fps the newest frame is up to {newest_s:.3g} s old, and "
        f"images.max_frame_age_s is {bound_s:g}: {share}",
        remedy=f"use fps {2 / bound_s:.3g} or more, or "
        f"`images: {{max_frame_age_s: {1.5 * newest_s:.3g}}}`",
    )


def _simulated_camera(robot: RobotEntry, name: str, at: str) -> Iterator[Fault]:
    from ...robot.sim.draw import CAMERAS

    if robot.driver != "sim":
        found = f"'sim' on a robot whose driver is {robot.driver!r}"
        yield Fault(f"{at}.driver", found, remedy="use another one")
    view = robot.cameras[name].options.get("view", name)
    if view not in CAMERAS:
        where = f"{at}.options.view" if "view" in robot.cameras[name].options else at
        found = f"the simulator has no view {view!r}"
        yield Fault(where, found, remedy=closest(str(view), CAMERAS))


def _own_names(said: Description | None) -> list[str]:
    return [] if said is None else [*said.spec.action_names, *said.spec.state_names]
