"""What several commands of `actorctl` take, and the names that a shell completes."""

from __future__ import annotations

from typing import Annotated

import typer


def fleet_names(incomplete: str) -> list[str]:
    from ..actors.rundir import running

    return [name for name in running() if name.startswith(incomplete)]


FleetName = Annotated[
    str | None,
    typer.Option("--fleet", help="Which fleet, if several run.", autocompletion=fleet_names),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def actor_names(incomplete: str) -> list[str]:
    return _complete(incomplete, "actors")


def robot_names(incomplete: str) -> list[str]:
    return _complete(incomplete, "robots")


def speaker_names(incomplete: str) -> list[str]:
    """Whose logs there are: actors, and robots for all of theirs."""
    return [*robot_names(incomplete), *actor_names(incomplete)]


Names = Annotated[
    list[str], typer.Argument(help="Actors, as `status` names them.", autocompletion=actor_names)
]
RobotName = Annotated[str, typer.Argument(help="A robot.", autocompletion=robot_names)]


def _complete(incomplete: str, what: str) -> list[str]:
    """Names for shell completion; none when no fleet answers."""
    from ..actors.rundir import SOCKET, running
    from ..actors.supervision import console

    found: list[str] = []
    for path in running().values():
        try:
            body = console.ask(path / SOCKET, timeout_s=1.0, do="status")["status"]
        except console.ConsoleError:
            continue
        found += [row["name"] for row in body[what]]
    return [name for name in found if name.startswith(incomplete)]
