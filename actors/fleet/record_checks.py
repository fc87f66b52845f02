"""What can be wrong with the recording of a robot, as far as no disk has to be touched."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from ...errors import Fault
from .hosts import is_here
from .schema import FleetFile, RobotEntry

NEEDED = ("pyarrow", "av")


def record_faults(fleet: FleetFile, robot: RobotEntry, path: str) -> Iterator[Fault]:
    """Of the robot at `path`."""
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


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
