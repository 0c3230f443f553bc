"""ALPGM's clips of elevation and elevation change -> elevation models of the glaciers that they belong to.

The clips lie on the outlines of 2015; a glacier here is one of the outlines of 2003.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alpgm_dask import packing
from alpgm_dask.convert.conversion import Mapper, PackedSource
from alpgm_dask.convert.elevation.converting import pack_surveys
from alpgm_dask.convert.elevation.surveys import GlacierSurveys, Method
from alpgm_dask.convert.inventory import PLANE
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    import geopandas as gpd

#: The maps of change are between about these years (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020).
DATES = ("1979", "2011")

_OUTLINES = Path("glacier_shapefiles/2015/backup/glaciers_2015_05.shp")
_CHANGES = Path("glacier_rasters/dh_2015")
_SURFACES = Path("glacier_rasters/DEM_2015")

NOTE = (
    "elevation_models: the clips are ALPGM's, on its outlines of 2015 and on their own grid in degrees, not resampled. "
    "The years of the surveys, about 1979 and 2011, are those that Bolibar et al. (2020) give."
)


@dataclass(frozen=True)
class Match:
    """The glacier of 2003 that a clip belongs to: its outline (position), by which rule, and their overlap in m2."""

    outline: int
    how: str
    overlap: float


def read_features(path: Path) -> gpd.GeoDataFrame:
    """Outlines of 2015 in :data:`PLANE`, with ``glims_id`` and ``name``.

    The table is latin-1 and does not say so, even in the names of its columns; the coordinates are degrees, without a
    CRS.
    """
    import geopandas as gpd
    import pyogrio

    before = pyogrio.get_gdal_config_option("SHAPE_ENCODING")
    pyogrio.set_gdal_config_options({"SHAPE_ENCODING": "ISO-8859-1"})
    try:
        frame = gpd.read_file(path, engine="pyogrio")
    finally:
        pyogrio.set_gdal_config_options({"SHAPE_ENCODING": before})
    columns = {"GLIMS_ID": "glims_id", "Glacier": "name"}
    frame = frame.set_crs(4326, allow_override=True).rename(columns=columns)[["glims_id", "name", "geometry"]]
    frame["geometry"] = frame.make_valid()
    return frame.to_crs(PLANE)


def match_features(features: gpd.GeoDataFrame, outlines: gpd.GeoDataFrame) -> list[Match | None]:
    """The outline of 2003 of each feature: that of its GLIMS id if both tables have it once, else the greatest overlap.

    Parameters
    ----------
    features, outlines
        with ``glims_id``, in one plane. A GLIMS id whose two outlines do not overlap is a wrong one.
    """
    once = [set(counts[counts == 1].index) for counts in (t["glims_id"].value_counts() for t in (features, outlines))]
    unique = once[0] & once[1]
    by_id = {glims_id: at for at, glims_id in enumerate(outlines["glims_id"]) if glims_id in unique}
    out: list[Match | None] = []
    for glims_id, shape in zip(features["glims_id"], features.geometry, strict=True):
        near = np.sort(outlines.sindex.query(shape, predicate="intersects"))
        overlap = outlines.geometry.iloc[near].intersection(shape).area.to_numpy()
        own = np.flatnonzero(near == by_id.get(glims_id, -1))
        if own.size and overlap[own[0]] > 0:
            out.append(Match(int(near[own[0]]), "GLIMS id", float(overlap[own[0]])))
        elif overlap.size and overlap.max() > 0:
            best = int(np.argmax(overlap))
            out.append(Match(int(near[best]), "overlap", float(overlap[best])))
        else:
            out.append(None)
    return out


def _claims(
    features: gpd.GeoDataFrame, outlines: gpd.GeoDataFrame, report: ConversionReport
) -> dict[str, dict[str, str]]:
    """rgi_id -> name and glims_id of the one clip that it gets."""
    matches, names = match_features(features, outlines), features["name"].tolist()
    rgi_ids = outlines["rgi_id"].tolist()
    best: dict[str, int] = {}
    second, nobody = [], []
    for at, match in enumerate(matches):
        rgi_id = rgi_ids[match.outline] if match else ""
        if not match or not rgi_id:
            nobody.append(names[at])
            continue
        other = best.get(rgi_id)
        if other is not None and matches[other].overlap >= match.overlap:
            second.append(f"{names[at]} ({rgi_id})")
            continue
        second += [] if other is None else [f"{names[other]} ({rgi_id})"]
        best[rgi_id] = at
    add, total = report.add, len(features)
    add("elevation models: clips with an outline of 2015", total, "matched with the outlines of 2003")
    for how in ("GLIMS id", "overlap"):
        add(f"elevation models: clips matched by {how}", sum(m is not None and m.how == how for m in matches), "taken")
    add("elevation models: clips of a glacier that has a larger one", len(second), "left out", second)
    add("elevation models: clips of no glacier with rasters", len(nobody), "left out", nobody)
    return {i: {"name": names[at], "glims_id": str(features["glims_id"].iloc[at])} for i, at in sorted(best.items())}


def elevation_models(
    data: Path,
    outlines: gpd.GeoDataFrame,
    converted: Collection[str],
    known: Mapping[str, Mapping[str, object]],
    report: ConversionReport,
    *,
    mapper: Mapper = map,
    target_pixels: int = packing.TARGET_PIXELS,
) -> PackedSource | None:
    """The packed elevation models of ALPGM's clips; None where a checkout, or a choice of glaciers, has none.

    Parameters
    ----------
    data
        the folder ``glacier_data``.
    outlines
        of 2003, with ``glims_id`` and ``rgi_id`` ("" without rasters), in :data:`PLANE`.
    converted
        glaciers that are converted.
    known
        rgi_id -> what is known of a glacier; name and GLIMS id are those of the clip.
    report
        gets totals, faults and a note.
    mapper, target_pixels
        runs the scan; pixels of a block.

    Raises
    ------
    InputError
        if an outline of 2015 has no clips, or a clip is refused.
    """
    if not all((data / path).exists() for path in (_OUTLINES, _CHANGES, _SURFACES)):
        report.notes.append(f"No elevation models: the checkout has no {_OUTLINES}, {_CHANGES} or {_SURFACES}.")
        return None
    claims = {
        i: told for i, told in _claims(read_features(data / _OUTLINES), outlines, report).items() if i in converted
    }
    jobs = []
    for rgi_id, told in claims.items():
        files = (
            data / _CHANGES / f"dh_Glacier_{told['name']}.tif",
            data / _SURFACES / f"DEM_Glacier_{told['name']}.tif",
        )
        missing = [path for path in files if not path.exists()]
        if missing:
            raise InputError(f"{missing[0]}: there is no such file; allowed: one for each outline of {_OUTLINES}")
        jobs.append(GlacierSurveys(rgi_id, *map(str, files)))
    if not jobs:
        return None
    names = {i: {**known.get(i, {}), **told} for i, told in claims.items()}
    method = Method(difference=True, clips=True)
    report.notes.append(NOTE)
    return pack_surveys(jobs, method, names, DATES, report, mapper=mapper, target_pixels=target_pixels)
