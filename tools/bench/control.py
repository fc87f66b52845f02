"""How punctual a control loop is, what its plan costs, and how soon a killed one is replaced.

    actorctl bench control [--quick] [--json] [--fifo-priority N] [--affinity CORE ...]

Lateness: each way of waiting runs the same work at the same rate, in turns of a few hundred ticks
so that all meet the same machine; idle, and with both cores busy. A wake-up is late against what
its own loop aimed at: an absolute grid point, or `period` after the iteration began, where the
peers aim. A witness sleeps beside in its own process. On an idle machine, wake-ups during which it
overslept by more than 2 ms are the machine's, and left out of all figures but `raw_max`.

`peer/relative-sleep` waits as LeRobot's and openpi's loops do, `peer/sleep-spin-1ms` as UMI's.
`holdfast/clock-timing`, with --fifo-priority or --affinity, is our clock with a robot's `timing` of
that name.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...actors.control import realtime
from ...actors.control.buffer import ChunkBuffer
from ...actors.control.clock import TickClock
from ...actors.control.config import TimingSettings
from ...actors.control.plan import MergeRule
from ...actors.control.plan_memory import PlanMemory
from ...actors.control.spin import SpinWindow
from ...actors.runtime.wakefulness import set_slice, set_timer_slack
from . import figures
from .takeover import gaps

RATES_HZ = (30, 100, 500, 1000)
WORK_NS = 200_000
"""Of each tick: what reading a state, popping an action and writing it cost."""
PAUSE_NS = 2_000_000
DEFAULT_SLACK_NS = 50_000
DEFAULT_SLICE_NS = 0
"""Means: whatever the kernel gives to those who ask for nothing."""

Samples = list[tuple[int, int]]
"""(when the wake-up was due, how late it was), ns."""


def main() -> int:
    parser = figures.parser("control", __doc__, "fewer of all")
    parser.add_argument("--only", choices=["lateness", "cost", "takeover"], help="one part")
    parser.add_argument("--fifo-priority", type=int, metavar="N", help="SCHED_FIFO, 1 to 99")
    parser.add_argument("--affinity", type=int, nargs="+", metavar="CORE", help="the loop's cores")
    parser.add_argument("--role", choices=["burn", "witness"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "burn":
        while True:
            pass
    if options.role == "witness":
        witness()
    settings = TimingSettings(
        affinity=tuple(options.affinity) if options.affinity else None,
        fifo_priority=options.fifo_priority,
    )
    if settings != TimingSettings():
        with timing(settings) as refused:
            if refused:
                parser.error(refused)
        WAYS["holdfast/clock-timing"] = with_timing(settings)
    rows: list[dict[str, Any]] = []
    about = figures.machine()
    if options.only in (None, "lateness"):
        for busy in (False, True):
            for hz in RATES_HZ:
                rows += lateness(hz, busy, seconds=0.5 if options.quick else 10.0)
    if options.only in (None, "cost"):
        rows += costs(300 if options.quick else 5000)
    if options.only in (None, "takeover"):
        for spare, name in ((True, "spare"), (False, "cold")):
            found = gaps(3 if options.quick else 50, spare)
            rows.append(figures.row(f"holdfast/kill-to-command-{name}", found, "ms"))
    report = {"bench": "control", "machine": about, "rows": rows}
    print(json.dumps(report) if options.json else figures.text(report))
    return 0


def lateness(hz: int, busy: bool, seconds: float) -> list[dict[str, Any]]:
    """One row for each way of waiting, at `hz`, for `seconds` each."""
    period_ns = 10**9 // hz
    turns = 3 if seconds < 2 else 10
    ticks = max(5, round(seconds * hz / turns))
    found: defaultdict[str, Samples] = defaultdict(list)
    gc.collect()
    gc.disable()
    with beside(busy) as pauses:
        for _ in range(turns):
            for name, way in WAYS.items():
                found[name] += way(period_ns, ticks)
        machine = pauses()
    gc.enable()
    condition = "busy" if busy else "idle"
    return [
        _lateness_row(f"{name}-{hz}hz-{condition}", samples, [] if busy else machine)
        for name, samples in found.items()
    ]


def _lateness_row(case: str, samples: Samples, machine: list[tuple[int, int]]) -> dict[str, Any]:
    edges = np.array(machine or [(0, 0)])
    own = [
        late_ns / 1e3
        for due_ns, late_ns in samples
        if not ((edges[:, 0] <= due_ns + late_ns) & (edges[:, 1] >= due_ns)).any()
    ]
    raw_max = round(max(late_ns for _, late_ns in samples) / 1e3, 1)
    return figures.row(case, own, "us", raw_max=raw_max, machine=len(samples) - len(own))


def grid(period_ns: int, ticks: int, spin: bool = True) -> Samples:
    """Our clock."""
    set_timer_slack(1)
    set_slice()
    clock = TickClock(period_ns, time.monotonic_ns() + period_ns, spin)
    if spin:
        clock.window = _learnt.setdefault(period_ns, clock.window)
    samples: Samples = []
    for _ in range(ticks):
        late_ns = clock.wait()
        samples.append((clock.deadline_ns, late_ns))
        clock.advance(late_ns)
        work()
    return samples


_learnt: dict[int, SpinWindow | None] = {}
"""A loop that runs for hours has learnt its window; turns must not begin anew each time."""


@contextmanager
def timing(settings: TimingSettings) -> Iterator[str]:
    """This process with a robot's `timing`; the value says why what is asked for did not take."""
    cores = os.sched_getaffinity(0)
    took = realtime.take(settings)
    answers = took["affinity"], took["fifo"]
    try:
        yield "; ".join(why for why in answers if why not in (realtime.TOOK, realtime.OFF))
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, cores)


