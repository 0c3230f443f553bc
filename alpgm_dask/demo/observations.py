"""What has been measured in the demo region: surface mass balance of some glaciers, from a known law."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.constants import KM2, REFERENCE_PERIOD
from alpgm_dask.forcing import annual_predictors, nearest_points, reference_climatology
from alpgm_dask.kernels import topography
from alpgm_dask.schema import annotate

#: glaciers with measurements, and m w.e. per year, the error of one.
N_OBSERVED, NOISE = 25, 0.25

#: smallest glacier that is measured, m2.
LEAST_AREA = 0.1 * KM2

# -- the law: numbers of smb_law, see there -----------------------------------------------------------------------
BALANCE = -0.76
SNOW_GAIN = 0.8e-3
MELT_FACTOR, NORMAL_CPDD, SATURATION = 3.4e-3, 650.0, 300.0
ALBEDO_GAIN, ALBEDO_SNOW = 0.28, 80.0
SLOPE_GAIN, MEAN_SLOPE = 0.018, 20.0
AREA_LOSS = 0.12


def smb_law(cpdd: Any, winter_snowfall: Any, summer_snowfall: Any, tongue_slope: Any, area: Any) -> Any:
    """The law that the demo region's glaciers follow, exactly; ours, made to be non-linear, fitted to nothing.

    With c, w, s the anomalies of positive degree-days, winter and summer snowfall against the glacier's own mean,

        smb = B + g (w + s) - [f (C + F(c)) (1 - a tanh(s / s0)) - f C] + topography
        F(c) = c0 (1 - exp(-c / c0))
        topography = k_slope (tongue_slope - 20) - k_area log10(area / 1 km2)

    Melt per degree-day falls as a year gets warmer (F saturates at c0 = 300 K day: what networks find in the French
    Alps, Bolibar et al. 2022, doi:10.1038/s41467-022-28033-0), and summer snow protects the ice by its albedo, the more
    the more there is to melt (an interaction). Steep tongues do better, large glaciers worse.

    Parameters
    ----------
    cpdd
        anomaly, K day.
    winter_snowfall, summer_snowfall
        anomalies, kg m-2.
    tongue_slope
        degree.
    area
        m2.
    All are floats, arrays or DataArrays that broadcast.

    Returns
    -------
    m w.e. per year.

    >>> round(float(smb_law(0.0, 0.0, 0.0, 20.0, 1.0e6)), 3)
    -0.76
    >>> warm, hot = (float(smb_law(c, 0.0, 0.0, 20.0, 1.0e6)) for c in (300.0, 600.0))
    >>> round(warm, 2), round(hot, 2)
    (-1.4, -1.64)
    """
    warmth = SATURATION * (1.0 - np.exp(-cpdd / SATURATION))
    melt = MELT_FACTOR * (NORMAL_CPDD + warmth) * (1.0 - ALBEDO_GAIN * np.tanh(summer_snowfall / ALBEDO_SNOW))
    gain = SNOW_GAIN * (winter_snowfall + summer_snowfall)
    shape = SLOPE_GAIN * (tongue_slope - MEAN_SLOPE) - AREA_LOSS * np.log10(area / KM2)
    return BALANCE + gain - (melt - MELT_FACTOR * NORMAL_CPDD) + shape


def tongue_slope(glaciers: xr.Dataset) -> xr.DataArray:
    """(``glacier``) degree, slope of the tongues of a packed dataset that fits in memory."""
    start = glaciers["row_start"].values.astype("int64")
    count = glaciers["row_size"].values.astype("int64")
    surface, slope, along = (
        glaciers[name].values.astype("float64") for name in ("surface_elevation", "surface_slope", "flowline_distance")
    )
    table, out = np.full((count.size, len(topography.COLUMNS)), np.nan), np.empty(count.size)
    rows = [slice(a, a + n) for a, n in zip(start, count, strict=True)]
    table[:, topography.HIGH] = [surface[r].max() for r in rows]
    table[:, topography.LOW] = [surface[r].min() for r in rows]
    topography.tongue_slopes(surface, np.arange(surface.size), slope, along, start, count, table, out)
    return xr.DataArray(out, dims="glacier", name="tongue_slope")


def _observed(glaciers: xr.Dataset) -> np.ndarray:
    """Positions of the glaciers that are measured: evenly over the ranks of size of those that are large enough."""
    area = glaciers["area"].values
    ranked = np.argsort(-area, kind="stable")
    ranked = ranked[area[ranked] >= LEAST_AREA]
    return ranked[np.linspace(0, ranked.size - 1, min(N_OBSERVED, ranked.size)).round().astype(int)]


def _past(glaciers: xr.Dataset, years: np.ndarray, rng: np.random.Generator) -> dict[str, tuple]:
    """Area and mean elevation before the inventory: small glaciers have lost more, all have lost their lowest parts."""
    area, height = glaciers["area"].values, glaciers["mean_elevation"].values
    n = area.size
    loss = (0.30 - 0.10 * np.log10(area / KM2)).clip(0.05, 0.6) * rng.uniform(0.8, 1.2, n)  # share, 1967 to 2015
    rise = rng.uniform(20.0, 70.0, n)  # m, 1967 to 2015
    maps = np.array([1967.0, 1985.0, 2003.0, 2015.0])
    left = np.array([1.0, 0.85, 0.35, 0.0])  # share of the change that was still to come
    share = np.interp(years, maps, left)[None, :]
    dims = ("glacier", "hydro_year")
    return {
        "area": (dims, area[:, None] * (1.0 + (loss / (1.0 - loss))[:, None] * share)),
        "mean_elevation": (dims, height[:, None] - rise[:, None] * share),
    }


def _measured(n: int, years: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(glacier, year) whether there is a measurement: few long series, most since 1984, some ended, some gaps."""
    first = np.where(np.arange(n) % 5 == 0, rng.integers(1959, 1966, n), rng.integers(1984, 1996, n))
    last = np.where(rng.random(n) < 0.2, rng.integers(2005, 2014, n), 2015)
    inside = (years >= first[:, None]) & (years <= last[:, None])
    return inside & (rng.random((n, years.size)) > 0.04)


