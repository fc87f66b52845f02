"""A slow motion to a pose: straight, within half the rate, and over when it is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.pose_motion import LEAST_S, PoseMotion
from holdfast.robot.base import ControlMode, RobotSpec

JOINTS = ("a", "b")
SPEC = RobotSpec(JOINTS, JOINTS, lower=(-9, -9), upper=(9, 9), max_rate=(2, np.inf), home=(1, 2))
values = st.floats(-9, 9, width=32)
TICK_NS = 20_000_000


@given(start=st.tuples(values, values), end=st.tuples(values, values))
def test_it_goes_straight_and_slowly_and_ends_at_the_pose(
    start: tuple[float, float], end: tuple[float, float]
) -> None:
    """No joint exceeds half its rate, nor leaves the line between the two poses."""
    motion = PoseMotion(SPEC)
    motion.begin({"a": end[0], "b": end[1]}, np.array(start, np.float32), 0)
    now_ns, last = 0, np.array(start)
    while motion.active:
        now_ns += TICK_NS
        pose = motion.command(now_ns).astype(float)
        assert abs(pose[0] - last[0]) <= 1.0 * TICK_NS / 1e9 + 1e-5
        assert (np.minimum(start, end) - 1e-5 <= pose).all()
        assert (pose <= np.maximum(start, end) + 1e-5).all()
        last = pose
    np.testing.assert_allclose(last, end, atol=1e-6)
    assert now_ns >= LEAST_S * 1e9


def test_joints_that_are_not_named_stay_and_without_a_pose_it_goes_home() -> None:
    """The driver's home pose is the default."""
    motion = PoseMotion(SPEC)
    motion.begin({"b": 3.0}, np.array([5, 6], np.float32), 0)
    assert motion.command(10**12).tolist() == [5, 3]
    motion.begin(None, np.array([5, 6], np.float32), 0)
    assert motion.command(10**12).tolist() == [1, 2] and not motion.active


@pytest.mark.parametrize(
    ("spec", "pose", "position", "why"),
    [
        (SPEC, {"c": 1.0}, (0, 0), "no joint 'c'; it has a, b"),
        (SPEC, {"a": 10.0}, (0, 0), "a: 10 is outside its range -9 to 9"),
        (SPEC, {"a": 1.0}, (0, np.nan), "b: not measured"),
        (RobotSpec(JOINTS, JOINTS), None, (0, 0), "names no home pose"),
        (RobotSpec(JOINTS, JOINTS, ControlMode.VELOCITY), {"a": 1.0}, (0, 0), "no pose to go to"),
    ],
)
def test_a_pose_that_is_none_is_refused_with_the_reason(
    spec: RobotSpec, pose: dict[str, float] | None, position: tuple[float, float], why: str
) -> None:
    """The motion to it does not begin."""
    motion = PoseMotion(spec)
    with pytest.raises(ValueError, match=why):
        motion.begin(pose, np.array(position, np.float32), 0)
    assert not motion.active
