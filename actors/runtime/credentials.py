"""The keys of an actor's connection to the broker, from the paths in its config."""

from __future__ import annotations

from pathlib import Path

from ...errors import KeyFileError, RefusedError
from ...transport.keys import Key, PublicKey, load, load_public


def credentials(
    name: str, key: str | None, broker_key: str | None
) -> tuple[Key, PublicKey] | tuple[None, None]:
    """The actor's own secret key and the broker's public one; (None, None) where the fleet has no
    keys. Raises RefusedError when only one is given or a file is not a key."""
    if key is None and broker_key is None:
        return None, None
    if key is None or broker_key is None:
        raise RefusedError(
            f"{name} has {'the broker' if key is None else 'its own'} key only: it takes `key` and "
            "`broker_key`, or neither"
        )
    try:
        return load(Path(key)), load_public(Path(broker_key))
    except KeyFileError as problem:
        raise RefusedError(str(problem)) from problem
