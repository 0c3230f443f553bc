"""Members of an ensemble side by side: over the hydrological years that any of them has, missing where one has none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.forcing.calendar import calendar_of, hydro_year, is_monthly
from alpgm_dask.schema import InputError


def refuse_calendars(members: Mapping[str, xr.Dataset]) -> None:
    """Refuse members of different calendars, naming them (InputError)."""
    calendars: dict[str, list[str]] = {}
    for name, climate in members.items():
        calendars.setdefault(calendar_of(climate.indexes["time"]), []).append(name)
    if len(calendars) > 1:
        listed = "; ".join(f"{calendar}: {', '.join(names)}" for calendar, names in sorted(calendars.items()))
        raise InputError(f"members of different calendars ({listed}); allowed: one calendar; convert each by itself")


def years_of(members: Mapping[str, xr.Dataset]) -> np.ndarray:
    """Hydrological years from the first to the last that any member has; `members` as of :func:`side_by_side`."""
    ends = np.array([hydro_year(climate["time"][[0, -1]]).values for climate in members.values()])
    return np.arange(ends[:, 0].min(), ends[:, 1].max() + 1)


def span_of(years: np.ndarray) -> str:
    """Text that belongs into the fingerprint of every member: a member's piece is as long as the archive.

    >>> span_of(np.arange(1980, 2001))
    'years 1980..2000'
    """
    return f"years {years[0]}..{years[-1]}"


def side_by_side(members: Mapping[str, xr.Dataset], report: ConversionReport) -> xr.Dataset:
    """Members along ``member``, in the order given, over :func:`years_of`; lazy.

    Parameters
    ----------
    members
        name -> (``time``, ``point``) lazy climate of whole hydrological years, days or months; one time step, one
        calendar, the same points and variables.
    report
        gets the members that lack years.

    Raises
    ------
    InputError
        for members of different calendars.
    """
    refuse_calendars(members)
    years, time = years_of(members), _steps(members)
    padded = [_padded(climate, time) for climate in members.values()]
    lacking = [
        f"{name} has {first} to {last}"
        for name, climate in members.items()
        for first, last in [hydro_year(climate["time"][[0, -1]]).values]
        if last - first + 1 < years.size
    ]
    report.add("members that have some of the years only", len(lacking), "missing in the others", lacking)
    out = xr.concat(padded, "member", coords="minimal", compat="override", join="exact", combine_attrs="override")
    return out.assign_coords(member=("member", np.array(list(members), dtype=object)))


def _steps(members: Mapping[str, xr.Dataset]) -> xr.DataArray:
    """(``time``) every step of the years of all members, as dates of the calendar's own type if a member has them."""
    years, times = years_of(members), [climate["time"] for climate in members.values()]
    monthly = is_monthly(times[0])
    dates = next((time for time in times if time.dtype.kind == "O"), times[0])
    every = xr.date_range(
        f"{years[0] - 1:04d}-10-01",
        f"{years[-1]:04d}-09-{'01' if monthly else '30'}",
        freq="MS" if monthly else "D",
        calendar=dates.dt.calendar,
        use_cftime=dates.dtype.kind == "O",
    )
    return xr.DataArray(every, dims="time", coords={"time": every})


def _padded(climate: xr.Dataset, time: xr.DataArray) -> xr.Dataset:
    """Climate over all steps of `time`, by position: members may have the same dates in two types."""
    before = int(np.searchsorted(hydro_year(time).values, int(hydro_year(climate["time"][0]))))
    after = time.size - before - climate.sizes["time"]
    out = {name: _between(array, before, after) for name, array in climate.data_vars.items()}
    places = {name: coord for name, coord in climate.coords.items() if "time" not in coord.dims}
    return xr.Dataset(out, coords=places | {"time": time})


def _between(array: xr.DataArray, before: int, after: int) -> xr.Variable:
    """Steps without values before and after the array, in chunks of a year."""
    import dask.array as da

    ends = [da.full((n, array.shape[1]), np.nan, dtype=array.dtype, chunks=(366, -1)) for n in (before, after)]
    parts = [part for part in (ends[0], array.data, ends[1]) if part.shape[0]]
    return xr.Variable(array.dims, da.concatenate(parts), array.attrs)
