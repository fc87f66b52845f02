"""How late loops wake up: each way of waiting at a rate, idle and with every core busy, in turns.

All ways run at once where the period has SLOT_NS for each of them, spread evenly over it, so that
they meet the same machine; at higher rates one after the other. cyclictest wakes at instants of its
own, which may be those of any other way: it has turns without these. A wake-up is late against what
its own loop aimed at: an absolute grid point, or `period` after the iteration began, where the
peers aim.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import numpy as np

from ...actors.control.config import TimingSettings
from . import figures
from .cyclictest import Cyclictest
from .machine_load import Pauses, beside
from .waiting_loop import WAYS, Samples, WaitingLoop

SLOT_NS = 1_100_000
"""What one way may take of a period: the peer that spins for 1 ms takes the most."""
FIFO_PRIORITY = 50
_LEAD_NS = 50_000_000
_TURNS = 10
_TIMED = "holdfast/clock-timing"
_CYCLICTEST = "floor/cyclictest"
NAMES = (*WAYS, _CYCLICTEST, f"{_CYCLICTEST}-fifo")

Loops = Mapping[str, WaitingLoop | Cyclictest]


class Lateness(NamedTuple):
    """Of a run, µs: `own` without the wake-ups that were the machine's, and the greatest of all."""

    own: list[float]
    raw_max: float
    machine: int


def measure(
    rates: Iterable[tuple[int, int]],
    runs: int,
    timing: TimingSettings,
    names: Sequence[str] = NAMES,
) -> list[dict[str, Any]]:
    """One row for each way of waiting of `names`, rate and condition; `rates` are pairs of Hz and
    the ticks of a run. A way that the machine does not offer has a row that says why. `timing` is
    that of `holdfast/clock-timing`, which is left out where it asks for nothing."""
    if timing == TimingSettings():
        names = [name for name in names if name != _TIMED]
    with ExitStack() as stack:
        every = {name: stack.enter_context(closing(_loop(name, timing))) for name in names}
        loops = {name: loop for name, loop in every.items() if not loop.refused}
        rows = [row for hz, ticks in rates for row in _rows(loops, hz, ticks, runs)]
    return rows + [
        figures.row(name, [], "us", why=loop.refused)
        for name, loop in every.items()
        if loop.refused
    ]


def _loop(name: str, timing: TimingSettings) -> WaitingLoop | Cyclictest:
    priority = FIFO_PRIORITY if name.endswith("-fifo") else None
    if name.startswith(_CYCLICTEST):
        return Cyclictest(priority)
    return WaitingLoop(name, timing if name == _TIMED else TimingSettings(fifo_priority=priority))


def _rows(loops: Loops, hz: int, ticks: int, runs: int) -> list[dict[str, Any]]:
    found: defaultdict[str, list[Lateness]] = defaultdict(list)
    for _ in range(runs):
        for condition in ("idle", "busy"):
            for name, late in _run(loops, 10**9 // hz, condition == "busy", ticks).items():
                found[f"{name}-{hz}hz-{condition}"].append(late)
    idle_first = sorted(found, key=lambda case: case.endswith("busy"))
    return [lateness_row(case, found[case]) for case in idle_first]


def _run(loops: Loops, period_ns: int, busy: bool, ticks: int) -> dict[str, Lateness]:
    groups = groups_of(list(loops), period_ns)
    turns = 1 if len(groups) == 1 else max(1, min(_TURNS, ticks // 30))
    found: defaultdict[str, Samples] = defaultdict(list)
    with beside(busy) as pauses:
        for _ in range(turns):
            for group in groups:
                start_ns = time.monotonic_ns() + _LEAD_NS
                for place, name in enumerate(group):
                    first_ns = start_ns + place * period_ns // len(group)
                    loops[name].begin(period_ns, max(5, round(ticks / turns)), first_ns)
                for name in group:
                    found[name] += loops[name].samples()
        machine = pauses()
    return {name: _lateness(samples, [] if busy else machine) for name, samples in found.items()}


def groups_of(names: Sequence[str], period_ns: int) -> list[list[str]]:
    """Which ways run at once. Those of cyclictest, which only sleep, are the last group."""
    own = [name for name in names if name.startswith(_CYCLICTEST)]
    placed = [name for name in names if name not in own]
    at_once = max(1, period_ns // SLOT_NS)
    groups = [placed[first : first + at_once] for first in range(0, len(placed), at_once)]
    return [*groups, own] if own else groups


def _lateness(samples: Samples, machine: Pauses) -> Lateness:
    edges = np.array(machine, np.int64).reshape(-1, 2)
    own = [
        late_ns / 1e3
        for due_ns, late_ns in samples
        if not ((edges[:, 0] <= due_ns + late_ns) & (edges[:, 1] >= due_ns)).any()
    ]
    raw_max = round(max(late_ns for _, late_ns in samples) / 1e3, 1)
    return Lateness(own, raw_max, len(samples) - len(own))


def lateness_row(case: str, runs: list[Lateness]) -> dict[str, Any]:
    """The row of all runs of a case, with the spread of their 99th percentiles."""
    more: dict[str, Any] = {
        "raw_max": max(run.raw_max for run in runs),
        "machine": sum(run.machine for run in runs),
    }
    p99 = [float(np.percentile(run.own, 99, method="higher")) for run in runs if run.own]
    if len(p99) > 1:
        more["p99_by_run"] = [round(value, 1) for value in p99]
        more["p99_quartiles"] = [round(float(v), 1) for v in np.percentile(p99, (25, 50, 75))]
    return figures.row(case, [late for run in runs for late in run.own], "us", **more)
