"""A checkout of ALPGM's repository (its folder ``glacier_data``) -> a Conversion."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from alpgm_dask import packing
from alpgm_dask.convert import alpgm_tables as tables
from alpgm_dask.convert import inventory
from alpgm_dask.convert.alpgm_elevation import elevation_models
from alpgm_dask.convert.alpgm_geodetic import geodetic
from alpgm_dask.convert.alpgm_report import (
    NOTES,
    report_inside,
    report_list,
    report_outlines,
    report_overlap,
    report_rows,
)
from alpgm_dask.convert.cleaning import NOISE_ABOVE, RasterPair, Rules
from alpgm_dask.convert.conversion import Conversion, Mapper, assemble, report_faults, scan_all, totals
from alpgm_dask.convert.inventory import PLANE, Matcher, assign_flowlines, read_outlines, read_table, rows_of
from alpgm_dask.convert.readers import Record
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    import geopandas as gpd

REGION = "RGI60-11"

#: ALPGM's data are mended where they are known to be faulty; anything else is refused.
RULES = Rules(noise_above=NOISE_ABOVE, resample=True, fill_surface=True)

_THICKNESS = re.compile(r"RGI60-11\.(\d{5})_thickness\.tif")
_SURFACE = re.compile(r"dem_(\d{5})\.asc\.tif")
_THICKNESS_DIR = Path("glacier_rasters/glacier_thickness/thickness_tif")
_SURFACE_DIR = Path("glacier_rasters/glacier_thickness/dem_tif")
_OUTLINES = Path("glacier_shapefiles/2003/GLIMS_glaciers_2003_ID.shp")
_PIECES = Path("glacier_shapefiles/2003/GLIMS_glaciers_2003_ID_massif.shp")
_FLOWLINES = Path("glacier_shapefiles/2003/GLIMS_flowlines_2003.shp")
_LOCATIONS = Path("glacier_rasters/glacier_thickness/thick_centraleurope.dat")
_TABLES = {1967: "GLIMS_1967-71.csv", 1985: "GLIMS_1985.csv", 2003: "GLIMS_2003.csv", 2015: "GLIMS_2015_massif.csv"}


_LIST_COLUMNS = ("lon", "lat", "area", "year", "name")

_ROW_COLUMNS = (
    *("inventory_year", "glims_id", "name", "rgi_id", "massif", "area", "mean_elevation", "lon", "lat", "matched_by"),
)


def subregion(lon: float, lat: float) -> str:
    """RGI 6.0's second-order region of a glacier of region 11, from its location.

    RGI knows two: 11-01 (Alps) and 11-02 (Southeast Europe). Every glacier of the Alps lies north of 43.5 N and
    between 5 and 17 E; what is left (Pyrenees, Apennines, Dinaric and Albanian mountains) has no region of its
    own and is counted as 11-02.

    >>> subregion(6.9, 45.9), subregion(0.6, 42.6), subregion(13.57, 42.47)
    ('11-01 Alps', '11-02 Southeast Europe', '11-02 Southeast Europe')
    """
    return "11-01 Alps" if lat > 43.5 and 5.0 < lon < 17.0 else "11-02 Southeast Europe"


def data_folder(src: Path) -> Path:
    """The ``glacier_data`` folder of a checkout (InputError if `src` is none)."""
    for folder in (Path(src), Path(src) / "glacier_data"):
        if (folder / _THICKNESS_DIR).is_dir():
            return folder
    raise InputError(f"{src}: no folder glacier_data/{_THICKNESS_DIR}; allowed: a checkout of ALPGM's repository")


def raster_files(data: Path, report: ConversionReport) -> dict[str, tuple[str, str]]:
    """Number -> (thickness file, surface file); what is not one of a pair is counted.

    Raises
    ------
    InputError
        if a glacier has a thickness but no surface.
    """
    found: list[dict[str, str]] = []
    ignored: list[str] = []
    for folder, pattern in ((_THICKNESS_DIR, _THICKNESS), (_SURFACE_DIR, _SURFACE)):
        names = sorted(path.name for path in (data / folder).iterdir() if path.suffix == ".tif")
        matches = {name: pattern.fullmatch(name) for name in names}
        found.append({match[1]: str(data / folder / name) for name, match in matches.items() if match})
        ignored += [name for name, match in matches.items() if match is None]
    thickness, surface = found
    missing = sorted(set(thickness) - set(surface))
    if missing:
        raise InputError(
            f"{data / _SURFACE_DIR}: no surface for {len(missing)} glaciers, the first: dem_{missing[0]}.asc.tif"
        )
    clips = [name for name in ignored if "GLIMS2003" in name]
    others = [name for name in ignored if "GLIMS2003" not in name]
    report.add("rasters clipped to the 2003 outline (files)", len(clips), "ignored: made from the others")
    report.add("other rasters in the folders (files)", len(others), "ignored", others)
    alone = sorted(set(surface) - set(thickness))
    report.add("surface without thickness (files)", len(alone), "ignored", alone)
    return {number: (path, surface[number]) for number, path in sorted(thickness.items())}


def read_locations(path: Path) -> pd.DataFrame:
    """Location, area (km2), year and name of each glacier by number (``thick_centraleurope.dat``; may be absent)."""
    if not path.exists():
        return pd.DataFrame(columns=list(_LIST_COLUMNS))
    rows = {}
    for line in path.read_text(encoding="latin-1").splitlines()[1:]:
        number, values, rest = line.split(";")
        lon, lat, area = map(float, values.split()[:3])
        year, text = rest.strip().split(maxsplit=1)
        code = re.sub(r"\(\d+\)\s*$", "", text).strip()
        name = re.sub(r"^[A-Z]*\d*N?\d+[A-Z]+\d+\S*\s*", "", code).strip()
        rows[number.strip()] = (lon, lat, area, int(year), name if re.search("[A-Za-z]{3}", name) else "")
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(_LIST_COLUMNS))


def _parts_of_other_rows(rows: pd.DataFrame, matcher: Matcher) -> pd.Series:
    """Which rows are counted in another row already.

    A row of 2003 that has no outline of its own and lies in one that another row fills (Leschaux in Mer de Glace)
    is a part of that row, in 2003 and wherever the same name comes with the same GLIMS id.
    """
    inside = rows[(rows["inventory_year"] == 2003) & (rows["matched_by"] == "nearest")]
    keys = {(row.glims_id, inventory.plain_name(row.name)) for row in inside.itertuples(index=False)}
    return pd.Series(
        [(row.glims_id, inventory.plain_name(row.name)) in keys for row in rows.itertuples(index=False)], rows.index
    )


def _inventory_rows(data: Path, matcher: Matcher, report: ConversionReport) -> pd.DataFrame:
    """All rows of the four inventories, matched: the table that predictors are matched with later."""
    parts, latin = [], []
    for year, name in _TABLES.items():
        table, encoding = read_table(data / "GLIMS" / name)
        latin += [name] if encoding == "latin-1" else []
        parts.append(matcher.match(inventory.repair_1967(table) if year == 1967 else rows_of(table, year)))
    rows = pd.concat(parts, ignore_index=True)
    report.add("tables that are latin-1, not UTF-8", len(latin), "read as latin-1, 1967 repaired", latin)
    parts_of = _parts_of_other_rows(rows, matcher)
    cases = rows.loc[parts_of, "name"] + " " + rows.loc[parts_of, "inventory_year"].astype(str)
    report.add("inventory rows that are part of another row", int(parts_of.sum()), "not counted twice", cases)
    rows.loc[parts_of, ["outline", "matched_by"]] = [-1, "part of another row"]
    known = matcher.outlines.iloc[rows["outline"].clip(lower=0)]
    found = rows["outline"].to_numpy() >= 0
    rows["rgi_id"] = np.where(found, known["rgi_id"], "")
    rows["massif"] = np.where(found, known["massif"], rows["massif"])
    return rows


def _known(outlines: pd.DataFrame, rows: pd.DataFrame, locations: pd.DataFrame, records: Sequence[Record]):
    """rgi_id -> what inventories say: the French one where there is one, else the thickness data set's own list."""
    largest = rows[rows["inventory_year"] == 2003].sort_values("area", ascending=False).drop_duplicates("rgi_id")
    aspect = largest.set_index("rgi_id")["aspect"]
    known: dict[str, dict[str, object]] = {}
    for record in records:
        a, number = record.attributes, record.rgi_id[-5:]
        entry: dict[str, object] = {"inventory_year": 2003}
        if number in locations.index:
            where = locations.loc[number]
            entry = {"name": where["name"], "inventory_year": where["year"] if where["year"] > 0 else 2003}
        known[record.rgi_id] = entry | ({"subregion": subregion(a["lon"], a["lat"])} if a else {})
    for row in outlines[outlines["number"] > 0].to_dict("records"):
        if row["rgi_id"] in known:
            kept = ("glims_id", "name", "massif", "massif_safran", "inventory_year")
            known[row["rgi_id"]] |= {name: row[name] for name in kept}
            if np.isfinite(aspect.get(row["rgi_id"], np.nan)):
                known[row["rgi_id"]]["aspect"] = aspect[row["rgi_id"]]
    return known


