"""`actorctl`: look at a running fleet and tell its actors and robots what to do.

Without arguments about where the fleet is: it finds the one that runs on this machine. Each command
imports what it needs itself, so that the quick ones are quick.

Exit status: 0 done (`status`: and all is ready), 1 not healthy or not done, 2 refused.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .reach import ask, fail, reach

app = typer.Typer(
    help="Looks at a running fleet and tells it what to do.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
FleetName = Annotated[str | None, typer.Option("--fleet", help="Which fleet, if several run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _actor_names(incomplete: str) -> list[str]:
    return _complete(incomplete, "actors")


def _robot_names(incomplete: str) -> list[str]:
    return _complete(incomplete, "robots")


Names = Annotated[
    list[str], typer.Argument(help="Actors, as `status` names them.", autocompletion=_actor_names)
]
RobotName = Annotated[str, typer.Argument(help="A robot.", autocompletion=_robot_names)]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once it is announced.")]


@app.command()
def status(
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it.")] = False,
    fleet: FleetName = None,
) -> None:
    """Every actor and robot. Exit status 0 only if all is ready."""
    path = reach(fleet)
    if watch:
        _watch(path, as_json)
        return
    body = ask(path, do="status")["status"]
    if as_json:
        print(json.dumps(body, indent=2))
    else:
        from rich.console import Console

        from .tables import screen

        Console().print(screen(body))
    ready = all(row["state"] in ("READY", "STOPPED") for row in body["actors"])
    raise SystemExit(0 if ready and body["healthy"] else 1)


@app.command()
def top(fleet: FleetName = None) -> None:
    """The status, live."""
    _watch(reach(fleet), as_json=False)


@app.command()
def logs(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Actors, or robots with all theirs.", autocompletion=_actor_names),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it comes.")] = False,
    since: Annotated[str | None, typer.Option(help="30s, 10m, 2h, 14:05, ...")] = None,
    level: Annotated[str, typer.Option(help="At least: debug, info, warning, error.")] = "debug",
    grep: Annotated[
        str | None, typer.Option(help="Only what this regular expression finds.")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="At most so many old ones.")] = 200,
    as_json: AsJson = False,
    fleet: FleetName = None,
) -> None:
    """What the actors said, merged in order: of the running fleet, or of `--fleet` when it ran."""
    from . import logs as store

    selection = _selection(tuple(names or ()), since, level, grep)
    colour = sys.stdout.isatty()
    try:
        for record in store.read(_log_of(fleet), selection, None if since else lines, follow):
            if record is None:
                sys.stdout.flush()
            else:
                print(json.dumps(record) if as_json else store.line(record, colour))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()  # Python would complain there about the pipe that `head` has closed


@app.command()
def start(names: Names, no_wait: NoWait = False, fleet: FleetName = None) -> None:
    """Start actors that are stopped or failed; what failed before is forgiven."""
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
    signal: Annotated[str, typer.Option("--signal", "-s", help="KILL, STOP, 15, ...")] = "KILL",
    fleet: FleetName = None,
) -> None:
    """Send a signal to actors, to see what becomes of them."""
    answer = ask(reach(fleet), do="kill", names=names, signal=signal)
    print(f"{answer['signal']} sent to {', '.join(names)}")


@app.command()
def pause(robot: RobotName, fleet: FleetName = None) -> None:
    """Stop requesting and playing; the plan is kept."""
    _tell_robot("pause", robot, {}, fleet)


@app.command()
def resume(robot: RobotName, fleet: FleetName = None) -> None:
    """Go on after a pause."""
    _tell_robot("resume", robot, {}, fleet)


@app.command()
def reset(
    robot: RobotName,
    task: Annotated[str | None, typer.Option(help="The task from now on.")] = None,
    fleet: FleetName = None,
) -> None:
    """An episode begins: the plan is void."""
    _tell_robot("reset", robot, {"task": task} if task else {}, fleet)


@app.command()
def episode(
    robot: RobotName,
    task: Annotated[str | None, typer.Option(help="The task from now on.")] = None,
    fleet: FleetName = None,
) -> None:
    """The same as `reset`, for robots whose episodes only a person can tell apart."""
    _tell_robot("episode", robot, {"task": task} if task else {}, fleet)


@app.command()
def graph(
    dot: Annotated[bool, typer.Option(help="Print it for Graphviz.")] = False,
    as_json: AsJson = False,
    fleet: FleetName = None,
) -> None:
    """Who starts after whom, who shares which memory, who speaks to whom."""
    from . import graph as drawing

    rows = ask(reach(fleet), do="graph")["actors"]
    print(
        json.dumps(rows, indent=2) if as_json else drawing.dot(rows) if dot else drawing.text(rows)
    )


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What this machine lacks for robots to run well on it, and how to mend it."""
    from . import doctor as practice

    findings = practice.examine()
    if as_json:
        print(json.dumps([practice.plain(finding) for finding in findings], indent=2))
    else:
        practice.show(findings)
    raise SystemExit(1 if any(finding.verdict == "bad" for finding in findings) else 0)


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


def _tell_robot(verb: str, robot: str, args: dict[str, Any], fleet: str | None) -> None:
    result = ask(reach(fleet), do=verb, names=[robot], args=args)["result"]
    said = ", ".join(f"{key} {value}" for key, value in (result or {}).items())
    print(f"{robot}: {verb}" + (f" ({said})" if said else ""))


def _watch(path: Path, as_json: bool) -> None:
    """Show the status again and again, until Ctrl-C or the end of the fleet."""
    if as_json:
        while True:
            print(json.dumps(ask(path, do="status")["status"]), flush=True)
            time.sleep(1.0)
    from rich.console import Console
    from rich.live import Live

    from .tables import screen

    try:
        with Live(console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                body = ask(path, do="status")["status"]
                live.update(screen(body, "Ctrl-C ends this view"), refresh=True)
                time.sleep(0.25)
    except KeyboardInterrupt:
        return


def _log_of(fleet: str | None) -> Path:
    """The log of the running fleet; with `fleet`, also of one that has ended."""
    from ..actors.rundir import state_dir

    if fleet is not None and (log := state_dir(fleet) / "log.jsonl").exists():
        return log
    return Path(ask(reach(fleet), do="places")["log"])


def _selection(names: tuple[str, ...], since: str | None, level: str, grep: str | None) -> Any:
    import re

    from . import logs as store

    if level not in store.LEVELS:
        fail(f"no level {level!r}; expected one of: {', '.join(store.LEVELS)}")
    try:
        return store.Selection(
            names,
            None if since is None else store.parse_since(since),
            level,
            None if grep is None else re.compile(grep),
        )
    except (ValueError, re.error) as error:
        fail(f"{error}")


def _complete(incomplete: str, what: str) -> list[str]:
    """Names for shell completion; none when no fleet answers."""
    from ..actors import console
    from ..actors.rundir import SOCKET, running

    found: list[str] = []
    for path in running().values():
        try:
            body = console.ask(path / SOCKET, timeout_s=1.0, do="status")["status"]
        except console.ConsoleError:
            continue
        found += [row["name"] for row in body[what]]
    return [name for name in found if name.startswith(incomplete)]


def main() -> None:
    app()


if __name__ == "__main__":
    main()
