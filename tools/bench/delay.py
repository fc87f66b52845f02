"""Success against inference delay, by the way in which a chunk joins the plan.

    actorctl bench delay [--task conveyor] [--task pusht] [--quick] [--json] [--plot FILE]

Policies do simulated tasks while each chunk arrives a given number of ticks after its observation.
The plan is the control actor's own (`ChunkBuffer`), the scene never waits, and the next chunk is
asked for as the control actor asks. No clock is read, so a busy machine gives the same figures.
Every method meets the same seeded episodes.

    sync      ask when the plan is played out, and hold until the answer comes
    append    naive async: the chunk is played after what is left of the plan, late
    consumed  replace the plan; trim what was played meanwhile
    time      replace the plan; trim the ticks that passed (for moving scenes)
    guided    as time, and the chunk is guided to continue the plan while it is denoised (RTC), with
              the gradient through the network or with an identity for its Jacobian
    trained   as time, and the policy learned in training to continue a plan (training-time RTC)

The seam jump of an episode is the largest step of any action where two chunks meet, in percent of
the action's range. PushT needs gym-pusht, in the interpreter that runs this.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...actors.control.buffer import ChunkBuffer
from ...actors.control.plan import MergeRule, Snapshot
from ...actors.control.plan_memory import SEGMENT_BYTES, PlanMemory
from ...errors import PolicyError
from ...policy.base import Chunk, ChunkPolicy, Observation
from ..evaluation.chunk_seams import seam_jump
from ..evaluation.intervals import wilson
from ..training.evaluate import one_core
from . import figures
from .delay_methods import Method, Study, studies_of
from .delay_report import plot, table
from .delay_scene import TASKS, DelayTask

SPARE_STEPS = 3
"""With more delay than the task's buffer, so early that an answer comes with this much left, as a
person sets buffer_time_s for a slow policy."""

MAX_AGE_NS = 3_000_000_000


class DelayedAttempt(NamedTuple):
    """What came of one."""

    outcome: str
    succeeded: bool
    score: float
    seam_jump: float
    """A share of the range."""


class Loop:
    """One robot with a plan, in one scene, in ticks instead of seconds."""

    def __init__(
        self, task: DelayTask, method: Method, policy: ChunkPolicy, seed: int, delay: int
    ) -> None:
        self.task, self.method, self.policy, self.delay = task, method, policy, delay
        self.scene = task.scene(seed)
        self.rule = MergeRule(method.merge, method.trim)
        memory = PlanMemory(mmap(-1, SEGMENT_BYTES), "bench", len(task.ranges))
        self.buffer = ChunkBuffer(memory, MAX_AGE_NS)
        self.tick = 1
        self.requests = 0
        self._flight: tuple[int, Chunk, Snapshot] | None = None

    def episode(self) -> DelayedAttempt:
        """Play until the attempt under way ends."""
        episode = self.scene.episode
        actions: list[NDArray[np.float32]] = []
        chunks: list[int] = []
        self.buffer.reset()
        self._flight = None
        while self.scene.episode == episode:
            self._arrive()
            if self._flight is None and len(self.buffer) <= self._threshold():
                self._ask()
                self._arrive()
            action = self.buffer.pop(self.tick * self.task.tick_ns)
            if action is None:
                self.scene.step(None)
            else:
                actions.append(action.robot.copy())
                chunks.append(action.provenance.seq)
                self.scene.step(action.robot)
            self.tick += 1
        jump = 0.0
        if actions:
            jump = seam_jump(np.stack(actions), chunks, np.array(self.task.ranges))
        return DelayedAttempt(self.scene.outcome, self.scene.succeeded, self.scene.score, jump)

    def _threshold(self) -> int:
        if self.method.waits:
            return 0
        return max(self.task.buffer_steps, self.delay + SPARE_STEPS)

    def _ask(self) -> None:
        now_ns = self.tick * self.task.tick_ns
        snapshot = self.buffer.snapshot(1, now_ns, self.tick, now_ns)
        limit = self.policy.spec.max_prefix_steps
        prefix = snapshot.model[:limit] if self.method.prefix != "none" else snapshot.model[:0]
        self.requests += 1
        observation = Observation(
            state=self.scene.state(),
            images=self.scene.images(self.policy, self.tick),
            task=self.scene.instruction,
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
            now_ns = self.tick * self.task.tick_ns
            self.buffer.merge(
                chunk.model, chunk.robot, asked, self.rule, step=self.tick, now_ns=now_ns
            )


def cell(job: tuple[Study, Method, int, int]) -> dict[str, Any]:
    """One cell of the table: `episodes` attempts by one method at one delay."""
    study, method, delay, episodes = job
    one_core()
    task, policy = TASKS[study.task], method.policy(study.checkpoint)
    attempts: list[DelayedAttempt] = []
    seed = 0
    while len(attempts) < episodes:
        loop = Loop(task, method, policy, seed, delay)
        wanted = min(task.attempts, episodes - len(attempts))
        attempts += [loop.episode() for _ in range(wanted)]
        seed += 1
    scores = np.array([attempt.score for attempt in attempts])
    jumps = 100 * np.array([attempt.seam_jump for attempt in attempts])
    succeeded = sum(attempt.succeeded for attempt in attempts)
    low, high = wilson(succeeded, episodes)
    return {
        "case": f"{Path(study.checkpoint).name}/{method.name}/{delay}",
        "task": study.task,
        "delay_steps": delay,
        "succeeded": succeeded,
        "tried": episodes,
        "low": round(low, 4),
        "high": round(high, 4),
        "outcomes": dict(sorted(Counter(attempt.outcome for attempt in attempts).items())),
        "score": round(float(scores.mean()), 4),
        "score_error": round(float(scores.std() / np.sqrt(episodes)), 4),
        **{f"seam_p{q}": round(float(np.percentile(jumps, q)), 2) for q in (25, 50, 75)},
    }


def rows(
    studies: Sequence[Study], delays: Sequence[int], episodes: int, workers: int
) -> Iterator[dict[str, Any]]:
    """Every cell, as it is finished; without `delays`, those of each task."""
    jobs = [
        (study, method, delay, episodes)
        for study in studies
        for delay in delays or TASKS[study.task].delays
        for method in study.methods
    ]
    # Spawned: torch does not survive a fork once it has run.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(cell, jobs)


def _delays(text: str) -> tuple[int, ...]:
    delays = tuple(int(each) for each in text.split(","))
    if min(delays) < 0:
        raise argparse.ArgumentTypeError(f"{min(delays)} ticks: a delay is 0 or more")
    return delays


def main() -> int:
    parser = figures.parser("delay", __doc__, "8 episodes at 3 delays of the conveyor")
    parser.add_argument("--episodes", type=figures.count, default=100, help="each (100)")
    parser.add_argument(
        "--task", action="append", choices=sorted(TASKS), help="may be repeated (conveyor)"
    )
    parser.add_argument("--checkpoint", help="a folder, in place of the policies that are shipped")
    parser.add_argument("--only", action="append", help="a method; may be repeated (all)")
    parser.add_argument("--delays", type=_delays, default=(), help="ticks, as 0,4,8 (the task's)")
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
    try:
        studies = studies_of(options.task or ["conveyor"], options.checkpoint, options.only or ())
    except (ValueError, PolicyError) as error:
        parser.error(str(error))
    delays = (0, 8, 20) if options.quick else options.delays
    episodes = 8 if options.quick else options.episodes
    report: dict[str, Any] = {
        "bench": "delay",
        "machine": figures.machine(),
        "episodes": episodes,
        "rows": list(rows(studies, delays, episodes, options.workers)),
    }
    if options.plot:
        plot(report, options.plot)
    print(json.dumps(report) if options.json else table(report))
    return 0


if __name__ == "__main__":
    figures.run(main)
