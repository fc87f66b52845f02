"""`StepClock`: calls of `act` on the clock's grid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.embedding.steps import StepClock

DT = 33_333_333
GAPS = st.lists(st.integers(0, 20 * DT), min_size=1, max_size=60)


@given(start_ns=st.integers(0, 1 << 62), gaps_ns=GAPS)
def test_the_step_follows_the_clock_whatever_the_calls_do(
    start_ns: int, gaps_ns: list[int]
) -> None:
    """Less than a step ahead of the time or behind it, and it never goes back."""
    clock, now_ns = StepClock(DT), start_ns
    assert clock.advance(now_ns) == 1 and clock.step == 0
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        before = clock.step
        passed = clock.advance(now_ns)
        assert passed >= 0
        assert clock.step == before + passed
        assert -DT < now_ns - start_ns - clock.step * DT < DT or passed == 0
        assert now_ns - start_ns - clock.step * DT < DT


@given(
    start=st.integers(0, 1 << 62),
    jitter=st.lists(st.integers(-DT // 2 + 1, DT // 2 - 1), min_size=1, max_size=200),
)
def test_jitter_neither_skips_nor_repeats_a_step(start: int, jitter: list[int]) -> None:
    """Of less than half a step to either side."""
    clock = StepClock(DT)
    first = min(0, jitter[0])
    calls = [start + DT * (n + 1) + late - first for n, late in enumerate(jitter)]
    assert [clock.advance(call) for call in calls] == [1] * len(calls)


def test_a_loop_of_another_rate_takes_as_many_steps_as_time_passes() -> None:
    """Ten seconds are 300 steps at any rate of calls."""
    for hz in (12, 25, 29, 31, 100):
        clock = StepClock(DT)
        for call in range(10 * hz):
            clock.advance(call * 1_000_000_000 // hz)
        assert abs(clock.step - 300) <= 4
