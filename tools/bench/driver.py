"""What a robot's blocking bus costs the control loop, with the driver in a process of its own and
in the loop.

    actorctl bench driver [--quick] [--json]

Both at the same time, each with an arm of its own whose transactions block for 3 to 8 ms, on the
average once in 3 s for 50 ms, and now and then raise OSError, at 50 Hz:

- `holdfast`: a fleet as `supervisor start` runs it, with a policy that holds.
- `peer/one-loop`: read, act, write, sleep for the rest of the period, in one loop, as LeRobot's
  record loop and openpi's runtime do. It goes on after an OSError, and its policy takes no time.

`ticks` and `writes`: how far the time between two ticks, or two calls of `write_action`, is from
the period. A tick is missed when it begins a period late or more; what is left out of `missed`
because of the pauses that the fleet's witness saw is `machine`, for both alike. `tick-to-write` is
from the wake-up of a tick to the call of `write_action` with its command, `-idle-bus` of those
ticks that found the bus idle.
`superseded` commands were replaced by newer ones while the bus was busy.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import select
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...actors.control.missed_ticks import Pause, pauses_in, unexplained
from ...actors.control.plan_memory import PLAN_BYTES
from ...actors.control.tick_log import TickReader, TickRecord
from ...actors.embedding.embedded_fleet import Fleet
from ...actors.runtime.runtime_dir import SOCKET, runtime_base
from ...actors.supervision.control_socket import attach
from ...policy.base import PolicySpec
from ...policy.synthetic import write_spec
from ...transport.seqlock import SteadyReader
from . import figures
from .rough_bus import JOINTS, RoughArm, Transaction, transactions

HZ = 50.0
PERIOD_NS = round(1e9 / HZ)
POLL_S = 0.25
SETTLE_S = 1.5
"""The witness publishes a pause when it is over."""


def main() -> int:
    parser = figures.parser("driver", __doc__, "for 6 s")
    parser.add_argument("--seconds", type=figures.count, default=60, help="60 unless said")
    parser.add_argument("--loop", metavar="JOURNAL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop is not None:
        one_loop(options.loop)
        return 0
    about = figures.machine()
    rows = measure(6.0 if options.quick else float(options.seconds))
    report = {"bench": "driver", "machine": about, "rows": rows}
    print(json.dumps(report) if options.json else figures.text(report))
    return 0


def measure(seconds: float) -> list[dict[str, Any]]:
    """The rows of both, which run for `seconds`."""
    with tempfile.TemporaryDirectory(prefix="hf-") as name:
        directory = Path(name)
        os.environ.update(HOLDFAST_RUNTIME=f"{name}/r", HOLDFAST_STATE=f"{name}/s")
        journal, other = directory / "journal", directory / "other"
        with Fleet(fleet_file(directory, journal)) as fleet:
            fleet.wait()
            with beside(other):
                watch = Watch(runtime_base() / fleet.name / SOCKET)
                until_s = time.monotonic() + seconds
                while time.monotonic() < until_s:
                    time.sleep(POLL_S)
                    watch.look()
            ticks = list(watch.ticks)
            time.sleep(SETTLE_S)
            watch.look()
        pauses = sorted(watch.pauses)
        rows = driver_rows(ticks, transactions(journal), pauses)
        return rows + loop_rows(transactions(other), pauses)


class Watch:
    """Reads a running fleet's shared memory: each tick of control, and each of the machine's pauses
    that its witness saw."""

    def __init__(self, socket: Path) -> None:
        plan = memoryview(mapped(socket, "arm/plan"))
        self._log = TickReader(plan[PLAN_BYTES:], len(JOINTS), len(JOINTS))
        self._witness = SteadyReader(mapped(socket, "witness/pauses"))
        self.ticks: list[TickRecord] = []
        self.pauses: set[Pause] = set()

    def look(self) -> None:
        """Read what is new, at least every few seconds."""
        self.ticks += self._log.read()
        self.pauses.update(pauses_in(self._witness.read()))


def mapped(socket: Path, name: str) -> mmap.mmap:
    fd, size = attach(socket, name)
    try:
        return mmap.mmap(fd, size, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


def driver_rows(
    ticks: Sequence[TickRecord], done: Sequence[Transaction], pauses: Sequence[Pause]
) -> list[dict[str, Any]]:
    """The rows of control, and of its way to the arm."""
    instants = [tick.instant_ns for tick in ticks]
    commanded = {tick.instant_ns for tick in ticks if tick.command is not None}
    first, last = instants[0], instants[-1] + PERIOD_NS
    busy = [t for t in done if t.ended_ns > first]
    writes = [t.began_ns for t in busy if t.writes and first <= t.began_ns < last]
    began, ended = [t.began_ns for t in busy], [t.ended_ns for t in busy]
    delays: dict[int, float] = {}
    idle: dict[int, float] = {}
    for write_ns in writes:
        tick_ns = instants[bisect_right(instants, write_ns) - 1]
        if tick_ns not in commanded or tick_ns in delays:
            continue
        delays[tick_ns] = (write_ns - tick_ns) / 1e6
        place = bisect_right(began, tick_ns) - 1
        if place < 0 or ended[place] <= tick_ns:
            idle[tick_ns] = delays[tick_ns]
    lost = len(commanded) - len(delays)
    missed = _missed([(t.instant_ns - t.lateness_ns, t.instant_ns) for t in ticks], pauses)
    return [
        figures.row("holdfast/ticks", _off(instants), "ms", **missed),
        figures.row("holdfast/tick-to-write", [*delays.values()], "ms", superseded=lost),
        figures.row("holdfast/tick-to-write-idle-bus", [*idle.values()], "ms"),
        figures.row("holdfast/writes", _off(writes), "ms"),
    ]


def loop_rows(done: Sequence[Transaction], pauses: Sequence[Pause]) -> list[dict[str, Any]]:
    """The rows of the loop that calls its driver by itself: each of its ticks begins with a read of
    the state."""
    starts = [t.began_ns for t in done if not t.writes]
    missed = _missed([(before + PERIOD_NS, start) for before, start in pairwise(starts)], pauses)
    writes = [t.began_ns for t in done if t.writes]
    return [
        figures.row("peer/one-loop/ticks", _off(starts), "ms", **missed),
        figures.row("peer/one-loop/writes", _off(writes), "ms"),
    ]


def _missed(begun: Sequence[tuple[int, int]], pauses: Sequence[Pause]) -> dict[str, int]:
    """The ticks that were missed, and whose they are, of a loop that `begun` each of the others at
    the second of these instants where it was due at the first."""
    missed = {"missed": 0, "machine": 0}
    for due_ns, began_ns in begun:
        own = unexplained(due_ns, began_ns, pauses, PERIOD_NS)
        missed["missed" if own else "machine"] += max(0, began_ns - due_ns) // PERIOD_NS
    return missed


def _off(instants: Sequence[int]) -> list[float]:
    """How far each is from a period after the one before, in ms."""
    return list(np.abs(np.diff(instants) - PERIOD_NS) / 1e6)


@contextmanager
def beside(journal: Path) -> Iterator[None]:
    """The loop of the peers in a process of its own, from its first tick on."""
    argv = [sys.executable, "-m", "holdfast.tools.bench.driver", "--loop", str(journal)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE)
    assert process.stdin is not None
    try:
        while not journal.exists():
            if process.poll() is not None:
                raise SystemExit("the loop beside the fleet ended")
            time.sleep(0.01)
        yield
    finally:
        process.stdin.close()
        process.wait(10)


def one_loop(journal: str) -> None:
    """Read, act, write, sleep for the rest of the period, until stdin closes."""
    arm = RoughArm(journal, seed=8)
    state = np.zeros(len(JOINTS), np.float32)
    while not select.select([sys.stdin], [], [], 0)[0]:
        start_ns = time.monotonic_ns()
        with suppress(OSError):
            arm.read_state(state)
            arm.write_action(state)
        rest_ns = PERIOD_NS - (time.monotonic_ns() - start_ns)
        if rest_ns > 0:
            time.sleep(rest_ns / 1e9)


def fleet_file(directory: Path, journal: Path) -> Path:
    """A fleet file in `directory`: one `RoughArm` with that journal, and a policy that holds it."""
    spec = PolicySpec(
        model="hold",
        revision="1",
        cameras=(),
        state_names=JOINTS,
        action_names=JOINTS,
        chunk_size=60,
        fps=HZ,
    )
    write_spec(directory / "hold", spec)
    arm = {
        "name": "arm",
        "driver": f"{RoughArm.__module__}:{RoughArm.__name__}",
        "options": {"journal": str(journal)},
        "service": "hold",
        "fps": HZ,
    }
    fleet = {
        "name": "bench",
        "services": {"hold": {"policy": "constant", "checkpoint": "hold"}},
        "robots": [arm],
        "gateway": {"enabled": False},
    }
    path = directory / "fleet.yaml"
    path.write_bytes(msgspec.json.encode(fleet))  # JSON is YAML
    return path


if __name__ == "__main__":
    figures.run(main)
