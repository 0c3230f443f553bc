"""What the report of an ALPGM conversion says beside the faults of the rasters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alpgm_dask.convert.inventory import PLANE
from alpgm_dask.convert.readers import Record
from alpgm_dask.convert.report import ConversionReport

if TYPE_CHECKING:
    import geopandas as gpd

NOTES = [
    "Subregion by location: 11-01 north of 43.5 N between 5 and 17 E, else 11-02; RGI has no third one in region 11.",
    "The aspect of French glaciers is Aspect_num of the 2003 inventory: 8 sectors, where the letters have 16; NNE is "
    "0, ENE is 90. Elsewhere it is the circular mean of the surface's own aspect over ice.",
    "inventories holds the survey of 1967-71 (GLIMS_1967-71.csv) under 1967. ALPGM's GLIMS_1967.csv repeats the "
    "inventory of 1985 in all but six cells; only smb_observations uses it, as the published training did.",
    "The raster of Mer de Glace (03643) covers 37.5 km2, where the list beside it says 24.2: it holds Leschaux too. "
    "Leschaux (03642) has a raster, but no outline. Both are kept: the totals count its ice twice, French runs once.",
]


def report_rows(report: ConversionReport, rows: pd.DataFrame) -> None:
    """How the rows of each inventory were matched, and what is lost, by massif."""
    for year, group in rows.groupby("inventory_year"):
        how = group.groupby("matched_by")["area"].agg(["size", "sum"])
        report.tables[f"inventory of {year}: {len(group)} rows matched by"] = [
            {"matched by": name, "rows": int(row["size"]), "area (km2)": round(row["sum"] / 1e6, 3)}
            for name, row in how.iterrows()
        ]
        lost = group[(group["rgi_id"] == "") & (group["matched_by"] != "part of another row")]
        cases = [f"{r.name_} {r.area / 1e6:.3f} km2" for r in lost.rename(columns={"name": "name_"}).itertuples()]
        action = f"kept in inventory_rows, not in inventories ({lost['area'].sum() / 1e6:.3f} km2)"
        report.add(f"inventory of {year}: rows of no glacier with rasters", len(lost), action, cases)
        by_massif = lost.groupby("massif")["area"].agg(["size", "sum"])
        if len(by_massif):
            report.tables[f"inventory of {year}: rows of no glacier with rasters, by massif"] = [
                {"massif": name, "rows": int(row["size"]), "area (km2)": round(row["sum"] / 1e6, 4)}
                for name, row in by_massif.iterrows()
            ]


def report_outlines(report: ConversionReport, met: Mapping[str, Any], flowlines: Mapping[str, int]) -> None:
    """Faults of the outlines and flowlines (:func:`alpgm_dask.convert.inventory.read_outlines`)."""
    add = report.add
    add("outline features", met["features"], f"{met['numbers']} distinct numbers, 0 counted as one")
    add("outline features without RGI number", met["without number"], "no raster: fragments, kept for matching only")
    add("outline features that repeat an RGI number", met["repeated number"], "dissolved")
    add("glaciers in several SAFRAN massifs", len(met["several massifs"]), "the massif of the largest area")
    add("outline area outside every SAFRAN massif (km2)", round(met["outside massifs (km2)"], 3), "kept: whole outline")
    add("outlines that repeat a GLIMS id", met["repeated glims"], "glims_id is not an identifier", met["shared glims"])
    add("outlines with invalid geometry", met["invalid"], "repaired")
    add("outlines of whole glaciers dissolved", met["dissolved"], "one row for each RGI number")
    add("outlines without a massif", met["no massif"], "massif empty")
    add("flowlines matched by GLIMS id", flowlines["by GLIMS id"], "taken")
    add("flowlines matched by location (GLIMS id shared)", flowlines["by location"], "the longest inside the outline")
    add("outlines without flowline", flowlines["without"], "flowline_distance missing")
    add("flowlines that no outline takes", flowlines["unused"], "left out")


def report_overlap(report: ConversionReport, outlines: gpd.GeoDataFrame) -> None:
    """Glaciers without a French outline whose ice lies mostly inside one: their ice is in the data twice."""
    flat = outlines.to_crs(PLANE)
    french = flat["outline_source"] != "ice mask"
    others = flat[~french]
    pairs = others.sindex.query(flat.geometry[french], predicate="intersects")[1] if len(others) else []
    around = others.iloc[np.unique(pairs)] if len(pairs) else others.iloc[:0]
    inside = around.geometry.intersection(flat.geometry[french].union_all()).area > 0.5 * around.area
    name = "glaciers without a French outline, mostly inside one"
    report.add(name, int(inside.sum()), "kept, not French: as in ALPGM", around.loc[inside, "rgi_id"])


def report_inside(report: ConversionReport, records: Sequence[Record], french: pd.DataFrame) -> None:
    """French ice inside and outside the outlines of 2003, and on flowlines."""
    mine = set(french["rgi_id"])
    here = [record for record in records if record.rgi_id in mine and not record.skipped]
    report.totals["French glaciers"] = len(here)
    inside = sum(r.attributes["pixels_inside"] * r.attributes["pixel_area"] for r in here) / 1e6
    report.totals["French ice (km2)"] = round(sum(r.attributes["area"] for r in here) / 1e6, 4)
    report.totals["French ice inside the 2003 outlines (km2)"] = round(inside, 4)
    none = [r.rgi_id for r in here if r.attributes["pixels_inside"] == 0]
    report.add("French glaciers without ice inside their outline", len(none), "kept; inside_outline is 0", none)
    line = [r for r in here if r.attributes["flowline_pixels"]]
    report.totals["glaciers with a flowline on ice"] = len(line)


def report_list(report: ConversionReport, records: Sequence[Record], listed: pd.DataFrame) -> None:
    """Glaciers whose raster is not what the list beside the rasters says."""
    area = {record.rgi_id: record.attributes["area"] / 1e6 for record in records if not record.skipped}
    known = {rgi_id: listed["area"].get(rgi_id[-5:], np.nan) for rgi_id in area}
    absent = [rgi_id for rgi_id, value in known.items() if np.isnan(value)]
    report.add("glaciers that the list beside the rasters lacks", len(absent), "no name, year 2003", absent)
    other = [f"{i} {area[i]:.2f} km2, not {known[i]:.2f}" for i in area if abs(area[i] / known[i] - 1) > 0.05]
    report.add("rasters more than 5 % off the list's area", len(other), "the raster is taken", other)
