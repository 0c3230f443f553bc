"""The Numba kernel of the year loop against slow, obvious references, and glacier by glacier."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask.constants import LAPSE_RATE
from alpgm_dask.kernels.climate import N_PREDICTORS, hydro_year_predictors, step_fields

LENGTHS = [31, 30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30]
START = np.concatenate([[0], np.cumsum(LENGTHS)])
MONTH = np.repeat(np.arange(12), LENGTHS)


def run(climate, point, drop, start=START, zero=273.15, lapse=LAPSE_RATE, gradient=0.0, ramp=(0.0, 0.0), spread=0.0):
    lapse_rate = np.broadcast_to(np.asarray(lapse, dtype=float), 12).copy()
    length = np.ones(climate[0].shape[1]) if spread == 0 else np.array(LENGTHS, dtype=float)
    return hydro_year_predictors(
        *climate, start, length, np.asarray(point), np.asarray(drop, float), zero, lapse_rate, gradient, *ramp, spread
    )


def slow_reference(climate, point, drop, zero=273.15, lapse=LAPSE_RATE, gradient=0.0, ramp=(0.0, 0.0)):
    """One line per predictor, straight from the equations."""
    out = np.empty((len(point), N_PREDICTORS))
    lapse_rate = np.broadcast_to(lapse, 12)[MONTH]
    for i, p in enumerate(point):
        t = climate[0][p].astype(float) - zero + drop[i] * lapse_rate
        s, r = (x[p].astype(float) * max(0.0, 1 + gradient * -drop[i]) for x in climate[1:])
        low, high = ramp
        snow = np.where(t < low, s + r, np.where(t > low, 0.0, s))
        if high > low:
            snow = (s + r) * np.interp(t, ramp, (1.0, 0.0))
        monthly = [snow[m == MONTH].sum() for m in range(12)]
        out[i, :3] = np.maximum(t, 0).sum(), sum(monthly[:6]), sum(monthly[6:])
        out[i, 3:15] = [t[m == MONTH].mean() for m in range(12)]
        out[i, 15:] = monthly
    return out


def one_by_one(climate, p, drop):
    """ALPGM's rule at one glacier in double precision, in the order in which days come: to the last bit."""
    out = [0.0] * N_PREDICTORS
    for d, m in enumerate(MONTH):
        t = float(climate[0][p, d]) - 273.15 + drop * LAPSE_RATE
        snow, rain = float(climate[1][p, d]), float(climate[2][p, d])
        out[0] += t if t > 0 else 0.0
        out[3 + m] += t
        out[15 + m] += snow + rain if t < 0 else snow if t == 0 else 0.0
    for m, length in enumerate(LENGTHS):
        out[3 + m] /= length
        out[1 if m < 6 else 2] += out[15 + m]
    return out


def degree_days(temperature, spread, length):
    """(row, step) K day of steps of so many days."""
    rows, steps = temperature.shape
    none, zero, out = np.zeros((rows, steps)), np.zeros(steps, dtype=int), np.empty((4, rows, steps))
    at, level = np.arange(rows), np.zeros((rows, 1))
    step_fields(
        temperature, none, none, zero, zero, length, at, level, 0.0, np.zeros(12), 0.0, 0.0, 0.0, spread, True, out
    )
    return out[1]


def days(seed: int, n_points: int = 4, dtype="float64"):
    rng = np.random.default_rng(seed)
    season = 273.15 - 3 - 9 * np.cos(2 * np.pi * np.arange(365) / 365 + 1)
    tas = season + rng.normal(0, 4, (n_points, 365))
    wet = rng.gamma(0.3, 12, (2, n_points, 365))
    return tas.astype(dtype), wet[0].astype(dtype), wet[1].astype(dtype)


SETTINGS = {
    "alpgm": {},
    "ramp": {"ramp": (-1.0, 2.5)},
    "threshold": {"ramp": (1.5, 1.5)},
    "gradient": {"gradient": 4e-4},
    "steep": {"gradient": -2e-3},
    "monthly lapse": {"lapse": np.linspace(3e-3, 8e-3, 12)},
    "all": {"ramp": (0.0, 2.0), "gradient": 1e-3, "lapse": np.linspace(3e-3, 8e-3, 12)},
}


