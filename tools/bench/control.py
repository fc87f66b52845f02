"""How punctual a control loop is, what its plan costs, and how soon a killed one is replaced.

    actorctl bench control [--quick] [--json] [--fifo-priority N] [--affinity CORE ...]
    actorctl bench control --only lateness --hz 100 --ticks 3000 --runs 5

Lateness: each way of waiting does the same work at the same rate, in a process and a session of its
own as the supervisor starts a control loop; idle, and with a process on each core that never rests.
Up to 100 Hz all ways run at once, each at its own part of the period; at higher rates in turns.
Those of cyclictest, which chooses its instants itself, have turns without the others. A witness
sleeps beside. On an idle machine, wake-ups during which it overslept by more than 2 ms are the
machine's, and left out of all figures but `raw_max`; not so of cyclictest, which does not say when
it woke up.

With --runs the lateness is measured so often, idle and busy in turns; `p99_by_run` is each run's
p99, in order, and `p99_quartiles` their spread. --hz 100 --ticks 3000 --runs 5 takes 5 minutes, or
10 with cyclictest.

`floor/sleep` only sleeps to each instant, by the ordinary scheduler, `floor/sleep-fifo` under
SCHED_FIFO; `floor/cyclictest` and `floor/cyclictest-fifo` are those of rt-tests, if installed.
`peer/relative-sleep` waits as LeRobot's and openpi's loops do, `peer/sleep-spin-1ms` as UMI's.
`holdfast/clock-timing`, with --fifo-priority or --affinity, is our clock with a robot's `timing` of
that name.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from ...actors.control.config import TimingSettings
from . import figures
from .lateness import NAMES, measure
from .plan_cost import costs
from .takeover import gaps
from .waiting_loop import WaitingLoop

RATES_HZ = (30, 100, 500, 1000)


def main() -> int:
    parser = figures.parser("control", __doc__, "fewer of all")
    parser.add_argument("--only", choices=["lateness", "cost", "takeover"], help="one part")
    parser.add_argument("--fifo-priority", type=int, metavar="N", help="SCHED_FIFO, 1 to 99")
    parser.add_argument("--affinity", type=int, nargs="+", metavar="CORE", help="the loop's cores")
    parser.add_argument("--hz", nargs="+", type=figures.count, default=RATES_HZ, help="the rates")
    parser.add_argument("--ticks", type=figures.count, help="of each rate, a run (10 s of them)")
    parser.add_argument("--runs", type=figures.count, default=1, help="of the lateness (1)")
    parser.add_argument("--ways", nargs="+", choices=NAMES, help="of waiting: these alone")
    options = parser.parse_args()
    timing = TimingSettings(
        affinity=tuple(options.affinity) if options.affinity else None,
        fifo_priority=options.fifo_priority,
    )
    if why := refused(timing):
        parser.error(why)
    rows: list[dict[str, Any]] = []
    about = figures.machine()
    if options.only in (None, "lateness"):
        run_s = 0.5 if options.quick else 10.0
        rates = [(hz, options.ticks or round(hz * run_s)) for hz in options.hz]
        rows += measure(rates, options.runs, timing, options.ways or NAMES)
    if options.only in (None, "cost"):
        rows += costs(300 if options.quick else 5000)
    if options.only in (None, "takeover"):
        for spare, name in ((True, "spare"), (False, "cold")):
            found = gaps(3 if options.quick else 50, spare)
            rows.append(figures.row(f"holdfast/kill-to-command-{name}", found, "ms"))
    report = {"bench": "control", "machine": about, "rows": rows}
    print(json.dumps(report) if options.json else figures.text(report))
    return 0


def refused(timing: TimingSettings) -> str:
    """Why this machine does not give a loop that `timing`; empty if it does."""
    with closing(WaitingLoop("holdfast/clock-timing", timing)) as loop:
        return loop.refused


if __name__ == "__main__":
    figures.run(main)