def with_timing(settings: TimingSettings) -> Callable[[int, int], Samples]:
    """Our clock with a robot's `timing`."""

    def way(period_ns: int, ticks: int) -> Samples:
        with timing(settings):
            return grid(period_ns, ticks)

    return way


def relative_sleep(period_ns: int, ticks: int) -> Samples:
    """`time.sleep(period - elapsed)`."""
    set_timer_slack(DEFAULT_SLACK_NS)
    set_slice(DEFAULT_SLICE_NS)
    samples: Samples = []
    start_ns = time.monotonic_ns()
    for _ in range(ticks):
        work()
        due_ns = start_ns + period_ns
        rest_ns = due_ns - time.monotonic_ns()
        if rest_ns > 0:
            time.sleep(rest_ns / 1e9)
        start_ns = time.monotonic_ns()
        samples.append((due_ns, max(start_ns - due_ns, 0)))
    return samples


def sleep_spin(period_ns: int, ticks: int) -> Samples:
    """Absolute deadlines; sleep to 1 ms before each, then spin."""
    set_timer_slack(DEFAULT_SLACK_NS)
    set_slice(DEFAULT_SLICE_NS)
    samples: Samples = []
    due_ns = time.monotonic_ns() + period_ns
    for _ in range(ticks):
        rest_ns = due_ns - time.monotonic_ns() - 1_000_000
        if rest_ns > 0:
            time.sleep(rest_ns / 1e9)
        while (now_ns := time.monotonic_ns()) < due_ns:
            pass
        samples.append((due_ns, now_ns - due_ns))
        work()
        due_ns += period_ns
        now_ns = time.monotonic_ns()
        if now_ns > due_ns:
            due_ns += (now_ns - due_ns) // period_ns * period_ns
    return samples


WAYS: dict[str, Callable[[int, int], Samples]] = {
    "holdfast/clock": grid,
    "holdfast/clock-no-spin": lambda period_ns, ticks: grid(period_ns, ticks, spin=False),
    "peer/relative-sleep": relative_sleep,
    "peer/sleep-spin-1ms": sleep_spin,
}


def work() -> None:
    end_ns = time.monotonic_ns() + WORK_NS
    while time.monotonic_ns() < end_ns:
        pass


@contextmanager
def beside(busy: bool) -> Iterator[Callable[[], list[tuple[int, int]]]]:
    """A witness, and a process on each core that never rests if `busy`. The value, when called,
    ends the witness and gives the intervals in which it overslept."""
    argv = [sys.executable, "-m", "holdfast.tools.bench.control", "--role"]
    burning = [subprocess.Popen([*argv, "burn"]) for _ in range(2 if busy else 0)]
    looking = subprocess.Popen([*argv, "witness"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert looking.stdout is not None
    looking.stdout.read(1)  # it runs

    def pauses() -> list[tuple[int, int]]:
        out, _ = looking.communicate(b"\n", timeout=10)
        return list(struct.iter_unpack("=2q", out))

    try:
        time.sleep(0.5 if busy else 0)  # the burners' interpreters have started
        yield pauses
    finally:
        for process in (*burning, looking):
            process.kill()
            process.wait()


def witness() -> None:
    """A bare sleeping loop at 100 Hz; what it oversleeps goes to stdout once stdin has a line."""
    import select

    sys.stdout.buffer.write(b".")
    sys.stdout.buffer.flush()
    found: list[tuple[int, int]] = []
    due_ns = time.monotonic_ns() + 10_000_000
    while not select.select([sys.stdin], [], [], 0)[0]:
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        now_ns = time.monotonic_ns()
        if now_ns - due_ns > PAUSE_NS:
            found.append((due_ns, now_ns))
        due_ns = max(due_ns, now_ns) + 10_000_000
    sys.stdout.buffer.write(b"".join(struct.pack("=2q", *pause) for pause in found))
    sys.exit(0)


def costs(rounds: int) -> list[dict[str, Any]]:
    """One pop, merge and snapshot of a plan of 50 steps of 14 joints."""
    buffer = ChunkBuffer(PlanMemory.private("bench", 14), 10**18)
    chunk = np.random.default_rng(0).standard_normal((50, 14), np.float32)
    took: defaultdict[str, list[float]] = defaultdict(list)
    rules = {"merge-replace": MergeRule(), "merge-blend": MergeRule("blend")}
    for _ in range(rounds):
        for name, rule in rules.items():
            now_ns = time.monotonic_ns()
            asked = buffer.snapshot(1, now_ns, 0, now_ns)
            took["snapshot"].append(_since(now_ns))
            for _ in range(5):
                now_ns = time.monotonic_ns()
                buffer.pop(now_ns)
                took["pop"].append(_since(now_ns))
            now_ns = time.monotonic_ns()
            buffer.claim(asked.seq, asked.episode, 1)
            buffer.merge(chunk, chunk, asked, rule, step=0, now_ns=now_ns)
            took[name].append(_since(now_ns))
    return [figures.row(f"holdfast/{name}", values, "us") for name, values in took.items()]


def _since(ns: int) -> float:
    return (time.monotonic_ns() - ns) / 1e3


if __name__ == "__main__":
    figures.run(main)
