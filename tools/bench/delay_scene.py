"""`DelayScene`: the simulated scene of a delay study, in ticks instead of seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...policy.base import ChunkPolicy
from ...robot.sim import CONTROL_HZ
from ...robot.sim.arm import SPEC
from ...robot.sim.cell import ConveyorCell
from ...robot.sim.task import Outcome
from ..training.evaluate import EPISODES_PER_CELL, look


class DelayScene(Protocol):
    """One robot in its scene, which does not wait for a policy: each tick is a step of it, with an
    action or without. An attempt that ends begins the next one."""

    @property
    def episode(self) -> int:
        """The number of the attempt under way."""

    @property
    def instruction(self) -> str:
        """What the policy is asked to do."""

    @property
    def outcome(self) -> str:
        """How the last attempt ended."""

    @property
    def succeeded(self) -> bool:
        """Whether that was a success."""

    @property
    def score(self) -> float:
        """How far the last attempt got, 0 to 1; 1 is a success."""

    def state(self) -> NDArray[np.float32]:
        """The robot's state [S], as the policy gets it."""

    def images(self, policy: ChunkPolicy, tick: int) -> dict[str, NDArray[np.uint8]]:
        """The images of the policy's cameras."""

    def step(self, action: NDArray[np.float32] | None) -> None:
        """A tick with `action` [A]; None: the last one is held."""


@dataclass(frozen=True)
class DelayTask:
    """A kind of scene, and how a robot in it asks for chunks.

    `scene` makes one from a seed; `ranges` are the extents of its actions; a chunk is asked for
    when `buffer_steps` of the plan are left, or sooner where the delay needs it. A scene is used
    for `attempts` consecutive attempts.
    """

    name: str
    scene: Callable[[int], DelayScene]
    ranges: tuple[float, ...]
    hz: float
    buffer_steps: int
    attempts: int
    delays: tuple[int, ...]
    needs: tuple[str, ...] = ()
    """Packages, as they are imported."""

    @property
    def tick_ns(self) -> int:
        return round(1e9 / self.hz)


class ConveyorScene:
    """The simulated conveyor cell."""

    def __init__(self, seed: int) -> None:
        self._cell = ConveyorCell(seed)

    @property
    def episode(self) -> int:
        return self._cell.episode

    @property
    def instruction(self) -> str:
        return self._cell.task

    @property
    def outcome(self) -> str:
        return self._cell.outcome.name.lower()

    @property
    def succeeded(self) -> bool:
        return self._cell.outcome is Outcome.PLACED

    @property
    def score(self) -> float:
        return float(self.succeeded)

    def state(self) -> NDArray[np.float32]:
        return self._cell.state()

    def images(self, policy: ChunkPolicy, tick: int) -> dict[str, NDArray[np.uint8]]:
        return look(policy, self._cell, tick)

    def step(self, action: NDArray[np.float32] | None) -> None:
        self._cell.step_control(action)


PUSHT_STEPS = 300
"""An attempt that has not succeeded by then has failed; gym-pusht's own limit."""


class PushTScene:
    """PushT of gym-pusht (https://github.com/huggingface/gym-pusht): a round finger pushes a T,
    seen from above, onto its outline. The state is the finger and the T's eight corners, px.

    A success covers more than 95 % of the outline; the score is the greatest share that was covered
    in the attempt. Each attempt begins from a seed of its own.
    """

    def __init__(self, seed: int) -> None:
        import gym_pusht  # noqa: F401  registers the environment
        import gymnasium

        made = gymnasium.make("gym_pusht/PushT-v0", obs_type="environment_state_agent_pos")
        self._environment: Any = made.unwrapped
        self._seed, self._steps, self._covered = seed, 0, 0.0
        self.instruction, self.outcome, self.score = "", "none", 0.0
        self.episode = 0
        self._begin()

    @property
    def succeeded(self) -> bool:
        return self.outcome == "success"

    def state(self) -> NDArray[np.float32]:
        return np.concatenate(
            [self._seen["agent_pos"], self._seen["environment_state"]], dtype=np.float32
        )

    def images(self, policy: ChunkPolicy, tick: int) -> dict[str, NDArray[np.uint8]]:
        if policy.spec.cameras:
            raise ValueError(f"{policy.spec.model} has cameras; PushT is seen by its state here")
        return {}

    def step(self, action: NDArray[np.float32] | None) -> None:
        if action is not None:
            self._target = action.astype(float)
        self._seen, _, ended, _, about = self._environment.step(self._target)
        self._steps += 1
        self._covered = max(self._covered, float(about["coverage"]))
        if ended or self._steps >= PUSHT_STEPS:
            self.outcome, self.score = "success" if ended else "timed_out", self._covered
            self._seed += 1
            self._begin()

    def _begin(self) -> None:
        self._seen, _ = self._environment.reset(seed=self._seed)
        self._target = self._seen["agent_pos"].copy()
        self._steps, self._covered = 0, 0.0
        self.episode += 1


def _extents() -> tuple[float, ...]:
    return tuple(upper - lower for lower, upper in zip(SPEC.lower, SPEC.upper, strict=True))


CONVEYOR = DelayTask(
    "conveyor",
    ConveyorScene,
    ranges=_extents(),
    hz=CONTROL_HZ,
    buffer_steps=CONTROL_HZ // 2,
    attempts=EPISODES_PER_CELL,
    delays=tuple(range(0, 21, 2)),
)
PUSHT = DelayTask(
    "pusht",
    PushTScene,
    ranges=(512.0, 512.0),
    hz=10.0,
    buffer_steps=12,
    attempts=1,
    delays=(0, 2, 4, 6, 8),
    needs=("gym_pusht",),
)
TASKS = {task.name: task for task in (CONVEYOR, PUSHT)}
