"""A file of records of bounded size, without half records, that survives a full disk.

A `BoundedFile` keeps the newest records: a full file is renamed to `NAME.1` (and `NAME.1` to
`NAME.2`, up to the number of files) and a new one begins. A record is kept whole or not at all:
what a killed writer or a full disk left unfinished is truncated before the next write. Writing
never raises; lost records are counted in `lost`, and `error` says why. Not guaranteed: nothing is
synced, a crash of the machine may lose the last seconds. One writer at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

TAIL_BYTES = 64 * 1024

Whole = Callable[[FileIO], int]
"""Returns how many bytes at the beginning of a file are whole records."""


def whole_lines(file: FileIO) -> int:
    """The `Whole` of records that end with a newline and contain no other."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - TAIL_BYTES)
        file.seek(begin)
        newline = file.read(end - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


def generation(path: Path, k: int) -> Path:
    """The name of the `k`-th older file; 0 is `path` itself."""
    return path if k == 0 else path.with_name(f"{path.name}.{k}")


def older(path: Path) -> list[Path]:
    """The older files of `path` that exist, the newest first."""
    found = (p for p in path.parent.glob(f"{path.name}.*") if p.suffix[1:].isdigit())
    return sorted(found, key=lambda path: int(path.suffix[1:]))


class BoundedFile:
    """The newest records, in `path` and its older files: at most `files` files of `file_bytes`
    each. With 0 bytes nothing is kept.

    Each file, and what each new writer appends to one, begins with `preamble`.
    """

    def __init__(
        self,
        path: Path,
        file_bytes: int,
        files: int = 2,
        preamble: bytes = b"",
        whole: Whole = whole_lines,
    ) -> None:
        self.path = path
        self.file_bytes = file_bytes
        self._files = files
        self._preamble = preamble
        self._whole = whole
        self._file: FileIO | None = None
        self._size = 0
        self.lost = 0
        """Records that could not be written, or exceed `file_bytes`."""
        self.error = ""
        """Why the last record (of those that fit) was not written; empty when it was."""

    def append(self, data: bytes, records: int = 1) -> None:
        """Write `data`, which consists of `records` whole records: all of it, or nothing."""
        if self.file_bytes == 0:
            return
        if len(self._preamble) + len(data) > self.file_bytes:
            self.lost += records
            return
        try:
            if self._file is None or self._size + len(data) > self.file_bytes:
                self._begin(len(data))
            self._write(data)
        except OSError as error:
            self.close()  # the next append opens the file again, which truncates what is unfinished
            self.lost += records
            self.error = error.strerror or str(error)
        else:
            self.error = ""

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _begin(self, needed: int) -> None:
        """Open the file for `needed` more bytes: a new one if they do not fit."""
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._open()
        if self._size and self._size + len(self._preamble) + needed > self.file_bytes:
            self.close()
            if self._files == 1:
                self.path.unlink()
            for k in range(self._files - 1, 0, -1):
                if (newer := generation(self.path, k - 1)).exists():
                    newer.replace(generation(self.path, k))
            self._open()
        if self._preamble:
            self._write(self._preamble)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = FileIO(os.open(self.path, flags, 0o600), "r+")
        self._file = file
        self._size = self._whole(file)
        if self._size < file.seek(0, os.SEEK_END):
            file.truncate(self._size)

    def _write(self, data: bytes) -> None:
        assert self._file is not None, "it was just opened"
        written = self._file.write(data)
        if written != len(data):
            self._file.truncate(self._size)
            raise OSError("no space left for the whole record")
        self._size += written
