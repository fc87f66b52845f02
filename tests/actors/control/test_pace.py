"""`Pace`: how often steps come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.pace import Pace

BREAK_NS = 1_000_000_000
RATES = st.floats(5, 2000)


def run(pace: Pace, hz: float, seconds: float, start_ns: int) -> int:
    """Step at `hz` for so long; the instant after the last step."""
    period = round(1e9 / hz)
    for now in range(start_ns, start_ns + round(seconds * 1e9), period):
        pace.step(now)
    return now


@given(hz=RATES, start=st.integers(1, 1 << 62))
def test_the_rate_is_that_of_the_steps(hz: float, start: int) -> None:
    pace = Pace(BREAK_NS)
    run(pace, hz, 2.5, start)
    assert pace.hz == pytest.approx(hz, rel=0.01)


@given(before=RATES, after=RATES, pause_s=st.floats(1.001, 3600))
def test_a_break_belongs_to_no_rate(before: float, after: float, pause_s: float) -> None:
    pace = Pace(BREAK_NS)
    end = run(pace, before, 2.5, 1)
    run(pace, after, 2.5, end + round(pause_s * 1e9))
    assert pace.hz == pytest.approx(after, rel=0.01)


def test_before_the_first_second_there_is_no_rate() -> None:
    pace = Pace(BREAK_NS)
    run(pace, 50, 0.9, 1)
    assert pace.hz == 0
