"""Tokens, with which a peer without an accepted key enrols one of its own.

A token is a CURVE key itself: its holder's file has the secret half and the issuing broker's public
key, the broker's record the public half only. It proves itself in the connection's handshake, so
that it never travels, cannot be replayed, and is nowhere but with its holder.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import zmq

from ..errors import KeyFileError
from . import key_file
from .keys import Key, KeyOwner, PublicKey, Role

ENROLLED = (Role.REPLICA, Role.ROBOT)
"""The roles that a peer may enrol for."""
MAX_USES = 1000


@dataclass(frozen=True)
class TokenRecord:
    """What the broker `broker` knows of a token: it enrols keys of `role` for `name`, or for any
    replica of a service (`pick/*`), up to `uses` of them, until `expires_s`.

    The last is seconds since 1970: it holds over restarts of the machine. It is compared at the
    broker alone.
    """

    id: str
    name: str
    role: Role
    uses: int
    expires_s: int
    broker: str
    public: bytes


@dataclass(frozen=True)
class Token:
    """What its holder has: `key` to connect with, and the key of the `broker` to connect to."""

    id: str
    name: str
    key: Key
    broker: PublicKey
    role: Role


def names(pattern: str, name: str) -> bool:
    """Whether a token for `pattern`, a name or `SERVICE/*`, is good for a peer of this name."""
    if not pattern.endswith("/*"):
        return name == pattern
    service, _, own = name.rpartition("/")
    return f"{service}/*" == pattern and bool(own)


def issue(
    name: str,
    role: Role,
    directory: Path,
    broker: PublicKey,
    *,
    expires_s: int,
    uses: int = 1,
) -> tuple[TokenRecord, Path]:
    """Make a token of `broker`, in whose directory of keys this is: its record, and its holder's
    file (0600). Raises KeyFileError.
    """
    pool = name.endswith("/*")
    if not key_file.NAME.fullmatch(name.removesuffix("*") + "0" * pool):
        raise KeyFileError(f"{name!r} is no name: use letters, digits and _ . / -")
    if role not in ENROLLED or (role is Role.REPLICA) is not ("/" in name):
        raise KeyFileError(
            f"{role}:{name} does not enrol: a token is for a robot (`r1`), a replica (`pick/0`) or "
            "any replica of a service (`pick/*`)"
        )
    if not 1 <= uses <= (MAX_USES if pool else 1):
        raise KeyFileError(
            f"{uses} uses, expected 1"
            + (f" to {MAX_USES}" if pool else "; of more than one only `SERVICE/*` has")
        )
    public, secret = zmq.curve_keypair()
    record = TokenRecord(
        secrets.token_hex(6), name, role, uses, expires_s, broker.peer.name, public
    )
    records = directory / "tokens"
    records.mkdir(mode=0o755, parents=True, exist_ok=True)
    common = [f"token {record.id}", f"name {name}", f"role {role}", f"public {public.decode()}"]
    holder = key_file.path_of(directory, name.replace("*", "any"), ".token")
    server = [f"broker {broker.peer.name}", f"server {broker.public.decode()}"]
    # The holder's first: a token without a record opens nothing.
    key_file.create(holder, [*common, *server, f"secret {secret.decode()}"], 0o600)
    bounds = [f"uses {uses}", f"expires {expires_s}", server[0]]
    key_file.create(records / f"{record.id}.pub", [*common, *bounds], 0o644)
    return record, holder


def load_token(path: Path) -> Token:
    """Read a holder's file. Raises KeyFileError if it is none or if other users may read it."""
    fields = key_file.fields_of(path)
    if b"secret" not in fields or b"token" not in fields:
        raise KeyFileError(f"{path} holds no token: make one with `actorctl keys token`")
    key_file.require_private(path)
    number, name, role = _head(path, fields)
    broker = PublicKey(
        KeyOwner(key_file.text_of(fields, b"broker"), Role.BROKER),
        key_file.z85_of(path, fields, b"server"),
    )
    key = Key(
        KeyOwner(number, Role.TOKEN),
        key_file.z85_of(path, fields, b"public"),
        key_file.z85_of(path, fields, b"secret"),
    )
    return Token(number, name, key, broker, role)


def load_record(path: Path) -> TokenRecord:
    """Read a broker's record. Raises KeyFileError."""
    fields = key_file.fields_of(path)
    number, name, role = _head(path, fields)
    try:
        uses, expires_s = int(fields[b"uses"]), int(fields[b"expires"])
    except (KeyError, ValueError) as error:
        raise KeyFileError(f"{path} does not say how long its token lasts") from error
    broker = key_file.text_of(fields, b"broker")
    public = key_file.z85_of(path, fields, b"public")
    return TokenRecord(number, name, role, uses, expires_s, broker, public)


def _head(path: Path, fields: dict[bytes, bytes]) -> tuple[str, str, Role]:
    number, name, role = (key_file.text_of(fields, f) for f in (b"token", b"name", b"role"))
    if not number.isalnum() or not name or role not in ENROLLED:
        raise KeyFileError(f"{path} holds no token: make one with `actorctl keys token`")
    return number, name, Role(role)
