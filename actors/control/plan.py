"""What goes into the plan and comes out of it: actions with their origin, snapshots, merge rules,
and the reasons for which a reply does not count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .config import MergeMode, Trim
from .plan_memory import Mark

Floats = NDArray[np.float32]
Begin = Callable[[Floats, int, int], int]
"""Takes a chunk [H, A] in robot space, how many actions were played since its observation, and how
many policy steps have passed since; returns the index of the action to begin with."""


class Drop(StrEnum):
    """Why a reply did not become part of the plan."""

    UNASKED = "unasked"
    """Late, a duplicate, or of another episode or epoch: not the answer to what is outstanding."""
    EXPIRED = "expired"
    """Every action of it is meant for a tick that passed, or its observation is too old."""
    MALFORMED = "malformed"
    """Not [H, A] float32 in both spaces with this robot's A."""
    NOT_FINITE = "not_finite"
    OVERFLOW = "overflow"
    """Appending it would exceed the plan's capacity."""
    ERROR = "error"
    """The replica answered that it could not predict."""
    TIMEOUT = "timeout"
    """Nothing came within `request_timeout_s`."""
    UNSENT = "unsent"
    """The request could not be handed to the network actor."""
    ABANDONED = "abandoned"
    """The connection that owed the answer was lost."""
    VOID = "void"
    """The motion that it continues did not happen: the robot's driver was gone meanwhile, or the
    robot's limits refused it."""
    TASK = "task"
    """The task changed meanwhile: it is a plan for the one before."""
    STALLED = "stalled"
    """The plan ran dry long before it came: the motion that it continues has ended."""


class Provenance(NamedTuple):
    """Which chunk an action is from, and its place in it. `session` is the session's id, which no
    other session of any run has."""

    session: int
    seq: int
    episode: int
    step: int


class PlannedAction(NamedTuple):
    """One popped action. The arrays are views of the plan's storage: use them before the next merge
    but one. `mark` is the action's row of `Mark` columns."""

    robot: Floats
    model: Floats
    mark: NDArray[np.int64]

    @property
    def observed_ns(self) -> int:
        """The instant of the (older) observation that it was predicted from."""
        return int(self.mark[Mark.OBSERVED_NS])

    @property
    def provenance(self) -> Provenance:
        return Provenance(*self.mark[Mark.SESSION : Mark.INDEX + 1].tolist())

    @property
    def blended_with(self) -> Provenance | None:
        """The older chunk's action in it, if it is a blend."""
        if not self.mark[Mark.BLEND_SEQ]:
            return None
        return Provenance(*self.mark[Mark.BLEND_SESSION :].tolist())


class Snapshot(msgspec.Struct, frozen=True):
    """What a request is made from: who it is, and the plan that a chunk for it will continue.

    `model` and `robot` are the leftovers [n, A], views that stay valid as long as this snapshot is
    outstanding. `step` is the policy step (by the caller's clock) that the leftovers begin at.
    """

    seq: int
    episode: int
    epoch: int
    session: int
    cursor: int
    observed_ns: int
    step: int
    model: Floats
    robot: Floats


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How a chunk joins the plan; see `config.PlanSettings`."""

    mode: MergeMode = "replace"
    trim: Trim = "consumed"
    blend_weight: float = 0.5


def by_time(_chunk: Floats, _played: int, passed: int) -> int:
    """A `Begin`: that of a robot that can begin anywhere."""
    return passed
