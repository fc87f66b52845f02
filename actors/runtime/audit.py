"""The audit: one JSON object per line and request, in a `BoundedFile`. The lines of a replica and
of a robot's network actor are joined by `(session, seq)`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from .bounded_file import BoundedFile

_log = logging.getLogger(__name__)


class Audit:
    """The newest `max_bytes` of lines, the older half in `path.1`; 0 keeps nothing."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._file = BoundedFile(path, max_bytes // 2)

    @property
    def lost(self) -> int:
        return self._file.lost

    def line(self, **fields: Any) -> None:
        before = self._file.error
        self._file.append(msgspec.json.encode(fields) + b"\n")
        log_change(self._file, before)

    def close(self) -> None:
        self._file.close()


def log_change(file: BoundedFile, before: str) -> None:
    """Log when records begin to be lost, and when they are kept again; `before` is `file.error`
    before the last write."""
    if file.error and not before:
        _log.error("%s: not written: %s; work goes on without it", file.path, file.error)
    elif before and not file.error:
        _log.warning("%s: written again; %d records are lost", file.path, file.lost)
