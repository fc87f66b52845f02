"""A device of LeRobot by its registered type, made from the options of its entry.

The options are the fields of the library's own configuration class. Types of third-party packages
(`lerobot_robot_*`, `lerobot_teleoperator_*`) are found as the library's own commands find them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import RobotError


@dataclass(frozen=True)
class DeviceFamily:
    """One kind of device: its package, the registry of its types, and who makes one."""

    noun: str
    package: str
    registry: str
    maker: str


ROBOTS = DeviceFamily("robot", "lerobot.robots", "RobotConfig", "make_robot_from_config")
TELEOPERATORS = DeviceFamily(
    "teleoperator",
    "lerobot.teleoperators",
    "TeleoperatorConfig",
    "make_teleoperator_from_config",
)
CAMERAS = DeviceFamily("camera", "lerobot.cameras", "CameraConfig", "make_cameras_from_configs")
"""Whose maker takes a dict of configurations: camera.py calls it."""


def make(family: DeviceFamily, options: Mapping[str, Any]) -> Any:
    """The device that `options` describe, not connected. Raises RobotError for a type that the
    installed library does not have, and for options that its configuration class does not take."""
    config = configuration(family, options)
    with said(f"type {options['type']}"):
        return getattr(_package(family), family.maker)(config)


def configuration(family: DeviceFamily, options: Mapping[str, Any]) -> Any:
    """The library's own configuration object. Raises RobotError like `make`."""
    package = _package(family)
    absent = _register(package)
    registry = getattr(package, family.registry)
    kind = options.get("type")
    known = registry.get_known_choices()
    if kind not in known:
        hint = "".join(f"; {name} cannot be imported: {why}" for name, why in absent.items())
        raise RobotError(
            f"type: LeRobot {version()} has no {family.noun} {kind!r}, it has "
            f"{', '.join(sorted(known))}; a package with another one is called "
            f"lerobot_{family.noun}_... and is installed beside it{hint}"
        )
    given = dict(options)
    if given.get("calibration_dir"):
        given["calibration_dir"] = str(Path(given["calibration_dir"]).expanduser())
    with said(f"options of {kind}"):
        return importlib.import_module("draccus").decode(registry, given)


def calibrated(device: Any) -> None:
    """Raises RobotError when `device` has no calibration file."""
    if not device.calibration:
        raise RobotError(
            f"{device.id}: there is no calibration file {device.calibration_fpath}: "
            "`actorctl robots calibrate NAME` makes it"
        )


def version() -> str:
    """Of the installed library."""
    return importlib.metadata.version("lerobot")


@contextmanager
def said(what: str) -> Iterator[None]:
    """Whatever the library raises becomes a RobotError of one line that begins with `what`."""
    try:
        yield
    except RobotError:
        raise
    except Exception as error:
        line = " ".join(str(error).split()) or type(error).__name__
        raise RobotError(f"{what}: {line}") from error


def _package(family: DeviceFamily) -> Any:
    try:
        return importlib.import_module(family.package)
    except ModuleNotFoundError as error:
        raise RobotError(
            f"{error.name} is not installed here: `pip install 'lerobot[feetech]'`, or name the "
            "interpreter of the environment that has it by `python:`"
        ) from error


def _register(package: Any) -> dict[str, str]:
    """Import what registers types; what could not be imported, and why."""
    absent: dict[str, str] = {}
    for found in pkgutil.iter_modules(package.__path__):
        try:
            importlib.import_module(f"{package.__name__}.{found.name}")
        except Exception as error:  # noqa: BLE001  a type that is not asked for may lack its packages
            absent[found.name] = str(error)
    importlib.import_module("lerobot.utils.import_utils").register_third_party_plugins()
    return absent
