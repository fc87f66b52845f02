"""The newest frames of a robot's cameras: damaged memory refuses a request at most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.actors.network.camera_frames import CameraFrames, Place
from holdfast.errors import StaleFrameError
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader
from holdfast.transport.layout import own

SHAPE = (12, 16, 3)
NOW = 10**12
SIZE = FrameRing.size_for(SHAPE)


def rig(memory: bytearray) -> CameraFrames:
    return CameraFrames({"top": FrameReader(memory)}, 0.5, {"top": (16, 12)})


def written(value: int = 7) -> bytearray:
    memory = bytearray(SIZE)
    FrameRing(memory, SHAPE).put(np.full(SHAPE, value, np.uint8), NOW)
    return memory


@given(
    damage=st.lists(
        st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=64)), max_size=6
    ),
    early=st.booleans(),
    size=st.sampled_from([None, (8, 6)]),
)
def test_a_damaged_ring_gives_an_image_or_refuses_the_request(
    damage: list[tuple[int, bytes]], early: bool, size: tuple[int, int] | None
) -> None:
    """No other error is raised, and a restarted camera is read again."""
    memory = written()
    frames = rig(memory)
    if early:  # attached before the damage
        frames.newest({"top": size}, NOW)
    for place, data in damage:
        memory[place : place + len(data)] = data
    try:
        pixels = frames.newest({"top": size}, NOW)["top"]
    except StaleFrameError as stale:
        assert "top" in str(stale)
    else:
        assert pixels.shape == ((6, 8, 3) if size else SHAPE) and pixels.dtype == np.uint8
    ring = own(memory, lambda m: FrameRing(m, SHAPE))
    ring.put(np.full(SHAPE, 9, np.uint8), NOW)
    assert (rig(memory).newest({"top": None}, NOW)["top"] == 9).all(), "its camera was restarted"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, 99, "its ring is damaged"),
        (16, 4096, "its ring is damaged"),
        (16, 11, "its ring holds frames of (11, 16, 3)"),
        (32, 4, "its ring"),
        (128 + 576 + 64 + 16, NOW + 10**12, "dated in the future"),
    ],
)
def test_each_damage_of_a_ring_has_its_own_reason(place: int, value: int, said: str) -> None:
    """The error says whether geometry, shape or instant is wrong."""
    memory = written()
    memory[place : place + 8] = value.to_bytes(8, "little")
    frames = rig(memory)
    with pytest.raises(StaleFrameError, match="top") as stale:
        frames.newest({"top": None}, NOW)
    assert said in str(stale.value)
    assert frames.damaged["top"] == 1


@settings(deadline=None)
@given(
    captures=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    began=st.integers(0, 400),
    back=st.lists(st.integers(0, 300), min_size=1, max_size=6),
    size=st.sampled_from([None, (8, 6)]),
    slots=st.sampled_from([4, 64]),
    place=st.sampled_from(["kept", "message", "ring"]),
)
def test_the_frame_of_an_earlier_instant_is_the_newest_that_was_there_then(
    captures: list[int],
    began: int,
    back: list[int],
    size: tuple[int, int] | None,
    slots: int,
    place: Place,
) -> None:
    """Or the first of the episode; where it is gone or too old, the request is refused."""
    ms = 1_000_000
    memory = bytearray(FrameRing.size_for(SHAPE, slots))
    ring, taken, at = FrameRing(memory, SHAPE, slots), [], 0
    for gap in captures:
        at += gap
        taken.append(at)
        ring.put(np.full(SHAPE, len(taken), np.uint8), at * ms)
    now = at + 1
    usable = [n for n, instant in enumerate(taken, 1) if instant >= began]
    kept = range(len(taken) - slots + 1, len(taken) + 1)
    expected = []
    known = True
    for ago in sorted(back, reverse=True):
        until = [n for n in usable if taken[n - 1] <= now - ago]
        expected.append((until[-1] if until else usable[0]) if usable else 0)
        # Without the frame before it, none is known to be the first of the episode, except for one
        # of its very beginning.
        first = usable[0] if usable else 0
        known &= bool(until or not usable) or first - 1 in {0, *kept} or taken[first - 1] == began
    possible = (
        usable
        and known
        and all(
            n in kept and now - ago - taken[n - 1] <= 500
            for n, ago in zip(expected, sorted(back, reverse=True), strict=True)
        )
    )
    instants_ns = [(now - ago) * ms for ago in (*sorted(back, reverse=True), 0)]
    try:
        found = rig(memory).take({"top": size}, now * ms, began * ms, instants_ns, place=place)
    except StaleFrameError:
        assert not possible
        return
    assert possible
    assert found.newest["top"].flat[0] == len(taken)
    values = [int(found.pixels[key].flat[0]) for key in found.earlier["top"]]
    assert values == expected
    assert len(found.pixels) == len({*expected, len(taken)}), "each frame is copied once"
