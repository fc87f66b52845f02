"""`actorctl`: look at a running fleet, and command its actors and robots.

Without arguments about where the fleet is: it finds the one that runs on this machine. Each command
imports what it needs itself, so that the quick ones are quick.

Exit status: 0 done (`status`: and all is ready), 1 not healthy or not done, 2 refused.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import ControlSocketError
from . import (
    actor_commands,
    dataset_commands,
    episode_commands,
    estop_command,
    evaluate_command,
    inspection,
    key_commands,
    plot_command,
    policy_command,
    replay_episode_command,
    robots_command,
    teleop_command,
)
from .option_types import INTERRUPTED, AsJson, FleetName, Version, run, seconds, speaker_names
from .running_fleet import ask, fail, log_of, reach

_LOOK_S = 0.2

app = typer.Typer(
    help="Looks at a running fleet and tells it what to do.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def common(version: Version = False) -> None:
    """What comes before the command."""


@app.command()
def status(
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")
    ] = False,
    wait_s: Annotated[
        float | None,
        typer.Option(
            "--wait",
            parser=seconds,
            metavar="SECONDS",
            help="Show it once all is ready, after so long at the latest.",
        ),
    ] = None,
    fleet: FleetName = None,
) -> None:
    """Every actor and robot, those of scripts and other hosts included.

    Exit status 0 only if all is ready: also not while a person has stopped an actor.

    plan s: seconds of plan left to play.

    tick p99: how late ticks began: 99 of 100 in the last minute no later than this.

    missed: ticks that the loop missed by itself + that the whole machine missed.

    latency: from asking for a chunk to having it, median of the last 100.

    stalled: steps without an action though there had been a plan.

    dropped, refused: chunks and actions not used; commands beyond the robot's limits.

    done: attempts that succeeded / that were made.

    progress: time since the actor's own loop last turned.
    """
    path = reach(fleet)
    if watch:
        if wait_s is not None:
            fail("--watch and --wait: give one of them, or neither")
        _watch(path, as_json)
        return
    body, ready = _awaited(path, wait_s or 0.0)
    if as_json:
        print(json.dumps(body, indent=2))
    else:
        from rich.console import Console

        from ...actors.gateway.address import one_click
        from .tables import screen

        Console().print(screen(body))
        if address := one_click(path.parent):
            print(f"dashboard {address}")
    raise SystemExit(0 if ready else 1)


def _awaited(path: Path, wait_s: float) -> tuple[dict[str, Any], bool]:
    """The status once all is ready, or after `wait_s`, and whether all is. What is waited for is
    said on stderr."""
    from ...actors.supervision.health import unready

    deadline_s = time.monotonic() + wait_s
    said = ""
    while True:
        body = ask(path, do="status")["status"]
        reasons = unready(body)
        ready = body["healthy"] and not reasons
        if ready or time.monotonic() >= deadline_s:
            return body, ready
        reason = reasons[0] if reasons else "the fleet is not healthy"
        # `pick/0 is STARTING: ...`: what follows the colon counts seconds.
        if (head := reason.partition(":")[0]) != said:
            print(f"waits: {reason}", file=sys.stderr, flush=True)
            said = head
        time.sleep(_LOOK_S)


@app.command()
def top(fleet: FleetName = None) -> None:
    """The status, live. The key `e` stops all robots of the site (see `estop`)."""
    _watch(reach(fleet), as_json=False)


@app.command()
def logs(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Actors, or robots for all of theirs, e.g. r1 pick/0; without any, all.",
            autocompletion=speaker_names,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="What was said since: 30s, 10m, 2h or 1d ago, 14:05 today, or 2026-05-01T14:05.",
        ),
    ] = None,
    level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help="The least that is shown: debug, info, warning, error or critical.",
            autocompletion=lambda: ["debug", "info", "warning", "error"],
        ),
    ] = "debug",
    grep: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Only lines, or tracebacks, in which this is found."),
    ] = None,
    lines: Annotated[
        int,
        typer.Option(
            "--lines", "-n", min=0, help="At most so many old ones, unless --since says from when."
        ),
    ] = 200,
    as_json: AsJson = False,
    fleet: FleetName = None,
) -> None:
    """What the actors said, merged in order: of the running fleet, or of `--fleet` when it ran."""
    from . import logs as store

    selection = _selection(tuple(names or ()), since, level, grep)
    log = log_of(fleet)
    for name in selection.names:
        _must_be_known(name, log)
    colour = sys.stdout.isatty()
    try:
        for record in store.read(log, selection, None if since else lines, follow):
            if record is None:
                sys.stdout.flush()
            else:
                print(json.dumps(record) if as_json else store.line(record, colour))
    except BrokenPipeError:
        sys.stderr.close()  # Python would complain there about the pipe that `head` has closed


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
    short_help=estop_command.ABOUT,
    add_help_option=False,
)
def estop(context: typer.Context) -> None:
    """See `estop_command`, which takes its arguments as they are."""
    raise SystemExit(estop_command.main(context.args))


def _watch(path: Path, as_json: bool) -> None:
    """Show the status again and again, until Ctrl-C or the end of the fleet."""
    if as_json:
        try:
            while True:
                print(json.dumps(ask(path, do="status")["status"]), flush=True)
                time.sleep(1.0)
        except BrokenPipeError:
            sys.stderr.close()  # as in `logs`
            return
    from .live_view import watch

    try:
        watch(path)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _must_be_known(name: str, log: Path) -> None:
    """End the command unless `name` is in the running fleet or in its log: no output for a misspelt
    name would look like an empty log."""
    from ...actors.runtime.runtime_dir import SOCKET, running
    from ...actors.runtime.suggestions import closest
    from ...actors.supervision import control_socket
    from . import logs as store

    known: set[str] = set()
    with contextlib.suppress(ControlSocketError, KeyError):
        body = control_socket.ask(running()[log.parent.name] / SOCKET, do="status")["status"]
        known = {row["name"] for row in (*body["actors"], *body["robots"])}
    if name in known or any(store.read(log, store.Selection((name,)), 1, follow=False)):
        return
    records = store.read(log, store.Selection(), None, follow=False)
    known |= {record["actor"] for record in records if record is not None}
    fail(f"no actor or robot {name!r} has logged anything; {closest(name, sorted(known))}")


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
    except re.error as error:
        fail(f"--grep {grep!r} is no regular expression: {error}")
    except ValueError as error:
        fail(str(error))


app.add_typer(actor_commands.app)
app.add_typer(inspection.app)
app.add_typer(plot_command.app)
app.add_typer(teleop_command.app)
app.add_typer(replay_episode_command.app)
app.add_typer(evaluate_command.app)
app.add_typer(episode_commands.app, name="episode")
app.add_typer(dataset_commands.app, name="dataset")
app.add_typer(key_commands.app, name="keys")
app.add_typer(robots_command.app, name="robots")
app.add_typer(policy_command.app, name="policy")


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
