"""Outlines and two surveys (or their difference) -> a Conversion with the packed store of elevation change."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from alpgm_dask import packing
from alpgm_dask.convert.conversion import Conversion, Mapper, PackedSource, attributes_of, scan_batches
from alpgm_dask.convert.elevation import coregistration
from alpgm_dask.convert.elevation.opened import is_mosaic
from alpgm_dask.convert.elevation.passes import SurveyReader, scan
from alpgm_dask.convert.elevation.surveys import NO_PIXEL, OUTSIDE, GlacierSurveys, Method
from alpgm_dask.convert.rasters import as_outlines, find_files, known_of, read_vector
from alpgm_dask.convert.readers import Record
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    import geopandas as gpd

_NUMBERS = ("lon", "lat", "area", "pixel_area", "x_origin", "y_origin", "pixel_width", "pixel_height")

#: Every fault that a scan counts, and what is done about it (in the order of the report).
ACTIONS = {
    "surveys: no CRS (glaciers)": "that of the other raster",
    "surveys: resampled (glaciers)": "bilinear, onto the glacier's grid",
    "change: missing (pixels)": "kept as missing",
    "change: large (pixels)": "kept: more than 400 m, for the fit to leave out",
    "surface: missing (pixels)": "kept as missing",
}

NOTE = (
    "Heights are compared as they are: both surveys must refer to the same vertical datum, or be co-registered "
    "(--coregister), which finds a constant difference of the two."
)


def check_dates(first: str, second: str) -> tuple[str, str]:
    """Dates of two surveys: YYYY-MM-DD, YYYY-MM or YYYY, the first before the second.

    Raises
    ------
    InputError
        if one is no date, or they are equal or reversed as far as both are known.

    >>> check_dates("1979", "2011-08-20")
    ('1979', '2011-08-20')
    """
    for text in (first, second):
        try:
            valid = re.fullmatch(r"\d{4}(-\d\d){0,2}", text) and date.fromisoformat(
                f"{text}-01-01"[: max(10, len(text))]
            )
        except ValueError:
            valid = None
        if not valid:
            raise InputError(f"date of a survey: {text!r}; allowed: YYYY-MM-DD, YYYY-MM or YYYY")
    known = min(len(first), len(second))
    if first[:known] >= second[:known]:
        raise InputError(f"dates of the surveys: {first}, then {second}; allowed: the first before the second")
    return first, second


def _sources(
    first: object, second: object, difference: object, surface: object
) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two rasters, and what they hold; (difference, surface) or (first, second)."""
    given = {"first": first, "second": second, "difference": difference, "surface": surface}
    there = {name for name, where in given.items() if where is not None}
    for pair in (("first", "second"), ("difference", "surface")):
        if there == set(pair):
            return (str(given[pair[0]]), str(given[pair[1]])), pair
    raise InputError(
        f"elevation models: given {', '.join(sorted(there)) or 'none'}; allowed: first and second, or difference and "
        "surface"
    )


def _jobs(
    outlines: gpd.GeoDataFrame, where: tuple[str, str], method: Method, report: ConversionReport
) -> list[GlacierSurveys]:
    """One job for each outline that has both rasters."""
    ids, files = outlines["rgi_id"].tolist(), []
    for path, variable in zip(where, method.variables, strict=True):
        whole = is_mosaic(path, variable)
        files.append(dict.fromkeys(ids, path) if whole else find_files(path, ids, variable))
    missing = [rgi_id for rgi_id in ids if any(rgi_id not in found for found in files)]
    report.add("glaciers without rasters", len(missing), "left out", missing)
    jobs = [
        GlacierSurveys(rgi_id, files[0][rgi_id], files[1][rgi_id], shapely.to_wkb(outline))
        for rgi_id, outline in zip(ids, outlines.geometry, strict=True)
        if rgi_id in files[0] and rgi_id in files[1]
    ]
    if not jobs:
        raise InputError(
            f"{where[0]} and {where[1]}: none of {len(ids)} outlines has both rasters; allowed: one at least"
        )
    return jobs


