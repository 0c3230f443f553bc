"""Hydrological years and months of dates, in any calendar, and which of them are complete."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.constants import HYDRO_YEAR_START_MONTH


def hydro_year(time: xr.DataArray) -> xr.DataArray:
    """Hydrological year of each date: year Y is 1 October Y-1 to 30 September Y. Any calendar.

    >>> days = xr.DataArray(np.array(["2014-09-30", "2014-10-01"], "datetime64[ns]"), dims="time")
    >>> hydro_year(days).values.tolist()
    [2014, 2015]
    """
    year = time.dt.year + (time.dt.month >= HYDRO_YEAR_START_MONTH)
    return year.astype("int64").rename("hydro_year").assign_attrs(schema.VARIABLES["hydro_year"].attrs())


def hydro_month(time: xr.DataArray) -> xr.DataArray:
    """Month of the hydrological year of each date, October = 1 to September = 12. Any calendar."""
    month = (time.dt.month - HYDRO_YEAR_START_MONTH) % 12 + 1
    return month.astype("int64").rename("month").assign_attrs(schema.VARIABLES["month"].attrs())


def days_of(climate: xr.Dataset, years: Sequence[int]) -> xr.Dataset:
    """The days of `climate` (``time``) in those of the consecutive years that it has whole; lazy, maybe no day."""
    whole = whole_years(climate["time"])
    here = whole[(whole >= years[0]) & (whole <= years[-1])]
    if not here.size:
        return climate.isel(time=slice(0, 0))
    label = hydro_year(climate["time"]).values
    return climate.isel(time=slice(*np.searchsorted(label, [here[0], here[-1] + 1])))


def month_codes(time: xr.DataArray) -> np.ndarray:
    """(time,) int64 months since October of hydrological year 0, without gap from one year to the next.

    >>> days = xr.DataArray(np.array(["2014-09-30", "2014-10-01"], "datetime64[ns]"), dims="time")
    >>> np.divmod(month_codes(days), 12)
    (array([2014, 2015]), array([11,  0]))
    """
    return hydro_year(time).values * 12 + hydro_month(time).values - 1


def calendar_of(index: pd.DatetimeIndex | xr.CFTimeIndex) -> str:
    """CF name of the calendar of dates; all that agree with the Gregorian one since 1582 are "standard".

    >>> calendar_of(xr.date_range("2000-01-01", periods=2, calendar="proleptic_gregorian", use_cftime=True))
    'standard'
    """
    name = str(index.calendar) if isinstance(index, xr.CFTimeIndex) else "standard"
    return "standard" if name in ("gregorian", "proleptic_gregorian") else name


def whole_years(time: xr.DataArray) -> np.ndarray:
    """Hydrological years of which every step is there, given that steps are consecutive; none, if there is none.

    Months are stamped with their beginning.
    """
    if not time.size:
        return np.arange(0)
    ends = hydro_year(time[[0, -1]]).values
    month, day = time[[0, -1]].dt.month.values, time[[0, -1]].dt.day.values
    last_day = 1 if is_monthly(time) else 30
    first = ends[0] + ((month[0], day[0]) != (HYDRO_YEAR_START_MONTH, 1))
    last = ends[1] - ((month[1], day[1]) != (HYDRO_YEAR_START_MONTH - 1, last_day))
    return np.arange(first, last + 1)


def is_monthly(time: xr.DataArray) -> bool:
    """Whether the steps of consecutive `time` are months; days if not, or if there is one step only."""
    month = time[:2].dt.month.values
    return bool(time.size > 1 and month[0] != month[1] and time[0].dt.day.values == time[1].dt.day.values)


def complete_years(time: xr.DataArray, where: str) -> np.ndarray:
    """As :func:`whole_years`; refused if there is none (InputError)."""
    years = whole_years(time)
    if not years.size:
        span = f"{time.values[0]} to {time.values[-1]}" if time.size else "nothing"
        raise schema.InputError(f"{where}: variable 'time' covers {span}; allowed: at least one hydrological year")
    return years


def select_years(available: np.ndarray, wanted: Sequence[int] | None, where: str) -> slice:
    """Positions of the consecutive years `wanted` among the consecutive years `available`.

    >>> select_years(np.arange(1959, 2016), [2003, 2004], "safran")
    slice(44, 46, None)
    """
    if wanted is None:
        return slice(0, len(available))
    first, last = int(wanted[0]), int(wanted[-1])
    if list(wanted) != list(range(first, last + 1)):
        raise schema.InputError(f"years {list(wanted)[:5]}... are not consecutive; allowed: first, first + 1, ... last")
    covered = f"{available[0]} to {available[-1]}" if len(available) else "no year"
    if len(available) and np.any(np.diff(available) != 1):
        raise schema.InputError(
            f"{where}: variable 'hydro_year' has gaps between {covered}; allowed: consecutive years"
        )
    if not len(available) or first < available[0] or last > available[-1]:
        raise schema.InputError(f"{where}: hydrological years {first} to {last} are asked for; it covers {covered}")
    return slice(first - int(available[0]), last - int(available[0]) + 1)
