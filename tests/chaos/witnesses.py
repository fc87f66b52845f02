"""Which of a control loop's missed ticks the machine explains, by witnesses outside the fleet.

The fleet's own witness is one of the victims of these tests. Here one process per core does nothing
but sleep `NAP_NS` on its core and write down when it overslept. Where a core is busy, a witness is
woken before others that wait for it: the loop's own wait for a processor, as the kernel counts it,
counts too. A miss is excused as far as both reach: what is left of its lateness must be less than a
period, or it is the loop's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from holdfast.actors.control.missed_ticks import Pause, unexplained, wait_until_run
from holdfast.actors.control.tick_log import TickRecord

NAP_NS = 5_000_000
CORES = 8

WITNESS = """
import os, select, sys, time
core, nap_ns = int(sys.argv[1]), int(sys.argv[2])
due_ns = time.monotonic_ns() + nap_ns
os.sched_setaffinity(0, {core})  # before the first nap, which is due already
os.write(1, b"%d %d\\n" % (due_ns, due_ns))  # a pause of no length: it watches from now on
ended = False
while not ended:
    ended = bool(select.select([0], [], [], max(due_ns - time.monotonic_ns(), 0) / 1e9)[0])
    now_ns = time.monotonic_ns()
    if now_ns - due_ns >= nap_ns // 4:
        os.write(1, b"%d %d\\n" % (due_ns, now_ns))
    due_ns = now_ns + nap_ns
"""


class Witnesses:
    """One process on each of the first `CORES` cores, from here to `end`."""

    def __init__(self, directory: Path) -> None:
        self._files = []
        self._processes = []
        for core in sorted(os.sched_getaffinity(0))[:CORES]:
            path = directory / f"witness-{core}.txt"
            with path.open("wb") as file:
                command = [sys.executable, "-S", "-c", WITNESS, str(core), str(NAP_NS)]
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file)
            self._files.append(path)
            self._processes.append(process)

    def end(self) -> list[Pause]:
        """Stop them, each after its last line; the pauses that any of them saw."""
        codes = []
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            codes.append(process.wait(60))
        assert not any(codes), f"witnesses ended with {codes}"
        said = [line.split() for path in self._files for line in path.read_text().splitlines()]
        return [(int(start), int(end)) for start, end in said]

    def close(self) -> None:
        """End those that still run, for a test that failed before `end`."""
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


class Miss(NamedTuple):
    """`ticks` grid points without a tick: what was due at `due_ns` came, or came to its end, only
    at `until_ns`, until when the loop had waited for a processor in `wait`."""

    due_ns: int
    until_ns: int
    ticks: int
    wait: Pause


def misses(ticks: Sequence[TickRecord], period_ns: int) -> list[Miss]:
    """The holes in the grid of logged ticks."""
    found = []
    for tick, following in pairwise(ticks):
        due, next_due = (t.instant_ns - t.lateness_ns for t in (tick, following))
        missing = round((next_due - due) / period_ns) - 1
        if missing > 0:
            late = tick.lateness_ns // period_ns == missing
            ended = tick if late else following
            wait = wait_until_run(ended.instant_ns, ended.waited_ns)
            found.append(Miss(due, tick.instant_ns if late else next_due, missing, wait))
    return found


class Disturbance(NamedTuple):
    """What was done to the fleet, from the signal to `victim` until all was well again."""

    victim: str
    from_ns: int
    until_ns: int


def harmed(
    robot: str,
    ticks: Sequence[TickRecord],
    period_ns: int,
    disturbances: Sequence[Disturbance],
    pauses: Sequence[Pause],
) -> list[str]:
    """Every miss of `robot` that neither the machine's pauses nor its wait for a processor explain,
    but for those of a control loop that was itself the victim."""
    found = []
    for miss in misses(ticks, period_ns):
        meanwhile = [d.victim for d in disturbances if d.from_ns < miss.until_ns <= d.until_ns]
        own = f"{robot}/control" in meanwhile
        due, until = miss.due_ns, miss.until_ns
        if not own and unexplained(due, until, [*pauses, miss.wait], period_ns):
            late_ms, waited_ms = (round((b - a) / 1e6, 1) for a, b in ((due, until), miss.wait))
            near = [(a - due, b - due) for a, b in sorted(pauses) if a < until and b > due]
            found.append(
                f"{robot} missed {miss.ticks} ticks, disturbed: {meanwhile}; {late_ms} ms late, of "
                f"which it waited {waited_ms} ms for a processor; pauses (ns from its due): {near}"
            )
    return found
