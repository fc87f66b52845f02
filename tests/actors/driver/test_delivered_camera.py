"""Frames of a robot's driver: what is published, and what is said of a camera without any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdfast.actors.driver.delivered_camera import DeliveredCamera
from holdfast.actors.runtime.device_configs import DriverFrames
from holdfast.errors import RobotError
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
    """Where there is no new frame, the next is asked for after half of a frame's time."""
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


@given(st.lists(st.integers(0, 20), min_size=50, max_size=200))
def test_a_driver_with_a_new_frame_at_every_call_is_asked_at_the_cameras_rate(
    late_ms: list[int],
) -> None:
    """However late a call is, up to half of a frame's time: no more than `fps`, and no fewer."""
    it = camera(bytearray(FrameRing.size_for(SHAPE)))
    first_ns = now_ns = 1000 * MS
    for late in late_ms:
        now_ns = max(now_ns, it.due_ns) + late * MS
        it.show(gives(now_ns), now_ns)
    frames = it.report(now_ns)["frames"]
    assert frames == len(late_ms)
    assert abs((now_ns - first_ns) / (40 * MS) - frames) <= 2


def test_a_frame_that_fails_is_a_reason_of_its_camera_until_the_next(memory: bytearray) -> None:
    """The reason is what the driver did, and not that the camera is frozen."""
    it = camera(memory, frozen_after_s=1.0)

    def fail(_out: NDArray[np.uint8]) -> int | None:
        raise RobotError("read_frame: ValueError: no light (arm.py:7 in read_frame)")

    for n in range(200):
        it.show(fail, (1001 + 40 * n) * MS)
    report = it.report(10_000 * MS)
    assert (report["errors"], report["frames"], report["freezes"]) == (200, 0, 0)
    assert report["reason"] == "read_frame: ValueError: no light (arm.py:7 in read_frame)"
    it.show(gives(10_000 * MS), 10_001 * MS)
    assert it.report(10_001 * MS)["reason"] == ""
