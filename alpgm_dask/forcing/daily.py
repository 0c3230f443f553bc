"""Daily climate at points, brought to glaciers and reduced to the predictors of each hydrological year."""

from __future__ import annotations

import numpy as np
import xarray as xr
from xarray.groupers import UniqueGrouper

from alpgm_dask import schema
from alpgm_dask.constants import LAPSE_RATE
from alpgm_dask.forcing.calendar import complete_years, hydro_month, hydro_year
from alpgm_dask.forcing.checks import check_climate, check_points

#: What becomes of the snow of a day that is warm at the glacier.
PHASES = ("conserving", "alpgm-1.2")


def partition_phase(
    tas: xr.DataArray, snowfall: xr.DataArray, rainfall: xr.DataArray, phase: str = "conserving"
) -> tuple[xr.DataArray, xr.DataArray]:
    """Snow and rain of each day at temperature `tas` (degC), from those given elsewhere (kg m-2). Lazy.

    All precipitation is snow below 0 degC; above it none is; at exactly 0 degC both stay as given. The snow of a day
    that turns warm becomes rain ("conserving") or is dropped ("alpgm-1.2": Bolibar et al. 2020,
    doi:10.5194/tc-14-565-2020, as coded). Snow is the same in both; only rain differs.

    >>> t = xr.DataArray([-1.0, 0.0, 1.0]); s, r = xr.full_like(t, 2.0), xr.full_like(t, 3.0)
    >>> [x.values.tolist() for x in partition_phase(t, s, r)]
    [[5.0, 2.0, 0.0], [0.0, 3.0, 5.0]]
    >>> partition_phase(t, s, r, "alpgm-1.2")[1].values.tolist()
    [0.0, 3.0, 3.0]
    """
    if phase not in PHASES:
        raise schema.InputError(f"phase {phase!r} is not known; allowed: {', '.join(PHASES)}")
    snow = xr.where(tas < 0, snowfall + rainfall, xr.where(tas > 0, 0.0, snowfall))
    warm_rain = rainfall + snowfall if phase == "conserving" else rainfall
    rain = xr.where(tas < 0, 0.0, xr.where(tas > 0, warm_rain, rainfall))
    known = tas.notnull()
    return snow.where(known), rain.where(known)


def annual_predictors(
    climate: xr.Dataset,
    point: xr.DataArray,
    elevation: xr.DataArray,
    *,
    phase: str = "conserving",
    lapse_rate: float = LAPSE_RATE,
    where: str = "climate",
) -> xr.Dataset:
    """Predictors of every complete hydrological year at glaciers, from daily climate at points. Lazy.

    ``T = T_p + (z_p - z) * lapse_rate`` per day, snow and rain after :func:`partition_phase`;
    ``cpdd = sum(max(T, 0))`` over the hydrological year; snowfall over October to March and April to September;
    monthly mean temperature and snowfall, October first (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020).

    Parameters
    ----------
    climate
        ([member,] time, point): tas (K or degC, as its units say), snowfall, rainfall (kg m-2 per day); (point)
        elevation (m). Consecutive days; standard, noleap and 360_day calendars.
    point
        (glacier) int, position along `point` of each glacier's climate (see :func:`nearest_points`).
    elevation
        (glacier) or (glacier, hydro_year), m: mean elevation of the glacier's surface. With years, as ALPGM does for
        its references: each year at the elevation that the inventories give for it; then it is loaded.
    phase
        "conserving" or "alpgm-1.2", see :func:`partition_phase`; it changes `rainfall` only.
    lapse_rate
        K m-1, decrease of temperature with elevation.

    Returns
    -------
    Dataset ([member,] glacier, hydro_year[, month]): cpdd (K day), winter_snowfall, summer_snowfall, rainfall (kg m-2
    per year), tas_monthly (degC), snowfall_monthly (kg m-2), and the reference_elevation (m) that they are valid at.

    Raises
    ------
    InputError
        A missing variable, other units, a gap or a duplicate in time (named), no complete hydrological year, a point
        that does not exist, a year without elevation.
    """
    zero = check_climate(climate, where)
    check_points(point, climate.sizes["point"], where)
    years = complete_years(climate["time"], where)
    label = hydro_year(climate["time"])
    inside = np.flatnonzero((label.values >= years[0]) & (label.values <= years[-1]))
    days = climate[["tas", "snowfall", "rainfall"]].isel(time=slice(inside[0], inside[-1] + 1), point=point)
    days = days.drop_vars([c for c in days.coords if c != "time" and "member" not in days[c].dims])
    days = days.astype("float64").assign_coords(
        hydro_year=label[inside[0] : inside[-1] + 1], month=hydro_month(climate["time"])[inside[0] : inside[-1] + 1]
    )
    height = climate["elevation"].isel(point=point).drop_vars(list(climate["elevation"].coords), errors="ignore")
    tas = days["tas"] - zero + (height - _daily_elevation(elevation, days["hydro_year"], where)) * lapse_rate
    snow, rain = partition_phase(tas, days["snowfall"], days["rainfall"], phase)
    sums = _monthly_sums(xr.Dataset({"tas": tas, "warmth": tas.clip(min=0), "snow": snow, "rain": rain}), years)
    return _assemble(sums, point, elevation)


def _daily_elevation(elevation: xr.DataArray, year: xr.DataArray, where: str) -> xr.DataArray:
    """The glacier's elevation on each day: (glacier), or (glacier, time) where it is given for each year."""
    if "hydro_year" not in elevation.dims:
        return elevation.drop_vars(list(elevation.coords))
    absent = np.setdiff1d(year.values, elevation["hydro_year"].values)
    if absent.size:
        raise schema.InputError(f"{where}: elevation has no value for hydrological year {absent[0]}; give every year")
    # loaded: small, and Dask would cut it into a chunk for every year of days
    daily = elevation.compute().sel(hydro_year=year)
    return daily.drop_vars([c for c in daily.coords if c != "time"])


def _monthly_sums(daily: xr.Dataset, years: np.ndarray) -> xr.Dataset:
    """Sums over (hydro_year, month) of each variable, and the number of days; grouped by flox."""
    daily = daily.assign(days=xr.ones_like(daily["hydro_year"], dtype="float64"))
    groups = daily.groupby(hydro_year=UniqueGrouper(labels=years), month=UniqueGrouper(labels=np.arange(1, 13)))
    return groups.sum(skipna=False)


def _assemble(sums: xr.Dataset, point: xr.DataArray, elevation: xr.DataArray) -> xr.Dataset:
    out = xr.Dataset(
        {
            "cpdd": sums["warmth"].sum("month", skipna=False),
            "winter_snowfall": sums["snow"].isel(month=slice(0, 6)).sum("month", skipna=False),
            "summer_snowfall": sums["snow"].isel(month=slice(6, 12)).sum("month", skipna=False),
            "rainfall": sums["rain"].sum("month", skipna=False),
            "tas_monthly": sums["tas"] / sums["days"],
            "snowfall_monthly": sums["snow"],
        }
    )
    for array in out.variables.values():
        array.attrs = {}
    out = out.assign_coords({n: c for n, c in point.coords.items() if c.dims == ("glacier",)})
    out["reference_elevation"] = elevation.drop_vars([c for c in elevation.coords if c != "hydro_year"])
    out = out.transpose(..., "glacier", "hydro_year", "month", missing_dims="ignore")
    return schema.annotate(out)
