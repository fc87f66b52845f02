"""How evenly robots are served, and what of that is chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.tools.bench.fleet_fairness import dealt_ratio, ratio_of, repeated

ROBOTS, REQUESTS = 100, 51
Latencies = st.lists(st.lists(st.floats(1, 1000), max_size=20), max_size=8)


def alike(seed: int) -> list[list[float]]:
    """What robots wait that are served alike: a batch, and up to two batches for others."""
    random = np.random.default_rng(seed)
    return [list(40 + 80 * random.random(REQUESTS) ** 2) for _ in range(ROBOTS)]


def test_the_ratio_is_of_the_slowest_and_the_fastest_robot() -> None:
    """A robot without a latency counts as none; the percentile is interpolated."""
    by_robot = [[10.0, 10.0], [], [20.0], [20.0, 40.0]]
    assert ratio_of(by_robot, 100) == 4.0 and ratio_of(by_robot, 50) == 3.0
    assert ratio_of([], 99) is None and ratio_of([[]], 99) is None
    assert ratio_of([[0.0], [1.0]], 99) is None


def test_latencies_that_are_all_alike_are_dealt_alike() -> None:
    """Also where one robot has all of them, or there are none."""
    assert dealt_ratio([[7.0] * 3, [], [7.0]], 99) == 1.0
    assert dealt_ratio([[1.0, 2.0, 3.0]], 99) == 1.0
    assert dealt_ratio([], 99) is None and dealt_ratio([[]], 99) is None


def test_each_robot_keeps_its_number_of_latencies() -> None:
    """Of two robots with one each, and latencies of 1 and 3, one has 3 times as much always."""
    assert dealt_ratio([[1.0], [3.0]], 99) == 3.0
    # One latency of 1 and 99 of 3: in most deals the 1 is among the 99, whose median is 3.
    assert dealt_ratio([[1.0], [3.0] * 99], 50) == 1.0


@pytest.mark.parametrize("percentile", [50, 90, 99])
@pytest.mark.parametrize("seed", range(3))
def test_robots_that_are_served_alike_differ_as_much_as_by_chance(
    seed: int, percentile: float
) -> None:
    """Within the noise of one run, though their p99 differ by more than a tenth."""
    by_robot = alike(seed)
    found, chance = ratio_of(by_robot, percentile), dealt_ratio(by_robot, percentile)
    assert found is not None and chance is not None
    assert found == pytest.approx(chance, rel=0.12)
    assert chance > 1.1
    again = repeated(by_robot)
    assert again is not None and abs(again) < 4 / ROBOTS**0.5


@pytest.mark.parametrize(("percentile", "times"), [(50, 1.3), (90, 1.5), (99, 1.1)])
def test_a_robot_that_always_waits_twice_as_long_is_no_chance(
    percentile: float, times: float
) -> None:
    """Its latencies, one in a hundred of all, raise the p99 of those that they are dealt to."""
    by_robot = alike(0)
    by_robot[7] = [2 * latency for latency in by_robot[7]]
    found, chance = ratio_of(by_robot, percentile), dealt_ratio(by_robot, percentile)
    assert found is not None and chance is not None and found > times * chance
    again = repeated(by_robot)
    assert again is not None and again > 0.4


def test_the_robots_that_wait_in_one_half_only_are_not_the_same() -> None:
    """Always the same is 1, each in its turn -1; a fleet of two says nothing."""
    assert repeated([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]) == pytest.approx(1)
    assert repeated([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]) == pytest.approx(-1)
    assert repeated([[1.0, 1.0], [2.0, 2.0], [3.0]]) is None
    assert repeated([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]) is None
    assert repeated([]) is None


@given(Latencies, st.floats(0, 100))
def test_every_ratio_is_1_at_least_and_a_deal_is_repeated_exactly(
    by_robot: list[list[float]], percentile: float
) -> None:
    """Both are of the same robots, whatever their numbers; no correlation exceeds 1."""
    found, chance = ratio_of(by_robot, percentile), dealt_ratio(by_robot, percentile, 3)
    assert (found is None) == (chance is None)
    if found is not None and chance is not None:
        assert found >= 1 and chance >= 1
        assert chance == dealt_ratio(by_robot, percentile, 3)
    again = repeated(by_robot)
    assert again is None or abs(again) <= 1 + 1e-9
