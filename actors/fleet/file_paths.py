"""The paths that a fleet file names: relative ones are relative to the file."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from .schema import CameraEntry, FleetFile


def anchored(fleet: FleetFile, base: Path) -> FleetFile:
    """`fleet` with its relative paths below `base`: checkpoints, video files, keys."""
    services = {
        name: replace(
            service,
            checkpoint=_checkpoint(service.checkpoint, base),
            python=_program(service.python, base),
        )
        for name, service in fleet.services.items()
    }
    robots = [
        replace(
            robot,
            python=_program(robot.python, base),
            cameras={name: _camera(camera, base) for name, camera in robot.cameras.items()},
        )
        for robot in fleet.robots
    ]
    keys = fleet.security.keys
    security = replace(fleet.security, keys=str(base / keys)) if keys else fleet.security
    import_path = str((base / fleet.import_path).resolve())
    return replace(
        fleet, services=services, robots=robots, security=security, import_path=import_path
    )


def _checkpoint(checkpoint: str | None, base: Path) -> str | None:
    """The path of a directory; other names are those of shipped ones, or of the user's policy."""
    if checkpoint is None or not is_dir(base / checkpoint):
        return checkpoint
    return str(base / checkpoint)


def _program(python: str | None, base: Path) -> str | None:
    """The path of an interpreter; its links are what makes it a virtual environment's."""
    if python is None:
        return None
    return os.path.normpath(base / Path(python).expanduser())


def _camera(camera: CameraEntry, base: Path) -> CameraEntry:
    """`camera` with its video file's path anchored, if it has one."""
    camera = replace(camera, python=_program(camera.python, base))
    source = camera.options.get("source")
    if camera.driver != "opencv" or not isinstance(source, str):
        return camera
    from ...robot.cameras.source import Source

    if Source.of(source) is not Source.FILE:
        return camera
    return replace(camera, options={**camera.options, "source": str(base / source)})


def is_dir(path: Path) -> bool:
    """Whether `path` is a directory; False also for a name that is too long for the file system,
    holds a zero byte, or lies where this user may not look."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
