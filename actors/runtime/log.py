"""An actor's log: one JSON object per line on stderr, which is a pipe to the supervisor.

Guaranteed: writing never blocks and never raises, whatever the supervisor does; a line is written
whole (below PIPE_BUF) or not at all; lost lines are counted, and the next line that is written
carries their number. Not guaranteed: that a line arrives.

`print` and the standard library's `logging` are both redirected here.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
import traceback

import msgspec

MAX_LINE = 4096
"""PIPE_BUF on Linux: a pipe takes a write up to this size whole or refuses it whole."""


class Record(msgspec.Struct, omit_defaults=True):
    """One line of a log. `t` is wall-clock seconds: for people, and to merge the logs of one host.
    `stream` is set on stray output, which the supervisor wraps."""

    t: float
    level: str
    actor: str
    message: str
    incarnation: int = 0
    logger: str = ""
    trace: str = ""
    stream: str = ""
    lost: int = 0


_encode = msgspec.json.Encoder().encode


class PipeHandler(logging.Handler):
    """Writes records to a descriptor that is set non-blocking."""

    def __init__(self, fd: int, actor: str, incarnation: int) -> None:
        super().__init__()
        os.set_blocking(fd, False)
        self._fd = fd
        self._actor = actor
        self._incarnation = incarnation
        self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _line(self._record(record))
            os.write(self._fd, line)
        except BlockingIOError:
            self.lost += 1
        except Exception:  # noqa: BLE001
            # A bad format string or a closed pipe must not end an actor over a log line.
            self.lost += 1
        else:
            self.lost = 0

    def _record(self, record: logging.LogRecord) -> Record:
        trace = ""
        if record.exc_info:
            trace = "".join(traceback.format_exception(*record.exc_info))
        return Record(
            t=record.created,
            level=record.levelname.lower(),
            actor=self._actor,
            message=record.getMessage(),
            incarnation=self._incarnation,
            logger="" if record.name == self._actor else record.name,
            trace=trace,
            lost=self.lost,
        )


def _line(record: Record) -> bytes:
    """`record` as one line of at most MAX_LINE bytes; too long a message loses its end, too long a
    trace its beginning."""
    line = _encode(record) + b"\n"
    keep = 2000
    while len(line) > MAX_LINE:
        keep //= 2
        record.message = record.message[:keep]
        record.trace = record.trace[-keep:]
        line = _encode(record) + b"\n"
    return line


class _Stray(io.TextIOBase):
    """`sys.stdout` of an actor: drops the output that the pipe does not take."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, text: str) -> int:
        try:
            os.write(self._fd, text.encode(errors="replace"))
        except OSError:
            return len(text)
        return len(text)


def log_to_supervisor(actor: str, incarnation: int, level: int = logging.INFO) -> None:
    """Route this process's logging, `print` and warnings to the supervisor's pipes."""
    root = logging.getLogger()
    root.handlers[:] = [PipeHandler(2, actor, incarnation)]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    sys.stdout = _Stray(1)
    sys.stderr = _Stray(2)


def stray(line: str, actor: str, incarnation: int, stream: str) -> Record:
    """The record of a line that an actor, or a library in it, printed to `stream`."""
    return Record(
        t=time.time(),
        level="warning" if stream == "stderr" else "info",
        actor=actor,
        message=line,
        incarnation=incarnation,
        stream=stream,
    )
