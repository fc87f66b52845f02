"""A scene as bytes: nothing is lost, nothing foreign is taken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import RobotError
from holdfast.robot.sim import SPEC, scene
from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.scene import MAX_PARCELS, SIZE, Parcel, Scene

finite = st.floats(-1e6, 1e6)
count = st.integers(0, 2**62)
parcel = st.builds(Parcel, st.integers(0, 3), finite, finite, finite)
scenes = st.builds(
    Scene,
    seed=count,
    instant_ns=count,
    steps=count,
    episode=count,
    episode_steps=count,
    tried=count,
    succeeded=count,
    colour=st.integers(0, 3),
    bin=st.integers(0, 1),
    outcome=st.integers(0, 6),
    held=st.integers(-1, MAX_PARCELS - 1),
    position=st.lists(finite, min_size=5, max_size=5),
    target=st.lists(finite, min_size=5, max_size=5),
    speed=finite,
    travel=finite,
    pace=finite,
    sway=finite,
    pulse=finite,
    phase=finite,
    slip=finite,
    twist=finite,
    parcels=st.lists(parcel, max_size=MAX_PARCELS),
)


@given(scenes)
def test_unpack_gives_back_what_was_packed(one: Scene) -> None:
    """Every field, exactly, in a block of fixed size; a copy packs the same."""
    block = scene.pack(one)
    assert len(block) == SIZE
    assert scene.unpack(block) == one
    assert scene.pack(one.copy()) == block


@given(st.binary(max_size=2 * SIZE))
def test_a_foreign_block_is_refused(block: bytes) -> None:
    """Another size or another beginning: RobotError, never a wrong scene."""
    with pytest.raises(RobotError, match="expected"):
        scene.unpack(block)


@pytest.mark.parametrize("change", [slice(0, 1), slice(7, 8)])
def test_another_magic_or_version_is_refused(change: slice) -> None:
    """The message says what to do."""
    block = bytearray(ConveyorCell(0).scene())
    block[change] = b"\xee"
    with pytest.raises(RobotError, match="same version of holdfast"):
        scene.unpack(block)


def test_the_state_vector_is_read_from_the_scene() -> None:
    """What cell.state() says is in the block, with the caller's instant."""
    cell = ConveyorCell(3)
    cell.step_control(np.array(SPEC.home))
    truth = scene.unpack(cell.scene(123))
    assert truth.instant_ns == 123
    state = [*truth.position, truth.speed, truth.held >= 0]
    np.testing.assert_array_equal(np.array(state, np.float32), cell.state())
    assert truth.task == cell.task
