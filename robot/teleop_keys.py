"""`KeyboardTeleoperator`: keys that move the joints by steps, pressed in `actorctl teleop`."""

from __future__ import annotations

import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from .base import Options, RobotSpec
from .steered_pose import Positive, SteeredTeleoperator

PAIRS = ("qa", "ws", "ed", "rf", "tg", "yh", "uj", "ik", "ol", "p;")
"""The keys of the joints in order: up, down."""
COMMANDS = {
    " ": "take_over",
    "\n": "success",
    "\r": "success",
    "0": "failure",
    "x": "rerecord",
    "\x1b": "stop",
}
"""The keys of the buttons: space, enter, 0, x, escape."""
_STEP_S = 0.1
"""A step is as far as a joint's `max_rate` takes it in this time."""
_STEPS = 50
"""In a joint's range, for one without a rate."""
_PLAIN_STEP = 0.05
"""For a joint that has neither."""


class KeyboardOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the keyboard: `step` replaces how far one press moves a joint, by its name."""

    step: dict[str, Positive] = msgspec.field(default_factory=dict)


class KeyboardTeleoperator(SteeredTeleoperator):
    """A pose that keys move, from where the robot is when the person takes over."""

    def __init__(self, spec: RobotSpec, options: KeyboardOptions) -> None:
        super().__init__(spec)
        self._step = np.array(
            [
                options.step.get(name, _step(low, high, rate))
                for name, low, high, rate in zip(
                    spec.action_names, spec.lower, spec.upper, spec.max_rate, strict=True
                )
            ]
        )

    def connect(self) -> None:
        """Nothing to open: keys come by `key`."""

    def key(self, name: str) -> None:
        """See `Teleoperator.key`."""
        if name in COMMANDS:
            self._pressed.append(COMMANDS[name])
            return
        for joint, pair in enumerate(PAIRS[: len(self._pose)]):
            if name in pair:
                moved = self._pose[joint] + self._step[joint] * (1 if name == pair[0] else -1)
                self._pose[joint] = np.clip(moved, self._lower[joint], self._upper[joint])

    def get_action(self, out: NDArray[np.float32]) -> int:
        """See `Teleoperator.get_action`."""
        out[:] = self._pose
        return time.monotonic_ns()

    def close(self) -> None:
        """Nothing to close."""


def _step(lower: float, upper: float, rate: float) -> float:
    if np.isfinite(rate):
        return rate * _STEP_S
    return (upper - lower) / _STEPS if np.isfinite(upper - lower) else _PLAIN_STEP
