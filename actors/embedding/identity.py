"""`Identity`: the keys and the name of a script's robot or replica."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from ... import arguments
from ...errors import KeyFileError, RefusedError
from ...transport.enrolment_tokens import load_token
from ...transport.key_file import path_of
from ...transport.keys import Role
from ..runtime.credentials import credentials
from ..runtime.key_files import KeyFiles


@dataclass(frozen=True)
class Identity:
    """The files of the keys, or the token with which they are made, and the name that its own key
    has; None and empty where there are no keys."""

    key: str | None
    broker_keys: tuple[str, ...]
    name: str | None
    token: str | None = None

    @classmethod
    def of(cls, role: Role, key: object, broker_key: object, brokers: int = 1) -> Identity:
        """Of one that connects to so many `brokers`. Raises TypeError or ValueError that begins
        with the argument's name."""
        file, public = path("key", key), _paths("broker_key", broker_key)
        if file is not None and file.endswith(".token"):
            return cls._with_token(role, Path(file), public, brokers)
        try:
            own = credentials(f"this {role}", KeyFiles(key=file, brokers=public)).own
        except RefusedError as refused:
            raise ValueError(f"key, broker_key: {refused}") from refused
        if own is not None and own.peer.role is not role:
            raise ValueError(f"key: {file} is the key of {own.peer}, expected one of a {role}")
        _match(public, brokers)
        return cls(file, public, None if own is None else own.peer.name)

    @classmethod
    def _with_token(cls, role: Role, file: Path, public: tuple[str, ...], brokers: int) -> Identity:
        try:
            token = load_token(file)
        except KeyFileError as problem:
            raise ValueError(f"key: {problem}") from problem
        if token.role is not role:
            raise ValueError(f"key: {file} is a token for a {token.role}, expected a {role}'s")
        public = public or (str(path_of(file.parent, token.broker.peer.name, ".pub")),)
        _match(public, brokers)
        name = None if token.name.endswith("/*") else token.name
        return cls(None, public, name, str(file))

    def files(self, name: str) -> KeyFiles:
        """Those of the keys of `name`, whose own is made beside its token."""
        if self.token is None:
            return KeyFiles(key=self.key, brokers=self.broker_keys)
        key = path_of(Path(self.token).parent, name, ".key")
        return KeyFiles(key=str(key), brokers=self.broker_keys, tokens=(self.token,))

    def named(self, argument: str, name: str | None) -> str | None:
        """The name to use: the key's, else the one that was given, else None. The broker accepts a
        key under its own name only."""
        if self.name is not None and name not in (None, self.name):
            raise ValueError(f"{argument}: {name!r}, expected {self.name!r}, the name of its key")
        return self.name or name


def _match(public: tuple[str, ...], brokers: int) -> None:
    if public and len(public) != brokers:
        raise ValueError(
            f"broker_key: {len(public)} files for {brokers} brokers, expected one for each, in "
            "their order"
        )


def here() -> str:
    """A name that no other process of this site is likely to have."""
    host = "".join(c if c.isascii() and c.isalnum() else "-" for c in socket.gethostname())
    return f"{host.strip('-')[:16] or 'host'}-{os.getpid()}"


def _paths(argument: str, given: object) -> tuple[str, ...]:
    """One path, or several in a list or tuple; none where none is given."""
    if isinstance(given, list | tuple):
        return tuple(
            str(arguments.path(f"{argument}[{k}]", each).absolute()) for k, each in enumerate(given)
        )
    one = path(argument, given)
    return () if one is None else (one,)


def path(argument: str, given: object) -> str | None:
    """The absolute path of a file or directory, where one is given."""
    return None if given is None else str(arguments.path(argument, given).absolute())
