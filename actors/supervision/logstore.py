"""The fleet's log on disk: every actor's records and stray output as JSON lines, merged in order.

Guaranteed: records never interleave, the size on disk is bounded, and the lines of one actor are
rate-limited: above LINES_PER_S they are counted and dropped. Records of one turn are ordered by
their time; across turns, by arrival. A full disk loses records only: they are counted, and the next
record that is written carries their number.
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

    Raises RuntimeDirError for a directory that cannot be claimed (`runtime.claim`).
    """

    def __init__(self, directory: Path, file_bytes: int, files: int) -> None:
        claim(directory, STATE)
        self.path = directory / FILE
        self.errors: dict[str, Record] = {}
        """The last error of each actor."""
        self._file = BoundedFile(self.path, file_bytes, files)
        self._pending: list[Record] = []
        self._unreported = 0
        """Lost records whose number is not in the log yet."""

    @property
    def lost(self) -> int:
        """Records that could not be written."""
        return self._file.lost

    @property
    def error(self) -> str:
        """Why no records can be written now; empty when they can."""
        return self._file.error

    def add(self, record: Record) -> None:
        if record.level in ("error", "critical"):
            self.errors[record.actor] = record
        self._pending.append(record)

    def flush(self) -> None:
        """Write the added records, ordered by their time."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        pending.sort(key=lambda record: record.t)
        for records, lines in _batches(pending, self._file.file_bytes):
            if self._unreported:
                # The first record that is written carries the number of the lost ones.
                records[0].lost += self._unreported
                lines[0] = _line(records[0])
            before = self.lost
            self._file.append(b"".join(lines), len(lines))
            self._unreported = self._unreported + self.lost - before if self.lost > before else 0

    def close(self) -> None:
        self.flush()
        self._file.close()


def _batches(records: list[Record], file_bytes: int) -> Iterator[tuple[list[Record], list[bytes]]]:
    """The records with their lines, in batches of at most the bytes of one write."""
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
    """One log pipe of one incarnation: bytes in, records out. `read` reads a bounded amount, so
    that no actor occupies the supervisor."""

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
        """Whether it has used up its share of this turn: the others are read first."""
        return self._taken > TURN_BYTES

    def read(self) -> int | None:
        """Read once; returns the number of bytes, or None at the end of the pipe."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            return None
        self._account(len(data))
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > 4 * MAX_LINE:  # a line without an end
            lines.append(self._rest)
            self._rest = b""
        self._refill()
        for line in lines:
            self._line(line)
        return len(data)

    def drain(self) -> None:
        """Read what a dead actor left in the pipe."""
        left = 1 << 20  # the most that a pipe holds: its end may be open in another process
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
                # Only this actor can have written it, whatever name the record has.
                record.actor, record.incarnation = self.actor, self.incarnation
                self._keep(record)
                return
        text = line[:MAX_LINE].decode(errors="replace")
        self._keep(stray(text, self.actor, self.incarnation, self._name))
