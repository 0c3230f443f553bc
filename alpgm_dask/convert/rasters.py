"""Any folder of RGI-like outlines, thickness and surface GeoTIFFs -> a Conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import shapely

from alpgm_dask import packing
from alpgm_dask.convert.cleaning import RasterPair, Rules
from alpgm_dask.convert.conversion import Conversion, Mapper, assemble, report_faults, scan_all, totals
from alpgm_dask.convert.readers import Record
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    import geopandas as gpd

#: Our word -> columns that mean it in RGI 7.0, RGI 6.0 and here; the first that is there is taken.
COLUMNS = {
    "rgi_id": ("rgi_id", "RGIId"),
    "glims_id": ("glims_id", "GLIMSId"),
    "name": ("name", "glac_name", "Name"),
    "massif": ("massif", "Massif"),
    "subregion": ("subregion", "o2region", "O2Region"),
    "aspect": ("aspect", "aspect_deg", "Aspect"),
    "inventory_year": ("inventory_year", "src_date", "BgnDate"),
}


def read_outlines(path: Path, id_column: str | None, report: ConversionReport) -> gpd.GeoDataFrame:
    """Outlines in EPSG:4326 with a unique column ``rgi_id``; invalid geometries are repaired and counted.

    Raises
    ------
    InputError
        naming file, column, value and what is allowed: no CRS, no column of identifiers, repeated or empty identifiers.
    """
    return as_outlines(read_vector(path), path, id_column, report)


def read_vector(path: Path) -> gpd.GeoDataFrame:
    """Any vector file, GeoParquet too (InputError if there is none)."""
    import geopandas as gpd

    if not Path(path).exists():
        raise InputError(f"{path}: there is no such file; allowed: a vector file of outlines")
    return gpd.read_file(path) if Path(path).suffix != ".parquet" else gpd.read_parquet(path)


def as_outlines(
    frame: gpd.GeoDataFrame, path: object, id_column: str | None, report: ConversionReport
) -> gpd.GeoDataFrame:
    """:func:`read_outlines` of a table that is in memory; `path` says where it is from."""
    if frame.crs is None:
        raise InputError(f"{path}: the outlines have no CRS; allowed: any CRS")
    columns = (id_column,) if id_column else COLUMNS["rgi_id"]
    found = [column for column in columns if column in frame.columns]
    if not found:
        raise InputError(f"{path}: no column {' or '.join(map(repr, columns))}; given: {', '.join(frame.columns)}")
    ids = frame[found[0]].astype(str)
    repeated = sorted(ids[ids.duplicated()].unique())
    empty = frame[found[0]].isna() | (ids.str.strip() == "")
    if repeated or empty.any():
        value = f"{repeated[0]!r} more than once" if repeated else "an empty value"
        raise InputError(f"{path}: column {found[0]!r} has {value}; allowed: unique identifiers")
    invalid = ~frame.is_valid
    report.add("outlines with invalid geometry", int(invalid.sum()), "repaired", ids[invalid])
    geometry = frame.geometry.make_valid().to_crs(4326)
    return frame.assign(rgi_id=ids).set_geometry(geometry).sort_values("rgi_id", ignore_index=True)


def find_files(where: str | Path, ids: list[str], variable: str) -> dict[str, str]:
    """Identifier -> file, for a folder (the file whose name holds the identifier) or a pattern with ``{id}``.

    Raises
    ------
    InputError
        if there is no such folder, or several files hold one identifier.
    """
    text = str(where)
    if "{id}" in text:
        found = {rgi_id: text.replace("{id}", rgi_id) for rgi_id in ids}
        return {rgi_id: path for rgi_id, path in found.items() if Path(path).exists()}
    if not Path(where).is_dir():
        raise InputError(f"{where}: variable '{variable}': no such folder; allowed: a folder, or a pattern with {{id}}")
    files = sorted(path for path in Path(where).iterdir() if path.suffix.lower() in (".tif", ".tiff"))
    out: dict[str, str] = {}
    for rgi_id in ids:
        mine = [str(path) for path in files if rgi_id in path.name]
        if len(mine) > 1:
            raise InputError(f"{where}: variable '{variable}': {len(mine)} files of {rgi_id}: {mine[:3]}; allowed: one")
        out |= {rgi_id: mine[0]} if mine else {}
    return out


def known_of(outlines: gpd.GeoDataFrame) -> dict[str, dict[str, object]]:
    """rgi_id -> what the outlines' table says, under our names; what it does not say is left out."""
    named = {word: next((c for c in columns if c in outlines.columns), None) for word, columns in COLUMNS.items()}
    out: dict[str, dict[str, object]] = {}
    for row in outlines.to_dict("records"):
        entry: dict[str, object] = {}
        for word in ("glims_id", "name", "massif", "subregion"):
            value = row.get(named[word])
            entry[word] = "" if value is None or value != value else str(value)
        aspect = row.get(named["aspect"])
        if isinstance(aspect, int | float) and 0 <= aspect <= 360:
            entry["aspect"] = aspect
        year = str(row.get(named["inventory_year"], ""))[:4]
        entry["inventory_year"] = int(year) if year.isdigit() and year != "9999" else 0
        out[row["rgi_id"]] = entry
    return out


