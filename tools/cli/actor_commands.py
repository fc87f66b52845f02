"""The commands of `actorctl` to actors (start, stop, ...) and robots (pause, reset, ...)."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .option_types import FleetName, Names, NewTask, RobotName
from .running_fleet import ask, fail, reach

app = typer.Typer()
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Return once it is asked for; else wait until it is done.")
]


@app.command()
def start(names: Names, no_wait: NoWait = False, fleet: FleetName = None) -> None:
    """Start actors that are stopped or failed; their failures are counted anew."""
    _announce("start", names, no_wait, fleet, ("READY",))


@app.command()
def stop(names: Names, no_wait: NoWait = False, fleet: FleetName = None) -> None:
    """Stop actors; they stay so until they are started."""
    _announce("stop", names, no_wait, fleet, ("STOPPED",))


@app.command()
def restart(names: Names, no_wait: NoWait = False, fleet: FleetName = None) -> None:
    """Stop actors in order and start them again."""
    _announce("restart", names, no_wait, fleet, ("READY",))


@app.command()
def drain(names: Names, no_wait: NoWait = False, fleet: FleetName = None) -> None:
    """Let replicas finish what they serve, move their robots, then stop them."""
    _announce("drain", names, no_wait, fleet, ("STOPPED",))


@app.command()
def kill(
    names: Names,
    signal: Annotated[
        str,
        typer.Option(
            "--signal",
            "-s",
            metavar="SIGNAL",
            help="Its name or number: KILL, TERM, STOP (freezes), CONT, 15.",
            autocompletion=lambda: ["KILL", "TERM", "INT", "STOP", "CONT"],
        ),
    ] = "KILL",
    fleet: FleetName = None,
) -> None:
    """Send a signal to actors, to see what becomes of them."""
    answer = ask(reach(fleet), do="kill", names=names, signal=signal)
    print(f"{answer['signal']} sent to {', '.join(names)}")


@app.command()
def pause(robot: RobotName, fleet: FleetName = None) -> None:
    """Stop requesting and playing; the plan is kept."""
    _command_robot("pause", robot, {}, fleet)


@app.command()
def resume(
    robot: RobotName,
    one_episode: Annotated[
        bool,
        typer.Option(
            "--one-episode",
            help="Pause it again where its surroundings (a simulator) begin the next episode.",
        ),
    ] = False,
    fleet: FleetName = None,
) -> None:
    """Go on after a pause or a take-over: the policy commands the robot."""
    _command_robot("resume", robot, {"until": "episode"} if one_episode else {}, fleet)


@app.command()
def use(
    robot: RobotName,
    service: Annotated[str, typer.Argument(help="Its name in the fleet file.")],
    fleet: FleetName = None,
) -> None:
    """Another service infers for the robot, from a new episode on.

    Refused with the reason, and the robot stays with its own, unless the service accepts it: its
    actions, state, cameras and rate have to fit. It lasts until the fleet ends, or a reload names
    another service in the robot's entry.
    """
    _command_robot("use", robot, {"service": service}, fleet)


@app.command(name="take-over")
def take_over(robot: RobotName, fleet: FleetName = None) -> None:
    """The robot's teleoperator commands it from now on, until `resume` or `pause`."""
    _command_robot("take-over", robot, {}, fleet)


@app.command(name="go-to")
def go_to(
    robot: RobotName,
    pose: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOINT=VALUE]...", help="Without any, its driver's home pose."),
    ] = None,
    fleet: FleetName = None,
) -> None:
    """Move slowly to a pose, then pause; the plan is void. Other joints stay where they are."""
    named: dict[str, float] = {}
    for word in pose or ():
        joint, equals, value = word.rpartition("=")
        if not equals:
            fail(f"{word!r}: expected JOINT=VALUE, e.g. elbow=1.5")
        if joint in named:
            fail(f"{joint} is given twice")
        try:
            named[joint] = float(value)
        except ValueError:
            named[joint] = math.nan
        if not math.isfinite(named[joint]):
            fail(f"{word!r}: {value!r} is not a number; expected e.g. elbow=1.5")
    _command_robot("go-to", robot, {"pose": named} if named else {}, fleet)


@app.command()
def reset(
    robot: RobotName,
    task: NewTask = None,
    fleet: FleetName = None,
) -> None:
    """An episode begins: the plan is void. A simulator or an environment begins a new attempt."""
    _command_robot("reset", robot, {"task": task} if task else {}, fleet)


@app.command()
def task(
    robot: RobotName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The policy's instruction.")],
    fleet: FleetName = None,
) -> None:
    """Another instruction in the same episode: the motion under way is continued."""
    _command_robot("task", robot, {"task": text}, fleet)


def _announce(
    verb: str, names: list[str], no_wait: bool, fleet: str | None, wanted: tuple[str, ...]
) -> None:
    """Ask for it, then wait until it has settled, well or not."""
    path = reach(fleet)
    before = ask(path, do=verb, names=names)["before"]
    if no_wait:
        print(f"{verb}: {', '.join(names)}")
        return
    newer = 1 if verb == "restart" else 0
    failed = False
    for name in names:
        row = _settled(path, name, before[name] + newer, wanted)
        reason = f" ({row['reason']})" if row["state"] not in wanted and row["reason"] else ""
        print(f"{name} is {row['state']}{reason}")
        failed |= row["state"] not in wanted
    raise SystemExit(1 if failed else 0)


def _settled(path: Path, name: str, incarnation: int, wanted: tuple[str, ...]) -> dict[str, Any]:
    """The row of `name` once its state is one that does not change by itself."""
    while True:
        rows = ask(path, do="status")["status"]["actors"]
        row: dict[str, Any] = next(row for row in rows if row["name"] == name)
        final = row["state"] in (*wanted, "BACKOFF", "FAILED")
        if (final and row["incarnation"] >= incarnation) or row["state"] == "FAILED":
            return row
        time.sleep(0.05)


def _command_robot(verb: str, robot: str, args: dict[str, Any], fleet: str | None) -> None:
    result = ask(reach(fleet), do=verb, names=[robot], args=args)["result"]
    shown = ", ".join(f"{key} {value}" for key, value in (result or {}).items())
    print(f"{robot}: {verb}" + (f" ({shown})" if shown else ""))
