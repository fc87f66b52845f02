"""The spin window: open where wake-ups are slow, closed where others want the core."""

from __future__ import annotations

import random

import pytest

from holdfast.actors.control.spin import CALM_TICKS, MAX_NS, SpinWindow

US = 1_000


def taught(
    typical_us: float, spread_us: float = 0, ticks: int = 8000, late: float = 0
) -> SpinWindow:
    """A window after `ticks` wake-ups; a share `late` of them waits milliseconds for the core."""
    window, rng = SpinWindow(), random.Random(0)
    for _ in range(ticks):
        oversleep = rng.gauss(typical_us, spread_us) if rng.random() >= late else 3000
        window.learn(max(0, round(oversleep * US)), 0)
    return window


@pytest.mark.parametrize("typical_us", [70, 120, 200])
def test_where_wake_ups_are_slow_the_window_covers_all_but_one_in_a_hundred(
    typical_us: float,
) -> None:
    window, rng = taught(typical_us, 15, 20_000), random.Random(1)
    beyond = sum(rng.gauss(typical_us, 15) * US > window.ns for _ in range(10_000))
    assert 30 < beyond < 300
    assert typical_us * US < window.ns < (typical_us + 60) * US


def test_where_wake_ups_are_quick_nothing_is_spun_away() -> None:
    """A core that others use is awake: sleeping is punctual enough, and spinning is punished."""
    assert taught(25, 10).ns == 0


def test_wake_ups_that_waited_for_the_core_do_not_widen_the_window() -> None:
    assert taught(100, 15, late=0.05).ns < 200 * US
    assert taught(3000).ns <= MAX_NS


def test_a_loop_that_lost_its_core_does_not_spin_for_a_while() -> None:
    window = taught(100, 15)
    assert window.ns > 0
    window.learn(100 * US, 1)
    for _ in range(CALM_TICKS):
        assert window.ns == 0
        window.learn(100 * US, 1)
    assert window.ns > 0


def test_the_switches_of_before_the_loop_began_do_not_count() -> None:
    window = SpinWindow()
    window.learn(100 * US, 12_345)
    assert window.ns > 0


def test_the_window_opens_again_when_the_others_have_gone() -> None:
    window = taught(25, 10)
    for _ in range(200):
        window.learn(120 * US, 0)
    assert window.ns > 100 * US
