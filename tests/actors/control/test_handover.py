"""A person commands the robot: no jump when they take over, none when their device comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.handover import EASE_S, SILENT_AFTER_NS, Handover, taken_over
from holdfast.actors.control.plan_memory import SEGMENT_BYTES, PlanMemory
from holdfast.actors.control.teleop_register import (
    Presses,
    TeleopReading,
    pack_reading,
    teleop_bytes,
    unpack_reading,
)
from holdfast.errors import RobotError
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.command_limits import CommandLimits
from holdfast.transport.seqlock import Seqlock, SteadyReader

TICK_NS = 33_333_333
values = st.floats(-5, 5, width=32)


class Person:
    """A handover and the register that its teleoperator writes."""

    def __init__(self, memory: PlanMemory | None = None) -> None:
        self.memory = memory or PlanMemory.private("r", 2)
        buffer = bytearray(Seqlock.size_for(teleop_bytes(2)))
        self._register = Seqlock.owned(buffer)
        self.handover = Handover(self.memory, SteadyReader(buffer), 2, TICK_NS)
        self.now_ns = 10**9

    def wants(self, *pose: float) -> None:
        said = TeleopReading(1, self.now_ns, np.array(pose, np.float32))
        self._register.write(pack_reading(said))

    def tick(self, position: tuple[float, float] = (0.0, 0.0)) -> list[float] | None:
        self.now_ns += TICK_NS
        command = self.handover.command(np.array(position, np.float32), self.now_ns)
        return None if command is None else command.tolist()


@given(start=st.tuples(values, values), pose=st.tuples(values, values))
def test_the_pose_goes_over_from_the_robots_to_the_persons_without_a_jump(
    start: tuple[float, float], pose: tuple[float, float]
) -> None:
    """From the robot's pose, by a tick's share of the way each, to the person's after EASE_S."""
    person = Person()
    person.handover.take(person.now_ns)
    ticks = round(EASE_S * 1e9 / TICK_NS) + 1
    before = np.array(start)
    way = np.abs(np.array(pose) - before)
    for tick in range(ticks + 1):
        person.wants(*pose)
        command = person.tick(start)
        assert command is not None
        if tick == 0:
            np.testing.assert_allclose(command, start, atol=1e-5)
        assert (np.abs(command - before) <= way * TICK_NS / 1e9 / EASE_S + 1e-5).all()
        before = np.array(command)
    np.testing.assert_array_equal(before, np.array(pose, np.float32))


def test_a_silent_teleoperator_commands_nothing_and_says_so() -> None:
    """What it said last is not repeated, and when it is back the pose goes over again."""
    person = Person()
    person.handover.take(person.now_ns)
    assert person.tick() is None and "not said anything yet" in person.handover.reason
    for _ in range(60):
        person.wants(1, 1)
        last = person.tick()
    assert last == [1, 1] and not person.handover.reason
    ticks = SILENT_AFTER_NS // TICK_NS + 1
    assert [person.tick() for _ in range(ticks + 1)][-1] is None
    assert "silent" in person.handover.reason
    person.wants(1, 1)
    assert person.tick((0.5, 0.5)) == [0.5, 0.5]


def test_a_joint_that_is_not_measured_takes_the_persons_pose_at_once() -> None:
    """There is no measured pose from which to approach it."""
    person = Person()
    person.handover.take(person.now_ns)
    person.wants(1, 2)
    assert person.tick((0.0, float("nan"))) == [0, 2]


def test_a_killed_loop_remains_in_the_persons_hands() -> None:
    """The plan's memory holds it, and another process reads it there."""
    backing = memoryview(bytearray(SEGMENT_BYTES))
    memory = PlanMemory(backing[: SEGMENT_BYTES // 2], "r", 2)
    assert not taken_over(backing)
    Person(memory).handover.take(7)
    assert taken_over(backing)
    heir = Person(PlanMemory(backing[: SEGMENT_BYTES // 2], "r", 2))
    assert heir.handover.manual
    heir.handover.give_back()
    assert not taken_over(backing) and not heir.handover.manual


@given(
    position=st.tuples(values, values),
    target=st.tuples(values, values),
    rate=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
)
def test_the_nearest_command_within_the_limits_is_accepted_and_gets_there(
    position: tuple[float, float], target: tuple[float, float], rate: tuple[float, float]
) -> None:
    """No command towards it is refused; each comes closer until it is there, or at the edge."""
    limits = CommandLimits(
        RobotSpec(("a", "b"), ("a", "b"), ControlMode.POSITION, (-4, -4), (4, 4), rate), 0.1
    )
    wanted = np.array(target, np.float32)
    limits.locate(np.clip(np.array(position, np.float32), -4, 4))
    goal = np.clip(wanted, -4, 4)
    far = np.inf
    for _ in range(round(8 / min(rate) / 0.1) + 2):
        command, refusal = limits.check(limits.toward(wanted))
        assert command is not None, refusal
        now_far = float(np.abs(goal - command).max())
        assert now_far <= far + 1e-6
        far = now_far
    assert far < 1e-5


def test_a_reading_is_what_was_packed_and_anything_else_is_refused() -> None:
    """Sizes, magic and counts are checked."""
    said = TeleopReading(3, 99, np.array([1, 2], np.float32), Presses(1, 2, 3, 4, 5))
    block = pack_reading(said)
    read = unpack_reading(block, 2)
    assert (read.incarnation, read.instant_ns, read.presses) == (3, 99, said.presses)
    assert read.action.tolist() == [1, 2]
    for wrong, size in ((block, 3), (block[:-1], 2), (b"x" * len(block), 2), (b"", 2)):
        with pytest.raises(RobotError, match="same version"):
            unpack_reading(wrong, size)
