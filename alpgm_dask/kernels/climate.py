"""Predictors of one hydrological year from daily climate, for glaciers whose elevation changes every year.

Arrays in, arrays out; the xarray facade that says the same lazily is :func:`alpgm_dask.forcing.annual_predictors`.
Never compiled with fastmath: a glacier's numbers must not depend on which glaciers share its block.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: cpdd, winter and summer snowfall, then 12 monthly temperatures and 12 monthly snowfalls, October first.
N_PREDICTORS = 27


@njit(cache=True, nogil=True, error_model="numpy")
def hydro_year_predictors(tas, snowfall, rainfall, month, point, warming, zero):
    """Reduce the days of one hydrological year to predictors at glaciers (ALPGM's SAFRAN rule).

    With ``T = tas[day, point[i]] - zero + warming[i]``, a day's snow is ``snowfall + rainfall`` where T < 0, ``0``
    where T > 0 and ``snowfall`` where T = 0; ``cpdd = sum(max(T, 0))``; winter is October to March.
    A missing value in a day makes the sums that it enters missing, for the glaciers of its point alone; the mean
    temperature of a month without days is missing.

    Parameters
    ----------
    tas, snowfall, rainfall
        (day, point) float32 or float64; temperature in K or degC (see `zero`), amounts in kg m-2 per day.
    month
        (day,) int64, 0 (October) to 11 (September).
    point
        (glacier,) int64, the column of each glacier.
    warming
        (glacier,) float64, K: (elevation of the point - elevation of the glacier) * lapse rate.
    zero
        What `tas` says at 0 degC: 273.15 for K, 0.0 for degC.

    Returns
    -------
    (glacier, 27) float64: cpdd (K day), winter and summer snowfall (kg m-2), 12 monthly mean temperatures (degC),
    12 monthly snowfalls (kg m-2), October first.

    References
    ----------
    Bolibar et al. (2020), The Cryosphere 14, 565-584, doi:10.5194/tc-14-565-2020.
    """
    n_day = tas.shape[0]
    days = np.zeros(12)
    for d in range(n_day):
        days[month[d]] += 1.0
    out = np.zeros((point.shape[0], N_PREDICTORS))
    for i in range(point.shape[0]):
        p = point[i]
        for d in range(n_day):
            t = np.float64(tas[d, p]) - zero + warming[i]
            m = month[d]
            out[i, 3 + m] += t
            # "not below or equal" instead of "above", so that a missing temperature is not taken for a warm day
            if t < 0.0:
                out[i, 15 + m] += np.float64(snowfall[d, p]) + np.float64(rainfall[d, p])
            elif t == 0.0:
                out[i, 15 + m] += np.float64(snowfall[d, p])
            else:
                out[i, 0] += t
                if t != t:
                    out[i, 15 + m] = np.nan
        for m in range(12):
            out[i, 3 + m] /= days[m]
            out[i, 1 if m < 6 else 2] += out[i, 15 + m]
    return out
