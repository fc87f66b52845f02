"""The spin window: as long as wake-ups are slow, closed where a spinning loop loses the core."""

from __future__ import annotations

import random

import pytest

from holdfast.actors.control.spin import (
    CLEAN_SPINS,
    LEAST_REST,
    LOST_NS,
    MOST_REST,
    SpinWindow,
)

US = 1_000


def taught(
    typical_us: float, spread_us: float = 0, ticks: int = 8000, late: float = 0
) -> SpinWindow:
    """A window after `ticks` wake-ups; a share `late` of them waits milliseconds for the core."""
    window, rng = SpinWindow(), random.Random(0)
    for _ in range(ticks):
        oversleep = rng.gauss(typical_us, spread_us) if rng.random() >= late else 3000
        window.learn(max(0, round(oversleep * US)))
    return window


def closed_for(window: SpinWindow) -> int:
    """Ticks until the window is open again."""
    ticks = 0
    while not window.ns:
        window.learn(100 * US)
        ticks += 1
    return ticks


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


def test_a_wake_up_that_waited_for_the_core_does_not_widen_the_window() -> None:
    """What exceeds LOST_NS is not learnt from."""
    window = taught(100, 15, late=0.05)
    closed_for(window)
    assert 0 < window.ns < 200 * US


def test_the_window_stays_open_after_a_single_loss_of_the_core() -> None:
    """It was a pause of the machine: the ticks after it would be late without a reason."""
    window = taught(100, 15)
    for _ in range(5):
        window.spun(LOST_NS + 1)
        assert window.ns > 0
        for _ in range(CLEAN_SPINS):
            window.spun(0)


def test_a_loop_that_the_machine_pauses_now_and_then_is_punctual() -> None:
    """The 99th percentile of its lateness is below 20 µs, with three pauses in a thousand."""
    for seed in range(5):
        window, rng, late_ns = SpinWindow(), random.Random(seed), []
        for tick in range(3000):
            before_ns = window.ns
            oversleep_ns = (1500 if tick % 333 == 100 else max(0, rng.gauss(100, 25))) * US
            window.learn(round(oversleep_ns))
            late_ns.append(max(0, oversleep_ns - before_ns))
            if oversleep_ns < before_ns:
                window.spun(0)
        assert sorted(late_ns)[2970] < 20 * US


def test_the_window_closes_for_a_few_ticks_after_spins_that_lost_the_core() -> None:
    """A spin that ends later than LOST_NS lost it."""
    window = taught(100, 15)
    window.spun(LOST_NS)  # late, but not by what others are given
    assert window.ns > 0
    window.spun(LOST_NS + 1)
    window.spun(LOST_NS + 1)
    assert window.ns == 0
    assert closed_for(window) == LEAST_REST


def test_the_window_closes_for_a_few_ticks_after_wake_ups_that_waited_for_the_core() -> None:
    """While it is closed, further ones do not extend it."""
    window = taught(100, 15)
    window.learn(LOST_NS + 1)
    window.learn(LOST_NS + 1)
    assert window.ns == 0
    window.learn(LOST_NS + 1)  # it slept: that was not for spinning
    assert closed_for(window) == LEAST_REST - 1


def test_the_window_stays_closed_twice_as_long_with_each_loss_until_spins_are_clean() -> None:
    """CLEAN_SPINS spins that kept the core reset the rest to its least."""
    window = taught(100, 15)
    window.spun(2_000 * US)
    rests = []
    for _ in range(10):
        window.spun(2_000 * US)
        rests.append(closed_for(window))
    assert rests == [min(LEAST_REST * 2**k, MOST_REST) for k in range(10)]
    for _ in range(CLEAN_SPINS):
        window.spun(0)
    window.spun(2_000 * US)
    window.spun(2_000 * US)
    assert closed_for(window) == LEAST_REST
