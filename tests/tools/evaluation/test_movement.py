"""Smoothness of movements, and which actions make an arm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdfast.tools.evaluation.movement import arms_of, sparc, speed_of

HZ = 100.0


def reach(seconds: float, hz: float = HZ) -> NDArray[np.float64]:
    """The speed of a minimum-jerk reach of length 1 (Flash and Hogan 1985)."""
    t = np.linspace(0, 1, round(seconds * hz))
    return 30 * t**2 * (1 - t) ** 2 / seconds


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("hz", [30.0, 100.0, 1000.0])
def test_a_minimum_jerk_reach_is_the_smoothest(seconds: float, hz: float) -> None:
    """Its value is that of the article, about -1.4, whatever the duration and the rate."""
    assert sparc(reach(seconds, hz), hz) == pytest.approx(-1.41, abs=0.05)


@given(st.floats(1e-3, 1e3), st.integers(2, 5))
def test_size_does_not_count_and_submovements_do(size: float, parts: int) -> None:
    """A larger movement has the same value, and each reach more with a rest a lower one."""
    assert sparc(size * reach(1.0), HZ) == pytest.approx(sparc(reach(1.0), HZ))
    rest = np.zeros(20)
    composed = [
        sparc(np.concatenate([part for _ in range(n) for part in (reach(0.5), rest)]), HZ)
        for n in (parts, parts + 1)
    ]
    assert composed[1] < composed[0] < sparc(reach(0.5), HZ) - 0.2


def test_jumps_where_chunks_meet_make_a_movement_less_smooth() -> None:
    """The commands of one reach, with a jump of a tenth every half second."""
    path = np.cumsum(reach(3.0))[:, None] / HZ
    jumps = 0.1 * (np.arange(len(path)) // 50 % 2)[:, None]
    one = np.ones(1)
    smooth, rough = (sparc(speed_of(p, one, HZ), HZ) for p in (path, path + jumps))
    assert rough < smooth - 1


def test_a_robot_that_stands_still_has_zero() -> None:
    """Nothing moved, or nothing was seen: there is no movement to judge."""
    assert sparc(np.zeros(50), HZ) == sparc(np.zeros(0), HZ) == 0


def test_speeds_of_joints_add_up_in_their_own_units() -> None:
    """A joint in degrees with a range of 100 counts as one in metres with a range of 1."""
    positions = np.array([[0.0, 0.0], [3.0, 0.04], [3.0, 0.04]])
    assert speed_of(positions, np.array([100.0, 1.0]), 10.0).tolist() == pytest.approx([0.5, 0])


def test_arms_are_told_by_left_and_right() -> None:
    """By whole words of the names; a robot without them is one arm."""
    assert arms_of(["left_waist", "left_elbow.pos", "right/waist", "torso"]) == {
        "left": [0, 1],
        "right": [2],
        "body": [3],
    }
    assert arms_of(["elbow", "cleft", "gripper"]) == {"arm": [0, 1, 2]}
