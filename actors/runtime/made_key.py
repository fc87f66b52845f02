"""`MadeKey`: the file of a key that a peer makes itself, to enrol it with a token.

It is written (0600) before it is asked for, so that a peer that is killed in between asks for the
same one again. The key in force stays in its place until another one is accepted.
"""

from __future__ import annotations

from pathlib import Path

import zmq

from ...transport import key_file
from ...transport.enrolment_tokens import Token
from ...transport.keys import Key, KeyOwner, load


class MadeKey:
    """The key at `path`. Its methods raise KeyFileError and OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(f"{path.name}.new")

    @property
    def is_accepted(self) -> bool:
        """Whether a broker has accepted it."""
        return self._path.is_file() and b"accepted" in key_file.fields_of(self._path)

    @property
    def token(self) -> str:
        """The token with which it enrolled; empty before it did."""
        return _token_of(self._path) if self.is_accepted else ""

    def made(self, name: str, token: Token) -> Key:
        """The key that was made for `name` and this token before, or a new one."""
        if self._new.is_file() and _token_of(self._new) == token.id:
            found = load(self._new)
            if found.peer == KeyOwner(name, token.role):
                return found
        public, secret = zmq.curve_keypair()
        key = Key(KeyOwner(name, token.role), public, secret)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(key, token, accepted=False)
        return key

    def accept(self, key: Key, token: Token) -> None:
        """A broker has accepted `key`, which is in force from now on."""
        self._write(key, token, accepted=True)
        self._new.replace(self._path)

    def _write(self, key: Key, token: Token, *, accepted: bool) -> None:
        lines = [f"name {key.peer.name}", f"role {key.peer.role}", f"public {key.public.decode()}"]
        lines += [f"token {token.id}", "accepted yes"][: 1 + accepted]
        key_file.replace(self._new, [*lines, f"secret {key.secret.decode()}"], 0o600)


def _token_of(path: Path) -> str:
    return key_file.text_of(key_file.fields_of(path), b"token")
