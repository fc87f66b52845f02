"""`Credentials`: the keys of an actor's connections to its brokers, from its config's paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import KeyFileError, RefusedError
from ...transport.keys import Key, PublicKey, load, load_public
from .enrol import enrolled


@dataclass(frozen=True)
class Credentials:
    """The actor's own key and the public ones of its brokers, in their order; None and empty where
    the fleet has no keys."""

    own: Key | None = None
    brokers: tuple[PublicKey, ...] = ()

    def of(self, broker: int) -> tuple[Key | None, PublicKey | None]:
        """The own key and that of the k-th broker, for a connection to it."""
        return self.own, self.brokers[broker] if self.brokers else None


def credentials(name: str, key: str | None, broker_keys: Sequence[str]) -> Credentials:
    """What the files hold. Raises RefusedError when only one side is given or a file is no key."""
    if key is None and not broker_keys:
        return Credentials()
    if key is None or not broker_keys:
        found = "the broker's key only" if key is None else "its own key only"
        raise RefusedError(f"{name} has {found}: it takes both, or neither")
    try:
        return Credentials(load(Path(key)), tuple(load_public(Path(one)) for one in broker_keys))
    except KeyFileError as problem:
        raise RefusedError(str(problem)) from problem


def own_credentials(
    name: str,
    key: str | None,
    token: str | None,
    broker_keys: Sequence[str],
    endpoints: Sequence[str],
    wait: Callable[[str], None],
) -> Credentials:
    """`credentials`, after the peer `name` has enrolled with its `token`, if it has one: see
    `enrolled`."""
    if token is not None and key is not None:
        enrolled(name, Path(key), Path(token), [Path(p) for p in broker_keys], endpoints, wait)
    return credentials(name, key, broker_keys)
