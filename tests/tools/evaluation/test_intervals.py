"""Confidence intervals: published values, and what holds for all counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.tools.evaluation.intervals import newcombe, wilson

ONE_PROPORTION = [
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3 (Wilson's).
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]
TWO_PROPORTIONS = [
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
    ((56, 70), (48, 80), 0.0524, 0.3339),
    ((9, 10), (3, 10), 0.1705, 0.8090),
    ((6, 7), (2, 7), 0.0582, 0.8062),
    ((5, 56), (0, 29), -0.0381, 0.1926),
    ((0, 10), (0, 20), -0.1611, 0.2775),
    ((0, 10), (0, 10), -0.2775, 0.2775),
    ((10, 10), (0, 20), 0.6791, 1.0),
    ((10, 10), (0, 10), 0.6075, 1.0),
]
COUNTS = st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(("succeeded", "tried", "low", "high"), ONE_PROPORTION)
def test_wilsons_interval_is_the_published_one(
    succeeded: int, tried: int, low: float, high: float
) -> None:
    """To the four digits that are printed."""
    assert wilson(succeeded, tried) == pytest.approx((low, high), abs=5.1e-5)


@pytest.mark.parametrize(("first", "second", "low", "high"), TWO_PROPORTIONS)
def test_newcombes_interval_is_the_published_one(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    """To the four digits that are printed."""
    assert newcombe(first, second) == pytest.approx((low, high), abs=5.1e-5)


@given(COUNTS)
def test_wilsons_interval_holds_the_rate_and_mirrors(counts: tuple[int, int]) -> None:
    """It is within 0 to 1, and failures have the mirrored one of successes."""
    succeeded, tried = counts
    low, high = wilson(succeeded, tried)
    assert 0 <= low < high <= 1
    if tried:
        assert low <= succeeded / tried <= high
    mirrored = wilson(tried - succeeded, tried)
    assert (1 - high, 1 - low) == pytest.approx(mirrored)


@given(COUNTS, COUNTS)
def test_newcombes_interval_holds_the_difference_and_turns_with_the_order(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    """It is within -1 to 1, and the other way round it has the other sign."""
    low, high = newcombe(first, second)
    assert -1 <= low < high <= 1
    if first[1] and second[1]:
        assert low <= first[0] / first[1] - second[0] / second[1] <= high
    assert newcombe(second, first) == pytest.approx((-high, -low))


def test_counts_that_are_none_are_refused() -> None:
    """More successes than attempts, or fewer than none, are a fault of the caller."""
    for counts in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="expected 0 to 2"):
            wilson(*counts)
