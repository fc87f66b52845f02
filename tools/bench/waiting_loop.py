"""Ways of waiting for the next tick, each in a process and a session of its own, as the supervisor
starts a control loop: the scheduler divides a processor among sessions first.

    python -m holdfast.tools.bench.waiting_loop WAY TIMING PARENT

`WaitingLoop` is such a process, from the outside. It takes turns: so many ticks of a period, the
first at an instant.
"""

from __future__ import annotations

import gc
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ...actors.control import realtime
from ...actors.control.clock import TickClock
from ...actors.control.config import TimingSettings
from ...actors.control.spin import SpinWindow
from ...actors.runtime.processor_wait import ProcessorWait
from ...actors.runtime.wakefulness import set_timer_slack
from .parent_death import end_with

WORK_NS = 200_000
"""Of each tick: what reading a state, popping an action and writing it cost."""

Samples = list[tuple[int, int]]
"""(when the wake-up was due, how late it was), ns."""
_SAMPLE = struct.Struct("=2q")


class WaitingLoop:
    """A process that waits in the way of that name, with that `timing`. `refused` says which part
    of `timing` it did not get, and why. Ends with its parent."""

    def __init__(self, way: str, timing: TimingSettings) -> None:
        asked = msgspec.json.encode(timing).decode()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, way, asked, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        line = self._out.readline()
        if not line:
            raise EOFError(f"the loop {way} ended before its first turn; what it said is above")
        self.refused = line.decode().strip()

    def begin(self, period_ns: int, ticks: int, start_ns: int) -> None:
        """Let it wake up so many times, first at `start_ns`."""
        self._ticks = ticks
        self._in.write(f"{period_ns} {ticks} {start_ns}\n".encode())
        self._in.flush()

    def samples(self) -> Samples:
        """What it found in the turn that was begun last. Raises EOFError if it ended meanwhile."""
        size = self._ticks * _SAMPLE.size
        found = self._out.read(size)
        if len(found) < size:
            raise EOFError("a loop ended during its turn; what it said is above")
        return list(_SAMPLE.iter_unpack(found))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def own_clock(period_ns: int, ticks: int, start_ns: int) -> Samples:
    """Our clock."""
    clock = TickClock(period_ns, start_ns)
    clock.window = _learnt.setdefault(period_ns, clock.window)
    return _on_the_grid(clock, ticks)


_learnt: dict[int, SpinWindow | None] = {}
"""A loop that runs for hours has learnt its window; turns must not begin anew each time."""


def own_clock_without_spin(period_ns: int, ticks: int, start_ns: int) -> Samples:
    return _on_the_grid(TickClock(period_ns, start_ns, spin=False), ticks)


def bare_sleep(period_ns: int, ticks: int, start_ns: int) -> Samples:
    """The least that there is to do: sleep to each instant, and nothing else."""
    set_timer_slack()
    return _on_the_grid(TickClock(period_ns, start_ns, spin=False), ticks, work_ns=0)


def relative_sleep(period_ns: int, ticks: int, start_ns: int) -> Samples:
    """`time.sleep(period - elapsed)`."""
    samples: Samples = []
    time.sleep(max(0, start_ns - period_ns - time.monotonic_ns()) / 1e9)
    began_ns = time.monotonic_ns()
    for _ in range(ticks):
        _work(WORK_NS)
        due_ns = began_ns + period_ns
        rest_ns = due_ns - time.monotonic_ns()
        if rest_ns > 0:
            time.sleep(rest_ns / 1e9)
        began_ns = time.monotonic_ns()
        samples.append((due_ns, max(began_ns - due_ns, 0)))
    return samples


def sleep_spin(period_ns: int, ticks: int, start_ns: int) -> Samples:
    """Absolute deadlines; sleep to 1 ms before each, then spin."""
    samples: Samples = []
    due_ns = start_ns
    for _ in range(ticks):
        rest_ns = due_ns - time.monotonic_ns() - 1_000_000
        if rest_ns > 0:
            time.sleep(rest_ns / 1e9)
        while (now_ns := time.monotonic_ns()) < due_ns:
            pass
        samples.append((due_ns, now_ns - due_ns))
        _work(WORK_NS)
        due_ns += period_ns
        now_ns = time.monotonic_ns()
        if now_ns > due_ns:
            due_ns += (now_ns - due_ns) // period_ns * period_ns
    return samples


_processor_wait = ProcessorWait()


class WayOfWaiting(NamedTuple):
    """`wait` takes a period in ns, the number of ticks and the instant of the first. A `tuned` one
    asks the kernel for what a control loop asks."""

    wait: Callable[[int, int, int], Samples]
    tuned: bool


WAYS = {
    "holdfast/clock": WayOfWaiting(own_clock, tuned=True),
    "holdfast/clock-no-spin": WayOfWaiting(own_clock_without_spin, tuned=True),
    "holdfast/clock-timing": WayOfWaiting(own_clock, tuned=True),
    "peer/relative-sleep": WayOfWaiting(relative_sleep, tuned=False),
    "peer/sleep-spin-1ms": WayOfWaiting(sleep_spin, tuned=False),
    "floor/sleep": WayOfWaiting(bare_sleep, tuned=False),
    "floor/sleep-fifo": WayOfWaiting(bare_sleep, tuned=True),
}


def _on_the_grid(clock: TickClock, ticks: int, work_ns: int = WORK_NS) -> Samples:
    samples: Samples = []
    for _ in range(ticks):
        late_ns = clock.wait()
        samples.append((clock.deadline_ns, late_ns))
        clock.advance(late_ns)
        clock.waited(_processor_wait.take())
        _work(work_ns)
    return samples


def _work(ns: int) -> None:
    end_ns = time.monotonic_ns() + ns
    while time.monotonic_ns() < end_ns:
        pass


def main(name: str, asked: str, parent: str) -> None:
    """The process: a line of what it did not get, then the samples of each turn that it is told."""
    end_with(int(parent))
    way, refused = WAYS[name], ""
    if way.tuned:
        took = realtime.take(msgspec.json.decode(asked, type=TimingSettings))
        answers = took["affinity"], took["fifo"]
        refused = "; ".join(why for why in answers if why not in (realtime.TOOK, realtime.OFF))
    out = sys.stdout.buffer
    out.write(f"{refused}\n".encode())
    out.flush()
    gc.freeze()
    gc.disable()
    for line in sys.stdin:
        out.write(b"".join(_SAMPLE.pack(*sample) for sample in way.wait(*map(int, line.split()))))
        out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
