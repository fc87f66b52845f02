"""What a replica counts about itself."""

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
def test_load_is_the_busy_share_of_the_window(
    spans: list[tuple[int, int]], window: int, later: int
) -> None:
    """Against counting every busy instant of the window one by one."""
    busy, now, model = Busyness(window), 0, []
    for idle, work in spans:
        start, now = now + idle, now + idle + work
        busy.add(start, now)
        model += range(start, now)
    now += later
    inside = sum(1 for instant in model if instant >= now - window)
    assert busy.load(now) == pytest.approx(inside / window)


def test_percentiles_are_of_the_recent_values() -> None:
    p = Percentiles()
    assert p.summary() == {}
    p.add(1e9)
    for i in range(WINDOW):
        p.add(i % 64)
    assert p.summary()["p99"] <= 63
    assert p.summary()["p50"] == pytest.approx(31.5)
