"""A policy that does what a test of its calls says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from holdfast.policy.base import Chunk, Observation, PolicySpec

SPEC = PolicySpec(
    model="toy",
    revision="1",
    cameras=(),
    state_names=("x",),
    action_names=("x", "y"),
    chunk_size=3,
    fps=30,
    prefix="guided",
    max_prefix_steps=2,
)


class Toy:
    """Records its calls; predicts `answer(observation)`, or returns `returns(batch)` if set."""

    checkpoint_hash = "0"

    def __init__(self, answer: Callable[[Observation], Chunk] | None = None) -> None:
        self.spec = SPEC
        self.answer = answer or self.plain
        self.seen: list[tuple[int, bool]] = []
        self.returns: Callable[[Sequence[Observation]], Any] | None = None
        self.resets = 0

    @staticmethod
    def plain(obs: Observation) -> Chunk:
        values = np.full((3, 2), obs.state[0], np.float32)
        return Chunk(values, values)

    def reset(self) -> None:
        self.resets += 1

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        self.seen.append((len(batch), batch[0].prefix is not None))
        if self.returns is not None:
            wrong: list[Chunk] = self.returns(batch)
            return wrong
        return [self.answer(obs) for obs in batch]


def observation(x: float) -> Observation:
    """One of the state `x`."""
    return Observation(state=np.array([x], np.float32), images={})
