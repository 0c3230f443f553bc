"""The Numba kernel of the year loop against a slow, obvious reference, and glacier by glacier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask.kernels.climate import N_PREDICTORS, hydro_year_predictors

MONTH = np.repeat(np.arange(12), [31, 30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30])


def slow_reference(tas, snowfall, rainfall, month, point, warming, zero):
    """One line per predictor, straight from the equations."""
    out = np.empty((len(point), N_PREDICTORS))
    for i, p in enumerate(point):
        t = tas[:, p].astype(float) - zero + warming[i]
        s, r = snowfall[:, p].astype(float), rainfall[:, p].astype(float)
        snow = np.where(t < 0, s + r, np.where(t > 0, 0.0, s))
        monthly = [snow[month == m].sum() for m in range(12)]
        out[i, :3] = np.maximum(t, 0).sum(), sum(monthly[:6]), sum(monthly[6:])
        out[i, 3:15] = [t[month == m].mean() for m in range(12)]
        out[i, 15:] = monthly
    return out


def days(seed: int, n_points: int = 4, dtype="float64"):
    rng = np.random.default_rng(seed)
    season = 273.15 - 3 - 9 * np.cos(2 * np.pi * np.arange(365) / 365 + 1)
    tas = season[:, None] + rng.normal(0, 4, (365, n_points))
    wet = rng.gamma(0.3, 12, (2, 365, n_points))
    return tas.astype(dtype), wet[0].astype(dtype), wet[1].astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel_equals_the_slow_reference(dtype):
    climate, point, warming = days(1, dtype=dtype), np.array([0, 3, 3, 1, 2]), np.array([0.0, 2.5, -2.5, 7.0, -30.0])
    got = hydro_year_predictors(*climate, MONTH, point, warming, 273.15)
    np.testing.assert_allclose(got, slow_reference(*climate, MONTH, point, warming, 273.15), rtol=1e-11, atol=1e-9)
    assert got[4, 0] == 0.0 and got[:4, 0].min() > 1.0


def test_a_day_below_at_and_above_zero():
    tas = np.array([[-1.0], [0.0], [2.0]])
    amount = np.array([[1.0], [1.0], [1.0]])
    got = hydro_year_predictors(tas, amount, 10 * amount, np.array([0, 5, 6]), np.array([0]), np.array([0.0]), 0.0)[0]
    assert got[:3].tolist() == [2.0, 12.0, 0.0]
    assert got[[3, 8, 9]].tolist() == [-1.0, 0.0, 2.0]
    assert got[[15, 20, 21]].tolist() == [11.0, 1.0, 0.0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 50), st.permutations(range(6)), st.integers(1, 6), st.sampled_from(["float32", "float64"]))
def test_a_glacier_is_bit_identical_whatever_its_neighbours(seed, order, n, dtype):
    climate, point = days(seed, dtype=dtype), np.array([0, 1, 1, 2, 3, 0])
    warming = np.linspace(-4.0, 4.0, 6)
    everyone = hydro_year_predictors(*climate, MONTH, point, warming, 273.15)
    some = np.array(order[:n])
    alone = hydro_year_predictors(*climate, MONTH, point[some], warming[some], 273.15)
    assert np.array_equal(alone, everyone[some])


def test_a_missing_day_is_missing_for_its_point_only():
    tas, snow, rain = days(3)
    tas[40, 1] = np.nan
    got = hydro_year_predictors(tas, snow, rain, MONTH, np.array([0, 1]), np.zeros(2), 273.15)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1, [0, 1, 4, 16]]).all() and np.isfinite(got[1, 2])
