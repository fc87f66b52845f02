"""The latency estimate: windowed, cold starts excluded, clamped, kept in the caller's memory."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.latency_window import WINDOW, LatencyWindow

DT = 33_333_333


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=250))
def test_the_estimate_is_the_95th_percentile_of_the_last_hundred(latencies: list[int]) -> None:
    """The delay in steps is that, rounded up and clamped."""
    window = LatencyWindow()
    window.record(1)  # the cold one
    for latency in latencies:
        window.record(latency)
    recent = sorted(latencies[-WINDOW:])
    assert window.expected_ns == recent[math.ceil(0.95 * len(recent)) - 1]
    assert window.delay_steps(DT, 10**9) == math.ceil(window.expected_ns / DT)
    assert window.delay_steps(DT, 5) <= 5


def test_the_first_latency_after_each_connect_is_excluded() -> None:
    """`connected` excludes the next record, which pays for cold caches."""
    window = LatencyWindow(initial_ns=7)
    window.record(10**10)
    assert window.expected_ns == 7
    window.record(100)
    window.connected()
    window.record(10**10)
    window.record(100)
    assert window.expected_ns == 100
    assert window.count == 2


def test_a_restarted_actor_continues_the_estimate_of_the_one_before() -> None:
    """The ring lies in memory of the caller."""
    ring = np.zeros(WINDOW + 1, np.int64)
    first = LatencyWindow(ring)
    for latency in (1, 50, 60):
        first.record(latency)
    assert LatencyWindow(ring).expected_ns == 60


def test_an_empty_window_has_no_figures_but_an_estimate() -> None:
    """p50 and p99 are None; the delay follows from `initial_ns`."""
    window = LatencyWindow(initial_ns=DT)
    assert window.summary_ms() == {"p50": None, "p99": None}
    assert window.delay_steps(DT, 10) == 1
