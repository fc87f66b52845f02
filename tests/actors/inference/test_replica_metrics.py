"""The metrics of a replica."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.inference.replica_metrics import WINDOW, Busyness, Percentiles


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=40),
    st.integers(1, 200),
    st.integers(0, 300),
)
def test_the_load_is_the_busy_share_of_the_window(
    spans: list[tuple[int, int]], window_ns: int, later_ns: int
) -> None:
    """It equals the count of the busy instants in the window."""
    busy, now_ns = Busyness(window_ns), 0
    instants: list[int] = []
    for idle, work in spans:
        start_ns, now_ns = now_ns + idle, now_ns + idle + work
        busy.add(start_ns, now_ns)
        instants += range(start_ns, now_ns)
    now_ns += later_ns
    inside = sum(1 for instant in instants if instant >= now_ns - window_ns)
    assert busy.load(now_ns) == pytest.approx(inside / window_ns)


def test_percentiles_are_those_of_the_recent_values() -> None:
    """Only the last WINDOW values count, and without a value there is no summary."""
    p = Percentiles()
    assert p.summary() == {}
    p.add(1e9)
    for i in range(WINDOW):
        p.add(i % 64)
    assert p.summary()["p99"] <= 63
    assert p.summary()["p50"] == pytest.approx(31.5)
