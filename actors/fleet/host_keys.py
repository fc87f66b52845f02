"""Where the keys of a host's actors are: some lie in the directory of keys; others the actors make
themselves, and enrol them with a token that lies there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...transport.key_file import path_of
from ..runtime.runtime_dir import state_dir
from .schema import FleetFile


class OwnKey(NamedTuple):
    """Paths of an actor's secret key, and of the token with which it enrols one if need be."""

    key: str | None = None
    token: str | None = None


class HostKeys:
    """Of one host of `fleet`. What an actor makes is in the fleet's state directory: the one of
    keys may be read-only."""

    def __init__(self, fleet: FleetFile) -> None:
        self._fleet = fleet
        given = fleet.security.keys
        self.directory = None if given is None else Path(given)
        self.made = state_dir(fleet.name) / "keys"
        self._needed: set[Path] = set()

    def own(self, name: str) -> OwnKey:
        """The secret key of `name`; without paths in a fleet without keys."""
        if self.directory is None:
            return OwnKey()
        given, made = (path_of(each, name, ".key") for each in (self.directory, self.made))
        if given.is_file():
            return OwnKey(str(given))
        for token in tokens_of(self.directory, name):
            if token.is_file():
                return OwnKey(str(made), str(token))
        if made.is_file():
            return OwnKey(str(made))
        return OwnKey(self._need(given))

    def given(self, name: str) -> OwnKey:
        """That of a client's port, on the broker's own host: it never enrols."""
        if self.directory is None:
            return OwnKey()
        return OwnKey(self._need(path_of(self.directory, name, ".key")))

    def broker(self, host: str | None) -> str | None:
        """The secret key of the broker on `host`, which never enrols."""
        if self.directory is None:
            return None
        return self._need(path_of(self.directory, self._fleet.broker.key_name(host), ".key"))

    def brokers(self, own: OwnKey) -> tuple[str, ...]:
        """The public keys of the brokers, for the holder of `own`: where they are missing, who
        enrols gets them. Empty in a fleet without keys."""
        if self.directory is None:
            return ()
        found = []
        for host in self._fleet.broker.placed:
            name = self._fleet.broker.key_name(host)
            given, made = (path_of(each, name, ".pub") for each in (self.directory, self.made))
            enrols = own.token is not None or made.is_file()
            found.append(str(made) if enrols and not given.is_file() else self._need(given))
        return tuple(found)

    def missing(self) -> list[Path]:
        """The files that were asked for and are not there."""
        return [path for path in sorted(self._needed) if not path.is_file()]

    def _need(self, path: Path) -> str:
        self._needed.add(path)
        return str(path)


def tokens_of(directory: Path, name: str) -> Iterator[Path]:
    """The tokens with which `name` may enrol: its own, and that of its service's replicas."""
    yield path_of(directory, name, ".token")
    service, slash, _ = name.rpartition("/")
    if slash:
        yield path_of(directory, f"{service}/any", ".token")
