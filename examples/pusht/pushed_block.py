"""`PushedBlocks`: many copies of PushT's finger and block at once, to try pushes in.

The rules are those of gym-pusht (https://github.com/huggingface/gym-pusht): the block moves only
while the finger pushes it, without friction, and stands still otherwise. In place of its physics
engine, one contact for each bar of the T. Walls are left out: a plan that reaches them is avoided.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CORNERS: Array = np.array(
    [(-60, 0), (60, 0), (60, 30), (-60, 30), (-15, 30), (15, 30), (15, 120), (-15, 120)], float
)
"""Of the T's two bars, in its own frame, px: as the environment's keypoints are ordered."""

BARS = ((-60.0, 60.0, 0.0, 30.0), (-15.0, 15.0, 30.0, 120.0))
"""Left, right, top, bottom of each."""

CENTRE_Y = 45.0
"""Of mass, in the T's frame; its x is 0."""

GOAL = (256.0, 256.0, np.pi / 4)
"""Where the T's frame is to be: x, y, angle."""

_MASS, _INERTIA, _RADIUS = 1.0, 3000.0, 15.0
_DT, _SUBSTEPS, _STIFFNESS, _DAMPING = 0.01, 10, 100.0, 20.0
_OVERLAP_SHARE, _OVERLAP_SLOP = 1 - 0.9 ** (60 * _DT), 0.1
"""The share of an overlap that the physics engine removes in a step, and what it leaves."""

_REACH = 105.0
"""A finger farther than this from the centre touches nothing."""


def corners_at(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    """The corners' x and y [..., 8] of blocks whose frames are at x, y, angle [...]."""
    c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
    return (
        x[..., None] + c * CORNERS[:, 0] - s * CORNERS[:, 1],
        y[..., None] + s * CORNERS[:, 0] + c * CORNERS[:, 1],
    )


def poses_of(corners: Array) -> Array:
    """The frames [n, 3] (x, y, angle) of blocks with `corners` [n, 8, 2]: the best rotation."""
    middle, own = corners.mean(1), CORNERS.mean(0)
    theirs, ours = corners - middle[:, None], CORNERS - own
    dot = (theirs * ours).sum((1, 2))
    cross = (ours[:, 0] * theirs[..., 1] - ours[:, 1] * theirs[..., 0]).sum(1)
    angle = np.arctan2(cross, dot)
    c, s = np.cos(angle), np.sin(angle)
    x, y = middle[:, 0] - c * own[0] + s * own[1], middle[:, 1] - s * own[0] - c * own[1]
    return np.stack([x, y, angle], 1)


GOAL_X, GOAL_Y = corners_at(np.array(GOAL[0]), np.array(GOAL[1]), np.array(GOAL[2]))


def distance(x: Array, y: Array, angle: Array) -> Array:
    """How far the corners are from where they are to be: the mean, px [...]."""
    at_x, at_y = corners_at(x, y, angle)
    found: Array = np.hypot(at_x - GOAL_X, at_y - GOAL_Y).mean(-1)
    return found


class PushedBlocks:
    """N fingers at `finger` [N, 2] with `velocity` [N, 2], and blocks at `pose` [N, 3]."""

    def __init__(self, finger: Array, velocity: Array, pose: Array) -> None:
        self.x, self.y = finger[:, 0].copy(), finger[:, 1].copy()
        self._vx, self._vy = velocity[:, 0].copy(), velocity[:, 1].copy()
        self.angle = pose[:, 2].copy()
        # Of the centre of mass, about which a push turns the block.
        self.centre_x = pose[:, 0] - np.sin(self.angle) * CENTRE_Y
        self.centre_y = pose[:, 1] + np.cos(self.angle) * CENTRE_Y
        self.touched = np.zeros(len(finger), bool)

    @property
    def pose(self) -> tuple[Array, Array, Array]:
        """The blocks' frames: x, y, angle, each [N]."""
        x = self.centre_x + np.sin(self.angle) * CENTRE_Y
        return x, self.centre_y - np.cos(self.angle) * CENTRE_Y, self.angle

    def step(self, target: Array) -> None:
        """A tenth of a second, in which the fingers are pulled to `target` [N, 2]."""
        for _ in range(_SUBSTEPS):
            self._vx += (_STIFFNESS * (target[:, 0] - self.x) - _DAMPING * self._vx) * _DT
            self._vy += (_STIFFNESS * (target[:, 1] - self.y) - _DAMPING * self._vy) * _DT
            self.x += self._vx * _DT
            self.y += self._vy * _DT
            self._push()

    def _push(self) -> None:
        dx, dy = self.x - self.centre_x, self.y - self.centre_y
        near = np.flatnonzero(dx * dx + dy * dy < _REACH * _REACH)
        if not len(near):
            return
        c, s = np.cos(self.angle[near]), np.sin(self.angle[near])
        # The finger, and its velocity, in the block's frame, from the centre of mass.
        x, y = c * dx[near] + s * dy[near], c * dy[near] - s * dx[near]
        vx = c * self._vx[near] + s * self._vy[near]
        vy = c * self._vy[near] - s * self._vx[near]
        moved = np.zeros((3, len(near)))  # the block's velocity: along x, along y, turning
        for bar in BARS:
            at_x, at_y, nx, ny, gap = _contact(x, y, bar)
            arm = at_x * ny - at_y * nx
            closing = (vx - moved[0] + moved[2] * at_y) * nx + (
                vy - moved[1] - moved[2] * at_x
            ) * ny
            apart = _OVERLAP_SHARE * np.maximum(-gap - _OVERLAP_SLOP, 0) / _DT
            impulse = (np.maximum(closing, 0) + apart) / (1 / _MASS + arm * arm / _INERTIA)
            impulse[gap >= 0] = 0.0
            moved += impulse * np.stack([nx / _MASS, ny / _MASS, arm / _INERTIA])
            self.touched[near] |= gap < 0
        self.centre_x[near] += (c * moved[0] - s * moved[1]) * _DT
        self.centre_y[near] += (s * moved[0] + c * moved[1]) * _DT
        self.angle[near] += moved[2] * _DT


def _contact(
    x: Array, y: Array, bar: tuple[float, float, float, float]
) -> tuple[Array, Array, Array, Array, Array]:
    """Where fingers at x, y are nearest to a bar: the point, the normal into it, and the gap."""
    left, right, top, bottom = bar[0], bar[1], bar[2] - CENTRE_Y, bar[3] - CENTRE_Y
    at_x, at_y = np.clip(x, left, right), np.clip(y, top, bottom)
    away = np.hypot(at_x - x, at_y - y)
    inside = away < 1e-9
    safe = np.where(inside, 1.0, away)
    nx, ny = (at_x - x) / safe, (at_y - y) / safe
    if inside.any():  # out through the nearest side
        gaps = np.stack([x - left, right - x, y - top, bottom - y])
        side = gaps.argmin(0)
        nx = np.where(inside, np.array([1.0, -1.0, 0.0, 0.0])[side], nx)
        ny = np.where(inside, np.array([0.0, 0.0, 1.0, -1.0])[side], ny)
        away = np.where(inside, -gaps.min(0), away)
    return at_x, at_y, nx, ny, away - _RADIUS