def mass_balance(glaciers: xr.Dataset, climate: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """Measured SMB of some glaciers: :func:`smb_law` on the climate at their changing mean elevation, plus noise.

    Parameters
    ----------
    glaciers
        packed dataset.
    climate
        daily, (``time``, ``point``), hydrological years 1959 to 2015.

    Returns
    -------
    Dataset: smb (m year-1, NaN where not measured), area (m2), mean_elevation (m) over (``glacier``, ``hydro_year``);
    smb_true, the same without noise and gaps; max_elevation, tongue_slope, aspect, massif over ``glacier``.
    """
    chosen = _observed(glaciers)
    names = ["massif", "aspect", "max_elevation", "mean_elevation", "area"]
    some = glaciers.drop_dims("pixel")[names].isel(glacier=chosen).compute()
    some["tongue_slope"] = tongue_slope(glaciers).isel(glacier=chosen)
    point = nearest_points(some, climate)["point"]
    years = np.arange(1959, 2016)
    out = some.drop_vars(["mean_elevation", "area"]).assign_coords(hydro_year=years)
    out = out.assign(_past(some, years, rng))
    predictors = annual_predictors(climate, point, out["mean_elevation"])
    predictors = predictors[["cpdd", "winter_snowfall", "summer_snowfall"]]
    anomaly = (predictors - reference_climatology(predictors, REFERENCE_PERIOD)).compute()
    law = smb_law(
        anomaly["cpdd"], anomaly["winter_snowfall"], anomaly["summer_snowfall"], out["tongue_slope"], out["area"]
    )
    shape = ("glacier", "hydro_year")
    true = law.transpose(*shape).values
    noisy = true + NOISE * rng.standard_normal(true.shape)
    measured = _measured(chosen.size, years, rng)
    out["smb"] = (shape, np.where(measured, noisy, np.nan))
    out["smb_true"] = (shape, true, {"units": "m year-1", "long_name": "smb of the demo region's law, without noise"})
    out.attrs = {"title": "Demo Alps: synthetic mass balance measurements"}
    return annotate(out)
