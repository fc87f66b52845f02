"""A camera that shows nothing new is frozen, after as long as was said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdfast.actors.runtime.freeze_watch import FreezeWatch, Sight

S = 1_000_000_000
PICTURES = [np.full((48, 64, 3), level, np.uint8) for level in range(3)]


def nearly() -> NDArray[np.uint8]:
    """The first picture but for one pixel, outside the rows that are compared first."""
    picture = PICTURES[0].copy()
    picture[47, 63, 2] = 1
    return picture


@given(
    looks=st.lists(
        st.tuples(st.floats(0.01, 2), st.booleans(), st.integers(0, 2)), min_size=1, max_size=60
    ),
    compares=st.booleans(),
)
def test_a_camera_is_frozen_exactly_while_nothing_was_new_for_longer_than_said(
    looks: list[tuple[float, bool, int]], compares: bool
) -> None:
    """A new instant, or another picture where pixels are compared, ends a freeze."""
    watch = FreezeWatch(3.0, compares)
    now_ns, capture_ns, shown = 1000 * S, 0, -1
    instant_since = pixels_since = now_ns
    freezes, was_frozen = 0, False
    for pause_s, new_instant, which in looks:
        now_ns += round(pause_s * S)
        if new_instant or capture_ns == 0:
            capture_ns, instant_since = now_ns, now_ns
            if which != shown:
                pixels_since = now_ns
            shown = which
            frozen = compares and now_ns - pixels_since > 3 * S
            expected = Sight.FROZEN if frozen else Sight.NEW
        else:
            frozen = now_ns - instant_since > 3 * S
            expected = Sight.FROZEN if frozen else Sight.OLD
        assert watch.look(capture_ns, PICTURES[which], now_ns) is expected
        if expected is Sight.FROZEN:
            freezes += not was_frozen
            was_frozen = True
        elif expected is Sight.NEW:
            was_frozen = False
        assert watch.count == freezes and bool(watch.reason) is was_frozen


def test_one_pixel_of_noise_is_enough() -> None:
    """A picture that differs from the last in one pixel is a new one."""
    watch = FreezeWatch(1.0, compares_pixels=True)
    for n in range(20):
        picture = nearly() if n % 2 else PICTURES[0]
        assert watch.look(n + 1, picture, n * S // 4) is Sight.NEW


@pytest.mark.parametrize("compares", [False, True])
def test_nothing_is_ever_frozen_with_a_bound_of_zero(compares: bool) -> None:
    """Neither the instant nor the pixels count."""
    watch = FreezeWatch(0, compares)
    assert watch.look(1, PICTURES[0], 0) is Sight.NEW
    assert watch.look(1, PICTURES[0], 10**6 * S) is Sight.OLD
    assert watch.look(2, PICTURES[0], 10**7 * S) is Sight.NEW


def test_no_frame_at_all_is_frozen_after_as_long_as_a_frame_that_stays() -> None:
    """From the first question on, and again from the last frame on."""
    watch = FreezeWatch(1.0, compares_pixels=False)
    start = 50 * S
    assert watch.nothing(start) is watch.nothing(start + S) is Sight.OLD
    assert watch.nothing(start + 2 * S) is Sight.FROZEN and "gives no new frame" in watch.reason
    assert watch.look(start + 3 * S, PICTURES[0], start + 3 * S) is Sight.NEW and not watch.reason
    assert watch.nothing(start + 4 * S) is Sight.OLD
    assert watch.nothing(start + 5 * S) is Sight.FROZEN and watch.count == 2
