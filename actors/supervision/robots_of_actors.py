"""The robots that a list of actors drives."""

from __future__ import annotations

from collections.abc import Sequence

from ..runtime.spec import ActorSpec


def robots_of(actors: Sequence[ActorSpec]) -> list[str]:
    """The robots among `actors`. Raises ValueError for one without a control actor, whose report is
    the robot's status."""
    robots = list(dict.fromkeys(actor.robot for actor in actors if actor.robot))
    names = {actor.name for actor in actors}
    for robot in robots:
        if f"{robot}/control" not in names:
            raise ValueError(f"robot {robot!r} has no actor {robot}/control among its own")
    return robots
