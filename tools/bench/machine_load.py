"""What runs beside the loops that are measured: a witness that only sleeps, and processes that
never rest. Each is a program of its own to the scheduler, in a session of its own, and ends with
its parent.

    python -m holdfast.tools.bench.machine_load burn|witness
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAUSE_NS = 2_000_000
_PERIOD_NS = 10_000_000
_PAUSE = struct.Struct("=2q")

Pauses = list[tuple[int, int]]
"""(when the witness was to wake up, when it did), ns."""


@contextmanager
def beside(busy: bool) -> Iterator[Callable[[], Pauses]]:
    """A witness, and a process for each core that never rests if `busy`. The value, when called,
    ends the witness and gives the intervals in which it overslept by PAUSE_NS or more."""
    cores = len(os.sched_getaffinity(0))
    started = [_start("burn") for _ in range(cores if busy else 0)]
    looking = _start("witness")
    assert looking.stdout is not None
    looking.stdout.read(1)  # it runs

    def pauses() -> Pauses:
        out, _ = looking.communicate(b"\n", timeout=60)
        return list(_PAUSE.iter_unpack(out))

    try:
        time.sleep(0.5 if busy else 0)  # the interpreters of the others have started
        yield pauses
    finally:
        for process in (*started, looking):
            process.kill()
            process.communicate()


def _start(role: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", __name__, role]
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def _told() -> bool:
    """Whether the parent has said something, or is gone."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def burn() -> None:
    while not _told():
        for _ in range(10_000_000):
            pass


def witness() -> None:
    """A bare sleeping loop at 100 Hz; what it oversleeps goes to stdout once it is told to."""
    out = sys.stdout.buffer
    out.write(b".")
    out.flush()
    found: Pauses = []
    due_ns = time.monotonic_ns() + _PERIOD_NS
    while not _told():
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        now_ns = time.monotonic_ns()
        if now_ns - due_ns > PAUSE_NS:
            found.append((due_ns, now_ns))
        due_ns = max(due_ns, now_ns) + _PERIOD_NS
    out.write(b"".join(_PAUSE.pack(*pause) for pause in found))


if __name__ == "__main__":
    {"burn": burn, "witness": witness}[sys.argv[1]]()
