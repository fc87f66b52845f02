"""What a robot and a camera are, to the actors that drive them.

A driver is called by one thread of one process. Calls return fast: a driver that talks to slow
hardware bounds every call by its own timeout and raises `RobotError` past it. Nothing here knows
about plans, policies or processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what fleet.yaml may say about a driver or a camera beside its name: each kind has its
    own, frozen and typed, beside the class that obeys it."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """The options that would have no effect on what the others name: the key, and why."""
        return iter(())


class ControlMode(StrEnum):
    """What one action commands. It decides what an absent action means: a position-controlled arm
    holds by itself, a velocity-controlled one keeps moving until it is told zero."""

    POSITION = "position"
    VELOCITY = "velocity"


@dataclass(frozen=True)
class RobotSpec:
    """The contract between a robot and the policies that may drive it.

    `lower`, `upper` and `max_rate` have one entry per action, in `action_names`' order and units;
    `max_rate` is in units per second and `inf` where a jump is harmless (a gripper).
    `home` is where `safe_stop` may move, or None to hold in place.
    """

    action_names: tuple[str, ...]
    state_names: tuple[str, ...]
    control_mode: ControlMode
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    max_rate: tuple[float, ...]
    home: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Episode:
    """One attempt at a task, as the robot's surroundings count it (a simulator's world, a person).

    `number` counts up; a change of it is an episode boundary: everything planned for the one
    before is void. `task` is the sentence the policy gets.
    """

    number: int
    task: str


class Robot(Protocol):
    """One arm. `connect` comes first and `close` last; both may be slow, the rest may not."""

    spec: RobotSpec

    def connect(self) -> None:
        """Open the hardware. Raises RobotError when it is absent or not what `spec` says."""

    def read_state(self, out: NDArray[np.float32]) -> int:
        """Fill `out` [S] in `state_names`' order; return when it was measured, monotonic ns."""

    def write_action(self, action: NDArray[np.float32]) -> None:
        """Command `action` [A], already checked against the limits."""

    def episode(self) -> Episode | None:
        """The attempt under way, or None where only a person can tell (`actorctl episode`)."""

    def safe_stop(self) -> bool:
        """Take one step towards a safe rest (called once a tick); True when it is reached."""

    def close(self) -> None:
        """Release the hardware, leaving it at rest. Never raises."""


class Camera(Protocol):
    """One camera. `read` is what sets the sensor actor's pace."""

    width: int
    height: int

    @property
    def patience_s(self) -> float:
        """The longest that `open` or `read` may take, whether the device is there or not."""

    def open(self) -> None:
        """Start capturing. Raises RobotError when the device is absent or refuses the format."""

    def read(self, out: NDArray[np.uint8]) -> int:
        """Wait for the next frame, write it to `out` [height, width, 3] RGB, and return the instant
        it was captured, monotonic ns. Raises RobotError when none came within its timeout."""

    def close(self) -> None:
        """Release the device. Never raises."""
