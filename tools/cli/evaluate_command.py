"""`actorctl evaluate`: how well services do on robots of the running fleet."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial as partial_of
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import ControlSocketError, EvaluationError
from .keys_pressed import KeysPressed
from .option_types import INTERRUPTED, AsJson, FleetName, robot_names, seconds
from .running_fleet import fail, reach

if TYPE_CHECKING:
    from ..evaluation.evaluation_folder import EvaluationFolder
    from ..evaluation.evaluation_plan import EvaluationPlan, Judge
    from ..evaluation.robot_under_test import RobotUnderTest

app = typer.Typer()


@app.command()
def evaluate(
    service: Annotated[
        str | None, typer.Argument(help="Its name in the fleet file.", show_default=False)
    ] = None,
    robot: Annotated[
        list[str] | None,
        typer.Option(
            help="One that tries it; several by several --robot.", autocompletion=robot_names
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Of each service.")] = 50,
    against: Annotated[
        str | None, typer.Option(metavar="SERVICE", help="Another one, in turn with the first.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order in each pair.")] = 0,
    time_limit: Annotated[
        float,
        typer.Option(parser=seconds, metavar="SECONDS", help="A longer episode is a failure."),
    ] = 60.0,
    judge: Annotated[
        str,
        typer.Option(help="environment, person (keys), or auto: a person where it does not judge."),
    ] = "auto",
    home: Annotated[
        bool, typer.Option("--home", help="Go slowly to the home pose before each episode.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For the report; else evaluation-<time>.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with one that was cut short.")
    ] = None,
    as_json: AsJson = False,
    fleet: FleetName = None,
) -> None:
    """Try a service on robots of the running fleet, alone or in turn with another one.

    The report, with intervals, is written as Markdown, JSON and a picture; see docs/evaluation.md.
    Afterwards each robot has its own service again, also after Ctrl-C, which ends it early.
    """
    from ..evaluation.evaluation_folder import EvaluationFolder
    from ..evaluation.evaluation_plan import EvaluationPlan
    from ..evaluation.robot_under_test import RobotUnderTest

    path = reach(fleet)
    try:
        if resume is not None:
            if service or robot or against or out:
                fail(f"--resume goes on as {resume} says: give no service, --robot or --out")
            kept = EvaluationFolder.open(resume)
            robots = {name: RobotUnderTest(path, name) for name in kept.plan.robots}
            folder, partial, remarks = _run(kept.plan, lambda: kept, robots)
        else:
            if not service or not robot:
                fail("expected a service and a robot, e.g. `actorctl evaluate pick --robot r1`")
            robots = {name: RobotUnderTest(path, name) for name in robot}
            plan = EvaluationPlan(
                fleet=path.parent.name,
                service=service,
                against=against,
                robots=tuple(robot),
                episodes=episodes,
                seed=seed,
                time_limit_s=time_limit,
                judge=_judge(judge, robots),
                home=home,
            )
            where = out or Path(f"evaluation-{time.strftime('%Y%m%d-%H%M%S')}")
            create = partial_of(EvaluationFolder.create, where, plan)
            folder, partial, remarks = _run(plan, create, robots)
        report = write(folder, partial)
    except (EvaluationError, ControlSocketError, ValueError) as error:
        fail(str(error))
    _show(folder, report, as_json=as_json)
    if partial:
        again = f"go on by: actorctl evaluate --resume {folder.path}"
        print(f"partial ({partial}); {again}", file=sys.stderr)
    raise SystemExit(INTERRUPTED if partial == "interrupted" else 1 if partial or remarks else 0)


def _judge(wanted: str, robots: dict[str, RobotUnderTest]) -> Judge:
    """Who judges. Raises EvaluationError where that is not possible."""
    silent = [name for name, robot in robots.items() if robot.sight().judged is None]
    if wanted not in ("auto", "environment", "person"):
        raise EvaluationError(f"--judge {wanted}: expected auto, environment or person")
    if wanted == "environment" and silent:
        raise EvaluationError(
            f"the driver of {', '.join(silent)} counts no episodes (`tried`): --judge person"
        )
    return "person" if wanted == "person" or (wanted == "auto" and silent) else "environment"


def _run(
    plan: EvaluationPlan,
    prepare: Callable[[], EvaluationFolder],
    robots: dict[str, RobotUnderTest],
) -> tuple[EvaluationFolder, str, list[str]]:
    """Do the episodes, then restore the robots; the folder that `prepare` gives once the services
    have accepted them, why it ended early, and what was not restored."""
    from ..evaluation.environment_attempts import EnvironmentAttempts
    from ..evaluation.evaluation_run import EvaluationRun, check, restore
    from ..evaluation.person_attempts import PersonAttempts

    stop, remarks = Event(), list[str]()
    with ExitStack() as resources:
        keys = KeysPressed()
        if plan.judge == "person" and not keys.possible:
            raise EvaluationError("a person's keys judge it: run it in a terminal")
        resources.enter_context(_interrupted_by(signal.SIGTERM))
        try:
            for each in robots.values():
                check(each, plan)
            folder = prepare()
            if plan.judge == "person":
                resources.enter_context(keys)
            attempts = {
                name: PersonAttempts(each, plan, stop, keys, _say)
                if plan.judge == "person"
                else EnvironmentAttempts(each, plan, stop)
                for name, each in robots.items()
            }
            partial = EvaluationRun(folder, attempts, stop, _say).run()
        finally:
            remarks += filter(None, map(restore, robots.values()))
            for remark in remarks:
                _say(remark)
    return folder, partial, remarks


def write(folder: EvaluationFolder, partial: str) -> dict[str, Any]:
    """Make report.json, report.md and, with matplotlib, report.png; the report's values."""
    from ..evaluation.comparison import compare
    from ..evaluation.comparison_plot import plot
    from ..evaluation.comparison_text import markdown

    report = compare(folder, partial=partial)
    picture = "report.png" if find_spec("matplotlib") else None
    if picture:
        plot(report, folder.path / picture)
    (folder.path / "report.md").write_text(markdown(report, picture))
    (folder.path / "report.json").write_text(json.dumps(report, indent=1))
    return report


def _show(folder: EvaluationFolder, report: dict[str, Any], *, as_json: bool) -> None:
    from ..evaluation.comparison_text import markdown

    if as_json:
        print(json.dumps(report))
        return
    picture = "report.png" if (folder.path / "report.png").exists() else None
    print(markdown(report, picture))
    print(f"written to {folder.path}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """The signal acts as Ctrl-C: robots are restored, and the report is written."""
    before: Callable[..., Any] | int | None = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)
