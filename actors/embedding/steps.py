"""`StepClock`: which policy step a call of `act` is for, by the clock instead of by counting calls.

A step lasts `dt_ns`. A script's loop is neither exact nor in phase with anything, so a call within
one step's length of the instant at which it is due counts as on time; only a loop that is a whole
step late, or early, leaves a step out, or has one twice.
"""

from __future__ import annotations


class StepClock:
    """`step` is that of the last call, -1 before the first."""

    def __init__(self, dt_ns: int) -> None:
        self._dt_ns = dt_ns
        self._due_ns: int | None = None
        self.step = -1

    def advance(self, now_ns: int) -> int:
        """`act` was called: by how many steps `step` moved. 1 is on time, 0 is early by a step or
        more, n > 1 means that the loop missed n - 1 of them."""
        if self._due_ns is None:
            self._due_ns = now_ns
        late_ns = now_ns - self._due_ns
        if late_ns <= -self._dt_ns:
            return 0
        passed = 1 + max(0, late_ns // self._dt_ns)
        self._due_ns += passed * self._dt_ns
        self.step += passed
        return passed
