"""The fleet's log on disk: every actor's records and stray output as JSON lines, merged in order.

Guaranteed: records never interleave, the size on disk is bounded, and one actor that floods costs
the others nothing: above LINES_PER_S its lines are counted instead of kept. Records of one turn
are ordered by their time; across turns, by arrival. A full disk loses records and nothing else:
they are counted, and the first that is written again says how many.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..runtime.bounded_file import BoundedFile
from ..runtime.claim import STATE, claim
from ..runtime.log import MAX_LINE, Record, stray

LINES_PER_S = 500
BURST = 2000
FILE = "log.jsonl"
READ_BYTES = 64 * 1024
TURN_BYTES = 128 * 1024
TURN_S = 0.1
WRITE_BYTES = 256 * 1024

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class LogStore:
    """Appends records to `directory`/log.jsonl, whose older files are log.jsonl.1 and so on.

    Raises RuntimeDirError for a directory that is not ours to rotate files in.
    """

    def __init__(self, directory: Path, file_bytes: int, files: int) -> None:
        claim(directory, STATE)
        self.path = directory / FILE
        self.errors: dict[str, Record] = {}
        """The last error of each actor."""
        self._file = BoundedFile(self.path, file_bytes, files)
        self._pending: list[Record] = []
        self._unreported = 0
        """Lost records of which the log itself does not tell yet."""

    @property
    def lost(self) -> int:
        """Records that the disk did not take."""
        return self._file.lost

    @property
    def error(self) -> str:
        """Why the disk takes no records now; empty when it does."""
        return self._file.error

    def add(self, record: Record) -> None:
        if record.level in ("error", "critical"):
            self.errors[record.actor] = record
        self._pending.append(record)

    def flush(self) -> None:
        """Write what was added, in the order of its time."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        pending.sort(key=lambda record: record.t)
        for records, lines in _batches(pending, self._file.file_bytes):
            if self._unreported:
                # The first that gets through tells of those that did not.
                records[0].lost += self._unreported
                lines[0] = _line(records[0])
            before = self.lost
            self._file.append(b"".join(lines), len(lines))
            self._unreported = self._unreported + self.lost - before if self.lost > before else 0

    def close(self) -> None:
        self.flush()
        self._file.close()


def _batches(records: list[Record], file_bytes: int) -> Iterator[tuple[list[Record], list[bytes]]]:
    """The records with their lines, as many at a time as one write may have."""
    most, size, begin = min(file_bytes // 2, WRITE_BYTES), 0, 0
    lines: list[bytes] = []
    for k, record in enumerate(records):
        line = _line(record)
        if lines and size + len(line) > most:
            yield records[begin:k], lines
            lines, size, begin = [], 0, k
        lines.append(line)
        size += len(line)
    yield records[begin:], lines


def _line(record: Record) -> bytes:
    return _encode(record) + b"\n"


class Stream:
    """One log pipe of one incarnation: bytes in, records out. `read` takes a bounded amount, so
    that no actor can keep the supervisor from the others."""

    def __init__(
        self, fd: int, actor: str, incarnation: int, name: str, keep: Callable[[Record], None]
    ) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.actor = actor
        self.incarnation = incarnation
        self._name = name
        self._keep = keep
        self._rest = b""
        self._allowance = float(BURST)
        self._refilled_s = time.monotonic()
        self._suppressed = 0
        self._window_start_s = self._refilled_s
        self._taken = 0

    @property
    def greedy(self) -> bool:
        """It has had more than its share of this turn: read the others first."""
        return self._taken > TURN_BYTES

    def read(self) -> int | None:
        """Read once: how many bytes there were, None at the end of the pipe."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            return None
        self._account(len(data))
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > 4 * MAX_LINE:  # an endless line
            lines.append(self._rest)
            self._rest = b""
        self._refill()
        for line in lines:
            self._line(line)
        return len(data)

    def drain(self) -> None:
        """Take what a dead actor left in the pipe, whose other end somebody may still hold open."""
        left = 1 << 20  # the most that a pipe holds
        while left > 0 and (count := self.read()):
            left -= count

    def close(self) -> None:
        rest, self._rest = self._rest, b""
        self._line(rest)
        self._report_suppressed()
        os.close(self.fd)

    def _account(self, count: int) -> None:
        now_s = time.monotonic()
        if now_s - self._window_start_s >= TURN_S:
            self._window_start_s, self._taken = now_s, 0
        self._taken += count

    def _refill(self) -> None:
        now_s = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now_s - self._refilled_s) * LINES_PER_S)
        self._refilled_s = now_s
        if self._allowance >= 1:
            self._report_suppressed()

    def _report_suppressed(self) -> None:
        if self._suppressed:
            message = f"{self._suppressed} lines of {self._name} dropped: more than {LINES_PER_S}/s"
            self._suppressed = 0
            self._keep(stray(message, self.actor, self.incarnation, "supervisor"))

    def _line(self, line: bytes) -> None:
        if not line.strip():
            return
        if self._allowance < 1:
            self._suppressed += 1
            return
        self._allowance -= 1
        if line.startswith(b'{"t":'):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                record = _decode(line)
                # Whatever it says: only this actor can have written it.
                record.actor, record.incarnation = self.actor, self.incarnation
                self._keep(record)
                return
        text = line[:MAX_LINE].decode(errors="replace")
        self._keep(stray(text, self.actor, self.incarnation, self._name))
