"""Dates of a variable in many files: which step each stamp stands for, and that no step lacks or comes twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.forcing.calendar import calendar_of
from alpgm_dask.schema import InputError

Dates: TypeAlias = pd.DatetimeIndex | xr.CFTimeIndex

_HOURS_OF_DAY = 24.0


@dataclass(frozen=True)
class Stamps:
    """Dates of a variable in one file.

    Attributes
    ----------
    where
        the file.
    index
        its dates, to the minute.
    bounds
        first and last date of every step, where the file has bounds that hold the stamps; else None.
    """

    where: str
    index: Dates
    bounds: tuple[Dates, Dates] | None = None


def time_dimension(ds: xr.Dataset, field: xr.DataArray) -> str | None:
    """The dimension of a field that has dates."""
    return next((str(d) for d in field.dims if isinstance(_index(ds, d), pd.DatetimeIndex | xr.CFTimeIndex)), None)


def _index(ds: xr.Dataset, dim: object) -> pd.Index | None:
    if dim in ds.indexes:
        return ds.indexes[dim]
    # datasets opened from GRIB have dates along the dimension step or time in `valid_time`
    valid = ds.variables.get("valid_time")
    return ds["valid_time"].to_index() if valid is not None and valid.dims == (dim,) else None


def stamps_of(ds: xr.Dataset, dim: str, where: str) -> Stamps:
    """The dates along a dimension and, if they are sound, their bounds.

    Bounds are sound where every step holds its stamp, ends after it begins, and steps are of one length (months: 27
    to 32 days). Bounds that are not, as some archives have them, are left aside.
    """
    index = _index(ds, dim).round("min")
    if index.hasnans:
        raise InputError(f"{where}: variable '{dim}' has a date that is missing; allowed: a date at every step")
    attrs = ds[dim].attrs | ds[dim].encoding if dim in ds.variables else {}
    name = attrs.get("bounds")
    if name not in ds.variables or ds[name].ndim != 2 or ds[name].dims[0] != dim or ds[name].shape[1] != 2:
        return Stamps(where, index)
    try:
        low, high = (ds[name].isel({ds[name].dims[1]: side}).to_index().round("min") for side in (0, 1))
        hours = _hours(high - low)
        holds = bool(np.all((low <= index) & (index <= high)))
    except (TypeError, ValueError, AttributeError):
        return Stamps(where, index)
    months = np.all((hours >= 27 * _HOURS_OF_DAY) & (hours <= 32 * _HOURS_OF_DAY))
    even = hours.size and hours[0] > 0 and np.allclose(hours, hours[0], rtol=0.01)
    return Stamps(where, index, (low, high) if holds and (even or months) else None)


def _hours(steps: pd.TimedeltaIndex) -> np.ndarray:
    return np.asarray(steps, dtype="timedelta64[ns]").astype("int64") / 3.6e12


def joined(indexes: Sequence[Dates]) -> Dates:
    """Dates of several files, one after the other."""
    return type(indexes[0])(np.concatenate([np.asarray(index) for index in indexes]))


def in_order(parts: Sequence[Stamps], name: str) -> list[int]:
    """Positions of the files by their first date.

    Raises
    ------
    InputError
        for a file without dates, and for files of different calendars.
    """
    calendars = {}
    for part in parts:
        if not len(part.index):
            raise InputError(f"{part.where}: variable '{name}' has no time step; allowed: one or more")
        calendars.setdefault(calendar_of(part.index), part.where)
    if len(calendars) > 1:
        (one, here), (other, there) = list(calendars.items())[:2]
        raise InputError(
            f"{there}: variable '{name}' has the calendar {other!r}, in {here} it is {one!r}; allowed: one calendar"
        )
    return sorted(range(len(parts)), key=lambda i: (parts[i].index[0], len(parts[i].index)))


def step_hours(parts: Sequence[Stamps], name: str) -> float:
    """Hours of the steps of a variable: parts of a day, 24, or 720 for months.

    Raises
    ------
    InputError
        for one step only, and for steps that are neither months, days nor a whole part of a day.
    """
    index = joined([part.index for part in parts])
    if len(index) < 2:
        raise InputError(f"{parts[0].where}: variable '{name}' has one time step; allowed: a hydrological year or more")
    hours = float(np.median(_hours(index[1:] - index[:-1])))
    if 27 * _HOURS_OF_DAY <= hours <= 32 * _HOURS_OF_DAY:
        return 720.0
    if abs(hours - _HOURS_OF_DAY) < 1.0:
        return _HOURS_OF_DAY
    if 0.9 < hours < _HOURS_OF_DAY and abs(_HOURS_OF_DAY / hours - round(_HOURS_OF_DAY / hours)) < 1e-6:
        return hours
    raise InputError(
        f"{parts[0].where}: variable '{name}' has steps of {hours:g} hours; "
        "allowed: months, days, or hours that divide a day"
    )


def beginnings(part: Stamps, hours: float, *, at_end: bool = False) -> Dates:
    """The beginning of each step that a stamp of the file stands for.

    Bounds decide, where the file has them. Without, months and days are those that a stamp lies in. Hours begin at
    their stamp, or end there if `at_end` and the stamps stand on whole steps of the day.
    """
    index = part.index
    if part.bounds is not None:
        low, high = part.bounds
        index = low if hours < _HOURS_OF_DAY else low + (high - low) / 2
    elif hours < _HOURS_OF_DAY and at_end:
        of_day = np.asarray(index.hour) + np.asarray(index.minute) / 60.0
        if np.all(np.abs(of_day / hours - np.round(of_day / hours)) < 1e-6):
            index = index - pd.Timedelta(hours=hours)
    if hours < _HOURS_OF_DAY:
        return index
    days = index.floor("D")
    return days if hours == _HOURS_OF_DAY else days - pd.to_timedelta(np.asarray(days.day) - 1, unit="D")


def check_steps(parts: Sequence[Stamps], begins: Sequence[Dates], hours: float, name: str) -> Dates:
    """The beginnings of all steps, each one step after the one before.

    Raises
    ------
    InputError
        naming the file and the date of the first step that comes twice or lacks.
    """
    index = joined(begins)
    if hours > _HOURS_OF_DAY:
        months = np.asarray(index.year, dtype="int64") * 12 + np.asarray(index.month, dtype="int64")
        steps = np.diff(months).astype("float64")
    else:
        steps = _hours(index[1:] - index[:-1]) / hours
    wrong = np.flatnonzero(np.abs(steps - 1.0) > 1e-3)
    if not wrong.size:
        return index
    first = int(wrong[0])
    owner = np.repeat(np.arange(len(parts)), [len(b) for b in begins])
    here, there = parts[owner[first]].where, parts[owner[first + 1]].where
    files = here if here == there else f"{here} and {there}"
    what = "comes again" if steps[first] < 0.999 else "is missing"
    date = index[first + 1] if steps[first] < 0.999 else f"what follows {index[first]}, before {index[first + 1]},"
    kind = "months" if hours > _HOURS_OF_DAY else "days" if hours == _HOURS_OF_DAY else f"steps of {hours:g} hours"
    raise InputError(
        f"{files}: variable '{name}': {date} {what} ({wrong.size} such places); "
        f"allowed: consecutive {kind}, each in one file only"
    )
