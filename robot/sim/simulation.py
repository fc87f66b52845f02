"""The cell in real time, as the physical world would be there: it does not wait for commands.

Guaranteed: physics steps lie on a fixed grid of `DT` and carry that grid's instants; without a
command the arm goes on to its last target and holds; a new World over the same register goes on
from the last scene, so that episodes and counters never go back.

Not guaranteed: lost time. After a pause of the machine longer than `MAX_CATCH_UP_S` the world has
stood still for the rest of it; it does not race to make up.
"""

from __future__ import annotations

from typing import Protocol

from .arm import PHYSICS_HZ
from .cell import ConveyorCell

MAX_CATCH_UP_S = 0.1
_MAX_STEPS = int(MAX_CATCH_UP_S * PHYSICS_HZ)
_SECOND_NS = 1_000_000_000


class Readable(Protocol):
    """The latest value that someone else writes."""

    def read(self) -> bytes | None:
        """The latest value, or None when none was ever written."""


class Writable(Protocol):
    """Where the latest value goes."""

    def write(self, value: bytes, /) -> None:
        """Replace the value."""


class SimulatedHardware(Readable, Writable, Protocol):
    """One that its own writer can read back."""


class World:
    """Steps a cell along a clock that the caller reads. Single-threaded, no I/O of its own."""

    def __init__(self, seed: int, scene: SimulatedHardware) -> None:
        """Go on from the last scene in `scene`; where there is none, begin a cell from `seed`.
        Raises RobotError when what is there is not a scene."""
        last = scene.read()
        self.cell = ConveyorCell(seed) if last is None else ConveyorCell.from_scene(last)
        self.lost_steps = 0
        """Physics steps that were due but not made, because the caller came too late."""
        self._scene = scene
        self._origin_ns: int | None = None
        self._done = 0

    @property
    def next_ns(self) -> int:
        """When the next step is due; 0 before the first `advance`."""
        return 0 if self._origin_ns is None else self._instant_ns(self._done + 1)

    def advance(self, now_ns: int) -> int:
        """Make the steps that are due at `now_ns` and publish the scene; return their number."""
        if self._origin_ns is None:
            self._origin_ns = now_ns
            self._publish()
            return 0
        due = (now_ns - self._origin_ns) * PHYSICS_HZ // _SECOND_NS - self._done
        if due <= 0:
            return 0
        if due > _MAX_STEPS:
            # The grid stays; the steps in between are left out.
            self.lost_steps += due - _MAX_STEPS
            self._done += due - _MAX_STEPS
            due = _MAX_STEPS
        for _ in range(due):
            self.cell.step()
        self._done += due
        self._publish()
        return due

    def _publish(self) -> None:
        self._scene.write(self.cell.scene(self._instant_ns(self._done)))

    def _instant_ns(self, step: int) -> int:
        assert self._origin_ns is not None
        return self._origin_ns - (-step * _SECOND_NS) // PHYSICS_HZ
