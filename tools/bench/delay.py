"""Success against inference delay, by the way in which a chunk joins the plan.

    actorctl bench delay [--quick] [--json] [--plot FILE]

The shipped policies do the simulated task while each chunk arrives a given number of ticks after
its observation. The plan is the control actor's own (`ChunkBuffer`), the cell never waits, and
the next chunk is asked for as the control actor asks. Every method meets the same seeded episodes.

    sync      ask when the plan is played out, and hold until the answer comes
    append    naive async: the chunk is played after what is left of the plan, late
    consumed  replace the plan; trim what was played meanwhile
    time      replace the plan; trim the ticks that passed (for moving scenes)
    guided    as time, and the chunk is guided to continue the plan while it is denoised (RTC), with
              the gradient through the network or with an identity for its Jacobian
    trained   as time, and the policy learned in training to continue a plan (training-time RTC)
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...actors.control.buffer import ChunkBuffer
from ...actors.control.config import MergeMode, Trim
from ...actors.control.plan import MergeRule, Snapshot
from ...actors.control.plan_memory import SEGMENT_BYTES, PlanMemory
from ...policy.base import Chunk, ChunkPolicy, Observation
from ...policy.checkpoint import read_config
from ...policy.kinds import load_policy
from ...robot.sim import CONTROL_HZ
from ...robot.sim.cell import ConveyorCell
from ...robot.sim.task import Outcome
from ..training.evaluate import EPISODES_PER_CELL, Success, look, one_core
from . import figures

DT_NS = round(1e9 / CONTROL_HZ)
BUFFER_STEPS = CONTROL_HZ // 2
"""A chunk is asked for when less of the plan is left: buffer_time_s of 0.5."""

SPARE_STEPS = 3
"""With more delay than that, so early that an answer comes with this much left, as a person sets
buffer_time_s for a slow policy."""

MAX_AGE_NS = 3_000_000_000
ACTIONS = 5


@dataclass(frozen=True)
class Method:
    """One way to live with delay."""

    name: str
    merge: MergeMode = "replace"
    trim: Trim = "time"
    prefix: str = "none"
    jacobian: str = "gradient"
    waits: bool = False
    """Ask only when the plan is played out."""

    def policy(self, checkpoint: str) -> ChunkPolicy:
        kind = read_config(checkpoint).kind
        options: dict[str, Any] = {} if kind != "flow" else {"prefix": self.prefix}
        if self.prefix == "guided":
            options["jacobian"] = self.jacobian
        return load_policy(kind, checkpoint, **options)


PLAIN = (
    Method("sync", merge="append", waits=True),
    Method("append", merge="append"),
    Method("consumed", trim="consumed"),
    Method("time"),
)
METHODS = {
    "conveyor-flow": (
        *PLAIN,
        Method("guided-gradient", prefix="guided"),
        Method("guided-identity", prefix="guided", jacobian="identity"),
        Method("trained", prefix="trained"),
    ),
    "conveyor-act": PLAIN,
}


class Loop:
    """One robot with a plan, on one cell, in ticks instead of seconds."""

    def __init__(self, method: Method, policy: ChunkPolicy, seed: int, delay: int) -> None:
        self.method, self.policy, self.delay = method, policy, delay
        self.cell = ConveyorCell(seed)
        self.rule = MergeRule(method.merge, method.trim)
        self.buffer = ChunkBuffer(PlanMemory(mmap(-1, SEGMENT_BYTES), "bench", ACTIONS), MAX_AGE_NS)
        self.tick = 1
        self.requests = 0
        self._flight: tuple[int, Chunk, Snapshot] | None = None

    def episode(self) -> Outcome:
        """Play until the episode ends."""
        episode = self.cell.episode
        self.buffer.reset()
        self._flight = None
        while self.cell.episode == episode:
            self._arrive()
            if self._flight is None and len(self.buffer) <= self._threshold():
                self._ask()
                self._arrive()
            action = self.buffer.pop(self.tick * DT_NS)
            self.cell.step_control(None if action is None else action.robot)
            self.tick += 1
        return self.cell.outcome

    def _threshold(self) -> int:
        return 0 if self.method.waits else max(BUFFER_STEPS, self.delay + SPARE_STEPS)

    def _ask(self) -> None:
        now_ns = self.tick * DT_NS
        snapshot = self.buffer.snapshot(1, now_ns, self.tick, now_ns)
        limit = self.policy.spec.max_prefix_steps
        prefix = snapshot.model[:limit] if self.method.prefix != "none" else snapshot.model[:0]
        self.requests += 1
        observation = Observation(
            state=self.cell.state(),
            images=look(self.policy, self.cell, self.tick),
            task=self.cell.task,
            seed=self.requests,
            prefix=prefix.copy() if len(prefix) else None,
            prefix_robot=snapshot.robot[: len(prefix)].copy() if len(prefix) else None,
            delay_steps=self.delay,
        )
        (chunk,) = self.policy.predict_chunk([observation])
        self._flight = (self.tick + self.delay, chunk, snapshot)

    def _arrive(self) -> None:
        if self._flight is None or self.tick < self._flight[0]:
            return
        _, chunk, asked = self._flight
        self._flight = None
        if self.buffer.claim(asked.seq, asked.episode, asked.epoch) is not None:
            now_ns = self.tick * DT_NS
            self.buffer.merge(
                chunk.model, chunk.robot, asked, self.rule, step=self.tick, now_ns=now_ns
            )


def cell(job: tuple[str, Method, int, int]) -> dict[str, Any]:
    """One cell of the table: `episodes` attempts of one method at one delay."""
    checkpoint, method, delay, episodes = job
    one_core()
    policy = method.policy(checkpoint)
    outcomes: Counter[Outcome] = Counter()
    seed = 0
    while outcomes.total() < episodes:
        loop = Loop(method, policy, seed, delay)
        for _ in range(min(EPISODES_PER_CELL, episodes - outcomes.total())):
            outcomes[loop.episode()] += 1
        seed += 1
    case = f"{checkpoint}/{method.name}/{delay}"
    return {"case": case, "delay_steps": delay, **Success(outcomes).row()}


def rows(delays: list[int], episodes: int, workers: int) -> Iterator[dict[str, Any]]:
    """Every cell, as it is finished."""
    jobs = [
        (checkpoint, method, delay, episodes)
        for delay in delays
        for checkpoint, methods in METHODS.items()
        for method in methods
    ]
    # Spawned: torch does not survive a fork once it has run.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(cell, jobs)


def table(report: dict[str, Any]) -> str:
    """Success in percent with its 95 % interval, a line per method and a column per delay."""
    delays = sorted({row["delay_steps"] for row in report["rows"]})
    found = {row["case"]: row for row in report["rows"]}
    lines = [f"{'delay, ticks':32}" + "".join(f"{delay:>12}" for delay in delays)]
    for checkpoint, methods in METHODS.items():
        for method in methods:
            name = f"{checkpoint}/{method.name}"
            line = f"{name:32}"
            for delay in delays:
                row = found[f"{name}/{delay}"]
                rate = 100 * row["succeeded"] / row["tried"]
                line += f"{rate:5.0f} {100 * row['low']:2.0f}-{100 * row['high']:<3.0f}"
            lines.append(line)
    lines.append(f"{report['episodes']} seeded episodes a cell; 95 % intervals (Wilson)")
    return "\n".join(lines)


def plot(report: dict[str, Any], path: Path) -> None:
    """The same as curves with their intervals. Needs matplotlib (the plots extra)."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display needed
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(METHODS), figsize=(13, 5), sharey=True)
    for axis, (checkpoint, methods) in zip(axes, METHODS.items(), strict=True):
        for method in methods:
            mine = [
                r for r in report["rows"] if r["case"].startswith(f"{checkpoint}/{method.name}/")
            ]
            mine.sort(key=lambda row: row["delay_steps"])
            delays: NDArray[Any] = np.array([row["delay_steps"] for row in mine])
            rate = [100 * row["succeeded"] / row["tried"] for row in mine]
            (line,) = axis.plot(delays, rate, marker="o", markersize=3, label=method.name)
            low, high = ([100 * row[side] for row in mine] for side in ("low", "high"))
            axis.fill_between(delays, low, high, alpha=0.12, color=line.get_color())
        axis.set_title(checkpoint)
        axis.set_xlabel(f"delay, ticks of {1000 / CONTROL_HZ:.0f} ms")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0].set_ylabel(f"success, % of {report['episodes']} episodes")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = figures.parser("delay", __doc__, "8 episodes at 3 delays")
    parser.add_argument("--episodes", type=figures.count, default=100, help="each (100)")
    parser.add_argument(
        "--step", type=figures.count, default=2, help="ticks between two delays (2)"
    )
    parser.add_argument(
        "--workers",
        type=figures.count,
        default=multiprocessing.cpu_count(),
        help="processes (one for each core)",
    )
    parser.add_argument("--plot", type=Path, help="write the curves there, as PNG or SVG")
    options = parser.parse_args()
    if options.plot and not find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install 'holdfast[plots]'")
    delays = [0, 8, 20] if options.quick else list(range(0, 21, options.step))
    episodes = 8 if options.quick else options.episodes
    report: dict[str, Any] = {
        "bench": "delay",
        "machine": figures.machine(),
        "episodes": episodes,
        "rows": list(rows(delays, episodes, options.workers)),
    }
    if options.plot:
        plot(report, options.plot)
    print(json.dumps(report) if options.json else table(report))
    return 0


if __name__ == "__main__":
    figures.run(main)