@pytest.mark.parametrize("how", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel_equals_the_slow_reference(dtype, how):
    climate, point, drop = days(1, dtype=dtype), [0, 3, 3, 1, 2], np.array([0.0, 400.0, -400.0, 1200.0, -5000.0])
    got = run(climate, point, drop, **how)
    np.testing.assert_allclose(got, slow_reference(climate, point, drop, **how), rtol=1e-11, atol=1e-9)
    assert got[4, 0] == 0.0 and got[:4, 0].min() > 1.0
    assert (got[3, 1:3] == 0).all() == (how.get("gradient") == 1e-3)  # 1,200 m below: 1 - 1.2 is no precipitation


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_defaults_are_alpgm_to_the_bit(dtype):
    climate = days(5, dtype=dtype)
    got = run(climate, [0, 1, 2, 3], np.array([0.0, 333.3, -250.0, 77.7]))
    want = [one_by_one(climate, p, drop) for p, drop in enumerate([0.0, 333.3, -250.0, 77.7])]
    np.testing.assert_array_equal(got, want)


def test_a_day_below_at_and_above_zero():
    tas, amount = np.array([[-1.0, 0.0, 2.0]]), np.ones((1, 3))
    start = np.array([0, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3])
    got = run((tas, amount, 10 * amount), [0], [0.0], start=start, zero=0.0)[0]
    assert got[:3].tolist() == [2.0, 12.0, 0.0]
    assert got[[3, 8, 9]].tolist() == [-1.0, 0.0, 2.0]
    assert got[[15, 20, 21]].tolist() == [11.0, 1.0, 0.0]
    half = run((tas, amount, 10 * amount), [0], [0.0], start=start, zero=0.0, ramp=(-2.0, 2.0))[0]
    assert half[[15, 20, 21]].tolist() == [8.25, 5.5, 0.0]


@pytest.mark.parametrize(
    ("conserving", "ramp", "want"),
    [
        (True, (0.0, 0.0), [0.0, 3.0, 5.0]),
        (False, (0.0, 0.0), [0.0, 3.0, 3.0]),
        (True, (-1.0, 1.0), [0.0, 2.5, 5.0]),
        (False, (-1.0, 1.0), [0.0, 1.5, 3.0]),
    ],
)
def test_snow_of_a_warm_day_becomes_rain_or_is_dropped(conserving, ramp, want):
    """2 kg m-2 of snow and 3 of rain, at -1, 0 and 1 degC; the snow is the same either way."""
    t, s, r = np.array([[-1.0, 0.0, 1.0]]), np.full((1, 3), 2.0), np.full((1, 3), 3.0)
    zero, out = np.zeros(3, dtype=int), np.empty((4, 1, 3))
    step_fields(
        t, s, r, zero, zero, np.ones(3), zero[:1], np.zeros((1, 1)), 0.0, np.zeros(12), 0.0, *ramp, 0.0, conserving, out
    )
    assert out[3, 0].tolist() == want
    assert out[2, 0].tolist() == ([5.0, 2.0, 0.0] if ramp == (0.0, 0.0) else [5.0, 2.5, 0.0])
    assert out[1, 0].tolist() == [0.0, 0.0, 1.0] and out[0].tolist() == t.tolist()


def test_degree_days_of_a_month_are_the_mean_of_normal_days():
    """Calov and Greve's integral against a sum over a normal distribution; far from 0 degC it is T or nothing."""
    days_of_month = np.array([30.0])
    at_zero = degree_days(np.array([[0.0]]), 4.0, days_of_month)
    np.testing.assert_allclose(at_zero, 30 * 4.0 / math.sqrt(2 * math.pi), rtol=1e-14)
    t = np.linspace(-60, 60, 400_001)
    for mean in (-3.0, 1.0, 6.0):
        density = np.exp(-0.5 * ((t - mean) / 4.0) ** 2) / (4.0 * np.sqrt(2 * np.pi))
        want = np.trapezoid(np.maximum(t, 0) * density, t)
        np.testing.assert_allclose(degree_days(np.array([[mean]]), 4.0, days_of_month) / 30, want, rtol=1e-6)
    np.testing.assert_allclose(degree_days(np.array([[50.0], [-50.0]]), 4.0, days_of_month)[:, 0], [1500, 0], atol=1e-9)


def test_months_are_steps_with_a_spread():
    rng = np.random.default_rng(2)
    tas, snow, rain = rng.normal(270, 8, (2, 12)), rng.gamma(2, 20, (2, 12)), rng.gamma(2, 20, (2, 12))
    got = run((tas, snow, rain), [1, 0], [100.0, 0.0], start=np.arange(13), spread=4.0, ramp=(-5.0, 5.0))
    for i, (p, drop) in enumerate([(1, 100.0), (0, 0.0)]):
        t = tas[p] - 273.15 + drop * LAPSE_RATE
        monthly = (snow[p] + rain[p]) * np.interp(t, (-5, 5), (1, 0))
        np.testing.assert_allclose(got[i, 0], degree_days(t[None], 4.0, np.array(LENGTHS, float)).sum(), rtol=1e-13)
        np.testing.assert_allclose(got[i, 1:3], [monthly[:6].sum(), monthly[6:].sum()])
        np.testing.assert_allclose(got[i, 3:], [*t, *monthly])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 50), st.permutations(range(6)), st.integers(1, 6), st.sampled_from(["float32", "float64"]),
    st.sampled_from(sorted(SETTINGS)),
)  # fmt: skip
def test_a_glacier_is_bit_identical_whatever_its_neighbours(seed, order, n, dtype, how):
    climate, point, drop = days(seed, dtype=dtype), np.array([0, 1, 1, 2, 3, 0]), np.linspace(-700.0, 700.0, 6)
    everyone = run(climate, point, drop, **SETTINGS[how])
    some = np.array(order[:n])
    assert np.array_equal(run(climate, point[some], drop[some], **SETTINGS[how]), everyone[some])


@pytest.mark.parametrize("ramp", [(0.0, 0.0), (-1.0, 1.0)])
def test_a_missing_day_is_missing_for_its_point_only(ramp):
    tas, snow, rain = days(3)
    tas[1, 40] = np.nan
    got = run((tas, snow, rain), [0, 1], np.zeros(2), ramp=ramp)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1, [0, 1, 4, 16]]).all() and np.isfinite(got[1, 2])
    gone = run((tas, snow, rain), [0, 0], np.array([np.nan, 0.0]), ramp=ramp)
    assert np.isnan(gone[0]).all() and np.array_equal(gone[1], got[0])
