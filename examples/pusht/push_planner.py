"""A policy for PushT (https://github.com/huggingface/gym-pusht) that learns nothing: it simulates.

For each chunk it tries pushes in a simulation of its own: a round of random ones, then two of
variations of the best (the cross-entropy method). That takes a tenth of a second or more for 1.6 s
of motion, far too slow for a control loop, and much the same for one robot as for eight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pushed_block import BARS, CENTRE_Y, GOAL, PushedBlocks, corners_at, distance, poses_of

from holdfast import Chunk, Observation, PolicySpec

Array = NDArray[np.float64]

NAMES = ("agent_x", "agent_y", *(f"corner{n}_{axis}" for n in range(8) for axis in "xy"))
STEPS, HORIZON, PREFIX = 16, 20, 15
CANDIDATES, KEPT = 192, 16
SPREAD_PX = (10.0, 4.0)
"""Of the variations, in the second round and the third."""

SLOWEST, FASTEST = 10.0, 28.0
"""Px a step, at which a candidate moves."""

LOW, HIGH = 18.0, 494.0
"""Where the finger is sent, px."""

PACE = 4.5
"""Px a second of the finger's velocity, for each px that its target is ahead of it."""

STUCK = 0.85
"""A best push that leaves more than this share of the distance is in a local minimum."""

WEIGHTS = ((1.0, 0.3), (0.3, 1.0), (1.0, 0.0), (0.0, 1.0))
"""Of place and turn, one of which is drawn then."""


