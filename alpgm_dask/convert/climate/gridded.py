"""Gridded climate of any CF archive: reanalyses, observations on a grid, climate models; daily, hourly or monthly.

Read by metadata, not by file names: HISTALP, ERA5 and ERA5-Land, E-OBS, W5E5 and ISIMIP, CMIP6, EURO-CORDEX, and what
else has CF standard names or known names. What the products mean by their numbers, and how it is read:

- **Stamps.** Time bounds decide which step a stamp stands for, where they are sound. Without them, a day is that in
  which the stamp lies (00:00 or 12:00), a month likewise; an hourly state belongs to its stamp; hourly precipitation
  whose stamps stand on whole steps is that of the step that *ends* there (ECMWF, GRIB).
- **Accumulations.** Hourly ERA5 precipitation is in m over the step that ends at the stamp: ``accumulated="step"``.
  ERA5-Land's grows from 00 UTC on, and its value at 00 UTC is the sum of the day before: ``accumulated="day"``. Their
  files do not say which they are, so that it must be said, unless time bounds or ``cell_methods`` (sum) do; the first
  days of the file are looked at, whether they contradict. Monthly means of ERA5 are in m per day: known by
  ``GRIB_stepType`` (avgad), else to be said by ``accumulated="day"``.
- **Fluxes** (kg m-2 s-1, mm day-1) are multiplied by the length of their step, of months in the file's calendar.
- **Elevation** is surface altitude, or geopotential divided by 9.80665 m s-2.
- **Days** are means and sums of all of their steps, UTC; a day that lacks a value is missing.

ECMWF's conventions: "Conversion table for accumulated variables", Copernicus Knowledge Base, ECMWF Confluence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.convert.climate import members
from alpgm_dask.convert.climate.archive import ClimateArchive, joint_fingerprint
from alpgm_dask.convert.climate.assembling import Assembled, Wanted, assemble
from alpgm_dask.convert.climate.sources import Sources
from alpgm_dask.convert.climate.sums import Accumulated
from alpgm_dask.convert.climate.yearly import yearly_fingerprints
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.forcing import as_climate, days_of, hydro_year
from alpgm_dask.forcing.calendar import calendar_of, whole_years
from alpgm_dask.schema import InputError

_LABELS = ("gcm", "rcm", "scenario")


def open_grid(
    sources: Sources,
    *,
    orography: Sources | None = None,
    bounding_box: Sequence[float] | None = None,
    around: tuple[np.ndarray, np.ndarray] | None = None,
    margin: float = 0.0,
    names: Mapping[str, str] | None = None,
    accumulated: Accumulated | None = None,
) -> xr.Dataset:
    """A gridded archive as one lazy dataset of days or months, on its grid and over all of its steps.

    Parameters
    ----------
    sources, orography, bounding_box, around, margin, names, accumulated
        as for :func:`read`.

    Returns
    -------
    Dataset (``time``, ``y``, ``x``), or (``time``, ``point``) for points: tas (K), snowfall and rainfall, or pr
    (kg m-2 per step), with the coordinates lon, lat, elevation (``y``, ``x``), grid_row (``y``), grid_column (``x``).

    Raises
    ------
    InputError
        as :func:`read`.
    """
    return assemble(sources, Wanted(orography, bounding_box, around, margin, names, accumulated)).climate


def read(
    sources: Sources | Mapping[str, Sources],
    *,
    orography: Sources | None = None,
    bounding_box: Sequence[float] | None = None,
    around: tuple[np.ndarray, np.ndarray] | None = None,
    margin: float = 0.0,
    names: Mapping[str, str] | None = None,
    member: str | None = None,
    labels: Mapping[str, Any] | None = None,
    accumulated: Accumulated | None = None,
) -> ClimateArchive:
    """A gridded archive as climate at the cells that are needed, in whole hydrological years; lazy.

    Read at once: coordinates, elevation, one step at either end (to leave out cells that have no value there), of
    hourly amounts the first days, and for the fingerprints of the pieces some steps of each year, or all; of what is
    remote or a graph, one (:mod:`.yearly`).

    Parameters
    ----------
    sources
        NetCDF files, glob patterns, folders, Zarr stores or URLs, datasets, or a sequence of these: one or several
        files per variable and period, in any order. For several members: a mapping from their names to such.
    orography
        file with the elevation, where the archive lacks it; its grid may be larger.
    bounding_box
        west, south, east, north in degrees: cells inside and those beside them.
    around
        longitudes and latitudes (degree) of places: the cells around each of them.
    margin
        km around the places of `around` from which cells are taken besides.
    names
        the variables of the files that are tas, pr, snowfall, rainfall, elevation, where metadata do not tell.
    member
        name of the run, for an archive of one.
    labels
        gcm, rcm, scenario, where the files' attributes do not say; of several members, a mapping from each to such.
    accumulated
        what amounts are sums of: "step" or "day"; see the module.

    Returns
    -------
    ClimateArchive that grows along time, or along member for a mapping of members: from the first to the last
    hydrological year that any of them has whole, missing where one has none. A new member leaves the pieces of the
    others as they were, unless it makes the archive longer in time.

    Raises
    ------
    InputError
        for variables, units, grids and dates that are not what is allowed: naming file, variable, value or date.
    """
    wanted = Wanted(orography, bounding_box, around, margin, names, accumulated)
    if isinstance(sources, Mapping) and not isinstance(sources, xr.Dataset):
        if member is not None:
            raise InputError(f"member (--member): {member!r}, with members (--members); allowed: one of the two")
        return _read_members(sources, wanted, labels or {})
    run = _read_one(sources, wanted, None, None)
    climate, pieces = run.climate, run.pieces
    if member is not None:
        known = _labels(run.labels, labels)
        climate = _named(climate, member, known)
        pieces = tuple((year, joint_fingerprint([mark, member, repr(known)])) for year, mark in pieces)
    return ClimateArchive(as_climate(climate, run.where), "time", pieces, run.report)


@dataclass(frozen=True)
class _Run:
    """An archive of one run, with its pieces by year."""

    climate: xr.Dataset
    pieces: tuple[tuple[str, str], ...]
    labels: dict[str, str]
    where: str
    report: ConversionReport


def _kept(found: Assembled, report: ConversionReport) -> np.ndarray:
    """Which cells are needed and have an elevation and values."""
    needed, high = found.needed, np.isfinite(found.climate["elevation"].values)
    missing = np.zeros(needed.shape, dtype=bool) if found.missing is None else found.missing
    report.totals["cells in the files"] = found.cells_in_files
    report.totals["cells needed"] = int(needed.sum())
    report.add("cells without elevation", int((needed & ~high).sum()), "left out")
    report.add("cells without values at both ends of the record", int((needed & high & missing).sum()), "left out")
    report.notes += [f"{role} is '{name}'" for role, name in found.variables.items()] + found.notes
    if found.missing is None:
        report.notes.append(
            "cells without values are not looked for in a dataset that is a graph: it would be computed"
        )
    kept = needed & high & ~missing
    report.totals["points"] = int(kept.sum())
    if not kept.any():
        raise InputError(f"{found.where}: no cell that is needed has both elevation and values")
    return kept


def _flattened(climate: xr.Dataset, kept: np.ndarray) -> xr.Dataset:
    """(``time``, ``point``) of the cells that are kept."""
    if "point" not in climate.dims:
        climate = climate.stack(point=("y", "x"), create_index=False)
    return climate.isel(point=np.flatnonzero(kept.ravel()))


def _whole_years(climate: xr.Dataset, where: str, report: ConversionReport) -> xr.Dataset:
    index, years = climate.indexes["time"], whole_years(climate["time"])
    if not years.size:
        raise InputError(
            f"{where}: its dates go from {index[0]} to {index[-1]}; allowed: a whole hydrological year or more"
        )
    out = days_of(climate, years)
    left = out.indexes["time"]
    report.add("steps outside of whole hydrological years", len(index) - len(left), "left out")
    report.totals |= {"hydrological years": years.size, "steps": len(left)}
    report.notes.append(f"calendar {calendar_of(index)}, {left[0]} to {left[-1]}")
    return out


def _labels(stated: Mapping[str, str], given: Mapping[str, Any] | None) -> dict[str, str]:
    unknown = sorted(set(given or {}) - set(_LABELS))
    if unknown:
        raise InputError(f"labels (--label): {unknown[0]!r} is no label; allowed: {', '.join(_LABELS)}")
    return {label: str((given or {}).get(label, stated.get(label, ""))) for label in _LABELS}


def _named(climate: xr.Dataset, member: str, labels: Mapping[str, str]) -> xr.Dataset:
    out = climate.expand_dims(member=np.array([member], dtype=object))
    return out.assign_coords({key: ("member", np.array([text], dtype=object)) for key, text in labels.items()})


def _asked(climate: xr.Dataset, found: Assembled, wanted: Wanted) -> str:
    """What all values depend on besides the files: points and their elevation, variables, reading of sums."""
    points = [climate[name].values.astype("float64").tobytes().hex() for name in ("lon", "lat", "elevation")]
    return joint_fingerprint([*points, repr(sorted(found.variables.items())), str(wanted.accumulated)])


def _read_one(sources: Sources, wanted: Wanted, where: str | None, report: ConversionReport | None) -> _Run:
    """One run: whole hydrological years at the cells that are kept."""
    found = assemble(sources, wanted)
    report = report or ConversionReport(f"gridded climate: {found.where}")
    kept = _kept(found, report)
    climate = _whole_years(_flattened(found.climate, kept), where or found.where, report)
    years = np.unique(hydro_year(climate["time"]).values).tolist()
    pieces = yearly_fingerprints(found.parts, kept, years, _asked(climate, found, wanted))
    return _Run(climate, pieces, found.labels, found.where, report)


def _read_members(
    sources: Mapping[str, Sources], wanted: Wanted, labels: Mapping[str, Mapping[str, str]]
) -> ClimateArchive:
    if not sources:
        raise InputError("sources: no member is given; allowed: a mapping from the name of each member to its files")
    strange = sorted(set(labels) - set(sources))
    if strange:
        raise InputError(f"labels (--label): {strange[0]!r} is no member; allowed: {', '.join(sources)}")
    report, runs = ConversionReport(f"gridded climate of {len(sources)} members"), {}
    for name, files in sources.items():
        run = runs[str(name)] = _read_one(files, wanted, f"member {name}", ConversionReport(str(name)))
        report.tables[str(name)] = [run.report.totals | {fault.name: fault.count for fault in run.report.faults}]
        report.notes += [f"{name}: {note}" for note in run.report.notes]
    climates = {name: run.climate for name, run in runs.items()}
    members.refuse_calendars(climates)
    first_name, first = next(iter(climates.items()))
    for name, climate in climates.items():
        _check_alike(first, climate, first_name, name)
    known = {name: _labels(run.labels, labels.get(name)) for name, run in runs.items()}
    climate = members.side_by_side(climates, report)
    texts = {word: np.array([known[name][word] for name in climates], dtype=object) for word in _LABELS}
    climate = climate.assign_coords({word: ("member", text) for word, text in texts.items()})
    span = members.span_of(members.years_of(climates))
    marks = {name: [mark for _, mark in run.pieces] for name, run in runs.items()}
    pieces = tuple((name, joint_fingerprint([*marks[name], repr(known[name]), span])) for name in runs)
    return ClimateArchive(as_climate(climate, "members"), "member", pieces, report)


def _check_alike(first: xr.Dataset, other: xr.Dataset, first_name: str, name: str) -> None:
    """Members share points, variables and time step."""
    if set(first.data_vars) != set(other.data_vars):
        given = [", ".join(sorted(map(str, one.data_vars))) for one in (other, first)]
        raise InputError(f"member {name}: its variables are {given[0]}, those of {first_name} {given[1]}")
    for place in ("lon", "lat", "elevation"):
        one, two = first[place].values, other[place].values
        if one.shape != two.shape or not np.allclose(one, two, rtol=0.0, atol=1e-3 if place != "elevation" else 1.0):
            raise InputError(
                f"member {name}: {place} of its {two.size} points is not that of the {one.size} points of "
                f"{first_name}; allowed: members on one grid (make one store of each grid)"
            )
    steps = [bool((one.indexes["time"][1] - one.indexes["time"][0]).days > 1) for one in (first, other)]
    if steps[0] != steps[1]:
        kinds = ["monthly" if step else "daily" for step in steps]
        raise InputError(f"member {name}: its steps are {kinds[1]}, those of {first_name} {kinds[0]}")
