"""Interpolation: straight lines between policy actions, which are reached exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from holdfast.robot.interpolate import Interpolator

plans = arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.just(3)),
    elements=st.floats(-100, 100, width=32),
)


@given(plans, st.integers(1, 6))
def test_every_action_is_reached_and_the_way_there_is_straight(plan: np.ndarray, n: int) -> None:
    """N commands lie on the line from the last action, and the N-th is the action itself."""
    interpolator = Interpolator(n, 3)
    before = plan[0]
    for action in plan:
        assert interpolator.needs_action
        interpolator.start(action)
        for k in range(1, n + 1):
            command = interpolator.command()
            assert command is not None
            expected = before + (action - before) * k / n
            np.testing.assert_allclose(command, expected, rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(command, action)
        before = action
    assert interpolator.needs_action


def test_a_robot_goes_straight_to_the_action_after_a_gap() -> None:
    """It held meanwhile: a line from the action before the gap would lead back there."""
    interpolator = Interpolator(2, 1)
    interpolator.start(np.array([1.0], np.float32))
    interpolator.command(), interpolator.command()
    interpolator.skip()
    assert interpolator.command() is None
    assert interpolator.command() is None
    assert interpolator.needs_action
    interpolator.start(np.array([3.0], np.float32))
    assert interpolator.command() == [3.0]


def test_a_stop_in_the_middle_of_a_step_begins_a_new_one() -> None:
    """`stop` makes the interpolator ask for the next action at once."""
    interpolator = Interpolator(4, 1)
    interpolator.start(np.array([1.0], np.float32))
    interpolator.command()
    assert not interpolator.needs_action
    interpolator.stop()
    assert interpolator.needs_action


def test_less_than_one_command_per_action_is_refused() -> None:
    """ValueError says what to use."""
    with pytest.raises(ValueError, match="use 1"):
        Interpolator(0, 3)
