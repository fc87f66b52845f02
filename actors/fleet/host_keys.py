"""Where the keys of a host's actors are: some lie in the directory of keys; others the actors make
themselves, and enrol them with a token that lies there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...transport.key_file import path_of
from ..runtime.key_files import KeyFiles
from ..runtime.runtime_dir import state_dir
from .schema import FleetFile


class HostKeys:
    """Of one host of `fleet`. What an actor makes is in the fleet's state directory: the one of
    keys may be read-only."""

    def __init__(self, fleet: FleetFile) -> None:
        self._fleet = fleet
        given = fleet.security.keys
        self.directory = None if given is None else Path(given)
        self.made = state_dir(fleet.name) / "keys"
        self._needed: set[Path] = set()

    def files(self, name: str, brokers: int | None = None) -> KeyFiles:
        """Those of the actor with the key `name`, which connects to the first `brokers`, or to all;
        without paths in a fleet without keys. A token that comes later changes nothing in them."""
        if self.directory is None:
            return KeyFiles()
        given, made = (path_of(each, name, ".key") for each in (self.directory, self.made))
        tokens = list(tokens_of(self.directory, name))
        enrols = not given.is_file() and (made.is_file() or any(map(Path.is_file, tokens)))
        return KeyFiles(
            key=str(made) if enrols else self._need(given),
            brokers=tuple(self._brokers(enrols=enrols))[:brokers],
            tokens=tuple(map(str, tokens)) if enrols else (),
        )

    def broker(self, host: str | None) -> str | None:
        """The secret key of the broker on `host`, which never enrols."""
        if self.directory is None:
            return None
        return self._need(path_of(self.directory, self._fleet.broker.key_name(host), ".key"))

    def missing(self) -> list[Path]:
        """The files that were asked for and are not there."""
        return [path for path in sorted(self._needed) if not path.is_file()]

    def _brokers(self, *, enrols: bool) -> Iterator[str]:
        """The public keys of the brokers: where they are missing, who enrols gets them."""
        assert self.directory is not None, "the fleet has keys"
        for host in self._fleet.broker.placed:
            name = self._fleet.broker.key_name(host)
            given, made = (path_of(each, name, ".pub") for each in (self.directory, self.made))
            yield str(made) if enrols and not given.is_file() else self._need(given)

    def _need(self, path: Path) -> str:
        self._needed.add(path)
        return str(path)


def tokens_of(directory: Path, name: str) -> Iterator[Path]:
    """The tokens with which `name` may enrol: its own, and that of its service's replicas."""
    yield path_of(directory, name, ".token")
    service, slash, _ = name.rpartition("/")
    if slash:
        yield path_of(directory, f"{service}/any", ".token")
