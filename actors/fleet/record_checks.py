"""What can be wrong with the recording of a robot, as far as no disk has to be touched."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from ...errors import Fault
from ..recorder.strategy_settings import DaggerSettings, EpisodicSettings, TeleopSettings
from .hosts import is_here
from .robot_entry import RobotEntry
from .schema import FleetFile

NEEDED = ("pyarrow", "av")
RECORD = "add e.g. `record: {root: data/pick}`"


def record_faults(fleet: FleetFile, robot: RobotEntry, path: str) -> Iterator[Fault]:
    """Of the robot at `path`."""
    yield from _strategy(robot, path)
    if robot.record is None:
        return
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing and is_here(fleet, robot.host):
        yield Fault(
            f"{path}.record",
            f"recording needs {' and '.join(missing)}, which {_are(missing)} not installed here",
            remedy="`pip install 'holdfast[data]'`",
        )
    if robot.fps != int(robot.fps):
        yield Fault(
            f"{path}.fps",
            f"{robot.fps:g}: a recorded dataset has a whole number of frames per second",
            remedy=f"use {round(robot.fps)}, or remove `record`",
        )
    for name, camera in robot.cameras.items():
        for key, size in (("width", camera.width), ("height", camera.height)):
            if size % 2:
                yield Fault(
                    f"{path}.cameras.{name}.{key}",
                    f"{size}: a recorded video needs an even number of pixels",
                    remedy=f"use {size + 1}, or remove `record`",
                )


def _strategy(robot: RobotEntry, path: str) -> Iterator[Fault]:
    """What the robot's strategy lacks."""
    if robot.strategy == "base":
        return
    kind = str(robot.strategy.__struct_config__.tag)
    if robot.record is None and kind != "base":
        yield Fault(
            f"{path}.strategy", f"{kind!r} records, and `record` does not say where", remedy=RECORD
        )
    if isinstance(robot.strategy, TeleopSettings | DaggerSettings) and robot.teleop is None:
        remedy = "name one, e.g. `teleop: {driver: keyboard}`"
        found = f"{kind!r} needs a teleoperator: a person commands the robot"
        yield Fault(f"{path}.teleop", found, remedy=remedy)
    if isinstance(robot.strategy, EpisodicSettings | DaggerSettings) and not robot.service:
        found = f"{kind!r} needs a policy"
        yield Fault(f"{path}.service", found, remedy="name a service, or use `type: teleop`")


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