def _checked_outlines(outlines: object, id_column: str | None, report: ConversionReport) -> gpd.GeoDataFrame:
    is_path = isinstance(outlines, str | Path)
    frame = read_vector(Path(outlines)) if is_path else outlines
    frame = as_outlines(frame, outlines if is_path else "outlines", id_column, report)
    empty = frame.geometry.isna() | frame.geometry.is_empty
    report.add("outlines that are empty", int(empty.sum()), "left out", frame.loc[empty, "rgi_id"])
    return frame[~empty].reset_index(drop=True)


def pack_surveys(
    jobs: Sequence[GlacierSurveys],
    method: Method,
    known: Mapping[str, Mapping[str, object]],
    dates: tuple[str, str],
    report: ConversionReport,
    *,
    mapper: Mapper = map,
    target_pixels: int = packing.TARGET_PIXELS,
) -> PackedSource:
    """Scan glaciers, enter what was met into a report, and plan their store.

    Parameters
    ----------
    jobs, method
        rasters of the glaciers, and how they are read.
    known
        rgi_id -> name, massif and so on.
    dates
        of both surveys, see :func:`check_dates`.
    report
        gets totals and faults, each beginning with "elevation models: ".
    mapper, target_pixels
        runs the scan; pixels of a block.

    Raises
    ------
    InputError
        if a raster is refused, no glacier meets the rasters, or no pixel has a change.
    """
    first, second = check_dates(*dates)
    records, faults = scan_batches(jobs, partial(scan, method=method), mapper)
    _report(report, records, faults)
    kept = [(job, record) for job, record in zip(jobs, records, strict=True) if not record.skipped]
    files = f"{jobs[0].first} and {jobs[0].second}" if jobs else "no file"
    if not kept:
        why = ", ".join(f"{n} {reason}" for reason, n in Counter(record.skipped for record in records).items())
        raise InputError(
            f"{files}: none of {len(jobs)} glaciers can be taken ({why}); allowed: rasters that meet outlines"
        )
    if not any(record.attributes["valid"] for _, record in kept):
        raise InputError(
            f"{files}: variable 'elevation_change' is missing at every pixel of all {len(kept)} glaciers; allowed: "
            "surveys that both have values inside an outline"
        )
    attributes = attributes_of([record for _, record in kept], known, _NUMBERS)
    attributes.attrs |= {"first_survey": first, "second_survey": second}
    plan = packing.plan_blocks(np.array([record.attributes["row_size"] for _, record in kept]), target_pixels)
    reader = SurveyReader(tuple(job for job, _ in kept), plan, method)
    return PackedSource(attributes, plan, reader, packing.ELEVATION_VARIABLES)


def _report(report: ConversionReport, records: Sequence[Record], faults: Mapping[str, int]) -> None:
    kept = [(record.rgi_id, record.attributes) for record in records if not record.skipped]
    valid, pixels = sum(a["valid"] for _, a in kept), sum(a["row_size"] for _, a in kept)
    area = sum(a["valid"] * a["pixel_area"] for _, a in kept)
    totals = {"glaciers": len(kept), "pixels": pixels, "pixels with a change": valid}
    totals |= {"area with a change (km2)": round(area / 1e6, 4)}
    totals |= {"mean change (m)": round(sum(a["change"] for _, a in kept) / area, 3)} if area else {}
    report.totals.update({f"elevation models: {name}": value for name, value in totals.items()})
    for name, action in ACTIONS.items():
        cases = [record.rgi_id for record in records if record.faults.get(name)]
        rare = cases if len(cases) < len(records) / 2 else ()
        report.add(f"elevation models: {name}", faults.get(name, 0), action, rare)
    for reason in (OUTSIDE, NO_PIXEL):
        cases = [record.rgi_id for record in records if record.skipped == reason]
        report.add(f"elevation models: glaciers {reason}", len(cases), "left out", cases)
    none = [rgi_id for rgi_id, a in kept if not a["valid"]]
    report.add("elevation models: glaciers without a single change", len(none), "kept, change missing", none)