def read_flowlines(path: Path, id_column: str | None) -> dict[str, shapely.Geometry]:
    """rgi_id -> its longest line in EPSG:4326 (InputError if there is no CRS or no column of identifiers)."""
    lines = read_vector(path)
    columns = (id_column,) if id_column else COLUMNS["rgi_id"]
    found = [column for column in columns if column in lines.columns]
    if lines.crs is None or not found:
        raise InputError(
            f"{path}: flowlines need a CRS and a column {' or '.join(columns)}; given: {list(lines.columns)}"
        )
    parts = lines.explode(ignore_index=True)
    longest = parts.assign(length=parts.to_crs(3857).length).sort_values("length")
    return dict(zip(longest[found[0]].astype(str), longest.to_crs(4326).geometry, strict=True))


def _refuse_missing(files: Mapping[str, str], ids: list[str], where: object, variable: str, skip: bool) -> list[str]:
    missing = [rgi_id for rgi_id in ids if rgi_id not in files]
    if missing and not skip:
        raise InputError(
            f"{where}: variable '{variable}': no file for {len(missing)} of {len(ids)} outlines, the first: "
            f"{missing[0]}; allowed: one for each, or --skip-missing"
        )
    return missing


def _files(
    frame: gpd.GeoDataFrame, thickness: str | Path, surface: str | Path, skip: bool, report: ConversionReport
) -> tuple[gpd.GeoDataFrame, dict[str, str], dict[str, str]]:
    """Outlines that have both files, and rgi_id -> thickness file, surface file."""
    ids = frame["rgi_id"].tolist()
    heights = find_files(thickness, ids, "ice_thickness")
    mosaic = Path(surface).is_file()
    surfaces = dict.fromkeys(ids, str(surface)) if mosaic else find_files(surface, ids, "surface_elevation")
    missing = set(_refuse_missing(heights, ids, thickness, "ice_thickness", skip))
    missing |= set(_refuse_missing(surfaces, ids, surface, "surface_elevation", skip))
    report.add("outlines without rasters", len(missing), "left out", sorted(missing))
    kept = frame[~frame["rgi_id"].isin(missing)]
    if kept.empty:
        raise InputError(f"{thickness}: none of {len(ids)} outlines has rasters; allowed: at least one")
    return kept, heights, surfaces


def _wkb(geometry: shapely.Geometry | None) -> bytes | None:
    return None if geometry is None else shapely.to_wkb(geometry)


def _report_inside(report: ConversionReport, records: Sequence[Record]) -> None:
    kept = [(record.rgi_id, record.attributes) for record in records if not record.skipped]
    outside = [rgi_id for rgi_id, a in kept if a["pixels_inside"] == 0]
    report.add("glaciers without ice inside their outline", len(outside), "kept; inside_outline is 0", outside)
    inside = sum(a["pixels_inside"] * a["pixel_area"] for _, a in kept)
    report.totals["ice inside the outlines (km2)"] = round(inside / 1e6, 4)


def convert(
    outlines: Path,
    thickness: str | Path,
    surface: str | Path,
    *,
    id_column: str | None = None,
    flowlines: Path | None = None,
    rules: Rules | None = None,
    skip_missing: bool = False,
    mapper: Mapper = map,
    target_pixels: int = packing.TARGET_PIXELS,
) -> Conversion:
    """Outlines with an identifier, and a thickness and a surface raster for each of them.

    Parameters
    ----------
    outlines
        any vector file; columns of RGI 6.0 and 7.0 are understood (:data:`COLUMNS`).
    thickness
        a folder (the file whose name holds the identifier), or a pattern with ``{id}``; m, one band.
    surface
        the same, or one file: a mosaic, cut out and resampled bilinearly onto each thickness grid.
    id_column
        column of the identifiers, if it has another name than in RGI.
    flowlines
        a vector file of lines with the same column of identifiers.
    rules
        how faults are treated; None: the strict :class:`Rules`.
    skip_missing
        leave out outlines without rasters instead of refusing them.
    mapper
        runs the scan, see :data:`alpgm_dask.convert.conversion.Mapper`.
    target_pixels
        pixels of a block.

    Raises
    ------
    InputError
        naming file, variable, value and what is allowed.
    """
    rules = rules or Rules()
    report = ConversionReport(f"rasters of {outlines}")
    frame = read_outlines(Path(outlines), id_column, report)
    frame, heights, surfaces = _files(frame, thickness, surface, skip_missing, report)
    lines = read_flowlines(flowlines, id_column) if flowlines else {}
    known = dict(zip(frame["rgi_id"], frame.geometry, strict=True))
    pairs = [
        RasterPair(i, heights[i], surfaces[i], shapely.to_wkb(outline), line, mosaic=Path(surface).is_file())
        for (i, outline), line in zip(known.items(), (_wkb(lines.get(i)) for i in known), strict=True)
    ]
    records, faults = scan_all(pairs, rules, mapper)
    report.totals.update(totals(records))
    report_faults(report, records, faults)
    _report_inside(report, records)
    glaciers, table = assemble(pairs, records, rules, known_of(frame), known, Path(outlines).name, target_pixels)
    return Conversion(report, glaciers, table)
