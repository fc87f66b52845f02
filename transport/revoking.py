"""`revoke`: the keys of a peer, or of a token, are never accepted again."""

from __future__ import annotations

from pathlib import Path

from ..errors import KeyFileError
from . import key_file
from .keys import load_public


def revoke(directory: Path, name: str) -> list[str]:
    """Revoke all keys of the peer `name` that lie in a broker's directory, or the token `name` with
    the keys that it enrolled; what was revoked, in words. Raises KeyFileError, OSError."""
    done = []
    found = (*sorted(directory.glob("*.pub")), *sorted(directory.glob("enrolled/*/*.pub")))
    for path in found:
        try:
            key = load_public(path)
        except KeyFileError:
            continue
        token = key_file.text_of(key_file.fields_of(path), b"token")
        if name not in (key.peer.name, token) or not name:
            continue
        # First what counts: the file of a key that enrolled elsewhere comes back.
        key_file.append(directory / "revoked", key.public.decode())
        path.unlink(missing_ok=True)
        done.append(f"the key {key.public.decode()} of {key.peer}")
    record = directory / "tokens" / f"{name}.pub"
    if name.isalnum() and record.is_file():
        record.unlink()
        done.append(f"the token {name}")
    return done
