"""Normalisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from holdfast.policy.normalize import Mode, Normalizer, Stats, bounded

SAMPLES = arrays(
    np.float32, st.tuples(st.integers(2, 20), st.just(3)), elements=st.floats(-100, 100, width=32)
)
MODES = st.sampled_from(("zscore", "quantile"))


@settings(deadline=None)
@given(SAMPLES, MODES)
def test_unnormalizing_is_the_inverse_of_normalizing(
    samples: NDArray[np.float32], mode: Mode
) -> None:
    """Up to float32 rounding, also for constant features."""
    normalizer = Normalizer(Stats.of(samples), mode)
    back = normalizer.unnormalize(normalizer.normalize(samples))
    np.testing.assert_allclose(back, samples, rtol=1e-4, atol=1e-3)


@settings(deadline=None)
@given(SAMPLES, MODES)
def test_normalized_values_are_finite_float32(samples: NDArray[np.float32], mode: Mode) -> None:
    """Also for features of almost no spread."""
    value = Normalizer(Stats.of(samples), mode).normalize(samples)
    assert value.dtype == np.float32
    assert np.isfinite(value).all()


def test_the_z_score_gives_mean_0_and_deviation_1() -> None:
    """The samples are those that the statistics were made of."""
    samples = np.random.default_rng(0).normal((3, -50), (0.1, 20), (5000, 2)).astype(np.float32)
    value = Normalizer(Stats.of(samples), "zscore").normalize(samples)
    np.testing.assert_allclose(value.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(value.std(0), 1, atol=1e-3)


def test_the_quantiles_become_minus_1_and_1_despite_outliers() -> None:
    """One outlier in a thousand has no effect."""
    samples = np.random.default_rng(0).uniform(-2, 6, (5000, 1)).astype(np.float32)
    samples[::1000] = 1e6
    value = Normalizer(Stats.of(samples), "quantile").normalize(
        np.array([[-1.92], [5.92]], np.float32)
    )
    np.testing.assert_allclose(value, [[-1], [1]], atol=0.03)


@pytest.mark.parametrize("samples", [np.zeros((0, 3)), np.zeros(3), np.full((2, 3), np.nan)])
def test_statistics_of_unusable_samples_are_refused(samples: NDArray[np.float32]) -> None:
    """No samples, a wrong rank, or values that are not finite."""
    with pytest.raises(ValueError, match="samples"):
        Stats.of(samples)


@settings(deadline=None)
@given(
    arrays(np.float32, 4, elements=st.floats(allow_nan=False, width=32)),
    st.floats(0.5, 100, width=32),
)
def test_values_beyond_the_bound_are_clipped_and_counted(
    values: NDArray[np.float32], bound: float
) -> None:
    """Infinities are clipped too, and the other values are unchanged."""
    within, beyond = bounded(values, bound)
    assert np.abs(within).max() <= bound
    inside = np.abs(values) <= bound
    assert np.array_equal(within[inside], values[inside])
    assert beyond == int((~inside).sum())
