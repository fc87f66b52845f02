"""The simulated robot and its cameras, as drivers in front of a world in another process.

They meet the world in two places that hold one latest value each: the scene, which the world
writes, and the command, which the robot writes. Both are handed in; any object with `read` and
`write` will do. A world that has died leaves its last scene behind. The robot's state then carries
its old instant, and it is for its reader to judge its age; the camera raises RobotError.
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ...errors import RobotError
from ..base import Episode, Options
from . import command
from .arm import CONTROL_HZ, SPEC
from .scene import Scene, unpack
from .simulation import Readable, Writable

_NS = 1_000_000_000
_POLL_S = 0.005
_DRAW_S = 0.5
"""The longest that a camera's first picture takes, with the textures that all others share."""
_STOP_SPEED = (0.20, 0.20, 0.20, 1.0, 0.0)
"""Of `safe_stop`, per second. The gripper keeps what it holds."""

_STOP_HEIGHT = 0.12


class SimOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a simulated robot: `seed` chooses its parcels and their order."""

    seed: Annotated[int, Meta(ge=0, le=2**53, description="a whole number, 0 or more")] = 0


class SimCameraOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a simulated camera: `view` is what it sees, overhead or wrist; else by its name."""

    view: Annotated[str | None, Meta(description="overhead or wrist")] = None


class SimRobot:
    """The gantry arm of a world."""

    spec = SPEC

    def __init__(self, scene: Readable, commands: Writable, timeout_s: float = 10.0) -> None:
        """`timeout_s` is how long `connect` waits for the world's first scene."""
        self._scene_source = scene
        self._commands = commands
        self._timeout_s = timeout_s
        self._scene: Scene | None = None
        self._episode: Episode | None = None

    def connect(self) -> None:
        """Wait for the world. Raises RobotError when it has not published a scene in time."""
        self._scene = _first_scene(self._scene_source, self._timeout_s)

    def read_state(self, out: NDArray[np.float32]) -> int:
        """See `Robot.read_state`. The instant is the scene's."""
        block = self._scene_source.read()
        if block is None:
            raise RobotError("the world has published no scene: call connect() first")
        scene = self._scene = unpack(block)
        out[:5] = scene.position
        out[5] = scene.speed
        out[6] = scene.held >= 0
        return scene.instant_ns

    def write_action(self, action: NDArray[np.float32]) -> None:
        """See `Robot.write_action`. The world obeys at its next step."""
        self._commands.write(command.pack(action, time.monotonic_ns()))

    def episode(self) -> Episode | None:
        """The attempt that the state last read belongs to; None before `connect`."""
        scene = self._scene
        if scene is None:
            return None
        if self._episode is None or self._episode.number != scene.episode:
            self._episode = Episode(scene.episode, scene.task)
        return self._episode

    def safe_stop(self) -> bool:
        """Rise, then drift home slowly. Without any scene there is no arm to move: True."""
        if self._scene is None or SPEC.home is None:
            return True
        self.read_state(np.empty(len(SPEC.state_names), np.float32))
        target = np.array(self._scene.target)
        goal = np.array(SPEC.home)
        step = np.array(_STOP_SPEED) / CONTROL_HZ
        if self._scene.position[2] < _STOP_HEIGHT - 0.01:
            goal[[0, 1, 3]] = target[[0, 1, 3]]
        self.write_action((target + np.clip(goal - target, -step, step)).astype(np.float32))
        away = np.abs(np.array(self._scene.position) - SPEC.home)
        return bool((away[:4] < (0.005, 0.005, 0.005, 0.05)).all())

    def close(self) -> None:
        """Nothing to release: the arm holds its last target."""


class SimCamera:
    """One camera of a world. Its process sets `cv2.setNumThreads(1)` when cores are shared."""

    def __init__(
        self,
        name: str,
        scene: Readable,
        fps: float = 30.0,
        width: int = 640,
        height: int = 480,
        timeout_s: float = 1.0,
    ) -> None:
        """`timeout_s` is how old a scene may become before the world counts as gone, and how long
        `open` waits for one."""
        from .draw import CAMERAS, draw_scene  # here: a control loop carries no OpenCV

        if name not in CAMERAS:
            raise RobotError(
                f"the simulator has no camera {name!r}; it has {', '.join(CAMERAS)}: "
                "name one of these in fleet.yaml"
            )
        self.name, self.width, self.height = name, width, height
        self._source = scene
        self._draw = draw_scene
        self._timeout_s = timeout_s
        self._period_ns = round(_NS / fps)
        self._due_ns = 0
        self._frame = 0
        self._instant_ns: int | None = None
        self._seen_ns = 0
        """When the scene of `_instant_ns` was first seen here."""

    @property
    def patience_s(self) -> float:
        """See `Camera.patience_s`."""
        return max(self._timeout_s + _DRAW_S, self._period_ns / _NS + _DRAW_S)

    def open(self) -> None:
        """Wait for a scene of the world, another one than the last that was seen. Raises RobotError
        when it has not published one in time."""
        first = _first_scene(self._source, self._timeout_s, self._instant_ns)
        self._draw(self.name, first, self.width, self.height)
        self._instant_ns, self._seen_ns = first.instant_ns, time.monotonic_ns()
        self._due_ns = time.monotonic_ns()

    def read(self, out: NDArray[np.uint8]) -> int:
        """See `Camera.read`. Late callers get the next picture on the grid, never a burst."""
        now = time.monotonic_ns()
        if now < self._due_ns:
            time.sleep((self._due_ns - now) / _NS)
        else:
            self._due_ns += (now - self._due_ns) // self._period_ns * self._period_ns
        self._due_ns += self._period_ns
        block = self._source.read()
        if block is None:
            raise RobotError("the world has published no scene: call open() first")
        scene = unpack(block)
        self._see(scene)
        np.copyto(out, self._draw(self.name, scene, self.width, self.height, self._frame))
        self._frame += 1
        return scene.instant_ns

    def close(self) -> None:
        """Nothing to release."""

    def _see(self, scene: Scene) -> None:
        now = time.monotonic_ns()
        if scene.instant_ns != self._instant_ns:
            self._instant_ns, self._seen_ns = scene.instant_ns, now
        elif now - self._seen_ns > self._timeout_s * _NS:
            raise _absent(self._timeout_s)


def _first_scene(source: Readable, timeout_s: float, but_ns: int | None = None) -> Scene:
    """The world's scene, once it has one of another instant than `but_ns`."""
    deadline = time.monotonic() + timeout_s
    while True:
        block = source.read()
        if block is not None and (scene := unpack(block)).instant_ns != but_ns:
            return scene
        if time.monotonic() >= deadline:
            raise _absent(timeout_s)
        time.sleep(_POLL_S)


def _absent(timeout_s: float) -> RobotError:
    return RobotError(
        f"the simulated world has published no scene within {timeout_s:g} s: "
        "see whether its world actor runs (actorctl status)"
    )
