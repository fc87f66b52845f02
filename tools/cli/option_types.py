"""The options and arguments that several commands have, and the names that a shell completes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ...errors import ControlSocketError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


HERE = Path("fleet.yaml")
FleetFile = Annotated[
    Path, typer.Argument(help="The file that describes the fleet.", metavar="FILE")
]
HostOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which of the file's `hosts` this machine is; without it, the one called as `hostname`"
        " says.",
    ),
]


def fleet_names(incomplete: str) -> list[str]:
    from ...actors.runtime.runtime_dir import running

    return [name for name in running() if name.startswith(incomplete)]


FleetName = Annotated[
    str | None,
    typer.Option(
        "--fleet",
        metavar="NAME",
        help="Which fleet, by the `name` in its file; needed only if several run.",
        autocompletion=fleet_names,
    ),
]


def seconds(text: str) -> float:
    """The type of an option that is a time."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise typer.BadParameter(f"{text!r} is no number of seconds, more than 0, e.g. 60")
    return value


def _say_version(wanted: bool) -> None:
    if wanted:
        from ...actors.runtime.release import release

        print(f"holdfast {release()}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_say_version, is_eager=True, help="Print it and end."),
]


def run(app: Callable[[], object]) -> NoReturn:
    """Run a command line as the process's; Ctrl-C ends it quietly, wherever it is."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    raise SystemExit(0)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def actor_names(incomplete: str) -> list[str]:
    return _complete(incomplete, "actors")


def robot_names(incomplete: str) -> list[str]:
    return _complete(incomplete, "robots")


def speaker_names(incomplete: str) -> list[str]:
    """Whose logs there are: actors, and robots for all of theirs."""
    return [*robot_names(incomplete), *actor_names(incomplete)]


Names = Annotated[
    list[str],
    typer.Argument(
        help="Actors, as `actorctl status` names them, e.g. pick/0 r1/network.",
        autocompletion=actor_names,
    ),
]
NewTask = Annotated[
    str | None, typer.Option("--task", metavar="TEXT", help="The policy's instruction from now on.")
]
RobotName = Annotated[
    str, typer.Argument(help="A robot's name, e.g. r1.", autocompletion=robot_names)
]


def _complete(incomplete: str, what: str) -> list[str]:
    """Names for shell completion; none when no fleet answers."""
    from ...actors.runtime.runtime_dir import SOCKET, running
    from ...actors.supervision import control_socket

    found: list[str] = []
    for path in running().values():
        try:
            body = control_socket.ask(path / SOCKET, timeout_s=1.0, do="status")["status"]
        except ControlSocketError:
            continue
        found += [row["name"] for row in body[what]]
    return [name for name in found if name.startswith(incomplete)]
