"""Values of a variable in many files -> one lazy series of days or months: means of states, sums of amounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from alpgm_dask.convert.climate import stamps as dates
from alpgm_dask.convert.climate.sums import Accumulated, Part, Take, grows_over_the_day, monthly_amount, sums_of_days
from alpgm_dask.forcing import convert_units
from alpgm_dask.schema import InputError

_DAY = 24.0


@dataclass(frozen=True)
class VariableSeries:
    """A variable of the whole archive, lazy, by days or months."""

    values: xr.DataArray
    monthly: bool


def series_of(role: str, parts: Sequence[Part], take: Take, accumulated: Accumulated | None) -> VariableSeries:
    """Daily or monthly values of tas (K), or of pr, snowfall or rainfall (kg m-2 per step), of all files.

    Parameters
    ----------
    role
        "tas", "pr", "snowfall" or "rainfall".
    parts
        the variable in every file, in any order.
    take
        cuts the cells that are needed out of a field (time, ...) of a file, and makes it lazy.
    accumulated
        what the user says that an amount is the sum of.

    Raises
    ------
    InputError
        for gaps and duplicates (file, date), calendars that differ, units, and amounts of which it is not known what
        they are the sum of, or whose first days contradict what the user says.
    """
    name = str(parts[0].field.name)
    parts = [parts[i] for i in dates.in_order([part.stamps for part in parts], name)]
    hours = dates.step_hours([part.stamps for part in parts], name)
    if role != "tas" and hours < _DAY and grows_over_the_day(parts, take, accumulated):
        parts, hours = [last for part in parts for last in sums_of_days(part)], _DAY
        if not parts:
            raise InputError(
                f"variable '{name}' has no value at 00 UTC; allowed with accumulated='day' (--accumulated day): every "
                "day's"
            )
    begins = [dates.beginnings(part.stamps, hours, at_end=role != "tas") for part in parts]
    index = dates.check_steps([part.stamps for part in parts], begins, hours, name)
    fields = []
    for part, begin in zip(parts, begins, strict=True):
        taken = take(part.field, part.stamps.where).assign_coords(time=("time", begin))
        fields.append(_converted(role, taken, part.stamps.where, hours, accumulated))
    values = fields[0] if len(fields) == 1 else xr.concat(fields, "time", coords="minimal", compat="override")
    values = values.assign_coords(time=("time", index))
    if hours < _DAY:
        values = _daily(values, round(_DAY / hours), mean=role == "tas")
    return VariableSeries(values.rename(role), hours > _DAY)


def _converted(
    role: str, field: xr.DataArray, where: str, hours: float, accumulated: Accumulated | None
) -> xr.DataArray:
    """In K, or in kg m-2 per step; every file has units of its own."""
    if role == "tas":
        return convert_units(field, "K", where)
    if hours <= _DAY:
        return convert_units(field, "kg m-2", where, step_days=hours / _DAY)
    days = field["time"].dt.days_in_month.astype("float64")
    return convert_units(monthly_amount(field, where, accumulated), "kg m-2", where, step_days=days)


def _daily(values: xr.DataArray, steps: int, *, mean: bool) -> xr.DataArray:
    """Means or sums of the days that have all of their steps; a step that is missing makes its day missing."""
    index = values.indexes["time"]
    day = index.floor("D")
    whole = [np.asarray(day == day[end]).sum() == steps for end in (0, -1)]
    start = 0 if whole[0] else int(np.asarray(day == day[0]).sum())
    stop = len(day) - (0 if whole[1] else int(np.asarray(day == day[-1]).sum()))
    if stop <= start:
        raise InputError(f"variable '{values.name}': no day is whole between {index[0]} and {index[-1]}")
    by_day = values.isel(time=slice(start, stop)).resample(time="D")
    out = by_day.mean(skipna=False) if mean else by_day.sum(skipna=False)
    return out.assign_attrs(values.attrs)
