"""`FollowedFile`: the lines that are added to a `BoundedFile`, read by another process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_MOST_BYTES = 4 << 20
"""Read at once."""


class FollowedFile:
    """Each `read` returns the whole lines since the last one. Begins at the present end of the
    file, or at the beginning of one that is not there yet; goes on in the next file when the writer
    begins one. Never blocks the writer, which knows nothing of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        self._file = self._opened()
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def read(self) -> list[bytes]:
        """The lines, oldest first. Empty where there is nothing to read."""
        if self._file is None:
            self._file = self._opened()
        if self._file is None:
            return []
        data = self._file.read(_MOST_BYTES)
        if not data:
            self._follow()
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> BinaryIO | None:
        """The file at its beginning, if it is there."""
        try:
            file = self._path.open("rb")
        except OSError:
            return None
        self._rest = b""
        return file

    def _follow(self) -> None:
        """All is read: go on in a new file if there is one, or where a writer cut this one off."""
        assert self._file is not None
        held = os.fstat(self._file.fileno())
        try:
            present = self._path.stat()
        except OSError:
            return
        if present.st_ino != held.st_ino:
            self.close()
        elif held.st_size < self._file.tell():
            self._file.seek(held.st_size)
            self._rest = b""