class PushPlanner:
    """State [18] as in NAMES, action [2]: where the finger is to go; all in pixels."""

    def __init__(self, candidates: int = CANDIDATES) -> None:
        self.spec = PolicySpec(
            model="pusht-planner",
            revision="2",
            cameras=(),  # the state says where the block is
            state_names=NAMES,
            action_names=NAMES[:2],
            chunk_size=STEPS,
            fps=10,
            prefix="trained",
            max_prefix_steps=PREFIX,
        )
        self.checkpoint_hash = f"cross-entropy-{candidates}"
        self.candidates = candidates

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """For each observation the best push, after the `delay_steps` that are certain."""
        states = np.stack([each.state for each in batch]).astype(float)
        none = np.zeros((0, 2))
        plans = [none if each.prefix is None else each.prefix.astype(float) for each in batch]
        certain = [plan[: each.delay_steps] for plan, each in zip(plans, batch, strict=True)]
        fingers = states[:, :2]
        velocities = [
            PACE * (plan[0] - finger) if len(plan) else np.zeros(2)
            for plan, finger in zip(plans, fingers, strict=True)
        ]
        poses = poses_of(states[:, 2:].reshape(-1, 8, 2))
        rng = np.random.default_rng(batch[0].seed)
        actions = self.plan(fingers, np.array(velocities), poses, certain, rng)
        return [Chunk(model=each, robot=each) for each in actions[:, :STEPS].astype(np.float32)]

    def plan(
        self,
        fingers: Array,
        velocities: Array,
        poses: Array,
        certain: Sequence[Array],
        rng: np.random.Generator,
    ) -> Array:
        """The best actions [b, HORIZON, 2] of b robots."""
        starts = np.array([c[-1] if len(c) else f for c, f in zip(certain, fingers, strict=True)])
        drawn = [self._draw(s, p, rng) for s, p in zip(starts, poses, strict=True)]
        points = np.stack([points for points, _ in drawn])
        speeds = np.stack([speeds for _, speeds in drawn])
        for spread in (*SPREAD_PX, 0.0):
            points = np.clip(points, LOW, HIGH)
            actions = _actions(starts, points, speeds, certain)
            cost, parts = _judge(fingers, velocities, poses, actions)
            if spread:
                points, speeds = self._vary(points, speeds, cost, spread, rng)
        best = cost.argmin(1)
        now = distance(*poses.T)
        for robot in np.flatnonzero(cost.min(1) > STUCK * now):
            place, turn = WEIGHTS[rng.integers(len(WEIGHTS))]
            weighted = place * parts[0] + turn * parts[1] + parts[2]
            best[robot] = weighted[robot].argmin()
        chosen: Array = actions[np.arange(len(best)), best]
        return chosen

    def _draw(self, start: Array, pose: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Random candidates of one robot: three points [n, 3, 2] of the finger's way, on its way
        round the block, beside it, and past its side; and speeds [n]."""
        n = self.candidates
        left, right, top, bottom = np.array(BARS)[rng.integers(0, 2, n)].T
        side, along = rng.integers(0, 4, n), rng.random(n)
        over, down = left + along * (right - left), top + along * (bottom - top)
        x, y = (
            np.choose(side, [left, right, over, over]),
            np.choose(side, [down, down, top, bottom]),
        )
        out = np.array([(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)])[side]
        across = out[:, ::-1] * [-1.0, 1.0]
        away, slip = rng.uniform(18, 45, (n, 1)), rng.normal(0, 12, (n, 1))
        deep = rng.uniform(-40, 20, (n, 1)) * rng.choice([1.0, 1.0, 0.3], (n, 1))
        touch = np.stack([x, y], 1)
        c, s = np.cos(pose[2]), np.sin(pose[2])
        turned = np.array([[c, s], [-s, c]])
        beside = (touch + away * out + 0.3 * slip * across) @ turned + pose[:2]
        past = (touch + deep * out + slip * across) @ turned + pose[:2]
        centre = pose[:2] + CENTRE_Y * np.array([-s, c])
        at, goal = start - centre, beside - centre
        begin, end = np.arctan2(at[1], at[0]), np.arctan2(goal[:, 1], goal[:, 0])
        way = begin + ((end - begin + np.pi) % (2 * np.pi) - np.pi) * rng.uniform(0.3, 0.8, n)
        radius = rng.uniform(85, 125, (n, 1))
        around = centre + radius * np.stack([np.cos(way), np.sin(way)], 1)
        straight = rng.random((n, 1)) < 0.45
        around = np.where(straight, (start + beside) / 2, around)
        points = np.stack([around, beside, past], 1)
        # A sixth goes on from where the finger is.
        on = n // 6
        points[:on] = start + rng.normal(0, 35, (on, 1, 2)) * np.array([0.3, 0.6, 1.0])[:, None]
        return points, rng.uniform(SLOWEST, FASTEST, n)

    def _vary(
        self, points: Array, speeds: Array, cost: Array, spread: float, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """New candidates near the best, the best itself among them."""
        robots, n = speeds.shape
        row = np.arange(robots)[:, None]
        rank = np.minimum(rng.geometric(0.25, (robots, n)) - 1, KEPT - 1)
        rank[:, 0] = 0
        parents = np.argsort(cost, 1)[row, rank]
        moved = rng.normal(0, spread, (robots, n, 3, 2))
        faster = rng.normal(0, 2, (robots, n))
        moved[:, 0], faster[:, 0] = 0.0, 0.0
        varied = np.clip(speeds[row, parents] + faster, SLOWEST, FASTEST)
        return points[row, parents] + moved, varied


def _actions(starts: Array, points: Array, speeds: Array, certain: Sequence[Array]) -> Array:
    """Actions [b, n, HORIZON, 2]: the certain ones, then along the lines from `starts` through
    `points`, at even speed."""
    robots, n = speeds.shape
    line = np.concatenate([np.broadcast_to(starts[:, None, None], (robots, n, 1, 2)), points], 2)
    line, pace = line.reshape(-1, 4, 2), speeds.reshape(-1, 1)
    legs = np.linalg.norm(np.diff(line, axis=1), axis=2)
    ends = np.concatenate([np.zeros((len(legs), 1)), np.cumsum(legs, 1)], 1)
    at = np.minimum(pace * np.arange(1, HORIZON + 1), ends[:, -1:])
    leg = np.minimum((at[:, :, None] >= ends[:, None, 1:]).sum(2), 2)
    row = np.arange(len(legs))[:, None]
    share = (at - ends[row, leg]) / np.maximum(legs[row, leg], 1e-6)
    free = line[row, leg] + share[..., None] * (line[row, leg + 1] - line[row, leg])
    actions: Array = free.reshape(robots, n, HORIZON, 2)
    for robot, first in enumerate(certain):
        if len(first):
            actions[robot, :, len(first) :] = actions[robot, :, : HORIZON - len(first)].copy()
            actions[robot, :, : len(first)] = first
    return actions


def _judge(
    fingers: Array, velocities: Array, poses: Array, actions: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    """What candidates cost [b, n], px: how far from its goal the block is at the end and on the
    way. And the parts place, turn, and what is to be avoided."""
    robots, n = actions.shape[:2]
    flat = actions.reshape(-1, HORIZON, 2)
    blocks = PushedBlocks(*(np.repeat(each, n, 0) for each in (fingers, velocities, poses)))
    on_the_way = np.zeros(len(flat))
    for step in range(HORIZON):
        blocks.step(flat[:, step])
        if step % 3 == 2:
            on_the_way += 0.06 * distance(*blocks.pose)
    x, y, angle = blocks.pose
    at = np.stack(corners_at(x, y, angle))
    at_wall = np.maximum(np.maximum(12 - at, at - 499), 0).max(-1).sum(0)
    avoid = 3 * at_wall + 6.0 * ~blocks.touched
    length = np.linalg.norm(np.diff(flat, axis=1), axis=2).sum(1)
    far = np.hypot(blocks.x - blocks.centre_x, blocks.y - blocks.centre_y)
    cost: Array = distance(x, y, angle) + on_the_way + avoid + 0.004 * length + 0.01 * far
    place = np.hypot(x - GOAL[0], y - GOAL[1])
    turn = 60 * np.abs((angle - GOAL[2] + np.pi) % (2 * np.pi) - np.pi)
    parts = (place.reshape(robots, n), turn.reshape(robots, n), avoid.reshape(robots, n))
    return cost.reshape(robots, n), parts
