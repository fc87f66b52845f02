"""The conveyor cell: the physics and the judgement of each attempt.

Guaranteed: the same seed and the same actions give the same scenes, bit for bit; a cell made from
a scene goes on exactly as the one that packed it; without new actions the arm goes to its last
target and holds while the belt goes on; success and failure are decided here and nowhere else.

Not modelled: collisions. Fingers pass by parcels that they do not grasp, and parcels do not push
one another. A parcel is grasped when the fingers close on it from outside, low enough, centred and
turned well enough (`GRASP_*`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import scene as scenes
from .arm import DT, HOME, OPENING, SPEC, SUBSTEPS, servo
from .scene import Parcel, Scene
from .task import BINS, COLOURS, Outcome

BELT_HALF_WIDTH = 0.15
BELT_END = -0.36
"""Where parcels ride off, and just out of the overhead camera's sight."""

PARCEL_LENGTH, PARCEL_WIDTH, PARCEL_HEIGHT = 0.070, 0.048, 0.040
BIN_X = (-0.33, 0.33)
BIN_HALF_X, BIN_HALF_Y = 0.09, 0.15

GRASP_HEIGHT = 0.030
GRASP_ALONG, GRASP_ACROSS, GRASP_TWIST = 0.025, 0.020, 0.35
"""How far off a grasp may be: along the fingers, between them, and in yaw."""

EPISODE_STEPS = int(12.0 / DT)
_CONTACT = PARCEL_WIDTH / OPENING
_LOWER, _UPPER = SPEC.lower, SPEC.upper


