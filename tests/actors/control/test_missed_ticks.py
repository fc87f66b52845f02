"""Missed ticks: the machine's are distinguished from the loop's own, by what the witness saw."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.missed_ticks import MissedTicks, unexplained
from holdfast.actors.control.plan_memory import PlanMemory, Word

S, MS = 1_000_000_000, 1_000_000
PERIOD = 33 * MS


@pytest.fixture
def words() -> memoryview:
    return PlanMemory.private().words


def test_a_miss_counts_as_neither_until_it_is_judged(words: memoryview) -> None:
    """A second after the wake-up it becomes the machine's or the loop's."""
    misses = MissedTicks(words, PERIOD, lambda: [(0, 100 * S)])
    misses.missed(3, 10 * S, 11 * S)
    assert (misses.own, misses.machine) == (0, 0)
    misses.settle(11 * S + S // 2)
    assert (misses.own, misses.machine) == (0, 0)
    misses.settle(12 * S)
    assert (misses.own, misses.machine) == (0, 3)


def test_a_miss_outside_the_pauses_of_the_witness_is_the_loop_s_own(words: memoryview) -> None:
    """Pauses before and after it explain nothing."""
    misses = MissedTicks(words, PERIOD, lambda: [(9 * S, 10 * S), (11 * S, 12 * S)])
    misses.missed(2, 10 * S, 11 * S)
    misses.settle(20 * S)
    assert (misses.own, misses.machine) == (2, 0)


def test_a_long_miss_is_not_explained_by_a_shorter_pause(
    words: memoryview,
) -> None:
    """What the pause leaves of it must be less than a period."""
    pauses = [(10 * S, 10 * S + 8 * MS)]
    misses = MissedTicks(words, PERIOD, lambda: pauses)
    misses.missed(60, 10 * S, 12 * S)
    misses.missed(1, 10 * S, 10 * S + 40 * MS)  # 32 ms are left, less than a period
    misses.settle(20 * S)
    assert (misses.own, misses.machine) == (60, 1)


@pytest.mark.parametrize(("waited_ns", "own"), [(0, 2), (40 * MS, 2), (60 * MS, 0), (9 * S, 0)])
def test_what_the_wait_for_a_processor_leaves_of_a_miss_decides_whose_it_is(
    words: memoryview, waited_ns: int, own: int
) -> None:
    """A period or more: the loop's own. The pauses of a witness in the same time add nothing."""
    due, woke = 10 * S, 10 * S + 80 * MS
    for pauses in (None, list, lambda: [(woke - 10 * MS, woke)]):
        before = words[Word.MISSED] - words[Word.MISSED_MACHINE]
        misses = MissedTicks(words, PERIOD, pauses)
        misses.missed(2, due, woke, waited_ns)
        misses.settle(20 * S)
        assert misses.own == before + own


def test_a_miss_without_a_witness_is_the_loop_s_own(words: memoryview) -> None:
    """Nothing is attributed to the machine."""
    misses = MissedTicks(words, PERIOD, None)
    misses.missed(1, 0, S)
    misses.settle(9 * S)
    assert misses.own == 1


def test_pending_misses_are_bounded(words: memoryview) -> None:
    """A miss beyond the bound is judged early; none is lost."""
    misses = MissedTicks(words, PERIOD, list)
    for n in range(1000):
        misses.missed(1, n, n + PERIOD)
    assert len(misses._pending) <= 64
    misses.settle(10 * S)
    assert words[Word.MISSED] == misses.own == 1000


def test_a_miss_that_was_not_judged_before_a_kill_is_the_loop_s_own(words: memoryview) -> None:
    """Its count survives, its interval does not."""
    MissedTicks(words, PERIOD, lambda: [(0, 100 * S)]).missed(4, 0, S)
    assert MissedTicks(words, PERIOD, lambda: [(0, 100 * S)]).own == 4


intervals = st.tuples(st.integers(0, 400), st.integers(1, 100)).map(
    lambda drawn: (drawn[0] * MS, (drawn[0] + drawn[1]) * MS)
)


@given(st.lists(intervals, max_size=6), intervals)
def test_a_miss_is_unexplained_by_the_part_of_it_outside_all_pauses(
    pauses: list[tuple[int, int]], during: tuple[int, int]
) -> None:
    """Counted millisecond by millisecond, however the pauses overlap."""
    free = [
        at
        for at in range(during[0] // MS, during[1] // MS)
        if not any(start // MS <= at < end // MS for start, end in pauses)
    ]
    assert unexplained(*during, pauses, PERIOD) is (len(free) * MS >= PERIOD)
