"""What a fake robot's log says of a control loop: how long it was without a new action, and how old
the actions were that it played.

Pure: the log and the cuts of the link in, figures out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

STALE_S = 0.5
"""An action that is played so much later than it was meant is stale: three times what the policy
takes."""


class PlayedAction(NamedTuple):
    """A new action, played at `at_s`, made from the observation of `observed_s`, for `late_s`
    earlier."""

    at_s: float
    observed_s: float
    late_s: float


class Cut(NamedTuple):
    """The link was cut from `begin_s` to `end_s`; what is looked at ends at `until_s`."""

    begin_s: float
    end_s: float
    until_s: float


def commands_of(log: str, period_s: float) -> list[PlayedAction]:
    """The commands of a log, without those that repeat the one before: such a robot is held."""
    seen: dict[int, float] = {}
    found: list[PlayedAction] = []
    before = None
    for line in log.splitlines():
        what, number, *rest = line.split()
        if what == "seen":
            seen[int(number)] = int(rest[0]) / 1e9
        elif (number, rest[0]) != before:
            before = number, rest[0]
            at_s, observed_s = int(rest[1]) / 1e9, seen[int(number)]
            late_s = at_s - observed_s - int(rest[0]) * period_s
            found.append(PlayedAction(at_s, observed_s, late_s))
    return found


def idle_ticks(
    commands: Sequence[PlayedAction], begin_s: float, end_s: float, period_s: float
) -> int:
    """Ticks from `begin_s` to `end_s` without a new action."""
    edges = [begin_s, *(c.at_s for c in commands if begin_s < c.at_s <= end_s), end_s]
    gaps = np.diff(edges)
    return int(sum(max(0, round(gap / period_s) - 1) for gap in gaps))


def figures_of(commands: Sequence[PlayedAction], cut: Cut, period_s: float) -> dict[str, Any]:
    """Of one cut, from its begin on: the longest time between two new actions, ms; how many actions
    were stale; how long after its end the loop had recovered, by an action that was made from an
    observation after it and not stale, None if it had not; and the idle ticks until then."""
    after = [c for c in commands if cut.begin_s <= c.at_s <= cut.until_s]
    earlier = [c.at_s for c in commands if c.at_s < cut.begin_s][-1:]
    edges = [*earlier, *(c.at_s for c in after), cut.until_s]
    fresh = [c.at_s for c in after if c.observed_s >= cut.end_s and c.late_s <= STALE_S]
    return {
        "idle_ticks": idle_ticks(
            commands, cut.begin_s, fresh[0] if fresh else cut.until_s, period_s
        ),
        "longest_gap_ms": round(float(np.diff(edges).max()) * 1e3, 1),
        "stale": sum(c.late_s > STALE_S for c in after),
        "recovery_s": round(fresh[0] - cut.end_s, 3) if fresh else None,
    }
