"""`Credentials`: the keys of an actor's connections to its brokers, from its config's paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import KeyFileError, RefusedError
from ...transport.keys import Key, PublicKey, load, load_public
from .key_files import KeyFiles


@dataclass(frozen=True)
class Credentials:
    """The actor's own key and the public ones of its brokers, in their order; None and empty where
    the fleet has no keys."""

    own: Key | None = None
    brokers: tuple[PublicKey, ...] = ()

    def of(self, broker: int) -> tuple[Key | None, PublicKey | None]:
        """The own key and that of the k-th broker, for a connection to it."""
        return self.own, self.brokers[broker] if self.brokers else None


def credentials(name: str, files: KeyFiles) -> Credentials:
    """What the files hold. Raises RefusedError when only one side is given or a file is no key."""
    if files.key is None and not files.brokers:
        return Credentials()
    if files.key is None or not files.brokers:
        found = "the broker's key only" if files.key is None else "its own key only"
        raise RefusedError(f"{name} has {found}: it takes both, or neither")
    try:
        own = load(Path(files.key))
        return Credentials(own, tuple(load_public(Path(one)) for one in files.brokers))
    except KeyFileError as problem:
        raise RefusedError(str(problem)) from problem
