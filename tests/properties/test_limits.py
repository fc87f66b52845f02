"""The command limits against an independent model: plain numbers, one joint after the other.

Values are multiples of 1/20, so that nothing lies within rounding of a limit; what lies exactly on
one is tested with numbers that float32 holds.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.command_limits import FLOW_S, CommandLimits, Refusal

TICK_S = 0.1
FIRST_TICKS = 2
FLOW_TICKS = round(FLOW_S / TICK_S)
LOWER, UPPER = (-1.0, 0.0, -math.inf, 0.0), (1.0, 20.0, math.inf, math.inf)
RATE = (1.0, math.inf, 2.0, math.inf)
SPEC = RobotSpec(
    action_names=("x", "grip", "turn", "lift"),
    state_names=("x", "grip", "turn", "lift"),
    control_mode=ControlMode.POSITION,
    lower=LOWER,
    upper=UPPER,
    max_rate=RATE,
)
twentieths = st.integers(-30, 30).filter(lambda n: abs(n) != 22).map(lambda n: n / 20)
grips = st.sampled_from([-1.05, -1.0, -0.05, 0.0, 10.0, 20.0, 20.95, 21.0, 21.05])
lifts = st.sampled_from([0.0, 0.0, 5.0, -0.5])
near = st.tuples(twentieths, grips, twentieths, lifts)
unknown = st.tuples(twentieths | st.just(math.nan), grips, twentieths | st.just(math.inf), lifts)


class LimitsMachine(RuleBasedStateMachine):
    """Commands, measurements, holds, gaps and takeovers in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = CommandLimits(SPEC, TICK_S, FIRST_TICKS)
        self.last = self.known = [math.nan] * 4
        self.measured = [False] * 4
        self.flowing, self.ticks, self.refused_steps = False, 1, 0
        self.attached = False

    @rule(position=unknown)
    def is_measured(self, position: tuple[float, ...]) -> None:
        self.limits.locate(np.array(position, np.float32))
        self.measured = list(map(math.isfinite, position))
        pairs = zip(position, self.known, strict=True)
        self.known = [new if math.isfinite(new) else old for new, old in pairs]

    @rule(command=near)
    def is_commanded_by_others(self, command: tuple[float, ...]) -> None:
        self.limits.commanded(np.array(command, np.float32))
        self._commanded(list(command))

    @rule()
    def is_interrupted(self) -> None:
        self.limits.interrupt()
        self.flowing, self.refused_steps = False, 0

    @rule()
    def is_attached(self) -> None:
        """The next command is a first one, whatever was missed or refused."""
        self.limits.attach()
        self.flowing, self.refused_steps, self.attached = False, 0, True

    @rule(ticks=st.integers(1, 6))
    def misses(self, ticks: int) -> None:
        self.limits.missed(ticks)
        self.ticks += ticks

    @rule(action=near)
    def is_commanded(self, action: tuple[float, ...]) -> None:
        expected = self._refusal(action)
        assert self.limits.flowing is self._flows()
        command, why = self.limits.check(np.array(action, np.float32))
        assert why is expected
        assert (self.limits.explanation() == "") is (why is None)
        if why is not None:
            assert command is None
            self._explained(action, why)
            self.ticks += 1
            self.refused_steps += why is Refusal.STEP
            return
        assert command is not None and command.dtype == np.float32
        self._commanded(
            [min(max(a, lo), up) for a, lo, up in zip(action, LOWER, UPPER, strict=True)]
        )
        np.testing.assert_allclose(command, self.last, rtol=1e-6)
        self.ticks, self.refused_steps, self.attached = 1, 0, False

    @rule(action=near, steps=st.integers(1, 2), joint=st.sampled_from([0, 2]))
    def continues_from_the_last_command(
        self, action: tuple[float, ...], steps: int, joint: int
    ) -> None:
        """Most of what a plan says: a step of what is allowed, or of twice that."""
        if any(map(math.isnan, self.last)):
            return
        wanted = list(self.last)
        wanted[joint] = round((self.last[joint] + steps * RATE[joint] * TICK_S) * 20) / 20
        if not -1.05 <= wanted[0] <= 1.05:
            wanted[0] = -1.0
        self.is_commanded(tuple(wanted))

    @rule(place=st.integers(0, 3), value=st.sampled_from([math.nan, math.inf, -math.inf]))
    def is_commanded_a_value_that_is_not_finite(self, place: int, value: float) -> None:
        action = np.zeros(4, np.float32)
        action[place] = value
        assert self.limits.check(action) == (None, Refusal.NOT_FINITE)
        assert self.limits.explanation().startswith(SPEC.action_names[place])
        self.ticks += 1

    @rule(chunk=st.lists(near, min_size=1, max_size=4), first=st.integers(0, 2))
    def is_asked_where_to_begin(self, chunk: list[tuple[float, ...]], first: int) -> None:
        """The last action from `first` on that a first command may be, whatever was missed."""
        start = self.last if self._flows() else self.known
        found = first
        for place in range(first, len(chunk)):
            steps = zip(chunk[place], start, RATE, strict=True)
            if all(not abs(to - at) > rate * TICK_S * FIRST_TICKS + 1e-3 for to, at, rate in steps):
                found = place
        assert self.limits.last_near(np.array(chunk, np.float32), first, len(chunk)) == found

    @rule(length=st.sampled_from([0, 3, 5]))
    def is_commanded_other_joints(self, length: int) -> None:
        assert self.limits.check(np.zeros(length, np.float32)) == (None, Refusal.SHAPE)
        assert self.limits.explanation() == f"an action of shape ({length},), expected (4,)"
        self.ticks += 1

    def _explained(self, action: tuple[float, ...], why: Refusal) -> None:
        """The explanation names a joint that is as far off as any, and what it is measured by."""
        explanation = self.limits.explanation()
        joint = SPEC.action_names.index(explanation.partition(":")[0])
        assert explanation.startswith(f"{SPEC.action_names[joint]}: {action[joint]:.4g} is ")
        if why is Refusal.RANGE:
            off = list(map(_beyond, action, LOWER, UPPER))
            assert f"outside its range {LOWER[joint]:.4g} to {UPPER[joint]:.4g}" in explanation
        else:
            off = self._parts_of_a_step(action)
            of = "where the robot is" if self.measured[joint] else "where the robot was last known"
            of = "the last command" if self._flows() else of
            allowed = RATE[joint] * TICK_S * self._allowed_ticks(joint)
            assert f" away from {of}" in explanation
            explained = float(explanation.partition("; its max_rate allows ")[2])
            assert explained == pytest.approx(allowed, rel=1e-3)
        assert off[joint] >= max(n for n in off if not math.isnan(n)) - 1e-5, explanation

    def _commanded(self, command: list[float]) -> None:
        self.last = self.known = command
        self.measured, self.flowing = [False] * 4, True

    def _flows(self) -> bool:
        return self.flowing and self.ticks <= FLOW_TICKS

    def _allowed_ticks(self, joint: int) -> int:
        """How many ticks' step a joint may make."""
        blind = not self._flows() and not self.measured[joint]
        ticks = FIRST_TICKS if self.attached else min(self.ticks, FLOW_TICKS)
        return max(ticks, self.refused_steps + 1 if blind else 0)

    def _parts_of_a_step(self, action: tuple[float, ...]) -> list[float]:
        """How far each joint moves, in what it may; NaN from a position that is not known."""
        start = self.last if self._flows() else self.known
        return [
            abs(min(max(value, lower), upper) - was) / (rate * TICK_S * self._allowed_ticks(joint))
            for joint, (value, lower, upper, was, rate) in enumerate(
                zip(action, LOWER, UPPER, start, RATE, strict=True)
            )
        ]

    def _refusal(self, action: tuple[float, ...]) -> Refusal | None:
        if max(map(_beyond, action, LOWER, UPPER)) > 0:
            return Refusal.RANGE
        if any(part > 1.0001 for part in self._parts_of_a_step(action)):  # NaN is not
            return Refusal.STEP
        return None


