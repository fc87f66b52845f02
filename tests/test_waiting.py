"""How often the tests ask what they wait for."""

from __future__ import annotations

import pytest

from holdfast.tests import waiting
from holdfast.tests.waiting import LONGEST_PAUSE_S, wait_until


class Clock:
    """In place of the module `time`: it passes in sleeps and conditions only."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses_s: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)
        self.now_s += pause_s


@pytest.mark.parametrize(
    ("cost_s", "every_s", "pause_s"),
    [
        (0.001, 0.01, 0.01),
        (0.03, 0.01, 0.03),
        (0.3, 0.01, LONGEST_PAUSE_S),
        (0.3, 0.5, 0.5),
        (0.3, 0, 0),
    ],
)
def test_a_condition_that_takes_long_is_asked_less_often(
    monkeypatch: pytest.MonkeyPatch, cost_s: float, every_s: float, pause_s: float
) -> None:
    """Its pauses are as long as it takes, 0.1 s at most, and never shorter than was asked for."""
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)

    def never() -> None:
        clock.now_s += cost_s

    with pytest.raises(AssertionError, match="a thing: not within 5 s"):
        wait_until(never, "a thing", 5, every_s)
    assert clock.pauses_s == pytest.approx([pause_s] * len(clock.pauses_s))
    assert 5 <= clock.now_s <= 5 + cost_s + pause_s
