"""Files of keys and tokens: lines of a field and its value, written durably.

A file is there whole or not at all, also after a power failure. Secret ones are 0600.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .. import disk
from ..errors import KeyFileError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}")
Z85 = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


def path_of(directory: Path, name: str, suffix: str) -> Path:
    """The file of the owner `name`."""
    return directory / (name.replace("/", "@") + suffix)


def create(path: Path, lines: list[str], mode: int) -> None:
    """Write a new file. Raises KeyFileError where it exists."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyFileError(
            f"{path} exists: delete it first if its holder shall get a new key"
        ) from error
    _write(fd, lines)
    disk.sync(path.parent)


def replace(path: Path, lines: list[str], mode: int, *, durable: bool = True) -> None:
    """Write a file, or replace it at once by a whole one. Without `durable` it may be damaged after
    a power failure."""
    new = path.with_name(f".{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    _write(fd, lines, durable=durable)
    new.replace(path)
    if durable:
        disk.sync(path.parent)


def append(path: Path, line: str) -> None:
    """Add a line. One that a power failure cut short has no end, and readers leave it out."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with os.fdopen(fd, "ab") as file:
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    disk.sync(path.parent)


def lines_of(path: Path) -> list[str]:
    """The whole lines of a file that is appended to; none where there is no such file."""
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line[:-1] for line in text.splitlines(keepends=True) if line.endswith("\n")]


def fields_of(path: Path) -> dict[bytes, bytes]:
    """The fields of a file. Raises KeyFileError if it cannot be read."""
    try:
        lines = path.read_bytes()[:4096].splitlines()
    except OSError as error:
        raise KeyFileError(f"cannot read the key {path}: {error.strerror}") from error
    fields = {}
    for line in lines:
        field, _, value = line.partition(b" ")
        fields[field] = value.strip()
    return fields


def text_of(fields: dict[bytes, bytes], field: bytes) -> str:
    """A field as text; empty where there is none."""
    return fields.get(field, b"").decode("utf-8", "replace")


def z85_of(path: Path, fields: dict[bytes, bytes], field: bytes) -> bytes:
    """A key of 40 characters. Raises KeyFileError."""
    value = fields.get(field, b"")
    if not Z85.fullmatch(value):
        raise KeyFileError(
            f"{path} holds no {field.decode()} key of 40 characters: make it anew with "
            "`actorctl keys`"
        )
    return value


def require_private(path: Path) -> None:
    """Raise KeyFileError if other users may read the file."""
    if path.stat().st_mode & 0o077:
        raise KeyFileError(f"the secret key {path} is readable by others: chmod 600 {path}")


def _write(fd: int, lines: list[str], *, durable: bool = True) -> None:
    with os.fdopen(fd, "w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        if durable:
            os.fsync(file.fileno())
