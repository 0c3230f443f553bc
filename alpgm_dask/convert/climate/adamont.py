"""ADAMONT projections (daily means and daily sums of GCM-RCM-RCP at SAFRAN's points) -> daily climate with members.

Verfaillie et al. (2017), doi:10.5194/gmd-10-4257-2017.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from alpgm_dask import forcing
from alpgm_dask.convert.climate import members, station_days
from alpgm_dask.convert.climate.adamont_names import Member, identify
from alpgm_dask.convert.climate.archive import ClimateArchive, file_fingerprint, joint_fingerprint
from alpgm_dask.convert.climate.station_files import FolderOrFiles, StationFile, files_of, open_metadata
from alpgm_dask.convert.climate.station_points import (
    Positions,
    open_source,
    points_fingerprint,
    refuse_other_points,
)
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.forcing.calendar import calendar_of, whole_years
from alpgm_dask.schema import InputError

#: Files that a folder is searched for, at any depth.
PATTERN = "*.nc"

#: Word of the project -> its names, in the file of the daily means and in that of the daily sums.
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "mean": {"tas": ("Tair", "TAIR")},
    "sum": {"snowfall": ("SNOW", "Snowf"), "rainfall": ("RAIN", "Rainf")},
}

_PER_DAY = re.compile(r"(/|per )\s*d(ay)?s?\b|\bd(ay)?s?\s*(\^|\*\*)?-1", re.IGNORECASE)


#: What scenarios go on from.
HISTORICAL = "historical"

#: Files of a member by their kind: mean and sum, each one file, or one of the historical run and one of the scenario.
_Files = dict[str, list[Path]]


@dataclass(frozen=True)
class _Pair:
    """The files of a member, two or four, and what they have in common."""

    member: Member
    climate: xr.Dataset
    first: StationFile
    fingerprints: tuple[str, ...]
    cut: tuple[int, int]


def read(
    folder_or_files: FolderOrFiles,
    *,
    pattern: str | None = None,
    massif_names: Mapping[int, str] | None = None,
    massif_positions: Positions | None = None,
    hours_of_rates: float = 1.0,
) -> ClimateArchive:
    """The whole hydrological years of ADAMONT members; lazy.

    Parameters
    ----------
    folder_or_files
        folder, searched at any depth for ``*.nc``, or files: for every member one of daily means (Tair) and one of
        daily sums (SNOW, RAIN), paired by the member that their names tell, see :func:`adamont_names.identify`. The
        historical run of a GCM and RCM is the beginning of each of its scenarios, and no member beside them. All
        with TIME, ZS (m), MASSIF_NUMBER, LAT, LON, the same points in all files.
    pattern
        regular expression with groups gcm, rcm, scenario, kind for names that tell it in another way.
    massif_names, massif_positions
        as of :func:`safran.daily`.
    hours_of_rates
        h of the steps that the sums were made of. Tools that sum up the hours of a day leave the units of the hourly
        rates (kg m-2 s-1): such a sum times this is the amount of the day. Amounts (kg m-2, mm) and rates per day are
        taken as they are.

    Returns
    -------
    ClimateArchive that grows along member: (``member``, ``time``, ``point``) tas (K), snowfall, rainfall (kg m-2 per
    day), the members sorted by name (gcm_rcm_scenario) with coordinates gcm, rcm, scenario. From the first to the
    last year that any member has whole; a member's values are missing in years that it has not. A new member leaves
    the pieces of the others as they were, unless it makes the archive longer in time.

    Raises
    ------
    InputError
        naming the file: a mean without its sum or the other way round, two files of one kind of a member, a name that
        does not tell the member, a gap between days, points that differ, a variable that is missing, other units, no
        whole hydrological year; members of different calendars, which make different archives.
    """
    if not 0 < hours_of_rates <= 24:
        raise InputError(f"hours_of_rates (--hours-of-rates) is {hours_of_rates}; allowed: above 0, 24 at most")
    pairs = [
        _pair(member, files, massif_names, massif_positions, hours_of_rates)
        for member, files in sorted(_continued(_paired(files_of(folder_or_files, PATTERN), pattern)).items())
    ]
    _refuse_other_points(pairs)
    climates = {pair.member.label: pair.climate for pair in pairs}
    report = ConversionReport(f"ADAMONT: {len(pairs)} members")
    ds = members.side_by_side(climates, report).assign(pairs[0].first.points)
    words = ("gcm", "rcm", "scenario")
    ds = ds.assign_coords({word: ("member", [getattr(pair.member, word) for pair in pairs]) for word in words})
    where = f"ADAMONT {pairs[0].first.path} and others"
    climate = forcing.as_climate(ds.transpose("member", "time", "point"), where)
    years = members.years_of(climates)
    asked = [members.span_of(years), f"{hours_of_rates:g} h", points_fingerprint(pairs[0].first.points)]
    pieces = tuple((pair.member.label, joint_fingerprint([*pair.fingerprints, *asked])) for pair in pairs)
    return ClimateArchive(climate, "member", pieces, _completed(report, pairs, years, hours_of_rates))


def _paired(paths: Sequence[Path], pattern: str | None) -> dict[Member, dict[str, Path]]:
    """Member -> its file of means and its file of sums."""
    found: dict[Member, dict[str, Path]] = {}
    for path in paths:
        with open_metadata(path) as ds:
            member, kind = identify(ds, path, pattern)
        other = found.setdefault(member, {}).setdefault(kind, path)
        if other != path:
            raise InputError(f"{path}: member {member.label} has daily {kind}s in {other} too; allowed: one file")
    for member, files in found.items():
        for kind in WORDS:
            if kind not in files:
                raise InputError(
                    f"{next(iter(files.values()))}: member {member.label} has no file of daily {kind}s; allowed: two "
                    "files of a member, daily means (Tair) and daily sums (SNOW, RAIN)"
                )
    return found


def _continued(found: Mapping[Member, Mapping[str, Path]]) -> dict[Member, _Files]:
    """Every scenario with the historical run that it goes on from; one without scenarios is a member itself."""
    models = {(member.gcm, member.rcm) for member in found if member.scenario != HISTORICAL}
    out = {}
    for member, files in found.items():
        past = found.get(Member(member.gcm, member.rcm, HISTORICAL), {})
        if member.scenario == HISTORICAL:
            if (member.gcm, member.rcm) not in models:
                out[member] = {kind: [path] for kind, path in files.items()}
        else:
            out[member] = {kind: [*([past[kind]] if past else []), path] for kind, path in files.items()}
    return out


def _pair(
    member: Member,
    files: _Files,
    names: Mapping[int, str] | None,
    places: Positions | None,
    hours: float,
) -> _Pair:
    sources = {kind: [open_source(path, WORDS[kind], names, places) for path in files[kind]] for kind in WORDS}
    first, second = sources["mean"][0], sources["sum"][0]
    for other in (*sources["mean"][1:], *sources["sum"]):
        refuse_other_points(other.points, other.path, first.points, first.path)
    series = {kind: _days_of(parts) for kind, parts in sources.items()}
    if calendar_of(first.time) != calendar_of(second.time):
        raise InputError(f"{second.path}: variable 'time' has another calendar than {first.path}; allowed: the same")
    arrays = {
        "tas": station_days.daily_array(series["mean"], "tas", station_days.whole_days(series["mean"]), how="mean")
    }
    for word in WORDS["sum"]:
        units = {source.units[word] for source in sources["sum"]}
        if len(units) > 1:
            raise InputError(
                f"{second.path}: variable of {word} has units {sorted(units)} in the files of {member.label}"
            )
        length = 1.0 if _PER_DAY.search(second.units[word]) else hours / 24.0
        arrays[word] = station_days.daily_array(
            series["sum"], word, station_days.whole_days(series["sum"]), how="sum", step_days=length
        )
    climate = xr.merge([a.to_dataset() for a in arrays.values()], join="inner", combine_attrs="override")
    years = whole_years(climate["time"])
    if not years.size:
        span = " to ".join(f"{day:%Y-%m-%d}" for day in climate.indexes["time"][[0, -1]]) if climate.time.size else "-"
        raise InputError(
            f"{first.path} and {second.path}: variable 'time' covers {span} in both; allowed: one whole hydrological "
            "year or more (1 October to 30 September)"
        )
    label = forcing.hydro_year(climate["time"]).values
    a, b = (int(i) for i in np.searchsorted(label, [years[0], years[-1] + 1]))
    prints = tuple(file_fingerprint(source.path) for parts in sources.values() for source in parts)
    return _Pair(member, climate.isel(time=slice(a, b)), first, prints, (a, len(label) - b))


def _days_of(sources: Sequence[StationFile]) -> station_days.Series:
    """Files of days, whatever hour they are stamped with."""
    series = station_days.in_order(sources)
    if series.steps_per_day != 1:
        raise InputError(f"{sources[0].path}: variable 'time' has {series.steps_per_day} steps per day; allowed: days")
    return series


def _refuse_other_points(pairs: Sequence[_Pair]) -> None:
    first = pairs[0].first
    for pair in pairs:
        refuse_other_points(pair.first.points, pair.first.path, first.points, first.path)


def _completed(report: ConversionReport, pairs: Sequence[_Pair], years: np.ndarray, hours: float) -> ConversionReport:
    report.totals |= {
        "members": len(pairs),
        "points": pairs[0].first.points.sizes["point"],
        "first year": int(years[0]),
        "last year": int(years[-1]),
    }
    for name, i in (("first", 0), ("last", 1)):
        cut = [f"{pair.member.label}: {pair.cut[i]} days" for pair in pairs if pair.cut[i]]
        report.add(f"members with an incomplete {name} hydrological year", len(cut), "cut", cut)
    report.notes.append(
        f"Daily sums of rates are taken for sums of {24 / hours:g} rates of {hours:g} h each; amounts as they are."
    )
    return report
