"""What runs beside the loops that are measured: a witness that only sleeps, and processes that
never rest. Each is a program of its own to the scheduler, in a session of its own, and ends with
its parent.

    python -m holdfast.tools.bench.machine_load burn|witness PARENT
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
from typing import NoReturn

from .parent_death import end_with

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
    burning = [_start("burn") for _ in range(cores if busy else 0)]
    looking = _start("witness")

    def pauses() -> Pauses:
        out, _ = looking.communicate(b"\n", timeout=60)
        return list(_PAUSE.iter_unpack(out))

    try:
        for process in (*burning, looking):
            assert process.stdout is not None
            process.stdout.read(1)  # it runs
        yield pauses
    finally:
        for process in (*burning, looking):
            process.kill()
            process.communicate()


def _start(role: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", __name__, role, str(os.getpid())]
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def burn() -> NoReturn:
    while True:
        pass


def witness() -> None:
    """A bare sleeping loop at 100 Hz; what it oversleeps goes to stdout once it is told to."""
    found: Pauses = []
    due_ns = time.monotonic_ns() + _PERIOD_NS
    while not select.select([sys.stdin], [], [], 0)[0]:
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        now_ns = time.monotonic_ns()
        if now_ns - due_ns > PAUSE_NS:
            found.append((due_ns, now_ns))
        due_ns = max(due_ns, now_ns) + _PERIOD_NS
    sys.stdout.buffer.write(b"".join(_PAUSE.pack(*pause) for pause in found))


if __name__ == "__main__":
    end_with(int(sys.argv[2]))
    sys.stdout.buffer.write(b".")
    sys.stdout.buffer.flush()
    {"burn": burn, "witness": witness}[sys.argv[1]]()
