"""The gantry arm: five position-controlled axes with first-order lag and speed limits.

Metres, radians, seconds. The belt runs along -y; x is to the right when one looks along +y, which
is up in the overhead picture. z is the height of the finger tips above the belt. The gripper is
the fraction of its full opening, 0 closed.
"""

from __future__ import annotations

from ..base import ControlMode, RobotSpec

CONTROL_HZ = 30
SUBSTEPS = 4
PHYSICS_HZ = CONTROL_HZ * SUBSTEPS
DT = 1.0 / PHYSICS_HZ

LAG_S = (0.08, 0.08, 0.08, 0.08, 0.06)
"""Time constant of each axis' servo: how far it trails a moving target, in seconds."""

SPEED = (0.50, 0.50, 0.40, 4.0, 5.0)
"""Fastest each axis turns or moves, whatever is commanded."""

OPENING = 0.090
"""Between the fingers when the gripper is fully open, metres."""

SPEC = RobotSpec(
    action_names=("x", "y", "z", "wrist", "gripper"),
    state_names=("x", "y", "z", "wrist", "gripper", "belt_speed", "grip"),
    control_mode=ControlMode.POSITION,
    lower=(-0.42, -0.32, 0.0, -1.2, 0.0),
    upper=(0.42, 0.30, 0.25, 1.2, 1.0),
    # Of the command, not of the arm: the servo limits its own speed, and between two plans the
    # command may step. What exceeds this is a broken policy, not a correction.
    max_rate=(4.0, 4.0, 4.0, 20.0, float("inf")),
    home=(0.0, 0.20, 0.14, 0.0, 1.0),
)
HOME = (0.0, 0.20, 0.14, 0.0, 1.0)


def servo(position: list[float], target: list[float]) -> None:
    """Move `position` one physics step towards `target`, in place."""
    for axis in range(5):
        speed = (target[axis] - position[axis]) / LAG_S[axis]
        limit = SPEED[axis]
        if speed > limit:
            speed = limit
        elif speed < -limit:
            speed = -limit
        position[axis] += speed * DT
