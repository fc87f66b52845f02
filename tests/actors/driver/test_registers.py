"""The two blocks between driver and control: round trips, and bytes of every other kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from holdfast.actors.driver import registers
from holdfast.actors.driver.registers import CommandKind, DriverPhase, RobotCommand, RobotState
from holdfast.errors import RobotError
from holdfast.robot.base import Episode

instants = st.integers(0, 2**62)
words = st.integers(0, 2**63 - 1)
floats = st.floats(width=32, allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
values = st.integers(1, 20)

states = values.flatmap(
    lambda n: st.builds(
        RobotState,
        words,
        instants,
        instants,
        st.sampled_from(DriverPhase),
        arrays(np.float32, n, elements=floats),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.none() | st.builds(Episode, st.integers(0, 2**62), texts),
        texts,
    )
)
commands = values.flatmap(
    lambda n: st.builds(
        RobotCommand,
        words,
        words,
        instants,
        instants,
        st.sampled_from(CommandKind),
        arrays(np.float32, n, elements=floats),
    )
)


@given(states)
def test_a_state_arrives_as_it_was_published(said: RobotState) -> None:
    """Every field, and within the size that its register has room for."""
    block = registers.pack_state(said)
    assert len(block) <= registers.state_bytes(len(said.state))
    got = registers.unpack_state(block, len(said.state))
    for field in RobotState.__slots__:
        np.testing.assert_array_equal(getattr(got, field), getattr(said, field))


@given(commands)
def test_a_command_arrives_as_it_was_given(said: RobotCommand) -> None:
    """Each field, in a block of the size that `command_bytes` gives."""
    block = registers.pack_command(said)
    assert len(block) == registers.command_bytes(len(said.action))
    got = registers.unpack_command(block, len(said.action))
    for field in RobotCommand.__slots__:
        np.testing.assert_array_equal(getattr(got, field), getattr(said, field))


def test_a_text_that_is_too_long_is_cut_between_two_characters() -> None:
    """Task and reason have a fixed room in the block, and stay valid UTF-8."""
    state = np.zeros(2, np.float32)
    task, reason = "é" * registers.TEXT_BYTES, "€" * registers.REASON_BYTES
    said = RobotState(1, 2, 3, DriverPhase.ENABLED, state, 0, 0, Episode(1, task), reason)
    got = registers.unpack_state(registers.pack_state(said), 2)
    assert got.episode is not None
    assert got.episode.task == "é" * (registers.TEXT_BYTES // 2)
    assert got.reason == "€" * (registers.REASON_BYTES // 3)
    assert len(registers.pack_state(said)) <= registers.state_bytes(2)


@given(st.one_of(states.map(registers.pack_state), commands.map(registers.pack_command)), st.data())
def test_a_damaged_block_is_refused_or_a_block_of_the_same_form(
    block: bytes, data: st.DataObject
) -> None:
    """Never another exception, never an array of another length."""
    damaged = bytearray(block)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    count = data.draw(values)
    for unpack in (registers.unpack_state, registers.unpack_command):
        try:
            got = unpack(cut, count)
        except RobotError as error:
            assert "run driver and control from the same version" in str(error)
        else:
            array = got.state if isinstance(got, RobotState) else got.action
            assert array.shape == (count,)


@given(st.binary(max_size=200), values)
def test_bytes_that_are_no_block_are_refused(block: bytes, count: int) -> None:
    """RobotError, whatever their length."""
    for unpack in (registers.unpack_state, registers.unpack_command):
        with pytest.raises(RobotError):
            unpack(block, count)