def _beyond(value: float, lower: float, upper: float) -> float:
    """How far outside of its range and margin a value is; less than 0 inside."""
    margin = 0.05 * (upper - lower) if math.isfinite(upper - lower) else 0.0
    return max(lower - margin - value, value - upper - margin)


TestLimits = LimitsMachine.TestCase
TestLimits.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("tick_s", [0.001, 1 / 30, 0.1, 1.0])
def test_commands_flow_for_a_third_of_a_second_at_any_rate_and_one_tick_at_least(
    tick_s: float,
) -> None:
    """The number of ticks is FLOW_S over the tick, rounded, and at least 1."""
    limits = CommandLimits(SPEC, tick_s)
    limits.commanded(np.zeros(4, np.float32))
    flows = 1
    while limits.flowing:
        limits.missed()
        flows += limits.flowing
    assert flows == limits.flow_ticks == max(1, round(FLOW_S / tick_s))


def test_a_step_beyond_its_limit_by_rounding_is_accepted() -> None:
    """A hundred-thousandth of a step too far passes (float32), a thousandth does not."""
    for more, why in ((1e-5, None), (1e-3, Refusal.STEP)):
        limits = CommandLimits(SPEC, TICK_S, FIRST_TICKS)
        limits.commanded(np.zeros(4, np.float32))
        step = np.array([0.1 * (1 + more), 0, 0, 0], np.float32)
        assert limits.check(step)[1] is why
