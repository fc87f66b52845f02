"""The commands of `actorctl episode`: begin, keep or drop what a robot's recorder records."""

from __future__ import annotations

from typing import Annotated

import typer

from .option_types import FleetName, NewTask, RobotName
from .running_fleet import ask, reach

app = typer.Typer(help="Begin, keep or drop a recorded episode.", no_args_is_help=True)

_SAVED_S = 130.0
"""Longer than the fleet waits for an episode to be saved."""


@app.command()
def start(robot: RobotName, task: NewTask = None, fleet: FleetName = None) -> None:
    """An episode begins: the robot's plan is void, and from here on it is recorded.

    One that is being recorded is kept, as `stop` does."""
    path = reach(fleet)
    args = {"task": task} if task else {}
    begun = ask(path, do="reset", names=[robot], args=args)["result"]
    number = begun["episode"]
    result = ask(path, do="episode_start", names=[robot], args={"episode": number})["result"]
    print(f"{robot}: recording episode {result['recording']}")


@app.command()
def stop(
    robot: RobotName,
    success: Annotated[
        bool | None,
        typer.Option("--success/--failure", help="How it went; without either, not judged."),
    ] = None,
    fleet: FleetName = None,
) -> None:
    """The episode is over. Returns once it is safe on the disk."""
    args = {} if success is None else {"success": success}
    answer = ask(reach(fleet), timeout_s=_SAVED_S, do="episode_stop", names=[robot], args=args)
    result = answer["result"]
    print(f"{robot}: episode {result['saved']} is saved in {result['root']}")


@app.command()
def rerecord(robot: RobotName, fleet: FleetName = None) -> None:
    """Drop the episode that is being recorded; the strategy does it once more."""
    ask(reach(fleet), do="episode_rerecord", names=[robot])
    print(f"{robot}: the episode is dropped, and comes again")


@app.command()
def save(robot: RobotName, fleet: FleetName = None) -> None:
    """Keep what happened just now (strategy highlight)."""
    result = ask(reach(fleet), do="episode_save", names=[robot])["result"]
    print(f"{robot}: recording episode {result['recording']}")


@app.command()
def discard(robot: RobotName, fleet: FleetName = None) -> None:
    """Drop the episode that is being recorded."""
    ask(reach(fleet), do="episode_discard", names=[robot])
    print(f"{robot}: the episode is dropped")
