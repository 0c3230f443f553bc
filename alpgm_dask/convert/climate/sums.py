"""What amounts of precipitation are sums of: their own step, the day so far, or a mean day of a month."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.convert.climate.stamps import Stamps
from alpgm_dask.forcing import convert_units
from alpgm_dask.schema import InputError

#: What a value of precipitation is the sum of: its own step, or the day up to its stamp (of months: a mean day).
Accumulated: TypeAlias = Literal["step", "day"]
#: Cuts the cells that are needed out of a field (time, ...) of a file, and makes it lazy.
Take: TypeAlias = Callable[[xr.DataArray, str], xr.DataArray]

_DEPTH = ("m", "m of water equivalent")
_SAMPLED_DAYS = 3


@dataclass(frozen=True)
class Part:
    """A variable in one file: its field (time, row, column) or (time, point), not read, and its dates."""

    field: xr.DataArray
    stamps: Stamps


def is_rate(field: xr.DataArray, where: str) -> bool:
    """Whether the units of precipitation are those of a rate, and not of an amount; InputError if of neither."""
    probe = xr.DataArray(np.zeros(1), dims="time", name=field.name, attrs={"units": field.attrs.get("units")})
    try:
        convert_units(probe, "kg m-2", where)
    except InputError:
        convert_units(probe, "kg m-2", where, step_days=1.0)
        return True
    return False


def monthly_amount(field: xr.DataArray, where: str, accumulated: Accumulated | None) -> xr.DataArray:
    """A rate per day, where months are means of daily sums (ERA5 says "m" and means m per day), else as it is."""
    if is_rate(field, where) or accumulated == "step":
        return field
    units = str(field.attrs["units"]).strip()
    of_days = accumulated == "day" or str(field.attrs.get("GRIB_stepType", "")).startswith("avg")
    if of_days:
        return field.assign_attrs(units=f"{'m' if units in _DEPTH else units} day-1")
    if units in _DEPTH and "sum" not in str(field.attrs.get("cell_methods", "")):
        raise InputError(
            f"{where}: variable '{field.name}' is in {units!r} by months, and does not say of what; allowed: "
            "accumulated='day' (--accumulated day) for means of daily sums (ERA5, ERA5-Land), accumulated='step' "
            "(--accumulated step) for sums of months"
        )
    return field


def grows_over_the_day(parts: Sequence[Part], take: Take, accumulated: Accumulated | None) -> bool:
    """Whether hourly amounts are sums since 00 UTC.

    Raises
    ------
    InputError
        where neither the file nor the user says, and where the first days show the contrary of what the user says.
    """
    for part in parts:
        where = part.stamps.where
        if is_rate(part.field, where):
            return False
        stated = part.stamps.bounds is not None or "sum" in str(part.field.attrs.get("cell_methods", ""))
        if accumulated is None and not stated:
            seen = _first_days(part, take).kind
            looks = f"; its first days look like accumulated='{seen}' (--accumulated {seen})" if seen else ""
            raise InputError(
                f"{where}: variable '{part.field.name}' is an amount by hours, and neither time bounds nor "
                "cell_methods say over what; allowed: accumulated='step' (--accumulated step) for sums over the step "
                "that ends at the stamp (ERA5), accumulated='day' (--accumulated day) for sums since 00 UTC "
                f"(ERA5-Land){looks}"
            )
    if accumulated is not None:
        _check_growth(parts[0], take, accumulated)
    return accumulated == "day"


@dataclass(frozen=True)
class _Seen:
    """What the first days look like: sums since 00 UTC ("day"), of single steps ("step"), or neither; and where."""

    kind: Accumulated | None
    at: object = None


def _first_days(part: Part, take: Take) -> _Seen:
    """Sums since 00 UTC never fall within a day; sums of single hours hardly ever grow from 01 to 24 UTC, everywhere.

    Looks at the first days of what is in a file; not at graphs, which would be computed.
    """
    index = part.stamps.index
    count = int(np.asarray(index < index[0] + pd.Timedelta(days=_SAMPLED_DAYS)).sum())
    if part.field.chunks or count < 2:
        return _Seen(None)
    taken = take(part.field.isel(time=slice(0, count)), part.stamps.where)
    values = np.nan_to_num(taken.compute(scheduler="synchronous").values).reshape(count, -1)
    day = (index[:count] - pd.Timedelta(minutes=1)).floor("D")
    same_day = np.asarray(day[1:] == day[:-1])
    # packed values fall by a little where nothing falls
    steps, little = np.diff(values, axis=0)[same_day], 1e-3 * values.max()
    falls, rises = (steps < -little).any(axis=1), (steps > little).any(axis=1)
    if falls.any():
        return _Seen("step", index[1:count][same_day][int(np.flatnonzero(falls)[0])])
    return _Seen("day" if rises.sum() > 0.5 * max(same_day.sum(), 12) else None, index[0])


def _check_growth(part: Part, take: Take, accumulated: Accumulated) -> None:
    seen = _first_days(part, take)
    told = f"{part.stamps.where}: variable '{part.field.name}', accumulated={accumulated!r}: its values "
    if accumulated == "day" and seen.kind == "step":
        raise InputError(
            f"{told}fall at {seen.at}, and sums since 00 UTC do not; allowed: accumulated='step' (--accumulated step)"
        )
    if accumulated == "step" and seen.kind == "day":
        raise InputError(
            f"{told}grow all day from {seen.at} on, as sums since 00 UTC do; allowed: accumulated='day' "
            "(--accumulated day)"
        )


def sums_of_days(part: Part) -> list[Part]:
    """The sums of whole days: what is stamped 00 UTC is the sum of the day before."""
    index = part.stamps.index
    midnight = np.flatnonzero((np.asarray(index.hour) == 0) & (np.asarray(index.minute) == 0))
    if not midnight.size:
        return []
    stamps = replace(part.stamps, index=index[midnight] - pd.Timedelta(days=1), bounds=None)
    return [Part(part.field.isel(time=_strided(midnight)), stamps)]


def _strided(at: np.ndarray) -> slice | np.ndarray:
    steps = np.unique(np.diff(at))
    return slice(int(at[0]), int(at[-1]) + 1, int(steps[0])) if steps.size == 1 else at
