"""The simulated robot, with the cell around it, and its cameras, which may be in other processes.

They meet in one place that holds the latest scene: the robot writes it, the cameras draw from it.
It is handed in; any object with `read` and `write` will do. A robot that has died leaves its last
scene behind, and a camera that sees no other one raises RobotError.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ...errors import RobotError
from ..base import Episode, Options, Robot
from ..cameras.base import Camera, Stamp
from .arm import CONTROL_HZ, DT, SPEC
from .scene import Scene, unpack
from .simulation import Readable, SimulatedHardware, World

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


class LastValue:
    """One value in this process's own memory, for a simulator without other readers."""

    def __init__(self) -> None:
        self._value: bytes | None = None

    def read(self) -> bytes | None:
        """The value, or None before the first."""
        return self._value

    def write(self, value: bytes) -> None:
        """Replace the value."""
        self._value = bytes(value)


class SimRobot(Robot):
    """The gantry arm and the cell around it, in real time: `read_state` lets the time pass."""

    spec = SPEC
    period_s = DT

    def __init__(
        self,
        seed: int = 0,
        scene: SimulatedHardware | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`seed` is for the parcels and their order. The scene is published in `scene`, for the
        cameras, and the cell goes on from the one that is there. `clock` gives monotonic ns."""
        self._seed = seed
        self._register = scene if scene is not None else LastValue()
        self._clock = clock
        self._world: World | None = None
        self._episode: Episode | None = None

    def connect(self) -> None:
        """Begin the cell, or go on with it."""
        if self._world is None:
            self._world = World(self._seed, self._register)
        self._world.advance(self._clock())

    def read_state(self, out: NDArray[np.float32]) -> int:
        """See `Robot.read_state`. The instant is that of the last physics step."""
        world = self._running
        world.advance(self._clock())
        out[:] = world.cell.state()
        return world.cell.truth.instant_ns

    def write_action(self, action: NDArray[np.float32]) -> None:
        """See `Robot.write_action`. It is the arm's target from the next physics step on."""
        self._running.cell.command(action)

    def episode(self) -> Episode | None:
        """The attempt that the state last read belongs to; None before `connect`."""
        if self._world is None:
            return None
        cell = self._world.cell
        if self._episode is None or self._episode.number != cell.episode:
            self._episode = Episode(cell.episode, cell.task)
        return self._episode

    def begin_episode(self) -> None:
        """See `Robot.begin_episode`. The arm stays where it is."""
        self._running.cell.begin()

    def safe_stop(self) -> bool:
        """Rise, then drift home slowly. Before `connect` there is no arm to move: True."""
        if self._world is None or SPEC.home is None:
            return True
        scene = self._world.cell.truth
        target = np.array(scene.target)
        goal = np.array(SPEC.home)
        step = np.array(_STOP_SPEED) / CONTROL_HZ
        if scene.position[2] < _STOP_HEIGHT - 0.01:
            goal[[0, 1, 3]] = target[[0, 1, 3]]
        self.write_action((target + np.clip(goal - target, -step, step)).astype(np.float32))
        away = np.abs(np.array(scene.position) - SPEC.home)
        return bool((away[:4] < (0.005, 0.005, 0.005, 0.05)).all())

    def report(self) -> dict[str, Any]:
        """What became of the attempts."""
        if self._world is None:
            return {}
        cell = self._world.cell
        return {
            "task": cell.task,
            "episode": cell.episode,
            "tried": cell.tried,
            "successes": cell.succeeded,
            "outcome": cell.outcome.name.lower(),
            "lost_steps": self._world.lost_steps,
        }

    @property
    def _running(self) -> World:
        if self._world is None:
            raise RobotError("the simulated cell has not begun: call connect() first")
        return self._world


class SimCamera(Camera):
    """One camera of a cell. Its process sets `cv2.setNumThreads(1)` when cores are shared."""

    stamp = Stamp.DEVICE
    has_noise = False

    def __init__(
        self,
        name: str,
        scene: Readable,
        fps: float = 30.0,
        width: int = 640,
        height: int = 480,
        timeout_s: float = 1.0,
    ) -> None:
        """`timeout_s` is how old a scene may become before the robot counts as gone, and how long
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
        self.patience_s = max(timeout_s, 1 / fps) + _DRAW_S

    def open(self) -> None:
        """Wait for a scene of the cell, another one than the last that was seen. Raises RobotError
        when it has not published one in time."""
        first = _first_scene(self._source, self._timeout_s, self._instant_ns)
        self._draw(self.name, first, self.width, self.height)
        self._instant_ns, self._seen_ns = first.instant_ns, time.monotonic_ns()
        self._due_ns = time.monotonic_ns()

    def read(self, out: NDArray[np.uint8]) -> int:
        """See `Camera.read`. Late callers get the next picture on the grid, never a burst."""
        now_ns = time.monotonic_ns()
        if now_ns < self._due_ns:
            time.sleep((self._due_ns - now_ns) / _NS)
        else:
            self._due_ns += (now_ns - self._due_ns) // self._period_ns * self._period_ns
        self._due_ns += self._period_ns
        block = self._source.read()
        if block is None:
            raise RobotError("the simulated robot has published no scene: call open() first")
        scene = unpack(block)
        self._see(scene)
        np.copyto(out, self._draw(self.name, scene, self.width, self.height, self._frame))
        self._frame += 1
        return scene.instant_ns

    def close(self) -> None:
        """Nothing to release."""

    def _see(self, scene: Scene) -> None:
        now_ns = time.monotonic_ns()
        if scene.instant_ns != self._instant_ns:
            self._instant_ns, self._seen_ns = scene.instant_ns, now_ns
        elif now_ns - self._seen_ns > self._timeout_s * _NS:
            raise _absent(self._timeout_s)


def _first_scene(source: Readable, timeout_s: float, but_ns: int | None = None) -> Scene:
    """The scene, once there is one of another instant than `but_ns`."""
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
        f"the simulated robot has published no scene within {timeout_s:g} s: "
        "see whether its driver runs (actorctl status)"
    )
