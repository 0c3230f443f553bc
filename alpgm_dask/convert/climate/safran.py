"""SAFRAN / S2M forcing files (hourly, massif x elevation x aspect) -> daily climate at points.

Vernay et al. (2022), doi:10.5194/essd-14-1707-2022. A file goes from 1 August, 06 h, to 1 August, 06 h: its last stamp
is the first one of the next file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from alpgm_dask import forcing
from alpgm_dask.convert.climate import station_days
from alpgm_dask.convert.climate.archive import ClimateArchive, file_fingerprint, joint_fingerprint
from alpgm_dask.convert.climate.station_files import FolderOrFiles, files_of
from alpgm_dask.convert.climate.station_points import (
    Positions,
    open_source,
    points_fingerprint,
    refuse_other_points,
)
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.forcing.calendar import calendar_of, hydro_year, whole_years
from alpgm_dask.schema import InputError

#: Files that a folder is searched for, at any depth.
PATTERN = "FORCING*.nc"

#: Word of the project -> variable of a forcing file.
WORDS = {"tas": ("Tair",), "snowfall": ("Snowf",), "rainfall": ("Rainf",)}


def daily(
    folder_or_files: FolderOrFiles,
    *,
    massif_names: Mapping[int, str] | None = None,
    massif_positions: Positions | None = None,
    amounts_before_stamp: bool = False,
) -> xr.Dataset:
    """Every whole day of SAFRAN forcing files; lazy.

    Parameters
    ----------
    folder_or_files
        folder, searched at any depth for ``FORCING*.nc``, or files; ordered by their dates. Tair (K), Snowf and Rainf
        (kg m-2 s-1) of (time, points), steps that divide a day; ZS (m); massif_number, or the attribute massifsList;
        LAT, LON; aspect (degree, -1 where flat), slope.
    massif_names
        SAFRAN number -> name, before :data:`station_points.SAFRAN_MASSIFS`.
    massif_positions
        SAFRAN number -> longitude, latitude (degree), for points that the files give no position.
    amounts_before_stamp
        False, as ALPGM: a day's sums are of the 24 rates stamped 00 to 23 h. True, as SURFEX reads such files: a rate
        is that of the step that its stamp ends, a day's sums are of the rates stamped 01 to 24 h.

    Returns
    -------
    Dataset (``time``, ``point``), canonical (:func:`alpgm_dask.forcing.as_climate`): tas (K), mean of the day's
    steps; snowfall, rainfall (kg m-2 per day); days from 00 to 24 h UTC. Coordinates along ``point``: elevation, lon,
    lat, massif, massif_safran, aspect (missing where flat), slope.

    Raises
    ------
    InputError
        naming file and variable: a gap between dates or files, files that cover the same dates, points that differ, a
        variable that is missing, other units, a point without position; fewer than two whole days.
    """
    series = _series(folder_or_files, massif_names, massif_positions)
    return _daily(series, amounts_before_stamp)


def read(
    folder_or_files: FolderOrFiles,
    *,
    massif_names: Mapping[int, str] | None = None,
    massif_positions: Positions | None = None,
    amounts_before_stamp: bool = False,
) -> ClimateArchive:
    """The whole hydrological years (October to September) of SAFRAN forcing files, as days; lazy.

    Parameters as of :func:`daily`. The archive grows along time: a piece is a hydrological year, known by the files
    that have steps of it, so that more years leave the pieces there are as they were.

    Raises
    ------
    InputError
        as :func:`daily`, and where there is no whole hydrological year, saying what there is.
    """
    series = _series(folder_or_files, massif_names, massif_positions)
    every_day = _daily(series, amounts_before_stamp)
    years = whole_years(every_day["time"])
    if not years.size:
        index = every_day.indexes["time"]
        raise InputError(
            f"{_called(series)}: variable 'time' covers {index[0]:%Y-%m-%d} to {index[-1]:%Y-%m-%d}; allowed: one "
            "whole hydrological year or more (1 October to 30 September)"
        )
    label = hydro_year(every_day["time"]).values
    a, b = (int(i) for i in np.searchsorted(label, [years[0], years[-1] + 1]))
    climate = every_day.isel(time=slice(a, b))
    report = _report(series, climate, years, a, len(label) - b, amounts_before_stamp)
    return ClimateArchive(climate, "time", _pieces(series, label, years, amounts_before_stamp), report)


def _series(
    folder_or_files: FolderOrFiles, names: Mapping[int, str] | None, places: Positions | None
) -> station_days.Series:
    sources = [open_source(path, WORDS, names, places) for path in files_of(folder_or_files, PATTERN)]
    for source in sources:
        if calendar_of(source.time) != "standard":
            calendar = calendar_of(source.time)
            raise InputError(f"{source.path}: variable 'time' has calendar {calendar!r}; allowed: 'standard'")
    series = station_days.in_order(sources)
    first = series.sources[0]
    for source in series.sources[1:]:
        refuse_other_points(source.points, source.path, first.points, first.path)
    return series


def _daily(series: station_days.Series, ending: bool) -> xr.Dataset:
    where, span = _called(series), station_days.whole_days(series, ending)
    if span[1] < 2:
        raise InputError(f"{where}: variable 'time' has {span[1]} whole days (00 to 24 h); allowed: two or more")
    out = xr.Dataset({"tas": station_days.daily_array(series, "tas", span, how="mean")})
    for word in ("snowfall", "rainfall"):
        out[word] = station_days.daily_array(series, word, span, how="sum", later=int(ending))
    return forcing.as_climate(out.assign(series.sources[0].points), where)


def _called(series: station_days.Series) -> str:
    paths = [source.path for source in series.sources]
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _pieces(
    series: station_days.Series, label: np.ndarray, years: np.ndarray, ending: bool
) -> tuple[tuple[str, str], ...]:
    first, per_day = station_days.whole_days(series, ending)[0] + int(ending), series.steps_per_day
    asked = [f"rates {'before' if ending else 'after'} their stamps", points_fingerprint(series.sources[0].points)]
    known = {source.path: file_fingerprint(source.path) for source in series.sources}
    out = []
    for year in years:
        a, b = np.searchsorted(label, [year, year + 1])
        files = station_days.files_within(series, first + int(a) * per_day, first + int(b) * per_day)
        out.append((str(year), joint_fingerprint([*(known[str(path)] for path in files), *asked])))
    return tuple(out)


def _report(
    series: station_days.Series, climate: xr.Dataset, years: np.ndarray, before: int, after: int, ending: bool
) -> ConversionReport:
    report = ConversionReport(f"SAFRAN {_called(series)}")
    number = climate["massif_safran"].values
    report.totals |= {
        "files": len(series.sources),
        "points": climate.sizes["point"],
        "massifs": int(np.unique(number[number > 0]).size),
        "step (h)": 24 / series.steps_per_day,
        "days": climate.sizes["time"],
        "first year": int(years[0]),
        "last year": int(years[-1]),
    }
    report.add("stamps in two files", series.repeated, "the earlier file's")
    report.add("whole days before the first whole hydrological year", before, "cut")
    report.add("whole days after the last whole hydrological year", after, "cut")
    report.add("points without aspect (flat)", int(climate["aspect"].isnull().sum()), "aspect missing")
    unknown = np.flatnonzero(number == 0)
    report.add("points without massif", unknown.size, "massif empty: matched by position", unknown.tolist())
    steps = "1 to 24 h" if ending else "0 to 23 h (ALPGM)"
    report.notes.append(f"Days are 00 to 24 h UTC; a day's snowfall and rainfall are of the steps stamped {steps}.")
    return report
