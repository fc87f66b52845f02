"""The paths that a fleet file names: relative ones are relative to the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ..inference.user_policy import is_own
from .robot_entry import CameraEntry, RobotEntry
from .schema import FleetFile
from .service_entry import ServiceEntry


def anchored(fleet: FleetFile, base: Path) -> FleetFile:
    """`fleet` with its relative paths below `base`: checkpoints, video files, datasets, keys of all
    kinds."""
    services = {
        name: replace(
            service,
            checkpoint=_checkpoint(service, base),
            python=_program(service.python, base),
            placements=[
                replace(placement, python=_program(placement.python, base))
                for placement in service.placements
            ],
        )
        for name, service in fleet.services.items()
    }
    robots = [
        replace(
            robot,
            python=_program(robot.python, base),
            options=_robot_options(robot, base),
            cameras={name: _camera(camera, base) for name, camera in robot.cameras.items()},
            record=robot.record and replace(robot.record, root=_folder(robot.record.root, base)),
        )
        for robot in fleet.robots
    ]
    keys = fleet.security.keys
    security = replace(fleet.security, keys=str(base / keys)) if keys else fleet.security
    gateway, openpi, groot = fleet.gateway, fleet.gateway.openpi, fleet.gateway.groot
    if openpi is not None and openpi.api_key is not None:
        api_key = str(base / Path(openpi.api_key).expanduser())
        gateway = replace(gateway, openpi=replace(openpi, api_key=api_key))
    if groot is not None and groot.api_token is not None:
        api_token = str(base / Path(groot.api_token).expanduser())
        gateway = replace(gateway, groot=replace(groot, api_token=api_token))
    import_path = str((base / fleet.import_path).resolve())
    return replace(
        fleet,
        services=services,
        robots=robots,
        gateway=gateway,
        security=security,
        import_path=import_path,
    )


def _checkpoint(service: ServiceEntry, base: Path) -> str | None:
    """The path of a directory, for the user's own policy also of a file; other names are those of
    shipped ones, or whatever the policy understands."""
    if service.checkpoint is None:
        return None
    path = base / Path(service.checkpoint).expanduser()
    there = is_dir(path) or (is_own(service.policy) and _is_file(path))
    return str(path) if there else service.checkpoint


def _program(python: str | None, base: Path) -> str | None:
    """The path of an interpreter; its links are what makes it a virtual environment's."""
    if python is None:
        return None
    return os.path.normpath(base / Path(python).expanduser())


def _folder(path: str, base: Path) -> str:
    return os.path.normpath(base / Path(path).expanduser())


def _robot_options(robot: RobotEntry, base: Path) -> dict[str, Any]:
    """The robot's options, with the path of the dataset that it replays anchored."""
    dataset = robot.options.get("dataset")
    if robot.driver != "replay" or not isinstance(dataset, str):
        return robot.options
    return {**robot.options, "dataset": _folder(dataset, base)}


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


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
