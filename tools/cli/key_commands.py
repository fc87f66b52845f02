"""`actorctl keys`: the keys of the peers of a fleet that spans machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import KeyFileError
from .running_fleet import fail

app = typer.Typer(help="Keys of brokers, replicas and robots.", no_args_is_help=True)
Directory = Annotated[
    Path,
    typer.Option(
        "--directory",
        "-d",
        metavar="DIRECTORY",
        help="What `security: {keys: ...}` names in fleet.yaml.",
    ),
]
HERE = Path("keys")


@app.command()
def new(
    name: Annotated[
        str,
        typer.Argument(
            help="`broker` (of several: `broker/HOST`), `operator`, a replica (`pick/0`), a robot."
        ),
    ],
    role: Annotated[
        str | None,
        typer.Option(help="broker, replica, robot or operator; without it, as the name looks."),
    ] = None,
    directory: Directory = HERE,
) -> None:
    """Make a key pair: the .key file for its holder's host only, the .pub file for the broker's."""
    from ...transport.keys import Role
    from ...transport.keys import new as make

    likely = "replica" if "/" in name else "robot"
    if name.partition("/")[0] in ("broker", "operator"):
        likely = name.partition("/")[0]
    try:
        made = make(name, Role(role or likely), directory)
    except (KeyFileError, ValueError) as problem:
        fail(str(problem))
    stem = directory / name.replace("/", "@")
    print(f"{made.peer}: {stem}.key (secret, for its own host) and {stem}.pub (for the broker's)")


@app.command("list")
def list_keys(directory: Directory = HERE) -> None:
    """The keys in a directory: whose they are, and which secrets are here."""
    from ...transport.keys import load_public

    if not directory.is_dir():
        fail(f"no directory {directory}; `actorctl keys new NAME` makes it")
    for path in sorted(directory.glob("*.pub")):
        try:
            key = load_public(path)
        except KeyFileError as problem:
            fail(str(problem))
        secret = "secret here" if path.with_suffix(".key").exists() else "public only"
        print(f"{key.peer!s:<24} {key.public.decode()}  {secret}")
