"""Frames that had been waiting are told from those that were waited for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.robot.cameras.backlog import Backlog

MS = 1_000_000


class Stream:
    """A stream of frames, each captured a period after the last, behind a network that may stall.
    `take` is what a reader does: ask, wait, and be told."""

    def __init__(self, period_ms: float, expected_ms: float) -> None:
        self.backlog = Backlog(round(expected_ms * MS))
        self.period_ms, self.now_ms, self.next = period_ms, 1000.0, 0.0
        self.blocked_until_ms = 0.0

    def take(self, work_ms: float = 1.0) -> tuple[bool, float]:
        """(whether the frame is old, its age in ms)."""
        asked_ms = self.now_ms
        if self.next == 0.0:
            self.next = asked_ms
        captured_ms = self.next
        self.next += self.period_ms
        self.now_ms = max(asked_ms + 0.5, captured_ms + 2, self.blocked_until_ms)
        old = self.backlog.is_old(round(asked_ms * MS), round(self.now_ms * MS))
        age_ms = self.now_ms - captured_ms
        self.now_ms += work_ms
        return old, age_ms


@given(
    period_ms=st.floats(10, 400),
    expected_ms=st.floats(10, 100),
    stalls_ms=st.lists(st.floats(0, 900), min_size=1, max_size=5),
)
def test_frames_that_are_taken_are_young_after_any_stall(
    period_ms: float, expected_ms: float, stalls_ms: list[float]
) -> None:
    """After any stall, at any rate, a frame taken is young."""
    stream = Stream(period_ms, expected_ms)
    while stream.now_ms < 1000 + max(2000, 30 * period_ms):
        stream.take()
    steady = [stream.take()[0] for _ in range(20)]
    assert not any(steady)
    for stall_ms in stalls_ms:
        stream.blocked_until_ms = stream.now_ms + stall_ms
        ages = [age for old, age in (stream.take() for _ in range(200)) if not old]
        assert ages and max(ages) < max(4 * period_ms, 160) + 10


def test_a_reader_that_is_slower_than_its_stream_gets_frames_all_the_same() -> None:
    """It never finds the queue empty; after a second it takes what there is."""
    stream = Stream(10, 10)
    taken = [not stream.take(work_ms=25)[0] for _ in range(200)]
    assert sum(taken[50:]) > 100
