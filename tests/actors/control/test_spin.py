"""The spin window: as long as wake-ups are slow, closed where others want the processor."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.spin import (
    LEAST_REST,
    LONG_WAIT_NS,
    LOST_NS,
    MOST_REST,
    SpinWindow,
)

US = 1_000
SETTLED = 1000
"""Ticks after which a rest has decayed from its most to its least."""


def taught(
    typical_us: float, spread_us: float = 0, ticks: int = 8000, late: float = 0
) -> SpinWindow:
    """A window after `ticks` wake-ups; a share `late` of them takes milliseconds."""
    window, rng = SpinWindow(), random.Random(0)
    for _ in range(ticks):
        oversleep = rng.gauss(typical_us, spread_us) if rng.random() >= late else 3000
        window.learn(max(0, round(oversleep * US)))
    return window


def closed_for(window: SpinWindow) -> int:
    """Ticks without waiting until the window is open again."""
    ticks = 0
    while not window.ns:
        window.waited(0)
        ticks += 1
    return ticks


def share_open(wait_chance: float, seed: int, ticks: int = 20_000) -> float:
    """The share of ticks at which the window is open, where a loop waits so often."""
    window, rng, opened = SpinWindow(), random.Random(seed), 0
    for _ in range(ticks):
        opened += window.ns > 0
        window.waited(LONG_WAIT_NS if rng.random() < wait_chance else 10 * US)
    return opened / ticks


@pytest.mark.parametrize("typical_us", [70, 120, 200])
def test_the_window_covers_all_wake_ups_but_one_in_four_hundred(typical_us: float) -> None:
    """Its length is the 99.75th percentile of the oversleep."""
    window, rng = taught(typical_us, 15, 20_000), random.Random(1)
    beyond = 0
    for _ in range(10_000):
        oversleep_ns = round(rng.gauss(typical_us, 15) * US)
        beyond += oversleep_ns > window.ns
        window.learn(oversleep_ns)
    assert 12 < beyond < 50
    assert typical_us * US < window.ns < (typical_us + 75) * US


def test_a_wake_up_that_took_milliseconds_does_not_widen_the_window() -> None:
    """What exceeds LOST_NS is not learnt from."""
    assert 0 < taught(100, 15, late=0.05).ns < 200 * US


def test_a_loop_that_the_machine_pauses_now_and_then_is_punctual() -> None:
    """The 99th percentile of its lateness is below 20 µs, with three pauses in a thousand."""
    for seed in range(5):
        window, rng, late_ns = SpinWindow(), random.Random(seed), []
        for tick in range(3000):
            before_ns = window.ns
            oversleep_ns = (1500 if tick % 333 == 100 else max(0, rng.gauss(100, 25))) * US
            window.learn(round(oversleep_ns))
            late_ns.append(max(0, oversleep_ns - before_ns))
            window.waited(10 * US)
        assert sorted(late_ns)[2970] < 20 * US


def test_a_wait_for_the_processor_closes_the_window_for_one_tick() -> None:
    """A short one does not; that of a single daemon costs the next tick its spin and no other."""
    window = taught(100, 15)
    window.waited(LONG_WAIT_NS - 1)
    assert window.ns > 0
    window.waited(LONG_WAIT_NS)
    assert window.ns == 0
    assert closed_for(window) == LEAST_REST == 1


def test_each_wait_doubles_the_time_for_which_the_window_is_closed() -> None:
    """Up to MOST_REST ticks; from then on it stays there as long as the waits go on."""
    window, rests = taught(100, 15), []
    for _ in range(10):
        window.waited(2_000 * US)
        assert window.ns == 0
        rests.append(window._rest)
    assert rests == [min(LEAST_REST * 2**k, MOST_REST) for k in range(10)]


@pytest.mark.parametrize("seed", range(3))
def test_the_window_is_open_on_an_idle_machine_and_closed_on_a_busy_one(seed: int) -> None:
    """Where one tick in 400 has a wait, 99 of 100 are spun for; where one in 20 has, hardly any."""
    assert share_open(1 / 400, seed) > 0.99
    assert share_open(1 / 20, seed) < 0.02


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 300)), max_size=20),
    st.integers(0, LOST_NS),
)
def test_whatever_the_machine_did_the_window_opens_again_once_it_is_idle(
    phases: list[tuple[bool, int]], oversleep_ns: int
) -> None:
    """Within MOST_REST ticks without a wait; no window exceeds LOST_NS, none follows a wait."""
    window = SpinWindow()
    for busy, ticks in phases:
        for _ in range(ticks):
            window.learn(oversleep_ns)
            window.waited(LONG_WAIT_NS if busy else 0)
            assert window.ns == 0 if busy else 0 <= window.ns <= LOST_NS
    opens = closed_for(window) if window._length_ns else 0
    assert opens <= MOST_REST
    for _ in range(SETTLED):
        window.waited(0)
    window.waited(LONG_WAIT_NS)
    assert window._rest == LEAST_REST
