"""How punctual a control loop is, what its plan costs, and how soon a killed one is replaced.

    actorctl bench control [--quick] [--json] [--fifo-priority N] [--affinity CORE ...]
    actorctl bench control --only lateness --hz 100 --ticks 3000 --runs 5

Lateness: each way of waiting runs the same work at the same rate, in turns of a few hundred ticks
so that all meet the same machine; idle, and with both cores busy. A wake-up is late against what
its own loop aimed at: an absolute grid point, or `period` after the iteration began, where the
peers aim. A witness sleeps beside in its own process. On an idle machine, wake-ups during which it
overslept by more than 2 ms are the machine's, and left out of all figures but `raw_max`.

With --runs the lateness is measured so often; `p99_by_run` is each run's p99, in order, and
`p99_quartiles` their spread.

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
from typing import Any, NamedTuple

import numpy as np

from ...actors.control import realtime
from ...actors.control.clock import TickClock
from ...actors.control.config import TimingSettings
from ...actors.control.spin import SpinWindow
from ...actors.runtime.wakefulness import set_slice, set_timer_slack
from . import figures
from .plan_cost import costs
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
    parser.add_argument("--hz", nargs="+", type=figures.count, default=RATES_HZ, help="the rates")
    parser.add_argument("--ticks", type=figures.count, help="of each rate, a run (10 s of them)")
    parser.add_argument("--runs", type=figures.count, default=1, help="of the lateness (1)")
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
            for hz in options.hz:
                ticks = options.ticks or round(hz * (0.5 if options.quick else 10.0))
                rows += lateness(hz, busy, ticks, options.runs)
    if options.only in (None, "cost"):
        rows += costs(300 if options.quick else 5000)
    if options.only in (None, "takeover"):
        for spare, name in ((True, "spare"), (False, "cold")):
            found = gaps(3 if options.quick else 50, spare)
            rows.append(figures.row(f"holdfast/kill-to-command-{name}", found, "ms"))
    report = {"bench": "control", "machine": about, "rows": rows}
    print(json.dumps(report) if options.json else figures.text(report))
    return 0


def lateness(hz: int, busy: bool, ticks: int, runs: int) -> list[dict[str, Any]]:
    """One row for each way of waiting, at `hz`, of so many ticks in each of the runs."""
    found: defaultdict[str, list[Lateness]] = defaultdict(list)
    for _ in range(runs):
        for name, late in _run(10**9 // hz, busy, ticks).items():
            found[name].append(late)
    condition = "busy" if busy else "idle"
    return [_lateness_row(f"{name}-{hz}hz-{condition}", each) for name, each in found.items()]


class Lateness(NamedTuple):
    """Of a run, µs: `own` without the wake-ups that were the machine's, and the greatest of all."""

    own: list[float]
    raw_max: float
    machine: int


def _run(period_ns: int, busy: bool, ticks: int) -> dict[str, Lateness]:
    turns = max(1, min(10, ticks // 30))
    found: defaultdict[str, Samples] = defaultdict(list)
    gc.collect()
    gc.disable()
    with beside(busy) as pauses:
        for _ in range(turns):
            for name, way in WAYS.items():
                found[name] += way(period_ns, max(5, round(ticks / turns)))
        machine = pauses()
    gc.enable()
    return {name: _lateness(samples, [] if busy else machine) for name, samples in found.items()}


def _lateness(samples: Samples, machine: list[tuple[int, int]]) -> Lateness:
    edges = np.array(machine or [(0, 0)])
    own = [
        late_ns / 1e3
        for due_ns, late_ns in samples
        if not ((edges[:, 0] <= due_ns + late_ns) & (edges[:, 1] >= due_ns)).any()
    ]
    raw_max = round(max(late_ns for _, late_ns in samples) / 1e3, 1)
    return Lateness(own, raw_max, len(samples) - len(own))


def _lateness_row(case: str, runs: list[Lateness]) -> dict[str, Any]:
    more: dict[str, Any] = {
        "raw_max": max(run.raw_max for run in runs),
        "machine": sum(run.machine for run in runs),
    }
    if len(runs) > 1:
        p99 = [float(np.percentile(run.own, 99, method="higher")) for run in runs if run.own]
        more["p99_by_run"] = [round(value, 1) for value in p99]
        more["p99_quartiles"] = [round(float(v), 1) for v in np.percentile(p99, (25, 50, 75))]
    return figures.row(case, [late for run in runs for late in run.own], "us", **more)


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


if __name__ == "__main__":
    figures.run(main)
