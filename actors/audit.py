"""Evidence: what an actor did for whom, in files that cannot grow without bound.

A `BoundedFile` keeps the newest records: when it has its fill it becomes `NAME.1` (replacing an
older one) and a new file begins, so that between half of `max_bytes` and all of it is kept. Records
are written in one piece. Writing never raises: a full disk must not stop robots; what could not be
written is counted in `lost`. Nothing is synced: the machine's own crash may lose the last seconds.

The audit is one JSON object per line and request, joined with the robot's by `(session, seq)`.
The capture is a sequence of MessagePack records (see capture.py) from which the replica's work can
be run again elsewhere, byte for byte.
"""

from __future__ import annotations

import logging
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

_log = logging.getLogger(__name__)


class BoundedFile:
    """The newest `max_bytes` of records, in `path` and `path.1`; 0 keeps nothing.

    Each file, and what each new writer adds to one, begins with `preamble`.
    """

    def __init__(self, path: Path, max_bytes: int, preamble: bytes = b"") -> None:
        self.path = path
        self._preamble = preamble
        self._half = max_bytes // 2
        self._file: FileIO | None = None
        self._size = 0
        self.lost = 0
        """Records that could not be written, or are larger than half the bound."""

    def append(self, record: bytes) -> None:
        """Keep `record`, whole or not at all."""
        if self._half == 0:
            return
        if len(self._preamble) + len(record) > self._half:
            self.lost += 1
            return
        try:
            if self._file is None or self._size + len(record) > self._half:
                self._begin(len(record))
            self._write(record)
        except OSError as error:
            if self.lost == 0:
                _log.error("%s: not written: %s; serving goes on without it", self.path, error)
            self.lost += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, needed: int) -> None:
        """Open the file for `needed` bytes more: a new one if those would not fit."""
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        needed += len(self._preamble)
        if self.path.exists() and self.path.stat().st_size + needed > self._half:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        self._file = FileIO(self.path, "ab")
        self._size = self._file.tell()
        if self._preamble:
            self._write(self._preamble)

    def _write(self, record: bytes) -> None:
        if self._file is None:
            raise OSError(f"{self.path} could not be opened")
        written = self._file.write(record)
        if written != len(record):  # a disk that filled up half-way: leave no torn record behind
            self._file.truncate(self._size)
            raise OSError("no space left for the whole record")
        self._size += written


class Audit:
    """One line per request."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._file = BoundedFile(path, max_bytes)

    @property
    def lost(self) -> int:
        return self._file.lost

    def line(self, **fields: Any) -> None:
        self._file.append(msgspec.json.encode(fields) + b"\n")

    def close(self) -> None:
        self._file.close()
