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
    for now_ns in range(start_ns, start_ns + round(seconds * 1e9), period):
        pace.step(now_ns)
    return now_ns


@given(hz=RATES, start=st.integers(1, 1 << 62))
def test_the_measured_rate_is_that_of_the_steps(hz: float, start: int) -> None:
    """Within a hundredth, at any rate and instant."""
    pace = Pace(BREAK_NS)
    run(pace, hz, 2.5, start)
    assert pace.hz == pytest.approx(hz, rel=0.01)


@given(before=RATES, after=RATES, pause_s=st.floats(1.001, 3600))
def test_a_break_does_not_lower_the_measured_rate(
    before: float, after: float, pause_s: float
) -> None:
    """A gap longer than the bound starts a new window."""
    pace = Pace(BREAK_NS)
    end = run(pace, before, 2.5, 1)
    run(pace, after, 2.5, end + round(pause_s * 1e9))
    assert pace.hz == pytest.approx(after, rel=0.01)


def test_the_rate_is_zero_before_the_first_whole_second() -> None:
    """A window is a second long."""
    pace = Pace(BREAK_NS)
    run(pace, 50, 0.9, 1)
    assert pace.hz == 0
