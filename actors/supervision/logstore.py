"""The fleet's log on disk: every actor's records and stray output as JSON lines, merged in order.

Guaranteed: records never interleave, the size on disk is bounded, and one actor that floods costs
the others nothing: above LINES_PER_S its lines are counted instead of kept. Records of one turn
are ordered by their time; across turns, by arrival. A full disk loses records and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..claim import STATE, claim
from ..log import MAX_LINE, Record, stray

LINES_PER_S = 500
BURST = 2000
FILE = "log.jsonl"
READ_BYTES = 64 * 1024
TURN_BYTES = 128 * 1024
TURN_S = 0.1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class LogStore:
    """Appends records to `directory`/log.jsonl and rotates it to log.1.jsonl, log.2.jsonl, ...

    Raises RuntimeProblem for a directory that is not ours to rotate files in.
    """

    def __init__(self, directory: Path, file_bytes: int, files: int) -> None:
        claim(directory, STATE)
        self.path = directory / FILE
        self.lost = 0
        """Records that the disk did not take."""
        self.errors: dict[str, Record] = {}
        """The last error of each actor."""
        self._file_bytes = file_bytes
        self._files = files
        self._pending: list[Record] = []
        self._open()

    def add(self, record: Record) -> None:
        if record.level in ("error", "critical"):
            self.errors[record.actor] = record
        self._pending.append(record)

    def flush(self) -> None:
        """Write what was added, in the order of its time."""
        if not self._pending:
            return
        self._pending.sort(key=lambda record: record.t)
        data = b"".join(_encode(record) + b"\n" for record in self._pending)
        count = len(self._pending)
        self._pending = []
        try:
            if self._size + len(data) > self._file_bytes and self._size:
                self._rotate()
            self._size += os.write(self._fd, data)
        except OSError:
            self.lost += count

    def close(self) -> None:
        self.flush()
        os.close(self._fd)

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        for k in range(self._files - 1, 0, -1):
            older = self.path if k == 1 else self.path.with_name(f"log.{k - 1}.jsonl")
            with contextlib.suppress(FileNotFoundError):
                older.replace(self.path.with_name(f"log.{k}.jsonl"))
        os.close(self._fd)
        self._open()


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
        self._refilled = time.monotonic()
        self._suppressed = 0
        self._window = self._refilled
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
        self._confess()
        os.close(self.fd)

    def _account(self, count: int) -> None:
        now = time.monotonic()
        if now - self._window >= TURN_S:
            self._window, self._taken = now, 0
        self._taken += count

    def _refill(self) -> None:
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._refilled) * LINES_PER_S)
        self._refilled = now
        if self._allowance >= 1:
            self._confess()

    def _confess(self) -> None:
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
