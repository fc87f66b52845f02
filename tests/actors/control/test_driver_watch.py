"""A driver is gone when the state that it gives stands still, and not because it is late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.driver_watch import DriverWatch

MS = 1_000_000


@given(late=st.integers(0, 2000), periods=st.lists(st.integers(1, 300), min_size=2, max_size=30))
def test_a_driver_that_is_late_all_the_time_is_there(late: int, periods: list[int]) -> None:
    watch, now = DriverWatch(300 * MS), 10_000 * MS
    gone = []
    for period in periods:
        now += period * MS
        gone.append(watch.gone(now - late * MS, now))
    assert gone[1:] == [False] * (len(periods) - 1)
    assert gone[0] == (late > 300), "the first state that is seen tells only its age"


def test_a_state_that_stands_still_is_told_after_the_bound_and_taken_back_when_it_moves() -> None:
    watch = DriverWatch(300 * MS)
    assert not watch.gone(1000 * MS, 1000 * MS)
    assert not watch.gone(1000 * MS, 1300 * MS)
    assert watch.gone(1000 * MS, 1301 * MS)
    assert watch.gone(1000 * MS, 9000 * MS)
    assert not watch.gone(9001 * MS, 9002 * MS)


def test_the_next_process_finds_a_state_that_stood_still_before_it_was_there() -> None:
    assert DriverWatch(300 * MS).gone(1000 * MS, 2000 * MS)
