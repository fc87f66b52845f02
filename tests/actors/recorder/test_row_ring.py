"""The latest steps in memory: bounded, and whole when they are asked for."""

from __future__ import annotations

import numpy as np

from holdfast.actors.recorder.row_ring import RowRing
from holdfast.robot.dataset.recording_schema import Row

SECOND = 10**9


def row(number: int, fresh: bool = True) -> Row:
    """A step whose image is new, or the one before."""
    state = np.full(2, number, np.float32)
    picture = np.full((32, 48, 3), number % 200, np.uint8)
    images = {"top": (picture, number) if fresh else None}
    return Row(state=state, action=state, task="t", seq=number, images=images)


def test_it_holds_the_last_seconds_and_gives_them_once_in_order() -> None:
    """Images come back as they were, but for the compression."""
    ring = RowRing(2 * SECOND, 10**9)
    for k in range(100):
        ring.add(k * SECOND // 10, row(k))
    assert ring.span_s == 2.0
    rows = ring.drain()
    assert [r.seq for r in rows] == list(range(79, 100))
    for held in rows:
        taken = held.images["top"]
        assert taken is not None and taken[1] == held.seq
        assert abs(int(taken[0].mean()) - held.seq % 200) <= 3
    assert len(ring) == 0 and ring.bytes == 0 and ring.drain() == []


def test_it_holds_no_more_than_its_memory() -> None:
    """Its bytes stay within the bound, however long a time it is to hold."""
    ring = RowRing(10**6 * SECOND, 20_000)
    for k in range(1000):
        ring.add(k, row(k))
        assert ring.bytes <= 20_000
    assert len(ring) > 5


def test_the_oldest_step_has_an_image_though_its_camera_was_slower() -> None:
    """The image that it repeats was in a step that has been dropped."""
    ring = RowRing(SECOND, 10**9)
    ring.add(0, row(7))
    ring.add(SECOND, row(8, fresh=False))
    ring.add(2 * SECOND, row(9, fresh=False))
    first, second = ring.drain()
    assert first.images["top"] is not None and first.images["top"][1] == 7
    assert second.images.get("top") is None
