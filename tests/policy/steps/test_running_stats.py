"""Statistics of a dataset that is seen once, in parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.policy.normalize import Stats
from holdfast.policy.steps import RunningStats
from holdfast.policy.steps.running_stats import BINS


def test_one_part_gives_the_left_edges_of_openpis_bins() -> None:
    """5000 bins between the least and the greatest value: computed by hand for 0 to 999."""
    seen = RunningStats()
    seen.update(np.arange(1000.0)[:, None])
    found = seen.stats()
    edges = np.linspace(-1e-10, 999 + 1e-10, BINS + 1)
    # The 10th value is 9, the 990th is 989.
    assert found.q01 == (edges[np.searchsorted(edges, 9.0, "right") - 1],)
    assert found.q99 == (edges[np.searchsorted(edges, 989.0, "right") - 1],)
    assert found.mean == (499.5,)
    assert found.std[0] == pytest.approx(np.arange(1000.0).std(), rel=1e-12)


@given(
    st.lists(
        st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=60), min_size=1, max_size=6
    ).filter(lambda parts: sum(map(len, parts)) > 1)
)
def test_parts_give_the_statistics_of_the_whole(parts: list[list[float]]) -> None:
    """Mean and deviation up to rounding, quantiles up to a bin for each growth of the range."""
    seen = RunningStats()
    for part in parts:
        seen.update(np.array(part)[:, None])
    whole, found = np.concatenate(parts), seen.stats()
    assert seen.count == len(whole)
    assert found.mean[0] == pytest.approx(whole.mean(), rel=1e-9, abs=1e-9)
    assert found.std[0] == pytest.approx(whole.std(), rel=1e-6, abs=1e-9)
    near = (whole.max() - whole.min() + 1e-9) / BINS * (len(parts) + 1)
    for part_of, (value,) in ((0.01, found.q01), (0.99, found.q99)):
        assert (whole <= value + near).sum() >= part_of * len(whole) - 1e-9
        assert (whole < value - near).sum() <= part_of * len(whole) + 1e-9


def test_no_count_is_lost_when_the_range_grows() -> None:
    """The least value stays in the first bin, from which openpi's own drops it."""
    seen = RunningStats()
    seen.update([[0.0], [1.0]])
    for top in range(2, 100):
        seen.update([[float(top)]])
    assert sum(counts.sum() for counts in seen._counts) == seen.count == 100
    assert seen.stats().q01[0] == pytest.approx(0.0, abs=0.05)


def test_float32_values_near_a_large_mean_keep_their_deviation() -> None:
    """Sums are float64 and centred: in float32 nothing of a spread of 0.01 would be left."""
    rng = np.random.default_rng(0)
    values = (1000 + 0.01 * rng.standard_normal((4000, 2))).astype(np.float32)
    seen = RunningStats()
    for part in np.split(values, 40):
        seen.update(part.reshape(10, 10, 2))
    assert np.allclose(seen.stats().std, values.astype(np.float64).std(0), rtol=1e-6)


def test_a_constant_feature_has_no_deviation() -> None:
    """Its quantiles are its value, also where 1e-10 is less than its rounding."""
    seen = RunningStats()
    seen.update([[5.0, 1e9]] * 3)
    found = seen.stats()
    assert found.std == (0.0, 0.0)
    for quantile in (found.q01, found.q99):
        assert quantile[0] == pytest.approx(5.0)
        assert quantile[1] == 1e9


def test_what_has_no_statistics_is_refused() -> None:
    """Too few vectors, vectors of another length, and values that are not finite."""
    seen = RunningStats()
    with pytest.raises(ValueError, match="0 were seen"):
        seen.stats()
    seen.update([[1.0, 2.0]])
    with pytest.raises(ValueError, match="1 were seen"):
        seen.stats()
    for batch, why in (([[1.0]], "1 values after 2"), ([[np.nan, 0]], "finite"), ([], "vectors")):
        with pytest.raises(ValueError, match=why):
            seen.update(batch)
    assert seen.count == 1


def test_a_state_without_values_has_empty_statistics() -> None:
    """A robot may have none."""
    seen = RunningStats()
    seen.update(np.zeros((2, 0)))
    seen.update(np.zeros((1, 3, 0)))
    assert seen.count == 5 and seen.stats() == Stats((), ())
