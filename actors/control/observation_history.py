"""`ObservationHistory`: the last observations of a robot, for a policy that sees several. Pure.

They are those of the policy steps at multiples of the policy's stride before the present one, on
the clock of the loop, whenever requests were made. What is before the first step of the episode is
that step's observation, as LeRobot's policies fill their queues after a reset (`populate_queues` in
lerobot/policies/utils.py, 0.6.1). A step that the loop missed has the observation of the step
before. After a second and five steps without an observation the history begins anew.

The states are read from the tick log, which outlives the loop's process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...robot.base import RobotSpec
from .plan import Floats
from .tick_log import TICK_BYTES, TickLog, rows_in

_BREAK_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ObservationHistory:
    """`states` [k, S], the oldest first; `age_ns` [k]: how old each was at the newest, of age 0;
    `episode_age_ns`: how long before the newest the episode began, or a break ended, at the
    earliest, as far as the log was searched."""

    states: Floats
    age_ns: tuple[int, ...]
    episode_age_ns: int

    @classmethod
    def of(
        cls, log: TickLog, steps: int, stride_steps: int, step_ns: int, interpolate: int = 1
    ) -> ObservationHistory:
        """The `steps` last observations in `log`, `stride_steps` policy steps of `step_ns` apart,
        with `interpolate` ticks in each. The newest tick in the log is the present one."""
        window_steps = (steps - 1) * stride_steps
        rows = log.newest((window_steps + 2) * interpolate)
        due_ns = rows.instant_ns - rows.lateness_ns
        since = _unbroken(due_ns, max(_BREAK_NS, 5 * step_ns))
        due_ns = due_ns[since:]
        before_ns = np.arange(steps - 1, -1, -1) * stride_steps * step_ns
        # Half a step of tolerance: a tick that was begun a little late belongs to its own step.
        wanted_ns = due_ns[-1] - before_ns + step_ns // 2
        places = np.maximum(np.searchsorted(due_ns, wanted_ns, side="right") - 1, 0)
        age_ns = rows.instant_ns[-1] - rows.instant_ns[since:]
        return cls(
            states=rows.states[since:][places],
            age_ns=tuple(age_ns[places].tolist()),
            # It began after the step before its first one.
            episode_age_ns=int(age_ns[0]) + step_ns,
        )


def most_steps(spec: RobotSpec, interpolate: int) -> int:
    """For how many policy steps back the tick log has the observations."""
    rows = rows_in(TICK_BYTES, len(spec.state_names), len(spec.action_names))
    return max(rows // interpolate - 3, 0)


def _unbroken(due_ns: NDArray[np.int64], break_ns: int) -> int:
    """The first place after the last gap of more than `break_ns`."""
    breaks = np.flatnonzero(np.diff(due_ns) > break_ns)
    return int(breaks[-1]) + 1 if len(breaks) else 0