def _coregistered(
    jobs: Sequence[GlacierSurveys], pair: tuple[str, str], where: tuple[str, str], mapper: Mapper
) -> coregistration.Coregistration:
    if pair[0] == "difference":
        raise InputError(
            f"{where[0]}: --coregister needs both surveys; allowed: --first and --second, or no --coregister"
        )
    if not all(is_mosaic(path, "surface_elevation") for path in where):
        raise InputError(
            f"{where[0]} and {where[1]}: clips of glaciers have no ice-free ground; allowed with --coregister: mosaics"
        )
    coregistration.require_xdem()
    shapes = [job.outline for job in jobs]
    return next(iter(mapper(partial(coregistration.estimate, outlines=shapes), [jobs[0]])))


def convert(
    outlines: str | Path | gpd.GeoDataFrame,
    dates: tuple[str, str],
    *,
    first: str | Path | None = None,
    second: str | Path | None = None,
    difference: str | Path | None = None,
    surface: str | Path | None = None,
    id_column: str | None = None,
    coregister: bool = False,
    known: Mapping[str, Mapping[str, object]] | None = None,
    mapper: Mapper = map,
) -> Conversion:
    """Outlines and either two surveys of the surface, or their difference and a surface.

    A raster is a mosaic (GeoTIFF, COG, NetCDF, Zarr store or group), a folder of clips, or a pattern with ``{id}``;
    of any CRS and resolution, in m. A glacier's pixels are those whose centres lie inside its outline, on the grid of
    the second survey (or of the difference) where that is in metres or a clip, else in the glacier's UTM zone. The
    other raster is resampled bilinearly where it lies on another grid.

    Parameters
    ----------
    outlines
        any vector file, or a table; columns as :mod:`alpgm_dask.convert.rasters` understands them.
    dates
        of the two surveys, see :func:`check_dates`.
    first, second
        the earlier and the later survey.
    difference, surface
        later minus earlier, and the mean (or another) surface between them.
    id_column
        column of the identifiers, if it has another name than in RGI.
    coregister
        move the first survey by the offset found on ice-free ground (:mod:`.coregistration`).
    known
        rgi_id -> name, massif and so on, of an inventory that knows better than `outlines`.
    mapper
        runs the scan, see :data:`alpgm_dask.convert.conversion.Mapper`.

    Returns
    -------
    Conversion with ``packed["elevation_models"]``.

    Raises
    ------
    InputError
        naming file, variable, value and what is allowed.
    """
    where, pair = _sources(first, second, difference, surface)
    check_dates(*dates)
    report = ConversionReport(f"elevation models {where[0]} and {where[1]}", notes=[NOTE])
    frame = _checked_outlines(outlines, id_column, report)
    method = Method(difference=pair[0] == "difference")
    jobs = _jobs(frame, where, method, report)
    method = replace(method, clips=not is_mosaic(where[0 if method.difference else 1], "surface_elevation"))
    found = _coregistered(jobs, pair, where, mapper) if coregister else None
    if found is not None:
        method = replace(method, offset=found.offset())
        report.totals |= {f"co-registration: {name}": v for name, v in found.as_dict().items() if name != "crs"}
    told = known_of(frame)
    names = {rgi_id: {**told[rgi_id], **(known or {}).get(rgi_id, {})} for rgi_id in told}
    packed = pack_surveys(jobs, method, names, dates, report, mapper=mapper)
    if found is not None:
        packed.attributes.attrs["coregistration"] = json.dumps(found.as_dict())
    return Conversion(report, packed={"elevation_models": packed})
