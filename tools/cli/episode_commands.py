"""The commands of `actorctl episode`: begin, keep or drop what a robot's recorder records."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .option_types import FleetName, NewTask, RobotName, robot_names
from .running_fleet import ask, fail, reach

app = typer.Typer(help="Begin, keep or drop a recorded episode.", no_args_is_help=True)

_LOOK_S = 0.5
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
    success: Annotated[bool, typer.Option("--success", help="It went well.")] = False,
    failure: Annotated[
        bool, typer.Option("--failure", help="It did not; without either, it is not judged.")
    ] = False,
    fleet: FleetName = None,
) -> None:
    """The episode is over. Returns once it is safe on the disk."""
    if success and failure:
        fail("--success and --failure: an episode has one of them, or neither")
    args = {"success": success} if success or failure else {}
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


@app.command()
def wait(
    robots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ROBOT]...",
            help="Whose episodes; left out, of all robots whose strategy has a last one.",
            autocompletion=robot_names,
        ),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="At most so long.")
    ] = None,
    fleet: FleetName = None,
) -> None:
    """Return once the robots' strategies have recorded all their episodes.

    For scripts. Exit status 1 where that takes longer than --timeout, or a recorder has failed and
    is not started again by itself."""
    path = reach(fleet)
    deadline_s = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
    while True:
        missing = [report for report in _recorders(path, robots or ()) if not report["done"]]
        if not missing:
            return
        failed = [each for each in missing if each["state"] == "FAILED"]
        if failed:
            fail("\n".join(f"{e['robot']}/recorder is FAILED: {e['reason']}" for e in failed), 1)
        if time.monotonic() > deadline_s:
            fail("\n".join(f"{each['robot']}: {each['strategy']}" for each in missing), status=1)
        time.sleep(_LOOK_S)


def _recorders(path: Path, robots: Sequence[str]) -> list[dict[str, Any]]:
    """What the recorders of `robots` report, each with its `robot` and the actor's `state` and
    `reason`; without names, those that have a last episode. Ends the command where there are
    none."""
    actors = ask(path, do="status")["status"]["actors"]
    found = {
        str(actor["name"]).partition("/")[0]: {
            **_begun(actor["report"]),
            "state": actor["state"],
            "reason": actor["reason"],
        }
        for actor in actors
        if actor["kind"] == "recorder"
    }
    for robot in robots:
        if robot not in found:
            fail(f"{robot} records nothing; those that do: {', '.join(found) or 'none'}")
        if found[robot]["done"] is None:
            fail(f"the strategy of {robot} has no last episode")
    chosen = robots or [name for name, report in found.items() if report["done"] is not None]
    if not chosen:
        fail("no robot of this fleet has a strategy with a last episode")
    return [{"robot": name, **found[name]} for name in chosen]


def _begun(report: dict[str, Any] | None) -> dict[str, Any]:
    """What a recorder reports, or what stands for it until its first report."""
    return report if report and report["root"] else {"done": False, "strategy": "starts"}
