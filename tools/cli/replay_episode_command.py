"""`actorctl replay-episode`: the recorded actions of an episode, on a robot."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .option_types import FleetName, RobotName
from .running_fleet import ask, fail, reach

app = typer.Typer()

_LOOK_S = 0.1
_SLOW_S = 60.0
"""The longest that the motion to the first pose may take."""
_STUCK_S = 5.0
"""Without a step of the episode."""


@app.command(name="replay-episode")
def replay_episode(
    robot: RobotName,
    dataset: Annotated[Path, typer.Option(help="The directory of a LeRobotDataset v3.")],
    episode: Annotated[int, typer.Option(min=0, help="Its index in the dataset.")],
    speed: Annotated[float, typer.Option(help="1: as recorded; less is slower.")] = 1.0,
    fleet: FleetName = None,
) -> None:
    """Play recorded actions: a slow motion to the first pose, the actions, then the robot pauses.

    Needs `teleop: {driver: replay}` in the robot's entry. Ctrl-C pauses the robot where it is.
    """
    path = reach(fleet)
    where = str(dataset.expanduser().resolve())
    ready = _play(path, robot, {"dataset": where, "episode": episode, "speed": speed})
    try:
        print(f"{robot}: goes to the first pose of episode {episode}", flush=True)
        ask(path, do="go-to", names=[robot], args={"pose": ready["pose"]})
        _await_pose(path, robot)
        print(f"{robot}: plays {ready['frames']} actions", flush=True)
        ask(path, do="take-over", names=[robot], args={})
        _await_end(path, robot)
    finally:  # Ctrl-C and failures too
        ask(path, do="pause", names=[robot], args={})
    print(f"{robot}: episode {episode} is played; the robot is paused")


def _await_pose(path: Path, robot: str) -> None:
    deadline_s = time.monotonic() + _SLOW_S
    while time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)
        _check_driver(path, robot)
        said = _report(path, f"{robot}/control")
        if not said.get("paused", True):
            fail(f"{robot} was resumed or taken over on the way to the first pose")
        if not said.get("moves"):
            return
    fail(f"{robot} has not reached the first pose within {_SLOW_S:g} s: {_why(path, robot)}")


def _await_end(path: Path, robot: str) -> None:
    frame, since_s = -1, time.monotonic()
    while True:
        time.sleep(_LOOK_S)
        _check_driver(path, robot)
        said = _play(path, robot, {})
        if not said["frames"] or not said["in_command"]:
            fail(f"the episode was not played to its end by {robot}: {_why(path, robot)}")
        if said["over"]:
            return
        if said["frame"] != frame:
            frame, since_s = said["frame"], time.monotonic()
        elif time.monotonic() - since_s > _STUCK_S:
            fail(f"{robot} does not go on: {_why(path, robot)}")


def _play(path: Path, robot: str, args: dict[str, Any]) -> dict[str, Any]:
    answer = ask(path, do="tell", names=[f"{robot}/teleop"], verb="play", args=args)
    result: dict[str, Any] = answer["result"]
    return result


def _check_driver(path: Path, robot: str) -> None:
    """A device that is gone, or stopped, reaches no pose."""
    said = _report(path, f"{robot}/driver")
    if said.get("phase") in {"OPENING", "STOPPED"}:
        fail(f"{robot} does not move: {said.get('reason') or 'its device is not open'}")


def _report(path: Path, actor: str) -> dict[str, Any]:
    rows = ask(path, do="status")["status"]["actors"]
    found = next((row for row in rows if row["name"] == actor), None)
    report: dict[str, Any] = (found and found.get("report")) or {}
    return report


def _why(path: Path, robot: str) -> str:
    said = _report(path, f"{robot}/control")
    return said.get("reason") or f"it is {said.get('state', 'not running')}"
