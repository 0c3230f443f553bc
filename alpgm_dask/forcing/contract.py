"""The one form of climate: what a store, a catalog or a user gives is brought to it, or refused.

([``member``,] ``time``, ``point``): temperature in K; snowfall and rainfall, or precipitation alone, in kg m-2 per
step; elevation, longitude and latitude of each point. Steps are days or months without a gap, stamped with their
beginning, in any CF calendar.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.forcing.units import convert_units
from alpgm_dask.schema import InputError

#: What is needed beside temperature: one of these.
PRECIPITATION = (("snowfall", "rainfall"), ("pr",))

#: Text and numbers that a point may have besides.
POINT_COORDS = ("elevation", "lon", "lat", "massif", "massif_safran", "aspect", "slope", "grid_row", "grid_column")
MEMBER_COORDS = ("gcm", "rcm", "scenario")

_DAY = np.timedelta64(1, "D")


def amounts(climate: xr.Dataset, where: str = "climate") -> tuple[str, ...]:
    """The variables that precipitation is given by: snowfall and rainfall, else pr.

    Raises
    ------
    InputError
        if there is neither.
    """
    for names in PRECIPITATION:
        if all(name in climate.variables for name in names):
            return names
    given = ", ".join(sorted(map(str, climate.variables)))
    half = [name for name in PRECIPITATION[0] if name in climate.variables]
    lacking = next((name for name in PRECIPITATION[0] if half and name not in half), "pr")
    raise InputError(
        f"{where}: variable '{lacking}' is missing; allowed: pr, or snowfall and rainfall; "
        f"the variables given are: {given}"
    )


def time_step(climate: xr.Dataset, where: str = "climate") -> str:
    """Whether the steps of a climate are days or months: "daily" or "monthly".

    Raises
    ------
    InputError
        if `time` is missing or no dates, for other steps, and for gaps and duplicates, naming the date.
    """
    index = _dates(climate, where)
    months = _months(index)
    if len(index) > 1 and np.all(np.diff(months) == 1):
        return "monthly"
    days = _floored_days(index)
    steps = np.asarray(days[1:] - days[:-1], dtype="timedelta64[ns]")
    longer = np.flatnonzero(steps != _DAY)
    if len(index) > 1 and not longer.size:
        return "daily"
    monthly = len(index) > 2 and np.median(np.diff(months)) >= 1
    wrong = np.flatnonzero(np.diff(months) != 1) if monthly else longer
    if not wrong.size:
        raise InputError(f"{where}: variable 'time' has {len(index)} values; allowed: days or months, two or more")
    at = int(wrong[0])
    raise InputError(
        f"{where}: variable 'time': {index[at + 1]} follows {index[at]} ({wrong.size} such places); allowed: "
        f"consecutive {'months' if monthly else 'days'} without gap or duplicate, or months"
        + ("" if monthly else "; shorter steps are made days by 'alpgm convert'")
    )


def _dates(climate: xr.Dataset, where: str) -> pd.DatetimeIndex | xr.CFTimeIndex:
    if "time" not in climate.indexes:
        raise InputError(f"{where}: variable 'time' is missing; allowed: dates along the dimension 'time'")
    index = climate.indexes["time"]
    if not isinstance(index, pd.DatetimeIndex | xr.CFTimeIndex):
        raise InputError(
            f"{where}: variable 'time' is of type {climate['time'].dtype}; allowed: dates, of any CF calendar"
        )
    return index


def _months(index: pd.DatetimeIndex | xr.CFTimeIndex) -> np.ndarray:
    return np.asarray(index.year, dtype="int64") * 12 + np.asarray(index.month, dtype="int64")


def _floored_days(index: pd.DatetimeIndex | xr.CFTimeIndex) -> pd.DatetimeIndex | xr.CFTimeIndex:
    if isinstance(index, xr.CFTimeIndex) and not (np.any(index.hour) or np.any(index.minute) or np.any(index.second)):
        return index  # flooring it takes long
    return index.floor("D")


def step_days(time: xr.DataArray) -> xr.DataArray:
    """(``time``) days of each monthly step, in its calendar.

    >>> step_days(xr.DataArray(np.array(["2000-02-01", "2001-02-01"], "datetime64[ns]"), dims="time")).values.tolist()
    [29.0, 28.0]
    """
    return time.dt.days_in_month.astype("float64").drop_vars([c for c in time.coords if c != "time"])


def as_climate(ds: xr.Dataset, where: str = "climate") -> xr.Dataset:
    """Climate in the canonical form; values stay lazy, positions and elevations of the points are loaded.

    What is in that form already comes back with its arrays untouched.

    Parameters
    ----------
    ds
        ([``member``,] ``time``, ``point``) or ([``member``,] ``time``, ``y``, ``x``): tas, any unit of temperature;
        pr, or snowfall and rainfall, as amounts per step or as rates; elevation (``point``) or (``y``, ``x``); lon,
        lat of each point or cell, or along ``x`` and ``y``.
    where
        file, store or catalog entry, for messages.

    Returns
    -------
    Dataset ([``member``,] ``time``, ``point``): tas (K), snowfall and rainfall, or pr (kg m-2 per step), with the
    coordinates elevation (m), lon, lat (degree) and what else is known of a point. Of a grid, cells without elevation
    are left out, and grid_row and grid_column say where the others were.

    Raises
    ------
    InputError
        naming the variable: one that is missing, its dimensions, its units; dates that are no consecutive days or
        months; an elevation that is missing.
    """
    names = ("tas", *amounts(ds, where))
    step = time_step(ds, where)
    for name in ("tas", "elevation", "lon", "lat"):
        if name not in ds.variables:
            given = ", ".join(sorted(map(str, ds.variables)))
            raise InputError(f"{where}: variable '{name}' is missing; the variables given are: {given}")
    grid = "point" not in ds["tas"].dims
    place = ("y", "x") if grid else ("point",)
    _check_dims(ds, names, place, where)
    ds = ds.drop_vars([name for name in ds.variables if name not in (*names, *POINT_COORDS, *MEMBER_COORDS, *ds.dims)])
    ds = _stamped(ds, step)
    days = step_days(ds["time"]) if step == "monthly" else 1.0
    ds = ds.assign(tas=convert_units(ds["tas"], "K", where))
    ds = ds.assign({name: convert_units(ds[name], "kg m-2", where, step_days=days) for name in names[1:]})
    ds["elevation"] = convert_units(ds["elevation"], "m", where)
    ds = _flattened(ds) if grid else ds
    ds = ds.set_coords([name for name in (*POINT_COORDS, *MEMBER_COORDS) if name in ds.variables])
    return schema.annotate(_placed(ds, where))


def _check_dims(ds: xr.Dataset, names: tuple[str, ...], place: tuple[str, ...], where: str) -> None:
    member = ("member",) if "member" in ds["tas"].dims else ()
    for name in names:
        if set(ds[name].dims) != {*member, "time", *place}:
            allowed = f"([member,] time, {', '.join(place)})"
            raise InputError(f"{where}: variable '{name}' has dimensions {ds[name].dims}; allowed: {allowed}")
    if set(ds["elevation"].dims) != set(place):
        raise InputError(f"{where}: variable 'elevation' has dimensions {ds['elevation'].dims}; allowed: {place}")


def _stamped(ds: xr.Dataset, step: str) -> xr.Dataset:
    """Every step stamped with its beginning."""
    index = ds.indexes["time"]
    days = _floored_days(index)
    if step == "monthly":
        since = pd.to_timedelta(np.asarray(days.day) - 1, unit="D")
        days = days - since
    return ds if days.equals(index) else ds.assign_coords(time=days)


def _flattened(ds: xr.Dataset) -> xr.Dataset:
    """Cells with an elevation along ``point``."""
    rows, columns = ds.sizes["y"], ds.sizes["x"]
    for name in ("lon", "lat"):
        ds[name] = ds[name].broadcast_like(ds["elevation"]) if ds[name].ndim == 1 else ds[name]
    ds = ds.drop_vars(["y", "x"], errors="ignore")
    ds = ds.assign_coords(grid_row=("y", np.arange(rows)), grid_column=("x", np.arange(columns)))
    flat = ds.stack(point=("y", "x"), create_index=False)
    known = np.flatnonzero(np.isfinite(flat["elevation"].values))
    return flat.isel(point=known)


def _placed(ds: xr.Dataset, where: str) -> xr.Dataset:
    """Positions loaded and checked: every point has an elevation and a place; longitudes from -180 to 180."""
    if not ds.sizes["point"]:
        raise InputError(f"{where}: variable 'elevation' is missing everywhere; allowed: one point or more that has it")
    ds = ds.assign_coords({name: ds[name].load() for name in POINT_COORDS if name in ds.coords})
    allowed = {"elevation": schema.PLAUSIBLE["elevation"], "lat": (-90.0, 90.0), "lon": (-180.0, 360.0)}
    for name, limits in allowed.items():
        values = ds[name].values
        wrong = np.flatnonzero(~((values >= limits[0]) & (values <= limits[1])))
        if wrong.size:
            raise InputError(
                f"{where}: variable '{name}' is {values[wrong[0]]} at point {wrong[0]} ({wrong.size} such points); "
                f"allowed: {limits[0]:g} to {limits[1]:g} {schema.VARIABLES[name].units}"
            )
    east = ds["lon"]
    if (east.values > 180.0).any():
        ds = ds.assign_coords(lon=east.where(east <= 180.0, east - 360.0).assign_attrs(east.attrs))
    return ds


def is_canonical(ds: xr.Dataset) -> bool:
    """Whether climate is in the canonical form as it lies, so that a task can read it without converting anything."""
    names = ("tas", *(amounts(ds) if "tas" in ds.variables else ()))
    if "point" not in ds.dims or any(name not in ds.variables for name in ("tas", "elevation", "lon", "lat")):
        return False
    units = ["K", *["kg m-2"] * (len(names) - 1)]
    if [ds[name].attrs.get("units") for name in names] != units or ds["elevation"].attrs.get("units") != "m":
        return False
    return _stamped(ds, time_step(ds)).indexes["time"].equals(ds.indexes["time"]) and bool((ds["lon"] <= 180.0).all())
