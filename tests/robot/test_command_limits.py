"""Command limits: what passes is safe for the robot; what fails is refused whole, with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.command_limits import MARGIN, CommandLimits, Refusal

SPEC = RobotSpec(
    action_names=("x", "grip"),
    state_names=("x", "grip"),
    control_mode=ControlMode.POSITION,
    lower=(-1.0, 0.0),
    upper=(1.0, 1.0),
    max_rate=(1.0, float("inf")),
)
TICK_S = 0.1
anything = st.floats(width=32)


def action(x: float, grip: float = 0.5) -> np.ndarray:
    return np.array([x, grip], np.float32)


@given(st.lists(st.tuples(anything, anything), max_size=40))
def test_a_command_that_passes_is_finite_in_range_and_a_possible_step(
    wanted: list[tuple[float, float]],
) -> None:
    """A command or a reason, never both; a step is at most `max_rate` times the ticks passed."""
    limits = CommandLimits(SPEC, TICK_S)
    last, ticks = None, 1
    for values in wanted:
        command, refusal = limits.check(np.array(values, np.float32))
        assert (command is None) == (refusal is not None)
        if command is None:
            ticks += 1
            continue
        assert np.isfinite(command).all()
        assert (command >= SPEC.lower).all() and (command <= SPEC.upper).all()
        if last is not None:
            assert abs(command[0] - last) <= 1.0 * TICK_S * ticks * 1.001
        last, ticks = float(command[0]), 1


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (np.zeros(3, np.float32), Refusal.SHAPE),
        (action(np.nan), Refusal.NOT_FINITE),
        (action(0, np.inf), Refusal.NOT_FINITE),
        (action(1.2), Refusal.RANGE),
        (action(0, -0.1), Refusal.RANGE),
        (action(0.2), Refusal.STEP),
    ],
)
def test_each_reason_for_a_refusal_is_named(wanted: np.ndarray, why: Refusal) -> None:
    """Wrong shape, not finite, out of range, too far a step: each has its `Refusal`."""
    limits = CommandLimits(SPEC, TICK_S)
    limits.commanded(action(0.0))
    assert limits.check(wanted) == (None, why)


def test_a_command_beyond_the_range_by_less_than_the_margin_is_clipped() -> None:
    """The command that passes is at the limit."""
    command, refusal = CommandLimits(SPEC, TICK_S).check(action(0.0, 1.0 + MARGIN / 2))
    assert refusal is None and command is not None and command[1] == 1.0


def test_a_refused_command_does_not_cause_the_refusal_of_the_next() -> None:
    """The allowed step grows with the ticks since the last command, as the plan moves on."""
    limits = CommandLimits(SPEC, TICK_S)
    limits.commanded(action(-1.0))
    assert limits.check(action(np.nan))[1] is Refusal.NOT_FINITE
    command, refusal = limits.check(action(-0.8))
    assert refusal is None and command is not None


def test_a_robot_that_held_long_may_not_jump_from_where_it_is() -> None:
    """The step is measured from the located state, and grows for a bounded number of ticks."""
    limits = CommandLimits(SPEC, 0.01)
    limits.commanded(action(-1.0))
    limits.locate(action(-0.9))
    limits.missed(10_000)
    assert limits.check(action(-0.5))[1] is Refusal.STEP
    assert limits.check(action(-0.65))[1] is None


def test_a_robot_that_was_moved_by_others_starts_from_where_it_is() -> None:
    """After `interrupt`, the located state counts and the last command does not."""
    limits = CommandLimits(SPEC, TICK_S)
    limits.commanded(action(-1.0))
    limits.locate(action(0.9))
    limits.interrupt()
    assert limits.check(action(-0.95))[1] is Refusal.STEP
    assert limits.check(action(0.95))[1] is None


def test_an_arm_that_trails_its_commands_is_not_held_back_by_where_it_is() -> None:
    """While commands flow, a step is measured from the last command."""
    limits = CommandLimits(SPEC, TICK_S)
    limits.locate(action(-1.0))
    for x in np.arange(-0.9, 0.9, 0.1):
        assert limits.check(action(x))[1] is None
    limits.missed()
    assert limits.check(action(1.0))[1] is None


def test_a_joint_that_is_measured_nowhere_is_checked_from_its_first_command_on() -> None:
    """Its first command passes; the next is a step from it, and the explanation says so."""
    limits = CommandLimits(SPEC, TICK_S)
    limits.locate(action(np.nan, 0.0))
    assert limits.check(action(-0.9))[1] is None
    assert limits.check(action(0.9))[1] is Refusal.STEP
    assert limits.explanation().startswith("x: 0.9 is 1.8 away from the last command")


def test_a_joint_that_is_not_measured_does_not_jump_after_a_hold() -> None:
    """Its last command is the best that is known of it."""
    limits = CommandLimits(SPEC, TICK_S)
    limits.commanded(action(-1.0))
    limits.locate(action(np.nan))
    limits.missed(10_000)
    assert limits.check(action(-0.6))[1] is Refusal.STEP
    assert "-0.6 is 0.4 away from where the robot was last known to be" in limits.explanation()
    assert limits.check(action(-0.7))[1] is None


def test_a_joint_whose_measurements_ended_is_not_held_to_the_last_of_them() -> None:
    """The commands since then are newer."""
    limits = CommandLimits(SPEC, TICK_S)
    limits.locate(action(-1.0))
    for x in np.arange(-0.9, 0.9, 0.1):
        assert limits.check(action(x))[1] is None
        limits.locate(action(np.nan))
    limits.missed(10_000)
    assert limits.check(action(-1.0))[1] is Refusal.STEP
    assert limits.check(action(0.8))[1] is None


@given(was=st.floats(-1, 1, width=32), moved_to=st.floats(-1, 1, width=32), held=st.booleans())
def test_a_plan_from_where_an_unmeasured_joint_was_moved_to_is_refused_for_the_way_there_only(
    was: float, moved_to: float, held: bool
) -> None:
    """For as many ticks as `max_rate` needs; a joint measured elsewhere is refused without end."""
    blind, seeing = CommandLimits(SPEC, TICK_S), CommandLimits(SPEC, TICK_S)
    for limits, measured in ((blind, np.nan), (seeing, was)):
        limits.commanded(action(was))
        limits.locate(action(measured))
        if held:
            limits.missed(10_000)
        limits.interrupt()
    way_ticks = int(np.ceil(abs(moved_to - was) / TICK_S))
    refused = 0
    while blind.check(action(moved_to))[1] is Refusal.STEP:
        refused += 1
        assert refused < max(way_ticks, 1)
    if way_ticks > seeing.flow_ticks + 1:
        assert {seeing.check(action(moved_to))[1] for _ in range(100)} == {Refusal.STEP}
        assert refused + 1 >= way_ticks - 1
