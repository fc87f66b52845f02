"""`ReplayTeleoperator`: the recorded actions of an episode in a person's place.

It is loaded with an episode while it does not command. After the take-over it says the first pose
for `SETTLE_S`, then the actions in their time, and after the last one that. Without an episode it
is silent, so that the robot rests. An episode is played once: giving back unloads it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError, RobotError
from .base import ControlMode, RobotSpec
from .command_limits import MARGIN
from .episode_source import find_episode, names_of, need_packages
from .teleoperator import Teleoperator

SETTLE_S = 1.2
"""Longer than a take-over takes to go over from the robot's pose to the teleoperator's."""
LINGER_S = 0.3
"""Of the last action, before the episode is over: longer than it takes to the robot."""


class ReplayTeleoperator(Teleoperator):
    """Of a robot of `spec` that takes `fps` actions per second. `rename` maps the names of recorded
    actions to the robot's. Raises RobotError for a robot that is commanded by velocities, and
    where the packages that read datasets are missing."""

    def __init__(self, spec: RobotSpec, fps: float, rename: Mapping[str, str]) -> None:
        if spec.control_mode is ControlMode.VELOCITY:
            raise RobotError(
                "the robot is commanded by velocities, which have no first pose to go to: an "
                "episode can be played on a robot that is commanded by positions"
            )
        need_packages()
        self.action_names = spec.action_names
        self._spec, self._fps, self._rename = spec, fps, rename
        self._actions = np.zeros((0, len(spec.action_names)), np.float32)
        self._speed = 1.0
        self._in_command = False
        self._taken_ns = 0

    def load(self, dataset: str, episode: int, speed: float = 1.0) -> dict[str, float]:
        """Get ready to play `episode` of the dataset at this path, at `speed` (1: as recorded, the
        fastest). Returns the pose in which it begins. Raises RobotError for an episode that is
        none, that is not this robot's, or that leaves its range; and while one is played."""
        if self._in_command:
            raise RobotError("an episode is being played: `pause` ends it")
        if not 0 < speed <= 1:
            raise RobotError(f"speed {speed:g}: expected more than 0 and at most 1, as recorded")
        found, recorded = find_episode(dataset, episode)
        names = [self._rename.get(name, name) for name in names_of(found, "action")]
        if set(names) != set(self.action_names):
            raise RobotError(
                f"the actions of {found.root} are {', '.join(names)}; the robot's are "
                f"{', '.join(self.action_names)} (`rename` in its `teleop` maps recorded names to "
                "the robot's)"
            )
        if found.fps != self._fps:
            raise RobotError(
                f"{found.root} has {found.fps:g} actions per second, the robot takes "
                f"{self._fps:g}: `fps` in its entry of the fleet file has to be the dataset's"
            )
        try:
            actions = recorded.actions[:, [names.index(name) for name in self.action_names]]
        except DatasetError as error:
            raise RobotError(str(error)) from error
        self._check(actions, episode)
        self._actions, self._speed = actions, speed
        # In float64: the nearest float32 of a bound may lie beyond it.
        first = np.clip(actions[0].astype(np.float64), self._spec.lower, self._spec.upper)
        return dict(zip(self.action_names, map(float, first), strict=True))

    def connect(self) -> None:
        """Nothing to open: episodes come by `load`."""

    def locate(self, position: NDArray[np.float32], in_command: bool) -> None:
        """See `Teleoperator.locate`: the take-over begins the episode, its end unloads it."""
        del position
        if in_command and not self._in_command:
            self._taken_ns = time.monotonic_ns()
        if self._in_command and not in_command:
            self._actions, self._taken_ns = self._actions[:0], 0
        self._in_command = in_command

    def get_action(self, out: NDArray[np.float32]) -> int:
        """See `Teleoperator.get_action`; between two recorded actions, on the line from one to the
        other. 0 without an episode."""
        out[:] = 0.0
        if not len(self._actions):
            return 0
        now_ns = time.monotonic_ns()
        place = self._place(now_ns)
        before = int(place)
        after = min(before + 1, len(self._actions) - 1)
        share = place - before
        out[:] = (1 - share) * self._actions[before] + share * self._actions[after]
        return now_ns

    def progress(self) -> dict[str, Any]:
        """How far the episode is: `frame` of `frames`, both 0 without one, and whether it is
        `over`: the last action has been said for `LINGER_S`."""
        frames, now_ns = len(self._actions), time.monotonic_ns()
        if not frames:
            return {"frame": 0, "frames": 0, "over": False}
        lasts_s = (frames - 1) / (self._fps * self._speed) + LINGER_S
        over = self._taken_ns > 0 and self._played_s(now_ns) >= lasts_s
        return {"frame": int(self._place(now_ns)) + 1, "frames": frames, "over": over}

    def close(self) -> None:
        """Nothing to close."""

    def _place(self, now_ns: int) -> float:
        """Which action it is, with the fraction of the way to the next."""
        passed = self._played_s(now_ns) * self._fps * self._speed
        return float(min(passed, len(self._actions) - 1))

    def _played_s(self, now_ns: int) -> float:
        if not self._taken_ns:
            return 0.0
        return max(0.0, (now_ns - self._taken_ns) / 1e9 - SETTLE_S)

    def _check(self, actions: NDArray[np.float32], episode: int) -> None:
        """Raises RobotError where an action is not finite, or beyond the range that the limits of
        commands accept."""
        lower, upper = np.array(self._spec.lower), np.array(self._spec.upper)
        span = upper - lower
        margin = np.where(np.isfinite(span), MARGIN * span, 0.0)
        wrong = ~((actions >= lower - margin) & (actions <= upper + margin))
        wrong |= ~np.isfinite(actions)
        if wrong.any():
            frame, place = map(int, np.argwhere(wrong)[0])
            raise RobotError(
                f"frame {frame} of episode {episode}: {self.action_names[place]} "
                f"{actions[frame, place]:g} is outside the robot's range {lower[place]:g} to "
                f"{upper[place]:g}"
            )
