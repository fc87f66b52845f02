"""Requests of a benchmark that fail are counted, and made again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.tools.bench.answered_requests import AnsweredRequests


class Scripted:
    """A path whose requests take, or fail, as they are told to; in the end none fails."""

    reason = "the machine paused"

    def __init__(self, outcomes: list[bool], forever: bool = False) -> None:
        self._outcomes: Iterator[bool] = iter(outcomes)
        self._forever, self.asked = forever, 0

    def attempt(self) -> float | None:
        self.asked += 1
        return float(self.asked) if next(self._outcomes, not self._forever) else None


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 20))
def test_those_that_were_answered_are_measured_and_the_others_counted(
    outcomes: list[bool], n: int
) -> None:
    """In their order; unless most fail."""
    path = Scripted(outcomes)
    counted = AnsweredRequests(path)
    firsts = [place + 1 for place, answered in enumerate([*outcomes, *[True] * n]) if answered][:n]
    if firsts[-1] - n > n:
        with pytest.raises(RuntimeError, match="the machine paused"):
            counted.times_ms(n)
        return
    assert counted.times_ms(n) == firsts
    assert counted.failed == firsts[-1] - n
    assert path.asked == firsts[-1]


def test_a_path_of_which_every_request_fails_ends_the_benchmark() -> None:
    """With what the last one failed by."""
    with pytest.raises(RuntimeError, match=r"4 of 4 requests failed.*the machine paused"):
        AnsweredRequests(Scripted([], forever=True)).times_ms(3)
