"""The audit: one JSON object per line and request, in a `BoundedFile`. The lines of a replica and
of a robot's network actor are joined by `(session, seq)`, which names one request of all runs.

Lines are written in batches. A process that is killed loses those of the last `BATCH_NS`, of a
replica those since its last turn (at most a heartbeat, or the batch that it computes), and never
more than `BATCH_LINES`; one that ends in order, or by an exception, loses none.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from .bounded_file import BoundedFile

BATCH_NS = 100_000_000
BATCH_LINES = 64
_log = logging.getLogger(__name__)
_encode_lines = msgspec.json.Encoder().encode_lines


class Audit:
    """The newest `max_bytes` of lines, the older half in `path.1`; 0 keeps nothing. Call `keep`
    in each turn of the loop that adds lines."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._file = BoundedFile(path, max_bytes // 2)
        self._lines: list[dict[str, Any]] = []
        self._since_ns = 0

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._file.lost

    def line(self, **fields: Any) -> None:
        """Add a line. The values must not change any more: they are encoded when it is written."""
        if self._file.file_bytes:
            self._lines.append(fields)
            if len(self._lines) >= BATCH_LINES:
                self.flush()

    def keep(self, now_ns: int) -> None:
        """Let time pass: write what has waited for `BATCH_NS`."""
        if not self._lines:
            self._since_ns = now_ns
        elif now_ns - self._since_ns >= BATCH_NS:
            self.flush()
            self._since_ns = now_ns

    def flush(self) -> None:
        """Write all lines now."""
        lines, self._lines = self._lines, []
        if lines:
            before = self._file.error
            self._write(lines)
            log_change(self._file, before)

    def close(self) -> None:
        self.flush()
        self._file.close()

    def _write(self, lines: list[dict[str, Any]]) -> None:
        data = _encode_lines(lines)
        half = len(lines) // 2
        if len(data) > self._file.file_bytes and half:
            self._write(lines[:half])
            self._write(lines[half:])
        else:
            self._file.append(data, len(lines))


def log_change(file: BoundedFile, before: str) -> None:
    """Log when records begin to be lost, and when they are kept again; `before` is `file.error`
    before the last write."""
    if file.error and not before:
        _log.error("%s: not written: %s; work goes on without it", file.path, file.error)
    elif before and not file.error:
        _log.warning("%s: written again; %d records are lost", file.path, file.lost)
