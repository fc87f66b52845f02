"""`actorctl keys`: the keys of the peers of a fleet that spans machines, and tokens for more."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import KeyFileError
from .running_fleet import fail

if TYPE_CHECKING:
    from ...transport.keys import PublicKey

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
Role_ = Annotated[
    str | None,
    typer.Option("--role", help="Without it, as the name looks."),
]
HERE = Path("keys")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_S = 366 * 86400


@app.command()
def new(
    name: Annotated[
        str,
        typer.Argument(
            help="`broker` (of several: `broker/HOST`), `operator`, a replica (`pick/0`), a robot."
        ),
    ],
    role: Role_ = None,
    directory: Directory = HERE,
) -> None:
    """Make a key pair: the .key file for its holder's host only, the .pub file for the broker's."""
    from ...transport.keys import Role
    from ...transport.keys import new as make

    try:
        made = make(name, Role(role or _likely(name)), directory)
    except (KeyFileError, ValueError) as problem:
        fail(str(problem))
    stem = directory / name.replace("/", "@")
    print(f"{made.peer}: {stem}.key (secret, for its own host) and {stem}.pub (for the broker's)")


@app.command()
def token(
    name: Annotated[
        str,
        typer.Argument(help="A robot (`r1`), a replica (`pick/0`), any of a service (`pick/*`)."),
    ],
    role: Role_ = None,
    lifetime: Annotated[
        str, typer.Option(help="Until when it can be used: 90s, 30m, 1h, 7d.")
    ] = "1h",
    uses: Annotated[
        int, typer.Option(min=1, help="How many replicas may enrol, with SERVICE/* only.")
    ] = 1,
    broker: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Of several brokers, that of this host."),
    ] = None,
    directory: Directory = HERE,
) -> None:
    """Make a token, on the broker's host; the peer that has its file enrols its own key with it.

    The .token file takes the place of the .key file on its holder's host.
    """
    from ...transport.enrolment_tokens import issue
    from ...transport.keys import Role

    expires_s = round(time.time()) + _seconds(lifetime)
    issuer = _issuer(directory, broker)
    try:
        record, path = issue(
            name,
            Role(role or _likely(name)),
            directory,
            issuer,
            expires_s=expires_s,
            uses=uses,
        )
    except (KeyFileError, ValueError, OSError) as problem:
        fail(str(problem))
    often = "once" if uses == 1 else f"{uses} times"
    print(
        f"{path}: token {record.id}, enrols {record.role}:{name} {often} at {issuer.peer.name} "
        f"until {_instant(expires_s)} (secret, for its own host)"
    )


@app.command("list")
def list_keys(directory: Directory = HERE) -> None:
    """The keys and tokens in a directory: whose they are, and which secrets are here."""
    from ...transport import key_file
    from ...transport.enrolment_tokens import load_record
    from ...transport.keys import load_public

    if not directory.is_dir():
        fail(f"no directory {directory}; `actorctl keys new NAME` makes it")
    revoked = set(key_file.lines_of(directory / "revoked"))
    try:
        for path in (*sorted(directory.glob("*.pub")), *sorted(directory.glob("enrolled/*/*.pub"))):
            key = load_public(path)
            words = "secret here" if path.with_suffix(".key").exists() else "public only"
            if path.parent != directory:
                with_ = key_file.text_of(key_file.fields_of(path), b"token")
                words = f"enrolled at {path.parent.name.replace('@', '/')}, token {with_}"
            if key.public.decode() in revoked:
                words = "revoked"
            print(f"{key.peer!s:<24} {key.public.decode()}  {words}")
        for path in sorted(directory.glob("tokens/*.pub")):
            record = load_record(path)
            used = len(key_file.lines_of(path.with_suffix(".used")))
            state = "expired" if time.time() > record.expires_s else "until"
            print(
                f"token {record.id:<18} {record.role}:{record.name}, {used} of {record.uses} uses, "
                f"{state} {_instant(record.expires_s)}, at {record.broker}"
            )
    except KeyFileError as problem:
        fail(str(problem))


@app.command()
def revoke(
    name: Annotated[
        str, typer.Argument(help="A peer (`r1`, `pick/0`), or a token with all that it enrolled.")
    ],
    directory: Directory = HERE,
) -> None:
    """Never accept the keys of a peer again, or a token and the keys that it enrolled: on a
    broker's host, and from there at all brokers of the site. Sessions end at once."""
    from ...transport.revoking import revoke as revoke_keys

    if not directory.is_dir():
        fail(f"no directory {directory}")
    try:
        done = revoke_keys(directory, name)
    except (KeyFileError, OSError) as problem:
        fail(str(problem))
    if not done:
        fail(f"{directory} has no key of {name!r}, and no such token: see `actorctl keys list`")
    for each in done:
        print(f"revoked: {each}")


def _likely(name: str) -> str:
    """The role that a name looks like."""
    first, slash, _ = name.partition("/")
    if first in ("broker", "operator"):
        return first
    return "replica" if slash else "robot"


def _seconds(lifetime: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", lifetime)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST_S:
        fail(f"--lifetime {lifetime!r}, expected 90s, 30m, 1h or 7d, at most 366d")
    return seconds


def _issuer(directory: Path, host: str | None) -> PublicKey:
    """The public key of the broker at which the token is good: the one whose secret is here."""
    from ...transport.keys import Role, load_public

    found = []
    for path in sorted(directory.glob("broker*.key")):
        try:
            key = load_public(path)
        except KeyFileError as problem:
            fail(str(problem))
        if key.peer.role is Role.BROKER and host in (None, key.peer.name.rpartition("/")[2]):
            found.append(key)
    if len(found) != 1:
        names = ", ".join(key.peer.name for key in found) or "none"
        fail(
            f"{directory} holds the secret keys of these brokers: {names}. Expected one: make the "
            "token on the broker's host, or name it with --broker HOST"
        )
    return found[0]


def _instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))
