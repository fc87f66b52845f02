"""A driver is gone when the state that it gives stands still, and not because it is late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.driver_watch import DriverWatch

MS = 1_000_000


@given(late=st.integers(0, 2000), periods=st.lists(st.integers(1, 300), min_size=2, max_size=30))
def test_a_driver_that_is_always_late_is_not_gone(late: int, periods: list[int]) -> None:
    """What counts is that the state's instant changes, not its age."""
    watch, now_ns = DriverWatch(300 * MS), 10_000 * MS
    gone = []
    for period in periods:
        now_ns += period * MS
        gone.append(watch.gone(now_ns - late * MS, now_ns))
    assert gone[1:] == [False] * (len(periods) - 1)
    assert gone[0] == (late > 300), "the first state that is seen tells only its age"


def test_a_driver_is_gone_while_its_state_stands_still_for_longer_than_the_bound() -> None:
    """It is there again as soon as the instant of its state moves."""
    watch = DriverWatch(300 * MS)
    assert not watch.gone(1000 * MS, 1000 * MS)
    assert not watch.gone(1000 * MS, 1300 * MS)
    assert watch.gone(1000 * MS, 1301 * MS)
    assert watch.gone(1000 * MS, 9000 * MS)
    assert not watch.gone(9001 * MS, 9002 * MS)


def test_a_new_process_counts_the_age_of_the_first_state_it_reads() -> None:
    """A state that stood still before the process started means that the driver is gone."""
    assert DriverWatch(300 * MS).gone(1000 * MS, 2000 * MS)
