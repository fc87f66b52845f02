"""The report of an evaluation as plain values: what its episodes say of each service. Pure.

Success is a rate with Wilson's interval, the difference of two services has Newcombe's. The motion
is judged for each robot and arm, by what was commanded: the largest step where chunks meet in each
episode, and its smoothness (SPARC). For both, each action is divided by the range that it had in
all episodes of the robot, so that metres, radians and percents can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .chunk_seams import seam_jump, seam_steps
from .evaluated_episode import EvaluatedEpisode, ExecutedSteps
from .evaluation_folder import EvaluationFolder
from .intervals import newcombe, wilson
from .movement import arms_of, sparc, speed_of

_COUNTS = ("stalled", "missed", "missed_machine", "stale", "refused", "unseen")


def compare(folder: EvaluationFolder, *, partial: str = "") -> dict[str, Any]:
    """Everything that the report shows. `partial` is why it ended early, if it did."""
    plan = folder.plan
    episodes = folder.episodes()
    valid = sorted((e for e in episodes if e.valid), key=lambda episode: episode.slot)
    steps = {e.slot: found for e in valid if (found := folder.steps(e.slot)) is not None}
    scales = {
        robot: _scale([steps[e.slot] for e in valid if e.slot in steps and e.robot == robot])
        for robot in plan.robots
    }
    rows = [_episode(e, steps.get(e.slot), scales[e.robot]) for e in valid]
    services = {
        service: _service([row for row in rows if row["service"] == service])
        for service in plan.services
    }
    return {
        "plan": msgspec.to_builtins(plan),
        "partial": partial or (f"{len(valid)} episodes" if folder.ahead() else ""),
        "done": len(valid),
        "of": len(plan.slots()),
        "services": services,
        "difference": None if plan.against is None else _difference(services, *plan.services),
        "episodes": rows,
        "invalid": [
            {"slot": e.slot, "robot": e.robot, "service": e.service, "reason": e.reason}
            for e in episodes
            if not e.valid
        ],
    }


def _scale(episodes: Sequence[ExecutedSteps]) -> NDArray[np.float64] | None:
    """The range of each action over the episodes of one robot, inf where it did not move."""
    if not episodes:
        return None
    span = np.ptp(np.concatenate([each.actions for each in episodes]), axis=0).astype(np.float64)
    return np.where(span > 0, span, np.inf)


def _episode(
    episode: EvaluatedEpisode, steps: ExecutedSteps | None, scale: NDArray[np.float64] | None
) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(episode)
    row["motion"] = {} if steps is None or scale is None else _motion(steps, scale)
    return row


def _motion(steps: ExecutedSteps, scale: NDArray[np.float64]) -> dict[str, Any]:
    """Of each arm: its seam jump, in parts of the range, the action and its units; SPARC."""
    found = {}
    for arm, places in arms_of(steps.action_names).items():
        actions, own = steps.actions[:, places], scale[places]
        at_seams = seam_steps(actions, steps.chunks)
        worst = int((at_seams / own).max(axis=0).argmax()) if len(at_seams) else 0
        speed = speed_of(actions, own, steps.rate_hz)
        found[arm] = {
            "seams": len(at_seams),
            "seam_jump": round(seam_jump(actions, steps.chunks, own), 5),
            "seam_jump_action": steps.action_names[places[worst]],
            "seam_jump_units": float(at_seams[:, worst].max()) if len(at_seams) else 0.0,
            # Standing still is no smooth movement.
            "sparc": round(sparc(speed, steps.rate_hz), 4) if speed.any() else None,
        }
    return found


def _service(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    tried, succeeded = len(rows), sum(row["success"] for row in rows)
    low, high = wilson(succeeded, tried)
    latencies = [ms for row in rows for ms in row["latency_ms"]]
    return {
        "tried": tried,
        "succeeded": succeeded,
        "rate": succeeded / tried if tried else None,
        "low": low,
        "high": high,
        "time_limits": sum(row["ended_by"] == "time limit" for row in rows),
        "length_s": _quantiles([row["length_s"] for row in rows]),
        "length_of_successes_s": _quantiles([r["length_s"] for r in rows if r["success"]]),
        "latency_ms": _quantiles(latencies, (50, 99, 100)),
        "shm": sorted({row["shm"] for row in rows}),
        "counts": {name: sum(row[name] for row in rows) for name in _COUNTS},
        "episodes_with": {name: sum(row[name] > 0 for row in rows) for name in _COUNTS},
        "robots": {
            robot: _robot([row for row in rows if row["robot"] == robot])
            for robot in dict.fromkeys(row["robot"] for row in rows)
        },
    }


def _robot(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    arms = dict.fromkeys(arm for row in rows for arm in row["motion"])
    return {
        "tried": len(rows),
        "succeeded": sum(row["success"] for row in rows),
        "arms": {
            arm: _arm([row["motion"][arm] for row in rows if arm in row["motion"]]) for arm in arms
        },
    }


def _arm(motions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    worst = max(motions, key=lambda motion: motion["seam_jump"])
    return {
        "seams": sum(motion["seams"] for motion in motions),
        "seam_jump": _quantiles([motion["seam_jump"] for motion in motions], (50, 100)),
        "largest": {"action": worst["seam_jump_action"], "units": worst["seam_jump_units"]},
        "sparc": _quantiles([m["sparc"] for m in motions if m["sparc"] is not None], (25, 50, 75)),
    }


def _quantiles(values: Sequence[float], which: Sequence[int] = (50, 90)) -> dict[str, Any]:
    if not values:
        return {"n": 0, **{f"p{q}": None for q in which}}
    found = np.percentile(values, which)
    pairs = zip(which, found, strict=True)
    return {"n": len(values), **{f"p{q}": round(float(value), 4) for q, value in pairs}}


def _difference(services: dict[str, Any], first: str, second: str) -> dict[str, Any]:
    counts = [(services[name]["succeeded"], services[name]["tried"]) for name in (first, second)]
    low, high = newcombe(*counts)
    (a, tried_a), (b, tried_b) = counts
    rate = a / tried_a - b / tried_b if tried_a and tried_b else None
    return {
        "of": first,
        "minus": second,
        "rate": rate,
        "low": low,
        "high": high,
        "sentence": _meaning(first, second, rate, low, high),
    }


def _meaning(first: str, second: str, rate: float | None, low: float, high: float) -> str:
    """What the interval of the difference says, for a person."""
    if rate is None:
        return "No episode of one of the two services is finished: nothing can be said."
    span = f"95 % interval {100 * low:+.0f} to {100 * high:+.0f} points"
    if low > 0 or high < 0:
        better, worse = (first, second) if low > 0 else (second, first)
        least, most = sorted((abs(low), abs(high)))
        return (
            f"{better} succeeds more often than {worse}, by {100 * least:.0f} to "
            f"{100 * most:.0f} points ({span}, difference {100 * rate:+.0f}): the interval does "
            "not contain 0."
        )
    return (
        f"These episodes do not show which of {first} and {second} succeeds more often "
        f"(difference {100 * rate:+.0f} points, {span}): a difference within that interval is "
        "possible either way. More episodes make it narrower."
    )
