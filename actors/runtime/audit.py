"""Evidence: what an actor did for whom, in files that cannot grow without bound (see bounded.py).

The audit is one JSON object per line and request, joined with the robot's by `(session, seq)`.
The capture is a sequence of MessagePack records (see capture.py) from which the replica's work can
be run again elsewhere, byte for byte.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from .bounded_file import BoundedFile

_log = logging.getLogger(__name__)


class Audit:
    """One line per request: the newest `max_bytes` of them, half in `path.1`; 0 keeps nothing."""

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
    """Log that records are lost from now on, or are kept again; `before` is the error before."""
    if file.error and not before:
        _log.error("%s: not written: %s; work goes on without it", file.path, file.error)
    elif before and not file.error:
        _log.warning("%s: written again; %d records are lost", file.path, file.lost)