def _pairs(files: dict[str, tuple[str, str]], outlines: pd.DataFrame, lines: list) -> list[RasterPair]:
    geometry = {
        f"{row.number:05d}": (shapely.to_wkb(row.geometry), None if line is None else shapely.to_wkb(line))
        for row, line in zip(outlines.itertuples(), lines, strict=True)
        if row.number > 0
    }
    return [
        RasterPair(f"{REGION}.{number}", *paths, *geometry.get(number, (None, None)), geometry_epsg=PLANE)
        for number, paths in files.items()
    ]


def _select(files: dict[str, tuple[str, str]], only: Collection[str] | None) -> dict[str, tuple[str, str]]:
    if only is None:
        return files
    unknown = sorted({rgi_id for rgi_id in only if rgi_id.removeprefix(f"{REGION}.") not in files})
    if unknown:
        raise InputError(f"rgi_id: unknown {unknown[:5]}; allowed: the {len(files)} numbers of {_THICKNESS_DIR}")
    return {number: paths for number, paths in files.items() if f"{REGION}.{number}" in set(only)}


def _outlines(data: Path, files: Collection[str], report: ConversionReport) -> tuple[gpd.GeoDataFrame, list]:
    """French outlines with the rgi_id of those that have rasters ("" for the others), and their flowlines."""
    import geopandas as gpd

    outlines, met = read_outlines(data / _OUTLINES, data / _PIECES)
    numbers = [f"{number:05d}" for number in outlines["number"]]
    outlines["rgi_id"] = [f"{REGION}.{number}" if number in files else "" for number in numbers]
    lines, counts = assign_flowlines(outlines, gpd.read_file(data / _FLOWLINES))
    report_outlines(report, met, counts)
    return outlines, lines


