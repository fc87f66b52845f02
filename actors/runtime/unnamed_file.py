"""A file in memory without a name, by which one process hands bytes of any number to another."""

from __future__ import annotations

import os
from typing import BinaryIO


def holding(content: bytes) -> BinaryIO:
    """A new one with that content, open. Raises OSError."""
    file = os.fdopen(os.memfd_create("message"), "w+b")
    try:
        file.write(content)
        file.flush()
    except OSError:
        file.close()
        raise
    return file


def content(fd: int) -> bytes:
    """All of the file `fd`, which is closed. Raises OSError."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)  # the position is the sender's too
        return file.read()
