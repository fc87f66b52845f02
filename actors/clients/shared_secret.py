"""The secret that clients of other projects must send, a file with one line."""

from __future__ import annotations

import hmac
from pathlib import Path

from ...errors import RefusedError


def read_secret(path: str) -> bytes:
    """The secret in the file `path`. Raises RefusedError."""
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise RefusedError(f"the secret {path} cannot be read: {error.strerror}") from error
    if not secret or b"\n" in secret:
        raise RefusedError(f"the secret {path}: expected one line that is not empty")
    return secret


def is_secret(given: object, secret: bytes) -> bool:
    """Whether `given` is the secret; compared in the same time whatever it is."""
    text = given if isinstance(given, str) else ""
    return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), secret)
