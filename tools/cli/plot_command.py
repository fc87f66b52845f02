"""`actorctl plot`: its arguments, and what is said when there is nothing to draw."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from .option_types import FleetName, RobotName
from .running_fleet import fail, log_of

app = typer.Typer()


@app.command()
def plot(
    robot: RobotName,
    joints: Annotated[
        list[str] | None, typer.Argument(help="Joints, e.g. elbow; without any, all (at most 16).")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="What was executed since: 30s, 10m ago, 14:05 today."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The picture, .png, .svg or .pdf; else ROBOT.png here."),
    ] = None,
    fleet: FleetName = None,
) -> None:
    """What a robot was commanded and what it measured, the last minute of it, as a picture.

    From the steps kept on disk, so also of a fleet that has ended (--fleet NAME). Needs matplotlib,
    the extra `plots`.
    """
    from . import executed_plot, logs

    folder = log_of(fleet).parent
    kept = sorted(path.stem for path in folder.glob("executed/*.jsonl"))
    if robot not in kept:
        from ...actors.runtime.suggestions import closest

        known = closest(robot, kept) if kept else "of none of its robots yet"
        fail(
            f"no executed steps are kept of a robot {robot!r} in {folder / 'executed'}; {known} "
            "(they are kept unless `logs.executed_mb` is 0)"
        )
    if not find_spec("matplotlib"):
        fail("plot needs matplotlib: pip install 'holdfast[plots]'")
    path = out or Path(f"{robot}.png")
    try:
        since_s = None if since is None else logs.parse_since(since)
        run = executed_plot.newest(folder / "executed" / f"{robot}.jsonl", since_s, 60.0)
        names = dict.fromkeys((*run.head.action_names, *run.head.state_names))
        for joint in joints or ():
            if joint not in names:
                from ...actors.runtime.suggestions import closest

                fail(f"{robot} has no joint {joint!r}; {closest(joint, list(names))}")
        times_s = run.at_s()
        audit = folder / "audit" / f"{robot}.network.jsonl"
        answered = executed_plot.latencies(audit, times_s[0], times_s[-1])
        executed_plot.draw(run, answered, joints or list(names)[:16], path)
    except (OSError, ValueError) as error:
        fail(str(error))
    print(
        f"{path}: {len(run.steps)} steps over {times_s[-1] - times_s[0]:.1f} s, "
        f"{len(run.seams())} chunks, {len(answered)} answered requests"
    )
