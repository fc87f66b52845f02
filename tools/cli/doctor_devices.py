"""What robots are plugged into: serial ports, cameras and gamepads of this machine, and the
interpreters and drivers that a fleet file names. For `actorctl doctor`; no device is opened for
more than its name and sizes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ...actors.fleet import specs
from ...actors.fleet.hosts import is_here
from ...actors.fleet.loading import outline
from ...actors.fleet.places import places
from ...actors.fleet.robot_entry import RobotEntry
from ...actors.fleet.schema import FleetFile
from ...actors.runtime import device_files, interpreters
from ...errors import FleetError, RobotError
from ...robot import input_device
from ...robot.cameras import v4l2
from .doctor import Finding


def examine(fleet_file: Path, dev: Path = device_files.DEV) -> list[Finding]:
    """Look at the devices below `dev`, and at what `fleet_file` names if it is there."""
    return [*serial_ports(dev), *cameras(dev), *gamepads(dev), *of_file(fleet_file)]


def serial_ports(dev: Path) -> Iterator[Finding]:
    """Each port, by the name that stays its own; or that there is none."""
    found = device_files.serial_ports(dev)
    for name, device in found.items():
        yield _device("serial port", name, device)
    if not found:
        yield Finding("serial ports", "good", f"none below {dev}")


def cameras(dev: Path) -> Iterator[Finding]:
    """Each camera likewise, with the sizes that it offers."""
    found = device_files.cameras(dev)
    for name, device in found.items():
        yield _device("camera", name, device, v4l2.sizes(device))
    if not found:
        yield Finding("cameras", "good", f"none below {dev} (simulated ones need none)")


def gamepads(dev: Path = device_files.DEV, sys: Path = input_device.SYS) -> Iterator[Finding]:
    """Each gamepad or joystick likewise, with its name."""
    found = input_device.plugged_in(dev, sys)
    pads = {name: each for name, each in found.items() if each.is_gamepad}
    for name, each in pads.items():
        yield _device("gamepad", name, each.path, each.name)
    if not pads:
        others = f"none of {len(found)} input devices below {dev}" if found else f"none below {dev}"
        yield Finding("gamepads", "good", others)


def _device(what: str, name: Path, device: Path, more: str = "") -> Finding:
    shown = str(name) if name == device else f"{name} ({device.name})"
    trouble, remedy = device_files.trouble(device)
    if trouble:
        return Finding(what, "poor", f"{shown}: {trouble}", remedy)
    return Finding(what, "good", f"{shown}: {more}" if more else shown)


def of_file(fleet_file: Path) -> Iterator[Finding]:
    """The interpreters that the file names and its drivers, on this machine."""
    if not fleet_file.exists():
        found = f"no {fleet_file} here: `actorctl doctor FILE` looks at what one names"
        yield Finding("fleet file", "good", found)
        return
    try:
        fleet = outline(fleet_file)
    except FleetError as error:
        remedy = f"`supervisor check {fleet_file}` says all that is wrong with it"
        yield Finding("fleet file", "bad", str(error).splitlines()[0], remedy)
        return
    for python, users in _users(fleet).items():
        yield _interpreter(python, users, fleet_file)
    for robot in fleet.robots:
        if is_here(fleet, robot.host):
            yield _driver(fleet, robot, fleet_file)


def _users(fleet: FleetFile) -> dict[str, list[str]]:
    """Whom each interpreter is to run: drivers and cameras of robots, and services."""
    users: dict[str, list[str]] = {}

    def uses(python: str | None, name: str) -> None:
        users.setdefault(python or sys.executable, []).append(name)

    for name, service in fleet.services.items():
        for place in places(service):
            if is_here(fleet, place.host):
                uses(place.python, name)
    for robot in fleet.robots:
        if is_here(fleet, robot.host):
            uses(None if robot.in_process else robot.python, f"{robot.name}/driver")
            for name, camera in robot.cameras.items():
                if camera.driver != "robot":
                    uses(camera.python, f"{robot.name}/{name}")
    return users


def _interpreter(python: str, users: list[str], fleet_file: Path) -> Finding:
    version, fault = interpreters.examine(python)
    runs = f"for {', '.join(users)}"
    if not fault:
        found = f"{python}: Python {version} with holdfast, {runs}"
        return Finding("interpreter", "good", found)
    found, command, rest = fault.partition(": `")
    remedy = f"`{rest}" if command else f"name another one in {fleet_file}"
    return Finding("interpreter", "bad", f"{found}, {runs}", remedy)


def _driver(fleet: FleetFile, robot: RobotEntry, fleet_file: Path) -> Finding:
    try:
        said = specs.described(fleet, robot)
    except RobotError as error:
        remedy = f"`supervisor check {fleet_file}` says where"
        return Finding("driver", "bad", f"{robot.name}: {error}", remedy)
    counts = f"{len(said.spec.action_names)} actions, {len(said.spec.state_names)} states"
    return Finding("driver", "good", f"{robot.name}: {robot.driver} can be made ({counts})")
