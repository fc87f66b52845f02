"""What can be wrong with the keys that lie on a host, and with the tokens in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import Fault, KeyFileError
from ...transport.enrolment_tokens import load_token, names
from ...transport.key_file import path_of
from ...transport.keys import Key, Keyring, PublicKey, Role, load, load_public
from .client_checks import client_ports
from .host_keys import HostKeys
from .places import replica_names
from .schema import FleetFile

_AT = "$.security.keys"


def key_faults(fleet: FleetFile, host: str | None) -> Iterator[Fault]:
    """Files that are missing, unreadable, or of another peer."""
    keys = HostKeys(fleet)
    if keys.directory is None:
        return
    owners = [(name, Role.REPLICA) for name in replica_names(fleet, host)]
    owners += [(robot.name, Role.ROBOT) for robot in fleet.robots if robot.host == host]
    if fleet.broker.placed[0] == host:
        owners += [(port, Role.ROBOT) for port in client_ports(fleet)]
    public: set[Path] = set()
    for name, role in owners:
        own = keys.files(name)
        public |= set(map(Path, own.brokers))
        tokens = [path for path in map(Path, own.tokens) if path.is_file()]
        for token in tokens[:1]:
            yield from _token(token, name, role)
        if not tokens:
            yield from _key(Path(own.key or ""), name, role)
    brokers = {fleet.broker.key_name(each) for each in fleet.broker.placed}
    for name in sorted(brokers):
        if (path := path_of(keys.directory, name, ".pub")) in public:
            yield from _key(path, name, Role.BROKER)
    if host in fleet.broker.placed:
        secret = keys.broker(host)
        yield from _key(Path(str(secret)), fleet.broker.key_name(host), Role.BROKER)
        try:
            Keyring.of(keys.directory)
        except (KeyFileError, OSError) as problem:
            yield Fault(_AT, str(problem))
    if missing := keys.missing():
        found = f"{keys.directory} lacks {', '.join(path.name for path in missing)}"
        remedy = "`actorctl keys new NAME` makes them, or put a token in their place"
        yield Fault(_AT, found, remedy=remedy)


def _key(path: Path, name: str, role: Role) -> Iterator[Fault]:
    """Of a file that is there: missing ones are named together."""
    if not path.is_file():
        return
    key: Key | PublicKey
    try:
        key = load(path) if path.suffix == ".key" else load_public(path)
    except (KeyFileError, OSError) as problem:
        yield Fault(_AT, str(problem))
        return
    if (key.peer.name, key.peer.role) != (name, role):
        yield Fault(
            _AT,
            f"{path} is the key of {key.peer}",
            f"that of {role}:{name}",
            remedy=f"`actorctl keys new {name} --role {role}`",
        )


def _token(path: Path, name: str, role: Role) -> Iterator[Fault]:
    try:
        token = load_token(path)
    except (KeyFileError, OSError) as problem:
        yield Fault(_AT, str(problem))
        return
    if token.role is not role or not names(token.name, name):
        yield Fault(
            _AT,
            f"{path} is a token for {token.role}:{token.name}",
            f"one for {role}:{name}",
            remedy=f"`actorctl keys token {name}` on the broker's host",
        )
