"""`ReplayRobot`: a recorded episode in a robot's place, so that a policy sees what was recorded.

The first command begins the episode, which then passes in real time, whatever is commanded; before
it the robot stands at the first frame and after it at the last one, from where `begin_episode`
takes it back. Commands move nothing: how far they are from the recorded actions is in `report()`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError, RobotError
from .base import ControlMode, Episode, Robot, RobotSpec
from .camera_frame import copy_frame
from .episode_source import find_episode, names_of

_READS = 4
"""Per frame: a state is published within a quarter of a frame's time."""


class ReplayRobot(Robot):
    """One episode of a LeRobotDataset v3. Its cameras are the dataset's, without their prefix
    `observation.images.`, and have `driver: robot` in fleet.yaml.

    Example, in fleet.yaml:

        driver: replay
        options: {dataset: ~/data/pick, episode: 3, loop: true}
    """

    def __init__(
        self, dataset: str, episode: int = 0, loop: bool = False, control_mode: str = "position"
    ) -> None:
        """Read what the dataset says of itself. `loop`: at the end the episode begins again, and
        counts as the next one. A dataset does not tell velocities from positions: `control_mode`
        does.

        Raises RobotError for a dataset or an episode that cannot be played.
        """
        found, self._recorded = find_episode(dataset, episode)
        self._fps, self._loop = found.fps, loop
        self._label = f"episode {episode} of {found.root}"
        self.spec = RobotSpec(
            names_of(found, "action"),
            names_of(found, "observation.state"),
            ControlMode(control_mode),
        )
        self._keys = {
            key.removeprefix("observation.").removeprefix("images."): key
            for key in found.cameras
            if not found.features[key].is_depth
        }
        self.cameras = tuple(self._keys)
        self.period_s = 1 / (_READS * found.fps)
        self._states = np.zeros((0, len(self.spec.state_names)), np.float32)
        self._actions = np.zeros((0, len(self.spec.action_names)), np.float32)
        self._tasks: list[str] = []
        self._films: dict[str, _Film] = {}
        self._begun_ns = self._index = 0
        self._number = 1
        self._ended = False
        self._measured_ns = 0
        self._shown_ns: dict[str, int] = {}
        self._commands = 0
        self._sum = np.zeros(len(self.spec.action_names))
        self._most = np.zeros(len(self.spec.action_names))

    def connect(self) -> None:
        """Read the episode's table, and go on where it was."""
        try:
            self._states, self._actions = self._recorded.states, self._recorded.actions
            self._tasks = self._recorded.tasks
        except DatasetError as error:
            raise RobotError(f"{self._label}: {error}") from error

    def read_state(self, out: NDArray[np.float32]) -> int:
        """The recorded state of the frame of this instant; the instant is that of the frame, on
        the episode's grid. While the robot stands at the first or last frame, it is now."""
        now_ns, length = time.monotonic_ns(), len(self._states)
        instant_ns = now_ns
        if self._begun_ns:
            index = int((now_ns - self._begun_ns) * self._fps / 1e9)
            if index >= length and self._loop:
                rounds, index = divmod(index, length)
                self._begun_ns += int(rounds * length * 1e9 / self._fps)
                self._number += rounds
            self._ended = index >= length
            self._index = min(index, length - 1)
            if not self._ended:
                grid_ns = self._begun_ns + int(index * 1e9 / self._fps)
                instant_ns = max(min(grid_ns, now_ns), self._measured_ns)
        self._measured_ns = instant_ns
        out[:] = self._states[self._index]
        return instant_ns

    def write_action(self, action: NDArray[np.float32]) -> None:
        """Compare `action` [A] with the recorded one of the frame that was read last."""
        if not self._begun_ns:
            self._begun_ns = time.monotonic_ns()
        if self._ended:
            return
        difference = np.abs(action.astype(np.float64) - self._actions[self._index])
        self._commands += 1
        self._sum += difference
        np.maximum(self._most, difference, out=self._most)

    def hold(self) -> None:
        """Nothing moves by commands."""

    def episode(self) -> Episode:
        """The one that is played, and the task of its present frame."""
        return Episode(self._number, self._tasks[self._index])

    def begin_episode(self) -> None:
        """See `Robot.begin_episode`: the robot stands at the first frame again, until it is
        commanded. What was compared so far counts on."""
        self._begun_ns = self._index = 0
        self._ended = False
        self._number += 1

    def read_frame(self, camera: str, out: NDArray[np.uint8]) -> int | None:
        """See `Robot.read_frame`: the picture of the frame whose state was read last. Raises
        RobotError when the camera's size in fleet.yaml is not the recorded one."""
        if self._shown_ns.get(camera) == self._measured_ns:
            return None
        film = self._films.get(camera)
        if film is None or film.index > self._index:
            film = self._films[camera] = _Film(self._recorded.frames(self._keys[camera]))
        try:
            picture = film.at(self._index)
        except (DatasetError, StopIteration) as error:
            del self._films[camera]
            raise RobotError(f"{self._label}: {error or 'too few pictures'}") from error
        copy_frame(picture, out, camera, "was recorded with")
        self._shown_ns[camera] = self._measured_ns
        return self._measured_ns

    def report(self) -> dict[str, Any]:
        """Where the episode is, and how far the commands so far were from its actions: the mean and
        the largest absolute difference, by action."""
        mean = self._sum / max(self._commands, 1)
        return {
            "task": self._tasks[self._index] if self._tasks else "",
            "episode": self._number,
            "frame": self._index,
            "frames": len(self._states),
            "ended": self._ended,
            "commands": self._commands,
            "difference": {
                name: {"mean": float(mean[place]), "max": float(self._most[place])}
                for place, name in enumerate(self.spec.action_names)
            },
        }

    def close(self) -> None:
        """Close the videos; where the episode is stays."""
        self._films.clear()


class _Film:
    """The pictures of one camera, decoded in order as far as they are wanted."""

    def __init__(self, pictures: Iterator[NDArray[np.uint8]]) -> None:
        self._pictures = pictures
        self._picture = np.zeros((0, 0, 3), np.uint8)
        self.index = -1

    def at(self, index: int) -> NDArray[np.uint8]:
        """The picture `index`, which is not before the last one. Raises DatasetError, and
        StopIteration at the end."""
        while self.index < index:
            self._picture = next(self._pictures)
            self.index += 1
        return self._picture
