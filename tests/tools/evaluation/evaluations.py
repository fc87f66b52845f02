"""Evaluations of known outcome, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holdfast.tools.evaluation.evaluated_episode import EvaluatedEpisode, ExecutedSteps
from holdfast.tools.evaluation.evaluation_folder import EvaluationFolder
from holdfast.tools.evaluation.evaluation_plan import EvaluationPlan, Slot

NAMES = ("left_a", "left_b", "right_a")


def plan(episodes: int = 10, against: str | None = "worse") -> EvaluationPlan:
    return EvaluationPlan(
        fleet="lab", service="better", against=against, robots=("r1", "r2"), episodes=episodes
    )


def ended(slot: Slot, *, success: bool, valid: bool = True, reason: str = "") -> EvaluatedEpisode:
    worse = slot.service == "worse"
    return EvaluatedEpisode(
        slot=slot.number,
        robot=slot.robot,
        service=slot.service,
        began_at=1e9 + slot.number,
        length_s=20.0 if worse else 10.0,
        ended_by="environment" if valid else "fault",
        valid=valid,
        reason=reason,
        success=success,
        stalled=3 if worse else 0,
        latency_ms=(80.0, 120.0) if worse else (20.0, 30.0),
        shm=True,
    )


def steps(jump: float) -> ExecutedSteps:
    """A reach of 90 steps by chunks of 30, of which each begins with a `jump` of the left arm."""
    t = np.linspace(0, 1, 90)
    reach = 10 * t**3 - 15 * t**4 + 6 * t**5
    actions = np.stack([reach, 100 * reach, -reach], axis=1)
    actions[30:60, :2] += jump * np.array([1.0, 100.0])
    return ExecutedSteps(NAMES, actions.astype(np.float32), np.arange(90) // 30, 30.0)


def finished(folder: Path, episodes: int = 10) -> EvaluationFolder:
    """`better` succeeds always and continues its motion; `worse` fails always and jumps."""
    made = EvaluationFolder.create(folder, plan(episodes))
    for slot in made.plan.slots():
        better = slot.service == "better"
        made.add(ended(slot, success=better), steps(0.0 if better else 0.3))
    return made
