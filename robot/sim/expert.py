"""The scripted expert: it reads the cell's truth, and a small policy can imitate it.

Its action is a function of the cell's present state alone. What it is about to do is read from
where the arm is and whether it holds something, never remembered, so that it goes on sensibly from
any state it is put into. It uses nothing that the cameras and the state vector do not show: a
parcel that has not yet come into view is waited for in the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arm import LAG_S
from .cell import BIN_X, ConveyorCell, place_of

VISIBLE_Y = 0.345
"""The overhead camera sees the belt up to here."""

REACH_Y = 0.25
"""Farther upstream a parcel is waited for, not reached for."""

_HOVER, _GRASP, _CARRY, _RELEASE = 0.11, 0.012, 0.12, 0.09
_CRUISE = (0.32, 0.32, 0.22, 2.0)
_GAIN = (4.0, 4.0, 4.5, 5.0)
_OPEN, _SHUT = 1.0, 0.3


class Expert:
    """Picks the parcel that the task names and puts it into the bin that it names."""

    def act(self, cell: ConveyorCell) -> NDArray[np.float32]:
        """The action for this tick, float32 [5]: a little ahead of the arm, in the direction and
        with the lead that gives the axis the speed wanted under its servo's lag."""
        scene = cell.truth
        position = scene.position
        if scene.held >= 0:
            goal, gripper = self._carry(cell)
            drift = 0.0
        else:
            goal, gripper, drift = self._pursue(cell)
        action = np.empty(5, np.float32)
        for axis in range(4):
            ahead = drift if axis == 1 else 0.0
            speed = _GAIN[axis] * (goal[axis] - position[axis]) + ahead
            speed = min(max(speed, -_CRUISE[axis]), _CRUISE[axis])
            action[axis] = position[axis] + LAG_S[axis] * speed
        action[4] = gripper
        return action

    def chunk(self, cell: ConveyorCell, steps: int) -> NDArray[np.float32]:
        """What the expert does in the next `steps` ticks, float32 [steps, 5]; `cell` is left alone.

        After the end of the episode the last action is repeated: what comes next is another task.
        """
        future = cell.copy()
        actions = np.empty((steps, 5), np.float32)
        for i in range(steps):
            if future.episode != cell.episode:
                actions[i:] = actions[i - 1]
                break
            actions[i] = self.act(future)
            future.step_control(actions[i])
        return actions

    def _pursue(self, cell: ConveyorCell) -> tuple[tuple[float, ...], float, float]:
        """Hover over the parcel, ride along with it, come down as the error shrinks, close."""
        scene = cell.truth
        index = next(i for i, p in enumerate(scene.parcels) if p.colour == scene.colour)
        x, y, yaw = place_of(scene, index)
        if y > REACH_Y:
            if y > VISIBLE_Y:
                x, yaw = 0.0, 0.0
            return (x, REACH_Y - 0.02, _HOVER, yaw), _OPEN, 0.0
        ax, ay, az, wrist, gripper = scene.position
        off = max(abs(x - ax), abs(y - ay), 0.06 * abs(yaw - wrist))
        descend = _smooth((off - 0.012) / 0.05)
        height = _GRASP + (_HOVER - _GRASP) * descend
        # Fingers that shut on nothing open again before they come down.
        ready = gripper > 0.5
        closing = ready and az < 0.022 and off < 0.014
        return (x, y, height, yaw), (_SHUT if closing else _OPEN), -scene.speed

    def _carry(self, cell: ConveyorCell) -> tuple[tuple[float, ...], float]:
        """Lift, swing over to the bin, lower, let go. A wrong parcel is put back where it was."""
        scene = cell.truth
        x, y, z, wrist, _ = scene.position
        if scene.parcels[scene.held].colour != scene.colour:
            return (x, y, z, wrist), _OPEN
        to_x, to_y = BIN_X[scene.bin], min(max(y, -0.06), 0.06)
        lifted = 1.0 - _smooth((0.07 - z) / 0.05)
        off = max(abs(to_x - x), abs(to_y - y))
        height = _RELEASE + (_CARRY - _RELEASE) * _smooth((off - 0.03) / 0.10)
        goal = (x + lifted * (to_x - x), y + lifted * (to_y - y), height, wrist * (1.0 - lifted))
        return goal, (_OPEN if off < 0.03 else _SHUT)


def _smooth(t: float) -> float:
    """0 below 0, 1 above 1, and without a corner between."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)
