"""The lateness histogram: its read-outs are close to the true quantiles and never too low."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.histogram import BINS, WINDOW_S, Histogram, Recent

durations = st.lists(st.integers(min_value=0, max_value=16_000_000_000), min_size=1, max_size=200)


@given(durations, st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_quantile_is_at_most_one_bin_above_the_true_one_and_not_below_it(
    values: list[int], q: float
) -> None:
    """For any durations and quantile: a read-out is never too low."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    true_us = sorted(values)[int(np.ceil(q * len(values))) - 1] / 1000
    read_us = histogram.quantile_us(q)
    assert read_us >= true_us * (1 - 1e-3)
    assert read_us <= max(1.0, true_us * 2 ** (1 / 16) * 1.001)


@given(durations)
def test_every_duration_is_counted_and_the_maximum_is_exact(values: list[int]) -> None:
    """`total` and `max_us` agree with the durations themselves."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    assert histogram.total == len(values)
    assert histogram.max_us == max(values) / 1000


@given(durations)
def test_each_bucket_counts_exactly_the_durations_below_its_edge(values: list[int]) -> None:
    """Edges of buckets are edges of bins, so nothing is rounded."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    for edge_us, below in histogram.buckets_us():
        assert below == sum(value < edge_us * 1000 for value in values)
    assert histogram.buckets_us()[-1][1] == len(values)


def test_a_duration_beyond_all_bins_is_counted_in_the_last_one() -> None:
    """A negative one is counted in the first."""
    histogram = Histogram()
    histogram.record(10**18)
    histogram.record(-5)
    assert histogram.total == 2


def test_counts_continue_in_memory_that_outlives_the_histogram() -> None:
    """A new histogram over the same counts continues them."""
    counts = np.zeros(BINS + 1, np.int64)
    Histogram(counts).record(5000)
    Histogram(counts).record(7000)
    assert Histogram(counts).total == 2
    assert Histogram(counts).max_us == 7.0


def test_an_empty_histogram_reads_zero() -> None:
    """All quantiles and the maximum are 0."""
    assert Histogram().summary_us() == {"p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}


def test_memory_that_is_too_small_for_the_bins_is_refused() -> None:
    """ValueError names both sizes."""
    with pytest.raises(ValueError, match="too few"):
        Histogram(np.zeros(10, np.int64))


pauses = st.integers(0, 150).map(lambda tenths: tenths * 100_000_000)
ticks = st.lists(st.tuples(pauses, st.integers(0, 50_000_000)), max_size=60)


@given(ticks, ticks)
def test_the_recent_window_holds_its_minute_and_at_most_a_sixth_more(
    before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    """For any rhythm of reads, compared with a model that keeps every tick with its instant."""
    now_ns, counted = 1_000_000_000, []
    histogram = Histogram()
    for _, late in before:
        histogram.record(late)
    recent = Recent(histogram, now_ns)
    for pause, late in after:
        now_ns += pause
        histogram.record(late)
        counted.append((now_ns, late))
        read = recent.summary_us(now_ns)
        window, rhythm = WINDOW_S * 1_000_000_000, max(pause for pause, _ in after)
        surely = [late for at, late in counted if at > now_ns - window]
        perhaps = [late for at, late in counted if at > now_ns - window * 7 // 6 - 7 * rhythm]
        assert read["max"] >= max(surely) / 1000 * (1 - 1e-3) - 0.1
        assert read["max"] <= max(1.0, max(perhaps) / 1000 * 2 ** (1 / 16) * 1.001 + 0.1)
        assert 0 <= read["p50"] <= read["p99"] <= read["p999"] <= read["max"]


def test_the_recent_window_drops_a_late_tick_after_a_quiet_minute() -> None:
    """The histogram of all ticks keeps it."""
    histogram = Histogram()
    recent = Recent(histogram, 0)
    histogram.record(90_000_000)
    seconds = 1_000_000_000
    assert recent.summary_us(seconds)["p99"] == 90_000
    for second in range(2, 80):
        histogram.record(20_000)
        last = recent.summary_us(second * seconds)
    assert last["max"] == pytest.approx(20, rel=0.05)
    assert histogram.summary_us()["max"] == 90_000
