"""References to frames in rings: they find that frame of that ring, or nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.transport.frame_reference import FrameReference
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader

SHAPE, TURNED = (2, 3, 3), (3, 2, 3)
SIZE = FrameRing.size_for(SHAPE)
SLOTS = 4


class Camera:
    """A ring, its readers' view of it, and the value that each of its frames has."""

    def __init__(self) -> None:
        self.memory, self.shape = bytearray(SIZE), SHAPE
        self.ring = FrameRing(self.memory, SHAPE)
        self.reader = FrameReader(self.memory)
        self.values: dict[FrameReference, int] = {}
        self.begun, self.open = 0, False

    def put(self, value: int) -> None:
        self.begin()
        number = self.ring.put(np.full(self.shape, value, np.uint8), 1)
        assert number == self.begun
        self.open = False
        self.values[FrameReference(self.reader.nonce, number)] = value

    def begin(self) -> None:
        self.begun += not self.open
        self.open = True
        self.ring.slot()[:] = 255

    def restart(self) -> None:
        self.ring, self.open = FrameRing(self.memory, self.shape, incarnation=2), False

    def format_anew(self) -> None:
        """As a camera does with memory that was damaged, or that had its width for its height."""
        self.memory[:] = bytes(SIZE)
        self.shape = TURNED if self.shape == SHAPE else SHAPE
        self.ring = FrameRing(self.memory, self.shape)
        self.begun, self.open = 0, False


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["put", "put", "put", "put", "begin", "restart", "format"]),
        ),
        max_size=25,
    ),
    st.lists(st.integers(-3, 30), max_size=5),
)
def test_a_reference_finds_its_own_frame_or_none(
    doings: Sequence[tuple[int, str]], made_up: Sequence[int]
) -> None:
    """Not another ring's, nor one of the same number from before the memory was formatted anew."""
    cameras = Camera(), Camera()
    for value, (which, doing) in enumerate(doings):
        camera = cameras[which]
        if doing == "put":
            camera.put(value)
        elif doing == "begin":
            camera.begin()
        elif doing == "restart":
            camera.restart()
        else:
            camera.format_anew()
        every = {**cameras[0].values, **cameras[1].values}
        for each in cameras:
            for reference, written in every.items():
                found = each.reader.find(reference)
                here = (
                    reference.nonce == each.reader.nonce
                    and each.begun - SLOTS < reference.number <= each.ring.number
                )
                assert (found is not None) == here == each.reader.holds(reference)
                if found is not None:
                    assert found.image.shape == each.shape
                    assert (found.image == written).all()
                    assert each.reader.reference(found) == reference
                    assert each.reader.spare(reference.number) >= 0
            for number in made_up:
                for nonce in (0, 1, each.reader.nonce + 1):
                    assert each.reader.find(FrameReference(nonce, number)) is None
                if not 1 <= number <= each.ring.number:
                    assert each.reader.find(FrameReference(each.reader.nonce, number)) is None


@given(st.integers(1, 20), st.integers(0, 6), st.integers(2, 6))
def test_a_frame_is_written_over_once_its_spare_frames_are_published(
    before: int, after: int, slots: int
) -> None:
    """`spare` counts down with each; at 0 the next that begins writes over it."""
    memory = bytearray(FrameRing.size_for(SHAPE, slots))
    ring, reader = FrameRing(memory, SHAPE, slots), FrameReader(memory)
    image = np.zeros(SHAPE, np.uint8)
    for _ in range(before):
        ring.put(image, 1)
    reference = FrameReference(reader.nonce, before)
    for _ in range(after):
        ring.put(image, 1)
    spare = reader.spare(before)
    assert spare == slots - 1 - after
    ring.slot()
    assert reader.holds(reference) == (spare > 0)


def test_a_ring_that_no_writer_has_formatted_has_no_name() -> None:
    """No reference finds anything there, not one of nonce 0 either."""
    reader = FrameReader(bytearray(SIZE))
    assert reader.nonce == 0
    assert reader.find(FrameReference(0, 1)) is None
    assert not reader.holds(FrameReference(0, 0))
