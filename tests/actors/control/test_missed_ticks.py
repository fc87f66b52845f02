"""Missed ticks: the machine's are told apart from the loop's own, once the witness has spoken."""

from __future__ import annotations

import pytest

from holdfast.actors.control.missed_ticks import MissedTicks
from holdfast.actors.control.plan_memory import PlanMemory, Word

S = 1_000_000_000


@pytest.fixture
def words() -> memoryview:
    return PlanMemory.private().words


def test_a_miss_counts_as_neither_until_the_witness_had_its_turn(words: memoryview) -> None:
    misses = MissedTicks(words, lambda start, end: True)
    misses.missed(3, 10 * S, 11 * S)
    assert (misses.own, misses.machine) == (0, 0)
    misses.settle(11 * S + S // 2)
    assert (misses.own, misses.machine) == (0, 0)
    misses.settle(12 * S)
    assert (misses.own, misses.machine) == (0, 3)


def test_a_miss_that_the_witness_did_not_see_is_the_loop_s_own(words: memoryview) -> None:
    asked = []

    def overslept(start: int, end: int) -> bool:
        asked.append((start, end))
        return False

    misses = MissedTicks(words, overslept)
    misses.missed(2, 10 * S, 11 * S)
    misses.settle(20 * S)
    assert (misses.own, misses.machine) == (2, 0)
    assert asked == [(10 * S, 11 * S)]


def test_without_a_witness_every_miss_is_the_loop_s_own(words: memoryview) -> None:
    misses = MissedTicks(words, None)
    misses.missed(1, 0, S)
    misses.settle(9 * S)
    assert misses.own == 1


def test_a_flood_of_misses_takes_no_more_memory(words: memoryview) -> None:
    misses = MissedTicks(words, lambda start, end: False)
    for n in range(1000):
        misses.missed(1, n, n + 1)
    assert len(misses._pending) <= 64
    misses.settle(10 * S)
    assert words[Word.MISSED] == misses.own == 1000


def test_misses_that_were_not_yet_judged_at_a_kill_are_the_loop_s_own(words: memoryview) -> None:
    MissedTicks(words, lambda start, end: True).missed(4, 0, S)
    assert MissedTicks(words, lambda start, end: True).own == 4