class ConveyorCell:
    """One cell, stepped by its owner. Cheap to copy; holds no clock and no randomness but
    its seed: each episode is drawn from (seed, episode number)."""

    __slots__ = ("_scene",)

    def __init__(self, seed: int) -> None:
        self._scene = Scene(seed, position=list(HOME), target=list(HOME))
        self._begin()

    @classmethod
    def from_scene(cls, block: bytes | memoryview) -> ConveyorCell:
        """The cell that packed `block`. Raises RobotError when it is not a scene."""
        cell = cls.__new__(cls)
        cell._scene = scenes.unpack(block)  # noqa: SLF001 its own class
        return cell

    def copy(self) -> ConveyorCell:
        """An independent cell in the same state."""
        cell = ConveyorCell.__new__(ConveyorCell)
        cell._scene = self._scene.copy()  # noqa: SLF001
        return cell

    @property
    def truth(self) -> Scene:
        """The live state, for the expert and for tests; not to be written to."""
        return self._scene

    @property
    def task(self) -> str:
        """This episode's instruction."""
        return self._scene.task

    @property
    def episode(self) -> int:
        """Number of the attempt under way; the first is 1."""
        return self._scene.episode

    @property
    def tried(self) -> int:
        """Attempts that have ended: episodes in which the arm was commanded. One without
        commands does not count, nor does one that began before the first command."""
        return self._scene.tried

    @property
    def succeeded(self) -> int:
        """Episodes that ended with the right parcel in the right bin."""
        return self._scene.succeeded

    @property
    def outcome(self) -> Outcome:
        """How the last episode ended."""
        return Outcome(self._scene.outcome)

    def state(self) -> NDArray[np.float32]:
        """float32 [7] in SPEC.state_names' order."""
        scene = self._scene
        return np.array([*scene.position, scene.speed, scene.held >= 0], np.float32)

    def scene(self, instant_ns: int | None = None) -> bytes:
        """The packed state, true at `instant_ns`, or by default at the cell's own time."""
        scene = self._scene
        scene.instant_ns = round(scene.steps * DT * 1e9) if instant_ns is None else instant_ns
        return scenes.pack(scene)

    def command(self, action: NDArray[Any]) -> None:
        """Set the servos' targets, [5] in SPEC.action_names' order, clamped to the limits.
        Raises ValueError when the action is of another shape or not finite."""
        values = [float(v) for v in action]
        if len(values) != 5 or not all(map(math.isfinite, values)):
            raise ValueError(
                f"action {values}, expected 5 finite numbers ({', '.join(SPEC.action_names)})"
            )
        scene = self._scene
        if not scene.joined:
            scene.joined = scene.episode if scene.episode_steps else -1
        # A client that arrives in the middle of an episode is not judged by it.
        scene.attempted = int(scene.episode != scene.joined)
        scene.target = [
            min(max(v, low), high) for v, low, high in zip(values, _LOWER, _UPPER, strict=True)
        ]

    def begin(self) -> None:
        """Begin the next attempt; the one under way does not count. The arm stays where it is."""
        self._scene.joined = self._scene.joined or -1  # the client comes at the beginning of one
        self._begin()

    def step_control(self, action: NDArray[Any] | None = None) -> None:
        """One control tick, 1/30 s, under `action`; None leaves the arm its last target."""
        if action is not None:
            self.command(action)
        for _ in range(SUBSTEPS):
            self.step()

    def step(self) -> None:
        """One physics step of `DT`."""
        scene = self._scene
        time_s = scene.episode_steps * DT
        scene.speed = scene.pace * (1.0 + scene.sway * math.sin(scene.pulse * time_s + scene.phase))
        scene.travel += scene.speed * DT
        scene.steps += 1
        scene.episode_steps += 1
        before = scene.position[4]
        servo(scene.position, scene.target)
        if scene.held >= 0:
            self._carry()
        elif before > _CONTACT >= scene.position[4] and scene.position[2] <= GRASP_HEIGHT:
            self._grasp()
        self._judge_time()

    def place_of(self, index: int) -> tuple[float, float, float]:
        """Where parcel `index` is in the room: x, y, yaw."""
        return place_of(self._scene, index)

    def _grasp(self) -> None:
        """The fingers just closed to a parcel's width: hold the parcel that lies between them."""
        scene = self._scene
        x, y, _, wrist, _ = scene.position
        for index, parcel in enumerate(scene.parcels):
            dx, dy = parcel.x - x, parcel.along - scene.travel - y
            along = -dx * math.sin(wrist) + dy * math.cos(wrist)
            across = dx * math.cos(wrist) + dy * math.sin(wrist)
            twist = parcel.yaw - wrist
            if (
                abs(along) <= GRASP_ALONG
                and abs(across) <= GRASP_ACROSS
                and abs(twist) <= GRASP_TWIST
            ):
                # The fingers centre the parcel between them; along them it stays where it was.
                scene.held, scene.slip, scene.twist = index, along, twist
                scene.position[4] = _CONTACT
                return

    def _carry(self) -> None:
        """A held parcel stops the fingers; opening them lets it go."""
        scene = self._scene
        if scene.target[4] <= _CONTACT or scene.position[4] <= _CONTACT + 0.02:
            scene.position[4] = max(scene.position[4], _CONTACT)
            return
        x, y, yaw = place_of(scene, scene.held)
        parcel = scene.parcels[scene.held]
        scene.parcels[scene.held] = Parcel(parcel.colour, x, y + scene.travel, yaw)
        scene.held = -1
        if abs(x) <= BELT_HALF_WIDTH:
            return
        for side in range(len(BINS)):
            if abs(x - BIN_X[side]) <= BIN_HALF_X and abs(y) <= BIN_HALF_Y:
                if parcel.colour != scene.colour:
                    self._end(Outcome.WRONG_PARCEL)
                else:
                    self._end(Outcome.PLACED if side == scene.bin else Outcome.WRONG_BIN)
                return
        self._end(Outcome.DROPPED)

    def _judge_time(self) -> None:
        scene = self._scene
        if scene.episode_steps >= EPISODE_STEPS:
            self._end(Outcome.TIMED_OUT)
            return
        for index, parcel in enumerate(scene.parcels):
            gone = parcel.along - scene.travel < BELT_END and index != scene.held
            if gone and parcel.colour == scene.colour:
                self._end(Outcome.MISSED)
                return

    def _end(self, outcome: Outcome) -> None:
        scene = self._scene
        scene.outcome = int(outcome)
        scene.tried += scene.attempted
        scene.succeeded += scene.attempted and outcome is Outcome.PLACED
        self._begin()

    def _begin(self) -> None:
        """The next attempt: the arm stays where it is, everything on the belt is new."""
        scene = self._scene
        scene.episode += 1
        scene.episode_steps = 0
        scene.held, scene.slip, scene.twist = -1, 0.0, 0.0
        scene.attempted = 0
        rng = np.random.default_rng((scene.seed, scene.episode))
        scene.pace = float(rng.uniform(0.06, 0.12))
        scene.sway = float(rng.uniform(0.05, 0.15))
        scene.pulse = float(rng.uniform(0.6, 1.8))
        scene.phase = float(rng.uniform(0.0, math.tau))
        scene.speed = scene.pace * (1.0 + scene.sway * math.sin(scene.phase))
        colours = rng.permutation(len(COLOURS))[: int(rng.integers(3, 5))]
        scene.colour = int(rng.choice(colours))
        scene.bin = int(rng.integers(len(BINS)))
        y = float(rng.uniform(0.10, 0.16))
        scene.parcels = []
        for colour in colours:
            x, yaw = float(rng.uniform(-0.10, 0.10)), float(rng.uniform(-0.6, 0.6))
            scene.parcels.append(Parcel(int(colour), x, y + scene.travel, yaw))
            y += float(rng.uniform(0.11, 0.16))


def place_of(scene: Scene, index: int) -> tuple[float, float, float]:
    """Where parcel `index` of `scene` is in the room, in the fingers or on the belt: x, y, yaw."""
    parcel = scene.parcels[index]
    if index != scene.held:
        return parcel.x, parcel.along - scene.travel, parcel.yaw
    x, y, _, wrist, _ = scene.position
    return (
        x - scene.slip * math.sin(wrist),
        y + scene.slip * math.cos(wrist),
        wrist + scene.twist,
    )
