"""What an evaluation does: which service is tried by which robot, in which order. Pure.

With two services the episodes come in pairs, one of each service, one after the other on the same
robot, so that what changes slowly (light, a warming motor, a person's care) meets both alike. Which
of the two comes first is drawn for each pair, because the second begins where the first has left
the scene.
"""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

import msgspec

Judge = Literal["environment", "person"]


class Slot(NamedTuple):
    """One episode to be done. `number` counts from 0 over the whole evaluation."""

    number: int
    robot: str
    service: str


class EvaluationPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An evaluation of `service`, and of `against` if that is given, by `episodes` of each.

    Raises ValueError for a plan that cannot be.
    """

    fleet: str
    service: str
    against: str | None = None
    robots: tuple[str, ...]
    episodes: int
    seed: int = 0
    time_limit_s: float = 60.0
    judge: Judge = "environment"
    home: bool = False
    """Whether a robot goes to its home pose before each episode; a person's scenes only."""

    def __post_init__(self) -> None:
        if not self.robots or len(set(self.robots)) < len(self.robots):
            raise ValueError(f"robots {self.robots}: expected one or more, each once")
        if self.episodes < 1 or self.time_limit_s <= 0:
            raise ValueError("expected 1 episode or more, and a time limit of more than 0 s")
        if self.against == self.service:
            raise ValueError(f"{self.service!r} against itself: name another service")

    @property
    def services(self) -> tuple[str, ...]:
        return (self.service,) if self.against is None else (self.service, self.against)

    def slots(self) -> list[Slot]:
        """Every episode, in order. The same plan gives the same list."""
        draw = random.Random(self.seed)
        found: list[Slot] = []
        for pair in range(self.episodes):
            robot = self.robots[pair % len(self.robots)]
            order = list(self.services)
            draw.shuffle(order)
            found += [Slot(len(found) + k, robot, service) for k, service in enumerate(order)]
        return found
