"""`StepClock`: calls of `act` on the clock's grid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.embedding.steps import StepClock

DT = 33_333_333
GAPS = st.lists(st.integers(0, 20 * DT), min_size=1, max_size=60)


@given(start=st.integers(0, 1 << 62), gaps=GAPS)
def test_the_step_follows_the_clock_whatever_the_calls_do(start: int, gaps: list[int]) -> None:
    """It is never a whole step ahead of the time nor a whole one behind, and never goes back."""
    clock, now = StepClock(DT), start
    assert clock.advance(now) == 1 and clock.step == 0
    for gap in gaps:
        now += gap
        before = clock.step
        passed = clock.advance(now)
        assert passed >= 0
        assert clock.step == before + passed
        assert -DT < now - start - clock.step * DT < DT or passed == 0
        assert now - start - clock.step * DT < DT


@given(
    start=st.integers(0, 1 << 62),
    jitter=st.lists(st.integers(-DT // 2 + 1, DT // 2 - 1), min_size=1, max_size=200),
)
def test_jitter_neither_skips_nor_repeats_a_step(start: int, jitter: list[int]) -> None:
    clock = StepClock(DT)
    first = min(0, jitter[0])
    calls = [start + DT * (n + 1) + late - first for n, late in enumerate(jitter)]
    assert [clock.advance(call) for call in calls] == [1] * len(calls)


def test_a_loop_of_another_rate_takes_as_many_steps_as_time_passes() -> None:
    for hz in (12, 25, 29, 31, 100):
        clock = StepClock(DT)
        for call in range(10 * hz):
            clock.advance(call * 1_000_000_000 // hz)
        assert abs(clock.step - 300) <= 4
