"""`ExpertTeleoperator`: the scripted expert in a person's place, for a simulated cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ..teleoperator import Teleoperator
from .arm import SPEC
from .cell import ConveyorCell
from .expert import Expert
from .simulation import Readable


class ExpertTeleoperator(Teleoperator):
    """Commands what the expert does in the cell whose latest scene is in `scene`."""

    action_names = SPEC.action_names

    def __init__(self, scene: Readable) -> None:
        self._scene = scene
        self._expert = Expert()

    def connect(self) -> None:
        """Nothing to open: the cell may begin later."""

    def get_action(self, out: NDArray[np.float32]) -> int:
        """See `Teleoperator.get_action`; the instant is that of the scene."""
        block = self._scene.read()
        if block is None:
            raise RobotError("the simulated cell has not begun")
        cell = ConveyorCell.from_scene(block)
        out[:] = self._expert.act(cell)
        return cell.truth.instant_ns

    def close(self) -> None:
        """Nothing to close."""
