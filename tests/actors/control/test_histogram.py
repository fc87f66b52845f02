"""The lateness histogram: its read-outs are close to the true quantiles and never too low."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.histogram import BINS, Histogram

durations = st.lists(st.integers(min_value=0, max_value=16_000_000_000), min_size=1, max_size=200)


@given(durations, st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_quantile_is_at_most_one_bin_above_the_true_one_and_not_below_it(
    values: list[int], q: float
) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    true_us = sorted(values)[int(np.ceil(q * len(values))) - 1] / 1000
    read_us = histogram.quantile_us(q)
    assert read_us >= true_us * (1 - 1e-3)
    assert read_us <= max(1.0, true_us * 2 ** (1 / 16) * 1.001)


@given(durations)
def test_nothing_is_lost_and_the_maximum_is_exact(values: list[int]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    assert histogram.total == len(values)
    assert histogram.max_us == max(values) / 1000


@given(durations)
def test_buckets_count_exactly_what_lies_below_their_edges(values: list[int]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    for edge_us, below in histogram.buckets_us():
        assert below == sum(value < edge_us * 1000 for value in values)
    assert histogram.buckets_us()[-1][1] == len(values)


def test_an_absurd_duration_lands_in_the_last_bin() -> None:
    histogram = Histogram()
    histogram.record(10**18)
    histogram.record(-5)
    assert histogram.total == 2


def test_counts_continue_in_memory_that_outlives_the_histogram() -> None:
    counts = np.zeros(BINS + 1, np.int64)
    Histogram(counts).record(5000)
    Histogram(counts).record(7000)
    assert Histogram(counts).total == 2
    assert Histogram(counts).max_us == 7.0


def test_an_empty_histogram_reads_zero() -> None:
    assert Histogram().summary_us() == {"p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        Histogram(np.zeros(10, np.int64))
