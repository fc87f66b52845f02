"""Views of frames in their ring: valid until the camera writes over them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader

SHAPE = (4, 6, 3)


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_a_view_of_a_frame_is_valid_until_its_slot_is_written_again(
    before: int, wanted: int, after: int
) -> None:
    """The newest, or one by its number; what is gone or not there yet has no view."""
    memory = bytearray(FrameRing.size_for(SHAPE))
    ring, reader = FrameRing(memory, SHAPE), FrameReader(memory)
    for number in range(before):
        ring.put(np.full(SHAPE, number + 1, np.uint8), capture_ns=number + 1)
    frame = reader.view(wanted)
    expected = wanted or before
    assert (frame is not None) == (max(before - ring.slots, 0) < expected <= before)
    if frame is None:
        return
    assert (frame.number, frame.capture_ns) == (expected, expected)
    assert np.shares_memory(frame.image, np.frombuffer(memory, np.uint8))
    assert not frame.image.flags.writeable
    assert reader.valid(frame) and (frame.image == expected).all()
    frame.image.resize(SHAPE[0] * SHAPE[1] * SHAPE[2], refcheck=False)
    again = reader.view(expected)
    assert again is not None and again.image.shape == SHAPE, "each view is an array of its own"
    for _ in range(after):
        ring.put(np.zeros(SHAPE, np.uint8), capture_ns=99)
    assert reader.valid(frame) == (before + after < expected + ring.slots)
    ring.slot()  # begun, and not published
    assert reader.valid(frame) == (before + after + 1 < expected + ring.slots)
