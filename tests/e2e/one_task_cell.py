"""The simulated cell with one easy task, for a policy that learns within minutes.

What differs from the conveyor's tasks: one parcel at a time, red and straight, within 10 cm of the
belt's middle, on a belt of constant 6 cm/s, always for the left bin; the only camera is the
wrist's, of 48 x 48 pixels; the arm is commanded 15 times a second. Arm, grasp and judgement are
those of the cell: a grasp may be off by 20 mm between the fingers and by 25 mm along them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.robot.sim.arm import PHYSICS_HZ
from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.devices import SimRobot
from holdfast.robot.sim.draw import draw_scene
from holdfast.robot.sim.scene import Parcel
from holdfast.robot.sim.task import BINS, COLOURS

FPS = 15
CAMERA, SIDE = "wrist", 48
TASK = "bin"
PACE = 0.06
ACROSS, UPSTREAM = (-0.10, 0.10), (0.18, 0.26)
"""Where a parcel begins: x and y."""


class OneTaskCell(ConveyorCell):
    """The cell with this task."""

    __slots__ = ()

    @property
    def task(self) -> str:
        """The instruction: short, because each of its bytes is a token."""
        return TASK

    def step_control(self, action: NDArray[Any] | None = None) -> None:
        """One control tick, 1/15 s, under `action`; None leaves the arm its last target."""
        if action is not None:
            self.command(action)
        for _ in range(PHYSICS_HZ // FPS):
            self.step()

    def _begin(self) -> None:
        super()._begin()
        scene = self._scene
        rng = np.random.default_rng((scene.seed, scene.episode, 1))
        scene.pace, scene.sway, scene.speed = PACE, 0.0, PACE
        scene.colour, scene.bin = COLOURS.index("red"), BINS.index("left")
        x, y = float(rng.uniform(*ACROSS)), float(rng.uniform(*UPSTREAM))
        scene.parcels = [Parcel(scene.colour, x, y + scene.travel, 0.0)]


class OneTaskRobot(SimRobot):
    """The arm in this cell, in real time, which delivers the pictures of its wrist itself."""

    cameras = (CAMERA,)

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._delivered_ns: int | None = None

    def connect(self) -> None:
        """See `Robot.connect`."""
        super().connect()
        if not isinstance(self._running.cell, OneTaskCell):
            self._running.cell = OneTaskCell(self._seed)

    def read_frame(self, camera: str, out: NDArray[np.uint8]) -> int | None:
        """See `Robot.read_frame`."""
        scene = self._running.cell.truth
        if scene.instant_ns == self._delivered_ns:
            return None
        out[:] = draw_scene(camera, scene, out.shape[1], out.shape[0], scene.steps)
        self._delivered_ns = scene.instant_ns
        return scene.instant_ns