def convert(
    src: Path,
    *,
    only: Collection[str] | None = None,
    mapper: Mapper = map,
    target_pixels: int = packing.TARGET_PIXELS,
) -> Conversion:
    """ALPGM's rasters, outlines, flowlines, inventories, SMB, delta-h functions, elevation change, geodetic factors.

    Parameters
    ----------
    src
        the checkout, or its folder ``glacier_data``.
    only
        RGI identifiers to convert; None: all rasters.
    mapper
        runs the scan, see :data:`alpgm_dask.convert.conversion.Mapper`.
    target_pixels
        pixels of a block.

    Returns
    -------
    Conversion with ``glaciers``, ``outlines``, the packed ``elevation_models`` (where the checkout has the clips), the
    datasets ``inventories``, ``smb_observations``, ``delta_h``, ``geodetic``, ``geodetic_projections``, and the table
    ``inventory_rows`` (every row of the four inventories with the glacier it was matched to).

    Raises
    ------
    InputError
        if files are missing, an identifier is unknown, or a raster has a fault that :data:`RULES` do not mend.
    """
    import geopandas as gpd

    data, report = data_folder(src), ConversionReport(f"ALPGM checkout {src}")
    every = raster_files(data, report)
    files = _select(every, only)
    outlines, lines = _outlines(data, every, report)
    matcher = Matcher(outlines)
    rows = _inventory_rows(data, matcher, report)
    pairs = _pairs(files, outlines, lines)
    records, faults = scan_all(pairs, RULES, mapper)
    report.totals.update(totals(records))
    report_faults(report, records, faults)
    french = outlines[outlines["rgi_id"] != ""].sort_values("rgi_id")
    report_inside(report, records, french)
    report_rows(report, rows)

    whole = dict(zip(french["rgi_id"], gpd.GeoSeries(french.geometry, crs=PLANE).to_crs(4326), strict=True))
    report_list(report, records, listed := read_locations(data / _LOCATIONS))
    known = _known(outlines, rows, listed, records)
    glaciers, geometries = assemble(pairs, records, RULES, known, whole, "GLIMS 2003", target_pixels)
    report_overlap(report, geometries)
    converted = set(glaciers.attributes["rgi_id"].values)
    datasets = {
        "inventories": tables.inventories(rows, [rgi_id for rgi_id in french["rgi_id"] if rgi_id in converted]),
        "smb_observations": tables.smb_observations(data, matcher, report),
        "delta_h": tables.delta_h_functions(data, french.groupby("glims_id")["rgi_id"].agg(list).to_dict(), report),
    }
    datasets |= geodetic(data, {int(i[-5:]): i for i in converted}, report)
    surveys = elevation_models(data, outlines, converted, known, report, mapper=mapper, target_pixels=target_pixels)
    packed = {} if surveys is None else {"elevation_models": surveys}
    report.notes += NOTES
    points = gpd.GeoDataFrame(rows[list(_ROW_COLUMNS)], geometry=gpd.points_from_xy(rows["lon"], rows["lat"], crs=4326))
    return Conversion(report, glaciers, geometries, packed, datasets, {"inventory_rows": points})
