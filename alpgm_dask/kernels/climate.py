"""Predictors of one hydrological year from daily or monthly climate, at glaciers whose elevation changes every year.

Arrays in, arrays out; the xarray facade that says the same lazily is :func:`alpgm_dask.forcing.annual_predictors`.
Never compiled with fastmath: a glacier's numbers must not depend on which glaciers share its block.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

#: cpdd, winter and summer snowfall, then 12 monthly temperatures and 12 monthly snowfalls, October first.
N_PREDICTORS = 27


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def degree_days_per_day(temperature, spread):
    """Mean of the positive part of normally distributed daily temperatures, per day (K day per day).

    ``s / sqrt(2 pi) * exp(-T**2 / (2 s**2)) + T / 2 * erfc(-T / (sqrt(2) s))`` with the mean T (degC) and the standard
    deviation s > 0 (K): Calov and Greve (2005), Journal of Glaciology 51, 173-175, doi:10.3189/172756505781829601.
    """
    z = temperature / spread
    return spread * 0.3989422804014327 * math.exp(-0.5 * z * z) + 0.5 * temperature * math.erfc(-0.7071067811865476 * z)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _snow(t, snow, rain, low, high):
    """Snow of a step by the ramp from `low` to `high` or, where they are equal, by the threshold; no branches."""
    if high > low:
        share = min(max((high - t) / (high - low), 0.0), 1.0)
        fallen = (snow + rain) * share
    else:
        fallen = snow + rain if t < high else 0.0
        fallen = snow if t == high else fallen
    return fallen if t == t else t


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _rain(t, snow, rain, low, high, conserving):
    """What of a step is not snow; given snow is never rain unless mass is conserved."""
    liquid = snow + rain if conserving else rain
    if high > low:
        fallen = liquid * (1.0 - min(max((high - t) / (high - low), 0.0), 1.0))
    else:
        fallen = liquid if t > high else 0.0
        fallen = rain if t == high else fallen
    return fallen if t == t else t


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _warmth(t, spread, days):
    """Degree-days (K day) of a step: of a day, or of `days` days that vary by a spread."""
    # "not below or equal" instead of "above", so that a missing temperature stays missing
    positive = t if not t <= 0.0 else 0.0
    return degree_days_per_day(t, spread) * days if spread > 0.0 else positive


@njit(cache=True, nogil=True, error_model="numpy")
def step_fields(
    tas,
    snowfall,
    rainfall,
    month,
    year,
    days,
    point,
    drop,
    zero,
    lapse_rate,
    gradient,
    low,
    high,
    spread,
    conserving,
    out,
):
    """Temperature (degC), degree-days (K day), snow and rain (kg m-2) of each step at glaciers.

    The rules of :func:`hydro_year_predictors`, not yet summed. What is not snow is rain if `conserving`; if not, snow
    that was given is never rain, but gone where it is too warm (ALPGM).

    Parameters
    ----------
    tas, snowfall, rainfall
        (point, step).
    month, year
        (step,) int64, 0 (October) to 11; column of `drop`, all 0 where it has one.
    days
        (step,) float64, length of each step in days.
    point, drop
        (glacier,) int64; (glacier, year) float64, m: elevation of the point - elevation of the glacier.
    zero, lapse_rate, gradient, low, high, spread
        as `zero`, `lapse_rate`, `gradient`, `all_snow_below`, `all_rain_above`, `spread` there.
    out
        (4, glacier, step) float64, filled.
    """
    for i in range(point.shape[0]):
        p = point[i]
        for d in range(tas.shape[1]):
            fall = drop[i, year[d]]
            factor = max(0.0, 1.0 - gradient * fall)
            t = np.float64(tas[p, d]) - zero + fall * lapse_rate[month[d]]
            s, r = np.float64(snowfall[p, d]) * factor, np.float64(rainfall[p, d]) * factor
            out[0, i, d] = t
            out[1, i, d] = _warmth(t, spread, days[d])
            out[2, i, d] = _snow(t, s, r, low, high)
            out[3, i, d] = _rain(t, s, r, low, high, conserving)


@njit(cache=True, nogil=True, error_model="numpy")
def hydro_year_predictors(
    tas,
    snowfall,
    rainfall,
    start,
    days,
    point,
    drop,
    zero,
    lapse_rate,
    gradient,
    all_snow_below,
    all_rain_above,
    spread,
):
    """Reduce the steps of one hydrological year to predictors at glaciers.

    With ``T = tas[point, step] - zero + drop * lapse_rate[month]`` and amounts times ``max(0, 1 - gradient * drop)``:
    a step's snow is the share ``(all_rain_above - T) / (all_rain_above - all_snow_below)``, cut to 0..1, of what falls.
    Where both thresholds are equal it is ``snowfall + rainfall`` below, ``0`` above, and ``snowfall`` at the threshold
    (ALPGM's rule at 0 degC). ``cpdd = sum(max(T, 0))`` of days, or the sum of :func:`degree_days_per_day` times the
    length of each step where there is a spread. Winter is October to March.
    A missing value in a step makes the sums that it enters missing, for the glaciers of its point alone; the mean
    temperature of a month without steps is missing.

    Parameters
    ----------
    tas, snowfall, rainfall
        (point, step) float32 or float64, C-contiguous so that a year of a point stays in the cache; temperature in K
        or degC (see `zero`), amounts in kg m-2 per step.
    start
        (13,) int64, the position of the first step of each month, October first, and one behind the last.
    days
        (step,) float64, length of each step in days; only read where there is a spread.
    point
        (glacier,) int64, the row of each glacier.
    drop
        (glacier,) float64, m: elevation of the point - elevation of the glacier.
    zero
        What `tas` says at 0 degC: 273.15 for K, 0.0 for degC.
    lapse_rate
        (12,) float64, K m-1, October first.
    gradient
        1 per m, relative increase of precipitation with elevation.
    all_snow_below, all_rain_above
        degC.
    spread
        K, standard deviation of daily temperatures within a step; 0: steps are days.

    Returns
    -------
    (glacier, 27) float64: cpdd (K day), winter and summer snowfall (kg m-2), 12 monthly mean temperatures (degC),
    12 monthly snowfalls (kg m-2), October first.

    References
    ----------
    Bolibar et al. (2020), The Cryosphere 14, 565-584, doi:10.5194/tc-14-565-2020.
    """
    out = np.zeros((point.shape[0], N_PREDICTORS))
    for i in range(point.shape[0]):
        if drop[i] != drop[i]:  # a glacier that is gone has no elevation
            out[i, :] = np.nan
            continue
        p, cpdd = point[i], 0.0
        factor = max(0.0, 1.0 - gradient * drop[i])
        for m in range(12):
            first, last, warming = start[m], start[m + 1], drop[i] * lapse_rate[m]
            total, snow = 0.0, 0.0
            for d in range(first, last):
                t = np.float64(tas[p, d]) - zero + warming
                total += t
                s, r = np.float64(snowfall[p, d]) * factor, np.float64(rainfall[p, d]) * factor
                snow += _snow(t, s, r, all_snow_below, all_rain_above)
                cpdd += _warmth(t, spread, days[d])
            out[i, 3 + m] = total / (last - first)
            out[i, 15 + m] = snow
            out[i, 1 if m < 6 else 2] += snow
        out[i, 0] = cpdd
    return out
