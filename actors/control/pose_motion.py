"""`PoseMotion`: a slow motion to one pose, on a person's word: between two episodes, to where the
robot began.

Pure: instants come from the caller. The way is a straight line in the joints' space, as fast as
half the slowest joint's `max_rate` allows and no shorter than `LEAST_S`; the limits bound each step
of it besides. Not guaranteed: that the way is free. A loop that is killed on the way rests where
it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...robot.base import ControlMode, RobotSpec
from ...transport.arrays import all_finite
from .plan import Floats

LEAST_S = 2.0
_SHARE = 0.5
"""Of each joint's `max_rate`."""


class PoseMotion:
    """Of one loop."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._rate = np.array(spec.max_rate) * _SHARE
        self._target = np.zeros(len(spec.action_names), np.float32)
        self._start = np.zeros(len(spec.action_names), np.float32)
        self._pose = np.zeros(len(spec.action_names), np.float32)
        self._begun_ns = self._lasts_ns = 0
        self.active = False
        """Whether the motion is under way."""

    def begin(self, pose: Mapping[str, float] | None, position: Floats, now_ns: int) -> None:
        """Move from `position` [A] (NaN: not measured, so it goes at once) to `pose` by joints'
        names; a joint that it does not name stays where it is. None: the pose that the driver
        calls its home. Raises ValueError for a pose that is none."""
        self._target[:] = self._of(pose, position)
        self._start[:] = np.where(np.isfinite(position), position, self._target)
        with np.errstate(invalid="ignore"):
            took_s = np.abs(self._target - self._start) / self._rate
        self._lasts_ns = round(max(LEAST_S, float(np.nan_to_num(took_s).max())) * 1e9)
        self._begun_ns, self.active = now_ns, True

    def end(self) -> None:
        """The motion is over, or not wanted any more."""
        self.active = False

    def command(self, now_ns: int) -> Floats:
        """The pose [A] of this tick, valid until the next call; the motion ends with its last."""
        share = min((now_ns - self._begun_ns) / self._lasts_ns, 1.0)
        np.subtract(self._target, self._start, out=self._pose)
        self._pose *= share
        self._pose += self._start
        if share >= 1.0:
            self.active = False
        return self._pose

    def _of(self, pose: Mapping[str, float] | None, position: Floats) -> Floats:
        spec = self._spec
        if spec.control_mode is ControlMode.VELOCITY:
            raise ValueError("it is commanded by velocities, which have no pose to go to")
        if pose is None:
            if spec.home is None:
                raise ValueError("its driver names no home pose: say to which pose it shall go")
            return np.array(spec.home, np.float32)
        target = np.array(position, np.float32)
        for name, value in pose.items():
            if name not in spec.action_names:
                raise ValueError(f"no joint {name!r}; it has {', '.join(spec.action_names)}")
            place = spec.action_names.index(name)
            if not spec.lower[place] <= value <= spec.upper[place]:
                raise ValueError(
                    f"{name}: {value:g} is outside its range {spec.lower[place]:g} to "
                    f"{spec.upper[place]:g}"
                )
            target[place] = value
        if not all_finite(target):
            lost = [n for n, v in zip(spec.action_names, target, strict=True) if not np.isfinite(v)]
            raise ValueError(f"{', '.join(lost)}: not measured, so say where to")
        return target
