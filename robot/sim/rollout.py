"""Policies run on the cell synchronously, with a delay of whole ticks where one is wanted.

The loop is the plainest possible receding horizon: one chunk in flight, the newest plan replaces
the old. It measures policies; the control actor's buffer is not in here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .cell import ConveyorCell
from .task import Outcome

Actions = NDArray[np.float32]

Planner = Callable[[ConveyorCell, Actions, int], Actions]
"""(cell, prefix [P, 5], delay_steps) -> chunk [H, 5]: what to do from now on. `prefix` is what is
left of the plan under way and goes on being played for `delay_steps`, until the chunk arrives. The
cell is live and not to be stepped."""


@dataclass
class EpisodeCounts:
    """What came of a rollout."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    ticks: int = 0
    held_ticks: int = 0
    """Ticks without an action, because no plan had arrived or the plan was played out."""

    @property
    def episodes(self) -> int:
        """Attempts that ended."""
        return self.outcomes.total()

    @property
    def success(self) -> float:
        """Share of attempts that succeeded, 0 to 1."""
        return self.outcomes[Outcome.PLACED] / max(self.episodes, 1)


def rollout(
    plan_from: Planner,
    cell: ConveyorCell,
    episodes: int,
    replan_steps: int = 10,
    delay_steps: int = 0,
    trim: bool = True,
) -> EpisodeCounts:
    """Run `episodes` attempts on `cell`.

    A chunk is asked for `replan_steps` ticks after the one before was, and arrives `delay_steps`
    after its observation. With `trim` its first `delay_steps` actions, whose time has passed, are
    skipped; without, it is played from its beginning, late. At the end of an episode the plan and
    the chunk in flight are void.
    """
    tally = EpisodeCounts()
    nothing = np.empty((0, 5), np.float32)
    plan, in_flight = nothing, nothing
    asked: int | None = None
    waiting = False
    episode = cell.episode
    while tally.episodes < episodes:
        if asked is None or (not waiting and tally.ticks - asked >= replan_steps):
            in_flight, asked, waiting = plan_from(cell, plan, delay_steps), tally.ticks, True
        if waiting and tally.ticks - asked >= delay_steps:
            plan, waiting = in_flight[delay_steps if trim else 0 :], False
        action = plan[0] if len(plan) else None
        plan = plan[1:]
        tally.held_ticks += action is None
        cell.step_control(action)
        tally.ticks += 1
        if cell.episode != episode:
            episode = cell.episode
            tally.outcomes[cell.outcome] += 1
            plan, asked, waiting = nothing, None, False
    return tally
