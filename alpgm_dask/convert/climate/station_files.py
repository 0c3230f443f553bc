"""Files of station-like archives (SAFRAN, ADAMONT): where each lies, when it is, which variables and points it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.forcing import convert_units
from alpgm_dask.schema import InputError

Index = pd.DatetimeIndex | xr.CFTimeIndex
FolderOrFiles = str | Path | Iterable[str | Path]

#: Units of the project for the variables of an archive.
TARGETS = {"tas": "K", "snowfall": "kg m-2", "rainfall": "kg m-2"}


@dataclass(frozen=True)
class StationFile:
    """One file: metadata only.

    Attributes
    ----------
    path
        of the file.
    time
        (step,) dates, increasing, whole minutes.
    time_dim, point_dim
        what the file calls its dimensions.
    names, units
        word of the project -> name and units in the file.
    points
        (``point``) what the points stand for, see :func:`station_points.read_points`.
    storage_rows
        steps that one stored chunk holds; 0: stored in one piece, row after row.
    modified
        when the file was, in ns.
    """

    path: str
    time: Index
    time_dim: str
    point_dim: str
    names: Mapping[str, str]
    units: Mapping[str, str]
    points: xr.Dataset
    storage_rows: int
    modified: int = 0


def files_of(folder_or_files: FolderOrFiles, pattern: str) -> list[Path]:
    """Files given, or those below a folder whose names match; sorted by path.

    Raises
    ------
    InputError
        if there are none, or one does not exist.
    """
    given = [folder_or_files] if isinstance(folder_or_files, str | Path) else list(folder_or_files)
    found: list[Path] = []
    for path in map(Path, given):
        if not path.exists():
            raise InputError(f"{path}: does not exist; allowed: a folder or files")
        found += path.rglob(pattern) if path.is_dir() else [path]
    if not found:
        where = ", ".join(map(str, given)) or "no file given"
        raise InputError(f"{where}: no file named {pattern}; allowed: one or more")
    return sorted(set(found))


def open_metadata(path: Path) -> xr.Dataset:
    """A NetCDF file, values unread.

    Raises
    ------
    InputError
        if it is none.
    """
    try:
        return xr.open_dataset(path, engine="netcdf4", cache=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as NetCDF ({error}); allowed: a NetCDF file") from error


def variable_named(ds: xr.Dataset, spellings: Iterable[str]) -> str | None:
    """The variable that has one of the names, in upper or lower case."""
    present = {str(name).lower(): str(name) for name in ds.variables}
    return next((present[name.lower()] for name in spellings if name.lower() in present), None)


def describe(ds: xr.Dataset, path: Path, words: Mapping[str, tuple[str, ...]], points: xr.Dataset) -> StationFile:
    """What a file says of itself.

    Parameters
    ----------
    ds
        the file, from :func:`open_metadata`.
    path
        where it lies.
    words
        tas, snowfall, rainfall (those that are wanted of it) -> names that they may have.
    points
        (``point``) of the file.

    Raises
    ------
    InputError
        for a variable that is missing, or has no units or other ones, other dimensions than time and points, and
        dates that are none or do not increase.
    """
    time = variable_named(ds, ("time",))
    if time is None or ds[time].ndim != 1:
        raise InputError(f"{path}: variable 'time' is missing; allowed: dates along one dimension")
    time_dim, names = str(ds[time].dims[0]), {}
    for word, spellings in words.items():
        names[word] = _required(ds, path, spellings)
        _linear(ds[names[word]].attrs.get("units"), word, names[word], str(path), 1.0)
    first = next(iter(names.values()))
    point_dim = point_dim_of(ds, path, first, time_dim)
    for name in names.values():
        if set(ds[name].dims) != {time_dim, point_dim}:
            raise InputError(f"{path}: variable '{name}' has dimensions {ds[name].dims}; allowed: those of '{first}'")
    stored = ds[first].encoding.get("chunksizes")
    return StationFile(
        path=str(path),
        time=_dates(ds[time], path),
        time_dim=time_dim,
        point_dim=point_dim,
        names=names,
        units={word: ds[name].attrs["units"] for word, name in names.items()},
        points=points,
        storage_rows=int(stored[ds[first].dims.index(time_dim)]) if stored else 0,
        modified=path.stat().st_mtime_ns,
    )


def point_dim_of(ds: xr.Dataset, path: Path, name: str, time_dim: str) -> str:
    """The one dimension of a variable beside time (InputError if there are more, or none)."""
    others = [str(d) for d in ds[name].dims if d != time_dim]
    if len(others) != 1 or time_dim not in ds[name].dims:
        raise InputError(f"{path}: variable '{name}' has dimensions {ds[name].dims}; allowed: time and points")
    return others[0]


def _required(ds: xr.Dataset, path: Path, spellings: tuple[str, ...]) -> str:
    name = variable_named(ds, spellings)
    if name is None:
        given = ", ".join(sorted(map(str, ds.variables)))
        raise InputError(f"{path}: variable '{spellings[0]}' is missing; the variables given are: {given}")
    return name


def _dates(time: xr.DataArray, path: Path) -> Index:
    """Dates to the minute: hours since a date, in floating point, miss them by parts of a second."""
    kinds = {"M": pd.DatetimeIndex, "O": xr.CFTimeIndex}
    if time.dtype.kind not in kinds or not time.size:
        raise InputError(f"{path}: variable '{time.name}' is of type {time.dtype}; allowed: dates (hours since a date)")
    index = kinds[time.dtype.kind](time.values).round("min")
    wrong = np.flatnonzero(~(steps_of(index) > np.timedelta64(0, "ns")))
    if wrong.size:
        at = int(wrong[0])
        raise InputError(
            f"{path}: variable '{time.name}': {index[at + 1]} follows {index[at]} ({wrong.size} such places); "
            "allowed: increasing dates"
        )
    return index


def steps_of(index: Index) -> np.ndarray:
    """(step - 1,) time from each date to the next, any calendar."""
    return np.asarray(index[1:] - index[:-1], dtype="timedelta64[ns]")


def conversion(source: StationFile, word: str, step_days: float) -> tuple[float, float]:
    """Factor and offset from a variable of a file to the units of the project, amounts being those of one step."""
    return _linear(source.units[word], word, source.names[word], source.path, step_days)


def _linear(units: Any, word: str, name: str, where: str, step_days: float) -> tuple[float, float]:
    """Every conversion that occurs here is linear: two values tell all of it."""
    probe = xr.DataArray(np.array([0.0, 1.0]), dims="probe", name=name, attrs={"units": units} if units else {})
    zero, one = convert_units(probe, TARGETS[word], where, step_days=step_days).values
    return float(one - zero), float(zero)
