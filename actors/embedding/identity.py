"""`Identity`: the keys and the name of a script's robot or replica."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from ... import arguments
from ...errors import RefusedError
from ...transport.keys import Role
from ..runtime.credentials import credentials


@dataclass(frozen=True)
class Identity:
    """The files of the keys, and the name that its own key has; None where there are no keys."""

    key: str | None
    broker_key: str | None
    name: str | None

    @classmethod
    def of(cls, role: Role, key: object, broker_key: object) -> Identity:
        """Raises TypeError or ValueError that begins with the argument's name."""
        files = path("key", key), path("broker_key", broker_key)
        try:
            own, _ = credentials(f"this {role}", *files)
        except RefusedError as refused:
            raise ValueError(f"key, broker_key: {refused}") from refused
        if own is not None and own.peer.role is not role:
            raise ValueError(f"key: {files[0]} is the key of {own.peer}, expected one of a {role}")
        return cls(*files, None if own is None else own.peer.name)

    def named(self, argument: str, name: str | None) -> str | None:
        """The name to use: the key's, else the one that was given, else None. The broker accepts a
        key under its own name only."""
        if self.name is not None and name not in (None, self.name):
            raise ValueError(f"{argument}: {name!r}, expected {self.name!r}, the name of its key")
        return self.name or name


def here() -> str:
    """A name that no other process of this site is likely to have."""
    host = "".join(c if c.isascii() and c.isalnum() else "-" for c in socket.gethostname())
    return f"{host.strip('-')[:16] or 'host'}-{os.getpid()}"


def path(argument: str, given: object) -> str | None:
    """The absolute path of a file or directory, where one is given."""
    return None if given is None else str(arguments.path(argument, given).absolute())
