"""The devices that a fleet file names: serial ports in the options of robots, and cameras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import Fault
from ..runtime import device_files
from .robot_entry import CameraEntry, RobotEntry
from .schema import FleetFile

_NO_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/shm", "/dev/fd")


def shared(fleet: FleetFile) -> Iterator[Fault]:
    """Devices that two robots or cameras of one host name, by whichever of their paths."""
    first: dict[tuple[str | None, str], str] = {}
    for i, robot in enumerate(fleet.robots):
        for place, device in _of_robot(robot, f"$.robots[{i}]"):
            other = first.setdefault((robot.host, _resolved(device)), place)
            if other != place:
                kind = "cameras" if ".cameras." in place else "ports"
                yield Fault(
                    place,
                    f"{str(device)!r} is used at {other} too",
                    remedy=f"each needs its own (`actorctl doctor` lists the {kind})",
                )


def missing(robot: RobotEntry, path: str) -> Iterator[Fault]:
    """The devices of the robot at `path` that are absent or not accessible."""
    for place, device in _of_robot(robot, path):
        found, remedy = device_files.trouble(device)
        if found:
            yield Fault(place, found, remedy=remedy)


def _of_robot(robot: RobotEntry, path: str) -> Iterator[tuple[str, Path]]:
    yield from _named(robot.options, f"{path}.options")
    for name, camera in robot.cameras.items():
        yield from _of_camera(camera, f"{path}.cameras.{name}")


def _of_camera(camera: CameraEntry, path: str) -> Iterator[tuple[str, Path]]:
    if camera.driver != "opencv":
        yield from _named(camera.options, f"{path}.options")
        return
    source = str(camera.options.get("source"))
    if source.isdigit() or source.startswith("/dev/"):
        device = Path(f"/dev/video{source}" if source.isdigit() else source)
        yield f"{path}.options.source", device


def _named(value: Any, path: str) -> Iterator[tuple[str, Path]]:
    """The device files in an option of the file, however deep, with their places."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _named(below, f"{path}.{key}")
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from _named(below, f"{path}[{i}]")
    elif isinstance(value, str) and value.startswith("/dev/") and not _exempt(value):
        yield path, Path(value)


def _exempt(path: str) -> bool:
    """Whether it lies in /dev and is no device that one robot owns."""
    return any(path == other or path.startswith(f"{other}/") for other in _NO_DEVICES)


def _resolved(device: Path) -> str:
    """By which two names of one device are equal."""
    try:
        return str(device.resolve())
    except (OSError, ValueError, RuntimeError):
        return str(device)
