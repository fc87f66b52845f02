"""`SteeredTeleoperator`: what devices of relative motion share: a pose, and buttons."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from .base import RobotSpec
from .teleoperator import Teleoperator

Positive = Annotated[float, Meta(gt=0, description="more than 0")]


class SteeredTeleoperator(Teleoperator):
    """A pose that a device moves, from where the robot is when the person takes over."""

    def __init__(self, spec: RobotSpec) -> None:
        self.action_names = spec.action_names
        self._lower, self._upper = np.array(spec.lower), np.array(spec.upper)
        self._pose = np.zeros(len(spec.action_names))
        self._placed = False
        self._pressed: list[str] = []

    def locate(self, position: NDArray[np.float32], in_command: bool) -> None:
        """See `Teleoperator.locate`. A joint that is not measured stays where the device put it."""
        if in_command and self._placed:
            return
        known = np.isfinite(position)
        self._pose[known] = position[known]
        self._placed = bool(known.any())

    def pressed(self) -> tuple[str, ...]:
        """See `Teleoperator.pressed`."""
        found, self._pressed = tuple(self._pressed), []
        return found
