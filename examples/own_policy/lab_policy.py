"""A policy of one's own: the arm swings to and fro between the two sides of its cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast import Chunk, Observation, PolicySpec
from holdfast.robot.sim import SPEC


class Swing:
    """Called with the `options` of its service; `spec` says what it sees and what it commands."""

    def __init__(self, amplitude: float) -> None:
        self.amplitude = amplitude
        self.spec = PolicySpec(
            model="swing",
            revision="1",
            cameras=(),
            state_names=SPEC.state_names,
            action_names=SPEC.action_names,
            chunk_size=45,
            fps=30,
        )

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """For each observation 45 actions, from where the arm is to the other side."""
        chunks = []
        for observation in batch:
            here = observation.state[: len(SPEC.action_names)]
            there = here.copy()
            there[0] = -self.amplitude if here[0] > 0 else self.amplitude
            actions = np.linspace(here, there, 45, dtype=np.float32)
            chunks.append(Chunk(model=actions, robot=actions))
        return chunks
