"""`python -m holdfast.tools.training.evaluate`: the success rate of a policy in the simulator.

The evaluation is synchronous: the simulation waits for the policy. Seeds are not those of the
demonstrations. With a simulated delay each chunk is used so many ticks after its observation, and
the robot continues its plan meanwhile; that measures the policy, not the machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from ...errors import PolicyError
from ...policy.base import Chunk, ChunkPolicy, Observation
from ...policy.checkpoint import read_config, resolve
from ...robot.sim.cell import ConveyorCell
from ...robot.sim.draw import draw
from ...robot.sim.rollout import rollout
from ...robot.sim.task import Outcome
from ...transport.images import resize
from ..cli.option_types import AsJson
from ..evaluation.intervals import wilson
from .trained_policy import trained_policy
from .training_console import bar_of, console

EPISODES_PER_CELL = 4
"""Consecutive episodes, so that most begin where the last one left the arm."""

REPLAN_STEPS = 24
"""Ticks between two observations, about those of a robot with the shipped policies and a buffer
time of half a second."""


@dataclass(frozen=True)
class Success:
    """The outcomes of episodes."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        return self.outcomes.total()

    @property
    def succeeded(self) -> int:
        return self.outcomes[Outcome.PLACED]

    @property
    def rate(self) -> float:
        return self.succeeded / max(self.tried, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % confidence interval of the rate."""
        return wilson(self.succeeded, self.tried)

    def row(self) -> dict[str, Any]:
        """For a JSON file."""
        low, high = self.interval
        return {
            "succeeded": self.succeeded,
            "tried": self.tried,
            "low": round(low, 4),
            "high": round(high, 4),
            "outcomes": {o.name.lower(): n for o, n in sorted(self.outcomes.items())},
        }

    def __str__(self) -> str:
        low, high = self.interval
        failures = ", ".join(
            f"{outcome.name.lower()} {count}"
            for outcome, count in sorted(self.outcomes.items())
            if outcome is not Outcome.PLACED
        )
        return (
            f"{self.rate:.1%} of {self.tried} episodes (95 % interval {low:.1%} to {high:.1%}; "
            f"failures: {failures or 'none'})"
        )


Sight = Callable[[ConveyorCell, int], dict[str, NDArray[np.uint8]]]


class Planner:
    """A policy as the planner of `rollout`; its last chunk is the source of the prefix. `see` gives
    the images of a request, by its number from 1."""

    def __init__(self, policy: ChunkPolicy, see: Sight | None = None) -> None:
        self.policy, self.requests = policy, 0
        self._see = see or partial(look, policy)
        self._last: Chunk | None = None

    def __call__(
        self, cell: ConveyorCell, prefix: NDArray[np.float32], delay_steps: int
    ) -> NDArray[np.float32]:
        self.requests += 1
        last = self._last if len(prefix) and self.policy.spec.prefix != "none" else None
        observation = Observation(
            state=cell.state(),
            images=self._see(cell, self.requests),
            task=cell.task,
            seed=self.requests,
            prefix=None if last is None else last.model[-len(prefix) :],
            prefix_robot=None if last is None else prefix,
            delay_steps=delay_steps,
        )
        (self._last,) = self.policy.predict_chunk([observation])
        return self._last.robot


def look(policy: ChunkPolicy, cell: ConveyorCell, frame: int) -> dict[str, NDArray[np.uint8]]:
    """The images of the policy's cameras, at its resolution."""
    block = cell.scene()
    return {
        c.name: resize(draw(c.name, block, frame=frame), c.width, c.height)
        for c in policy.spec.cameras
    }


def evaluate(
    policy: ChunkPolicy,
    episodes: int,
    *,
    replan_steps: int = REPLAN_STEPS,
    delay_steps: int = 0,
    first_seed: int = 0,
) -> Iterator[Success]:
    """Run `episodes` episodes; yields the outcomes so far after each cell."""
    outcomes: Counter[Outcome] = Counter()
    seed = first_seed
    while outcomes.total() < episodes:
        wanted = min(EPISODES_PER_CELL, episodes - outcomes.total())
        tally = rollout(
            Planner(policy), ConveyorCell(seed), wanted, replan_steps, delay_steps=delay_steps
        )
        outcomes += tally.outcomes
        seed += 1
        yield Success(Counter(outcomes))


def measure(policy: ChunkPolicy, episodes: int, **how: int) -> Success:
    """`evaluate` to the end, with a progress bar."""
    success = Success()
    with bar_of() as progress:
        bar = progress.add_task("evaluating", total=episodes)
        for success in evaluate(policy, episodes, **how):
            progress.update(bar, completed=success.tried, description=f"{success.rate:.0%}")
    return success


def one_core() -> None:
    """Restrict OpenCV and torch to this thread."""
    # Their pools spin while they wait, which costs more on a shared machine than they gain with
    # images and networks of this size.
    cv2.setNumThreads(1)
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


def main(
    checkpoint: Annotated[str, typer.Argument(help="A shipped name or a directory.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes to run.")] = 200,
    replan_steps: Annotated[int, typer.Option(min=1, help="Ticks between requests.")] = (
        REPLAN_STEPS
    ),
    delay_steps: Annotated[int, typer.Option(min=0, help="Simulated delay, ticks.")] = 0,
    first_seed: Annotated[int, typer.Option(min=0, help="The first scene's seed.")] = 0,
    prefix: Annotated[
        str | None, typer.Option(help="none, guided or trained, instead of the checkpoint's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a policy in the simulator and print its success rate.

    Example: python -m holdfast.tools.training.evaluate conveyor-flow --episodes 40 --delay-steps 8
    """
    one_core()
    try:
        options = {} if prefix is None else {"prefix": prefix}
        policy = trained_policy(read_config(checkpoint).kind, resolve(checkpoint), **options)
    except PolicyError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    success = measure(
        policy,
        episodes,
        replan_steps=replan_steps,
        delay_steps=delay_steps,
        first_seed=first_seed,
    )
    print(json.dumps(success.row()) if as_json else success)


if __name__ == "__main__":
    typer.run(main)
