"""How often a policy does the simulated task, run synchronously: the cell waits while it thinks.

Seeds count from 0 and demonstrations from another end, so no scene was trained on. A delay can be
pretended: the chunk then arrives so many ticks after its observation, and the robot plays on what
it has, as it would with real delay; that measures the policy, not the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..policy.base import Chunk, ChunkPolicy, Observation
from ..robot.sim.cell import ConveyorCell
from ..robot.sim.draw import draw
from ..transport.images import resize

EPISODES_PER_CELL = 4
"""In a row, so that most attempts begin where the one before left the arm."""


@dataclass(frozen=True)
class Success:
    """`succeeded` of `tried` episodes."""

    succeeded: int
    tried: int

    @property
    def rate(self) -> float:
        return self.succeeded / self.tried if self.tried else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % confidence interval of the rate."""
        if self.tried == 0:
            return 0.0, 1.0
        n, p, z = self.tried, self.rate, 1.96
        centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.rate:.1%} of {self.tried} episodes (95 % interval {low:.1%} to {high:.1%})"


def evaluate(
    policy: ChunkPolicy, episodes: int, *, execute_steps: int = 24, delay_steps: int = 0
) -> Iterator[Success]:
    """Run `episodes` episodes; yields the count so far after each cell."""
    succeeded = tried = seed = 0
    while tried < episodes:
        cell = ConveyorCell(seed)
        wanted = min(EPISODES_PER_CELL, episodes - tried)
        run(policy, cell, wanted, execute_steps=execute_steps, delay_steps=delay_steps)
        tried, succeeded, seed = tried + cell.tried, succeeded + cell.succeeded, seed + 1
        yield Success(succeeded, tried)


def run(
    policy: ChunkPolicy, cell: ConveyorCell, episodes: int, *, execute_steps: int, delay_steps: int
) -> None:
    """Step `cell` through `episodes` episodes. A new chunk is asked for `execute_steps` ticks after
    the last one took over, or when it ends; the plan is void when the episode changes."""
    plan: Chunk | None = None
    played = request = 0
    while cell.tried < episodes:
        episode, request = cell.episode, request + 1
        observation = observe(policy, cell, request, plan, played, delay_steps)
        (chunk,) = policy.predict_chunk([observation])
        idle = plan is None
        for _ in range(delay_steps):
            if plan is not None and played < len(plan.robot):
                cell.step_control(plan.robot[played])
                played += 1
            else:
                cell.step_control()
        # Ticks spent without a plan were not planned for; the first chunk starts at its start.
        plan, played = chunk, 0 if idle else min(delay_steps, len(chunk.robot))
        for _ in range(min(execute_steps, len(plan.robot) - played)):
            if cell.episode != episode:
                break
            cell.step_control(plan.robot[played])
            played += 1
        if cell.episode != episode:
            plan, played = None, 0


def observe(
    policy: ChunkPolicy,
    cell: ConveyorCell,
    seed: int,
    plan: Chunk | None,
    played: int,
    delay_steps: int,
) -> Observation:
    """What a request of this moment would carry."""
    block, spec = cell.scene(), policy.spec
    continues = plan is not None and spec.prefix != "none" and delay_steps > 0
    return Observation(
        state=cell.state(),
        images={c.name: look(block, c.name, c.width, c.height, seed) for c in spec.cameras},
        task=cell.task,
        seed=seed,
        prefix=plan.model[played:] if plan is not None and continues else None,
        prefix_robot=plan.robot[played:] if plan is not None and continues else None,
        delay_steps=delay_steps if continues else 0,
    )


def look(
    block: bytes, camera: str, width: int, height: int, frame: int
) -> np.typing.NDArray[np.uint8]:
    """One camera's picture as serving hands it to a policy."""
    return resize(draw(camera, block, frame=frame), width, height)
