"""A policy for PushT (https://github.com/huggingface/gym-pusht) that learns nothing: it simulates.

For each chunk it tries CANDIDATES random pushes in a physics simulation of its own and gives the
best: a third of a second of computing for 1.6 s of motion, far too slow for a control loop.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast import CameraFeature, Chunk, Observation, PolicySpec

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame without a screen
import gym_pusht  # noqa: F401  registers the environment
import gymnasium

NAMES = ("agent_x", "agent_y", "block_x", "block_y", "block_angle")
GOAL, GOAL_ANGLE = np.array([256.0, 256.0]), np.pi / 4
CANDIDATES, STEPS = 60, 16


class PushPlanner:
    """Random shooting. State [5] as in NAMES, action [2]: where the agent is to go, in pixels."""

    def __init__(self, candidates: int = CANDIDATES) -> None:
        self.spec = PolicySpec(
            model="pusht-planner",
            revision="1",
            cameras=(CameraFeature("top", 96, 96),),  # not used: the state says where the block is
            state_names=NAMES,
            action_names=NAMES[:2],
            chunk_size=STEPS,
            fps=10,
            prefix="trained",
            max_prefix_steps=STEPS,
        )
        self.checkpoint_hash = f"random-shooting-{candidates}"
        self.candidates = candidates
        made = gymnasium.make("gym_pusht/PushT-v0", obs_type="state")
        self.simulation: Any = made.unwrapped
        self.simulation.reset(seed=0)

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """For each observation the best of the candidates, after what the robot does meanwhile."""
        chunks = [self.plan(each) for each in batch]
        return [Chunk(model=chunk, robot=chunk) for chunk in chunks]

    def plan(self, seen: Observation) -> np.ndarray:
        """Actions [STEPS, 2]: first the `delay_steps` that are certain, then the best push."""
        self.simulation.reset(seed=0)  # no contact of the plan before is remembered
        rng = np.random.default_rng(seen.seed)
        certain = np.zeros((0, 2)) if seen.prefix is None else seen.prefix[: seen.delay_steps]
        pushes = [self.push(rng, seen.state, certain) for _ in range(self.candidates)]
        return min(pushes, key=lambda push: self.cost(seen.state, push)).astype(np.float32)

    def push(self, rng: np.random.Generator, state: np.ndarray, certain: np.ndarray) -> np.ndarray:
        """One candidate: to a point beside the block, then on a line past its centre."""
        angle = rng.uniform(0, 2 * np.pi)
        aside = state[2:4] + rng.uniform(50, 140) * np.array([np.cos(angle), np.sin(angle)])
        past = state[2:4] + rng.normal(0, 55, 2)
        free = STEPS - len(certain)
        turn = int(rng.integers(1, max(2, free - 3)))
        start = certain[-1] if len(certain) else state[:2]
        approach = np.linspace(start, aside, turn + 1)[1:]
        through = np.linspace(aside, past, free - turn + 1)[1:]
        return np.concatenate([certain, np.clip(approach, 10, 502), np.clip(through, 10, 502)])[
            :STEPS
        ]

    def cost(self, state: np.ndarray, actions: np.ndarray) -> float:
        """How far from its goal, in pixels, the block lies after `actions`; a radian counts 60."""
        world = self.simulation
        world.agent.velocity = world.block.velocity = (0, 0)
        world.block.angular_velocity = 0
        world.block.angle = float(state[4])
        world.block.position = tuple(map(float, state[2:4]))
        world.agent.position = tuple(map(float, state[:2]))
        world.space.reindex_shapes_for_body(world.block)
        for action in actions:
            for _ in range(round(1 / (world.dt * world.control_hz))):
                pull = world.k_p * (action - world.agent.position) - world.k_v * np.array(
                    world.agent.velocity
                )
                world.agent.velocity += pull * world.dt
                world.space.step(world.dt)
        turned = (world.block.angle - GOAL_ANGLE + np.pi) % (2 * np.pi) - np.pi
        return float(np.linalg.norm(world.block.position - GOAL) + 60 * abs(turned))
