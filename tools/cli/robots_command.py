"""The commands of `actorctl robots`: the robots of a fleet file, and a look at one of them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import FleetError, RobotError
from .option_types import HERE, AsJson, FleetFile, seconds
from .running_fleet import ask, fail

if TYPE_CHECKING:
    from ...actors.fleet.robot_entry import RobotEntry
    from ...actors.fleet.schema import FleetFile as Fleet

app = typer.Typer(help="The robots of a fleet file: list, probe or calibrate them.")
Robot = Annotated[str, typer.Argument(help="A robot's name in the file, e.g. r1.")]


@app.callback(invoke_without_command=True)
def robots(context: typer.Context) -> None:
    """Without a command: the robots of ./fleet.yaml."""
    if context.invoked_subcommand is None:
        list_robots()


@app.command("list")
def list_robots(fleet_file: FleetFile = HERE, as_json: AsJson = False) -> None:
    """Each robot of the file with its driver, interpreter, names and cameras.

    The drivers are asked, which touches no hardware."""
    from concurrent.futures import ThreadPoolExecutor

    fleet = _outline(fleet_file)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda robot: _row(fleet, robot), fleet.robots))
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        python = f" in {row['python']}" if row["python"] else ""
        print(f"{row['name']}: {row['driver']}{python}, service {row['service']}")
        if row["error"]:
            print(f"  {row['error']}")
            continue
        same = row["actions"] == row["states"]
        print(f"  {'action and state' if same else 'action'}: {', '.join(row['actions'])}")
        if not same:
            print(f"  state: {', '.join(row['states'])}")
        cameras = [f"{name} ({driver})" for name, driver in row["cameras"].items()]
        print(f"  cameras: {', '.join(cameras) or 'none'}")
    if not rows:
        print(f"there are no robots in {fleet_file}")


@app.command()
def probe(
    name: Robot,
    fleet_file: FleetFile = HERE,
    for_s: Annotated[
        float,
        typer.Option("--seconds", parser=seconds, metavar="SECONDS", help="How long to look."),
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Connect to a robot and show its state, rates and errors; it is commanded nothing.

    Through the driver of the running fleet, else by one that is started for as long. Exit status 1
    if it could not be measured."""
    from . import robot_probe
    from .robot_screen import RobotScreen, table

    fleet, robot = _robot(name, fleet_file)
    row, wake = _driver_row(fleet, robot)
    if row is not None and robot.in_process:
        fail(
            f"the fleet {fleet.name!r} runs {name}, whose driver is in the control loop's own "
            "process: `actorctl status` shows it; `actorctl stop` it to probe it alone"
        )
    with RobotScreen(as_json) as screen:
        if row is not None:
            path = _socket(fleet)
            look = robot_probe.through_fleet(
                name, wake, for_s, lambda: ask(path, do="status")["status"], screen.show
            )
        else:
            look = robot_probe.in_own_processes(fleet, robot, for_s, screen.show)
    if as_json:
        import msgspec

        print(json.dumps(msgspec.to_builtins(look), indent=2))
    else:
        from rich.console import Console

        Console().print(table(look), soft_wrap=True)
    raise SystemExit(0 if look.measurements and not look.reason else 1)


@app.command()
def calibrate(name: Robot, fleet_file: FleetFile = HERE) -> None:
    """Hand this terminal over to the driver's own calibration, in its interpreter.

    It may cut the torque and ask you to move the robot: support an arm that would fall."""
    from ...actors.driver.calibration import command
    from ...actors.driver.describe import Asked

    fleet, robot = _robot(name, fleet_file)
    if _driver_row(fleet, robot)[0] is not None:
        actor = _driver_name(robot)
        fail(
            f"the fleet {fleet.name!r} runs {name}: `actorctl stop {actor}` first, and "
            f"`actorctl start {actor}` when it is calibrated"
        )
    asked = Asked(robot.driver, robot.options, fleet.import_path)
    words = command(asked, None if robot.in_process else robot.python)
    sys.stdout.flush()
    try:
        os.execv(words[0], words)  # noqa: S606  the procedure gets the terminal
    except OSError as error:
        fail(f"{words[0]} cannot be run ({error.strerror}); see $.robots.python of {fleet_file}")


def _outline(fleet_file: Path) -> Fleet:
    from ...actors.fleet.loading import outline

    try:
        return outline(fleet_file)
    except FleetError as error:
        fail(str(error))


def _robot(name: str, fleet_file: Path) -> tuple[Fleet, RobotEntry]:
    """The robot `name` of the file."""
    from ...actors.runtime.suggestions import closest

    fleet = _outline(fleet_file)
    found = {robot.name: robot for robot in fleet.robots}
    if name not in found:
        fail(f"no robot {name!r} in {fleet_file}; {closest(name, found)}")
    return fleet, found[name]


def _driver_name(robot: RobotEntry) -> str:
    return f"{robot.name}/{'control' if robot.in_process else 'driver'}"


def _socket(fleet: Fleet) -> Path:
    from ...actors.runtime.runtime_dir import SOCKET, runtime_base

    return runtime_base() / fleet.name / SOCKET


def _driver_row(fleet: Fleet, robot: RobotEntry) -> tuple[dict[str, Any] | None, str]:
    """The actor of the running fleet that drives `robot`, and the path of its driver's socket; None
    if no fleet runs, or a person has stopped it."""
    from ...actors.runtime import robots_file
    from ...actors.runtime.runtime_dir import running

    if fleet.name not in running():
        return None, ""
    rows = ask(_socket(fleet), do="status")["status"]["actors"]
    row = next((row for row in rows if row["name"] == _driver_name(robot)), None)
    if row is None or (row["pid"] is None and row["state"] in ("STOPPED", "FAILED")):
        return None, ""
    wakes = [
        known.wake
        for fleets in robots_file.find(fleet.name)
        for known in fleets.robots
        if known.name == robot.name
    ]
    return row, wakes[0] if wakes else ""


def _row(fleet: Fleet, robot: RobotEntry) -> dict[str, Any]:
    from ...actors.fleet.specs import described

    row: dict[str, Any] = {
        "name": robot.name,
        "driver": robot.driver,
        "python": robot.python,
        "service": robot.service,
        "cameras": {name: camera.driver for name, camera in robot.cameras.items()},
        "actions": [],
        "states": [],
        "error": "",
    }
    try:
        spec = described(fleet, robot).spec
    except RobotError as error:
        row["error"] = str(error)
    else:
        row |= {"actions": list(spec.action_names), "states": list(spec.state_names)}
    return row
