"""What the plan costs in a tick: one snapshot, pop and merge each."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import numpy as np

from ...actors.control.buffer import ChunkBuffer
from ...actors.control.plan import MergeRule
from ...actors.control.plan_memory import PlanMemory
from . import figures


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
