"""Frames of a robot's driver: what is published, and what is said of a camera without any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.actors.driver.delivered_camera import DeliveredCamera
from holdfast.actors.runtime.configs import DriverFrames
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader

MS = 1_000_000
SHAPE = 48, 64, 3
Fill = Callable[[NDArray[np.uint8]], int | None]


@pytest.fixture
def memory() -> bytearray:
    return bytearray(FrameRing.size_for(SHAPE))


def camera(memory: bytearray, frozen_after_s: float | None = None) -> DeliveredCamera:
    settings = DriverFrames(
        segment="r/eye",
        width=64,
        height=48,
        fps=25.0,
        offset_ms=5.0,
        frozen_after_s=frozen_after_s,
    )
    return DeliveredCamera("eye", FrameRing(memory, SHAPE), settings)


def gives(instant_ns: int | None, level: int = 7) -> Fill:
    def read(out: NDArray[np.uint8]) -> int | None:
        out[:] = level
        return instant_ns

    return read


def test_a_new_frame_is_published_less_the_offset_and_an_old_one_is_not(memory: bytearray) -> None:
    """Asked for no more often than twice in the time of a frame."""
    it, reader = camera(memory), FrameReader(memory)
    it.show(gives(990 * MS), 1000 * MS)
    frame = reader.latest()
    assert frame is not None and frame.capture_ns == 985 * MS
    it.show(gives(1009 * MS), 1010 * MS)
    assert reader.number == 1 and it.due_ns == 1020 * MS
    it.show(gives(990 * MS), 1020 * MS)
    it.show(gives(None), 1040 * MS)
    assert reader.number == 1
    it.show(gives(1050 * MS), 1060 * MS)
    assert reader.number == 2
    assert it.report(1100 * MS)["frame_age_ms"] == 55.0


@pytest.mark.parametrize("frozen_after_s", [None, 0.0, 1.0])
def test_a_camera_that_shows_nothing_new_has_a_reason(
    memory: bytearray, frozen_after_s: float | None
) -> None:
    """No frame for three seconds, or as configured, is a reason."""
    it = camera(memory, frozen_after_s)
    for n in range(200):
        it.show(gives((1000 + 20 * n) * MS), (1001 + 20 * n) * MS)
    assert bool(it.report(0)["reason"]) is (frozen_after_s == 1.0)
    for n in range(200, 400):
        it.show(gives(None), (1001 + 20 * n) * MS)
    assert bool(it.report(0)["reason"]) is (frozen_after_s != 0.0)
    it.show(gives(20_000 * MS, level=9), 20_001 * MS)
    assert not it.report(0)["reason"]
