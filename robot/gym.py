"""`GymRobot`: a Gymnasium environment as a robot, stepped in real time.

An environment has no clock of its own. This driver gives it one: `step` is called once per period
with the newest command, as long as commands come; without them the environment waits, so that no
episode is lost to a policy that is still loading. An episode ends with `terminated` or `truncated`,
counts as a success by `info` or by its last reward, and the next one begins at once.

The interface of environments: https://gymnasium.farama.org/api/env/
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RobotError
from .base import ControlMode, Episode, Robot, RobotSpec
from .camera_frame import copy_frame
from .gym_spaces import action_range, key_of, part_at, parts, rgb

RENDER = "render"
"""In `image_keys`: the picture that `render()` gives, in place of a part of the observation."""
_IDLE_PERIODS = 3
"""Without a command for so many periods, the environment waits."""
_SUCCESS_KEYS = ("is_success", "success")


class GymRobot(Robot):
    """One environment. Its action space is a `Box` or `Discrete` (one number, rounded); its
    observation space a `Box` (a vector, or one picture), or a `Dict` of those.

    Example, in fleet.yaml:

        driver: gym
        options:
          id: gym_pusht/PushT-v0
          module: gym_pusht
          kwargs: {obs_type: pixels_agent_pos}
          image_keys: {top: pixels}
          state_keys: [agent_pos]
    """

    def __init__(
        self,
        id: str,
        module: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        image_keys: Mapping[str, str] | None = None,
        state_keys: Sequence[str] | None = None,
        action_names: Sequence[str] | None = None,
        state_names: Sequence[str] | None = None,
        control_mode: str = "position",
        fps: float | None = None,
        task: str = "",
        seed: int | None = None,
        success_reward: float | None = None,
    ) -> None:
        """Make the environment `id` with `kwargs`, after importing `module`, which registers it.

        `image_keys` maps a camera to a key of the observation (dots go into nested ones), or to
        "render"; left out, every picture of the observation is a camera by its key. `state_keys`
        are the vectors that make the state, in this order; left out, all of them. Names left out
        are `<key>_0`, `action_0` and so on. `fps` is how often the environment is stepped; left
        out, its own `render_fps`. `success_reward`: an episode whose last reward is at least this
        is a success; left out, `info["is_success"]` or `info["success"]` says it.

        Raises RobotError for an environment that cannot be made or has spaces of other kinds.
        """
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            # pygame's: environments that draw with it need no screen then.
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        self._images = None if image_keys is None else dict(image_keys)
        made = dict(kwargs or {})
        if self._images is not None and RENDER in self._images.values():
            made.setdefault("render_mode", "rgb_array")
        self._environment = _make(id, module, made)
        found = list(parts(self._environment.observation_space))
        self._paths = {key_of(path): path for path, _ in found}
        pictures = [key_of(path) for path, size in found if size is None]
        vectors = {key_of(path): size for path, size in found if size is not None}
        if self._images is None:
            self._images = {key or "image": key for key in pictures}
        for camera, key in self._images.items():
            if key != RENDER and key not in pictures:
                raise RobotError(
                    f"image_keys: {camera} names {key!r}; the observation's pictures are "
                    f"{', '.join(map(repr, pictures)) or 'none'}, and {RENDER!r} is what "
                    "render() draws"
                )
        self.cameras = tuple(self._images)
        self._state_keys = list(vectors if state_keys is None else state_keys)
        for key in self._state_keys:
            if key not in vectors:
                raise RobotError(
                    f"state_keys: {key!r} is no vector of the observation, which has "
                    f"{', '.join(map(repr, vectors)) or 'none'}"
                )
        self._sizes = [vectors[key] for key in self._state_keys]
        low, high, self._discrete = action_range(self._environment.action_space)
        names = [
            f"{key or 'state'}_{n}"
            for key, size in zip(self._state_keys, self._sizes, strict=True)
            for n in range(size)
        ]
        self.spec = RobotSpec(
            _named("action_names", action_names, [f"action_{n}" for n in range(len(low))]),
            _named("state_names", state_names, names),
            ControlMode(control_mode),
            tuple(low),
            tuple(high),
        )
        fps = fps or float(self._environment.metadata.get("render_fps") or 0)
        if not fps > 0:
            raise RobotError(f"{id} does not say its rate (metadata render_fps): give `fps`")
        self.period_s = 1 / fps
        self._period_ns = round(1e9 / fps)
        self._task, self._seed, self._success_reward = task, seed, success_reward
        self._observation: Any = None
        self._action: NDArray[np.float32] | None = None
        self._commanded_ns = self._stepped_ns = self._measured_ns = 0
        self._shown_ns: dict[str, int] = {}
        self._steps = self._number = self._tried = self._successes = 0
        self._outcome = ""
        self._reward = 0.0

    def connect(self) -> None:
        """Begin an episode, or go on with the one under way."""
        if self._observation is None:
            self._reset()

    def read_state(self, out: NDArray[np.float32]) -> int:
        """Step the environment if a period has passed, and give its state. The instant is the last
        step's while commands flow; an environment that waits is measured now."""
        now_ns = time.monotonic_ns()
        flowing = now_ns - self._commanded_ns < _IDLE_PERIODS * self._period_ns
        if self._action is not None and flowing:
            # The caller keeps the period; a call in between is not a step.
            if now_ns - self._stepped_ns > self._period_ns // 2:
                self._stepped_ns = now_ns
                self._step(self._action)
        else:
            self._measured_ns = now_ns
        start = 0
        for key, size in zip(self._state_keys, self._sizes, strict=True):
            out[start : start + size] = np.ravel(part_at(self._observation, self._paths[key]))
            start += size
        return self._measured_ns

    def write_action(self, action: NDArray[np.float32]) -> None:
        """The next steps take `action` [A], until another one comes."""
        self._action = action.copy()
        self._commanded_ns = time.monotonic_ns()

    def hold(self) -> None:
        """The environment waits until it is commanded again."""
        self._action = None

    def episode(self) -> Episode:
        """The one under way."""
        return Episode(self._number, self._task)

    def begin_episode(self) -> None:
        """See `Robot.begin_episode`. The environment waits until it is commanded again."""
        self._action = None
        self._reset()

    def read_frame(self, camera: str, out: NDArray[np.uint8]) -> int | None:
        """See `Robot.read_frame`: one frame per step. Raises RobotError when the camera's size in
        fleet.yaml is not what the environment gives."""
        if self._shown_ns.get(camera) == self._measured_ns:
            return None
        assert self._images is not None
        key = self._images[camera]
        picture: Any = (
            self._environment.render()
            if key == RENDER
            else part_at(self._observation, self._paths[key])
        )
        frame = rgb(np.asarray(picture))
        copy_frame(frame, out, camera, "gives")
        self._shown_ns[camera] = self._measured_ns
        return self._measured_ns

    def report(self) -> dict[str, Any]:
        """What became of the episodes."""
        return {
            "task": self._task,
            "episode": self._number,
            "tried": self._tried,
            "successes": self._successes,
            "outcome": self._outcome,
            "steps": self._steps,
            "reward": self._reward,
        }

    def close(self) -> None:
        """The environment stays as it is: a closed one could not be opened again."""

    def _reset(self) -> None:
        try:
            self._observation, _ = self._environment.reset(seed=self._seed)
        except Exception as error:
            raise RobotError(f"the environment's reset() failed: {error}") from error
        self._seed = None  # the environment's own generator goes on
        self._steps, self._number = 0, self._number + 1
        self._measured_ns = time.monotonic_ns()

    def _step(self, action: NDArray[np.float32]) -> None:
        taken: Any = action.astype(self._environment.action_space.dtype)
        if self._discrete is not None:
            taken = self._discrete + round(float(action[0]))
        try:
            stepped = self._environment.step(taken)
        except Exception as error:
            self._observation = None  # what raised in the middle begins anew
            raise RobotError(f"the environment's step() failed: {error}") from error
        self._observation, reward, terminated, truncated, info = stepped
        self._measured_ns = time.monotonic_ns()
        self._steps += 1
        self._reward = float(reward)
        if terminated or truncated:
            self._tried += 1
            success = self._success(info)
            self._successes += success
            self._outcome = "success" if success else "truncated" if truncated else "failure"
            self._reset()

    def _success(self, info: Mapping[str, Any]) -> bool:
        if self._success_reward is not None:
            return self._reward >= self._success_reward
        # A vectorised wrapper's last info lies one level deeper.
        last = info.get("final_info", info)
        return any(bool(last.get(key)) for key in _SUCCESS_KEYS)


def _make(name: str, module: str | None, kwargs: dict[str, Any]) -> Any:
    try:
        gymnasium = importlib.import_module("gymnasium")
        if module:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise RobotError(
            f"{error.name} is not installed: `pip install {(error.name or '').replace('_', '-')}`, "
            "or name an interpreter that has it by `python:`"
        ) from error
    try:
        return gymnasium.make(name, **kwargs)
    except Exception as error:
        hint = "" if module else "; `module` names the package that registers it"
        raise RobotError(f"environment {name!r} with {kwargs}: {error}{hint}") from error


def _named(what: str, given: Sequence[str] | None, names: list[str]) -> tuple[str, ...]:
    if given is not None and len(given) != len(names):
        raise RobotError(
            f"{what}: {len(given)} given ({', '.join(given)}), the environment has {len(names)} "
            f"values ({', '.join(names)})"
        )
    return tuple(names if given is None else given)
