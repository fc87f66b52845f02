"""What a service demands of a robot, and how full a replica is: the basis of an admission."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ...policy.base import PolicySpec
from ...transport.header import VERSIONS

FPS_TOLERANCE = 0.01
"""Relative; broadcast rates such as 29.97 Hz count as the round ones."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A service's demands on a robot. `limit` is the number of sessions of one replica; `alone` is
    the reason why it is one, where the policy cannot be shared. Robots give up a request after
    `request_timeout_s`. `default_task` is the task of a robot that names none."""

    service: str
    spec: PolicySpec
    limit: int
    pin_task: str | None = None
    default_task: str = ""
    strict_fps: bool = False
    alone: str = ""
    request_timeout_s: float = 5.0
    versions: tuple[int, int] = VERSIONS


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How full a replica is: `sessions` of other robots, the device's busy share (0 to 1), the
    robots that it can serve by its measured times, the duration of one inference, the requests per
    second of one robot, and the robots that it could serve at the slowest rate at which their plans
    last, by its shortest times (None: any number)."""

    sessions: int = 0
    load: float = 0.0
    capacity: int = 0
    inference_s: float = 0.0
    rate_hz: float = 0.0
    most: int | None = None


def same_fps(a: float, b: float) -> bool:
    """Whether two rates are equal within `FPS_TOLERANCE`."""
    return math.isclose(a, b, rel_tol=FPS_TOLERANCE)


def listed(names: Iterable[str]) -> str:
    """Names in brackets, for a message."""
    return "[" + ", ".join(names) + "]"
