"""What a conversion gives back: attributes and a plan, a reader of blocks, outlines, small datasets, the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import shapely
import xarray as xr

from alpgm_dask import packing
from alpgm_dask.convert.cleaning import RasterPair, Rules
from alpgm_dask.convert.readers import BlockReader, Record, scan
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError, annotate

if TYPE_CHECKING:
    import geopandas as gpd

#: How the scan is run: ``mapper(function, items)`` gives the results in order. The builtin ``map`` runs it here;
#: ``lambda function, items: client.gather(client.map(function, items))`` on a cluster.
Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]

#: Glaciers that one task of the scan looks at.
SCAN_BATCH = 100

_INTEGERS = ("epsg", "grid_rows", "grid_columns", "inventory_year", "massif_safran")
_TEXTS = ("glims_id", "name", "massif", "subregion")
_NUMBERS = (
    *("lon", "lat", "aspect", "area", "pixel_area", "x_origin", "y_origin", "pixel_width", "pixel_height"),
    *("mean_elevation", "max_elevation"),
)


class ReadsBlocks(Protocol):
    """What reads the pixels of a block where the block is written, such as :class:`BlockReader`."""

    def __call__(self, block: int) -> xr.Dataset: ...

    def part(self, block: int) -> ReadsBlocks: ...


@dataclass(frozen=True)
class PackedSource:
    """Rasters of many glaciers, ready to be packed.

    Attributes
    ----------
    attributes
        (glacier,) attributes in unpacked order (sorted by rgi_id), in memory.
    plan
        which glacier goes to which block; the argument of :func:`alpgm_dask.packing.template`.
    read_block
        ``read_block(b)`` gives the pixels of block b, ready for :func:`alpgm_dask.store.write_block`.
    variables
        variables along ``pixel`` and their type.
    """

    attributes: xr.Dataset
    plan: packing.BlockPlan
    read_block: ReadsBlocks
    variables: Mapping[str, str] = field(default_factory=lambda: packing.PIXEL_VARIABLES)

    def template(self) -> xr.Dataset:
        """What the store is primed with."""
        return packing.template(self.attributes, self.plan, self.variables)


@dataclass(frozen=True)
class Conversion:
    """Everything that a conversion gives back.

    Attributes
    ----------
    glaciers
        the packed rasters; None where there are none (predictors).
    packed
        name of a store -> other packed rasters.
    outlines
        one row for each glacier, EPSG:4326, unpacked order.
    datasets
        name of a store -> dataset that is written whole.
    tables
        name of a GeoParquet file -> table.
    report
        what was met and done.
    """

    report: ConversionReport
    glaciers: PackedSource | None = None
    outlines: gpd.GeoDataFrame | None = None
    packed: dict[str, PackedSource] = field(default_factory=dict)
    datasets: dict[str, xr.Dataset] = field(default_factory=dict)
    tables: dict[str, gpd.GeoDataFrame] = field(default_factory=dict)


def scan_batches(
    jobs: Sequence[Any], function: Callable[[Sequence[Any]], list[Record]], mapper: Mapper = map
) -> tuple[list[Record], Counter]:
    """First pass over all glaciers, in batches: records in the order of `jobs`, and the sum of their faults.

    Parameters
    ----------
    jobs
        one for each glacier, with its ``rgi_id``.
    function
        scans some of them; one Dask task.
    mapper
        see :data:`Mapper`.

    Raises
    ------
    InputError
        if a glacier is refused (the first, and how many more).
    """
    n_batches = max(1, -(-len(jobs) // SCAN_BATCH))
    # dealt like cards: large glaciers tend to stand together
    batches = [list(jobs[b::n_batches]) for b in range(n_batches)]
    found = list(mapper(function, batches))
    by_id = {record.rgi_id: record for records in found for record in records}
    records = [by_id[job.rgi_id] for job in jobs]
    refused = [record.refused for record in records if record.refused]
    if refused:
        more = f" (and {len(refused) - 1} more glaciers are refused)" if len(refused) > 1 else ""
        raise InputError(refused[0] + more)
    faults: Counter = Counter()
    for record in records:
        faults.update(record.faults)
    return records, faults


def scan_all(pairs: Sequence[RasterPair], rules: Rules, mapper: Mapper = map) -> tuple[list[Record], Counter]:
    """:func:`scan_batches` of thickness and surface (InputError also if no glacier has ice)."""
    records, faults = scan_batches(pairs, partial(scan, rules=rules), mapper)
    if all(record.skipped for record in records):
        first = pairs[0].thickness if pairs else "no file"
        raise InputError(f"{first}: variable 'ice_thickness' is above 0 m in none of {len(pairs)} rasters: no ice")
    return records, faults


def attributes_of(
    records: Sequence[Record], known: Mapping[str, Mapping[str, object]], numbers: Sequence[str] = _NUMBERS
) -> xr.Dataset:
    """(glacier,) attributes from records and from what an inventory knows (which wins)."""
    rows = [{**record.attributes, **known.get(record.rgi_id, {})} for record in records]
    columns: dict[str, Any] = {name: np.array([float(row.get(name, np.nan)) for row in rows]) for name in numbers}
    columns |= {name: np.array([int(row.get(name, 0)) for row in rows], dtype="int32") for name in _INTEGERS}
    columns |= {name: np.array([str(row.get(name, "")) for row in rows], dtype=object) for name in _TEXTS}
    columns["rgi_id"] = np.array([record.rgi_id for record in records], dtype=object)
    ds = xr.Dataset({name: ("glacier", values) for name, values in columns.items()})
    ds["massif_safran"].attrs = {"long_name": "number of the SAFRAN massif, 0 where unknown", "units": "1"}
    return annotate(ds.set_coords(["rgi_id", "glims_id", "name", "lon", "lat"]))


def assemble(
    pairs: Sequence[RasterPair],
    records: Sequence[Record],
    rules: Rules,
    known: Mapping[str, Mapping[str, object]],
    outlines: Mapping[str, shapely.Geometry],
    outline_source: str,
    target_pixels: int,
) -> tuple[PackedSource, gpd.GeoDataFrame]:
    """Attributes, plan, reader and outlines of the glaciers that have ice.

    Parameters
    ----------
    pairs, records
        files and scan of every glacier, same order; those without ice are left out here.
    rules
        as in the scan.
    known
        rgi_id -> what an inventory says of the glacier.
    outlines
        rgi_id -> outline in EPSG:4326; a glacier without one gets the outline of its ice.
    outline_source
        what `outlines` are called.
    target_pixels
        pixels of a block.
    """
    import geopandas as gpd

    kept = [(pair, record) for pair, record in zip(pairs, records, strict=True) if not record.skipped]
    attributes = attributes_of([record for _, record in kept], known)
    plan = packing.plan_blocks(np.array([record.attributes["row_size"] for _, record in kept]), target_pixels)
    reader = BlockReader(tuple(pair for pair, _ in kept), plan, rules)
    table = {name: attributes[name].values for name in ("rgi_id", "glims_id", "name", "massif", "inventory_year")}
    ids = table["rgi_id"]
    table["outline_source"] = [outline_source if i in outlines else "ice mask" for i in ids]
    ice = {record.rgi_id: record.ice_outline for _, record in kept}
    geometry = [outlines[i] if i in outlines else shapely.from_wkb(ice[i]) for i in ids]
    return PackedSource(attributes, plan, reader), gpd.GeoDataFrame(table, geometry=geometry, crs=4326)


def totals(records: Sequence[Record]) -> dict[str, float]:
    """Glaciers, ice pixels, area (km2) and volume (km3) of the records that have ice."""
    kept = [record.attributes for record in records if not record.skipped]
    return {
        "glaciers": len(kept),
        "ice pixels": sum(a["row_size"] for a in kept),
        "area (km2)": round(sum(a["area"] for a in kept) / 1e6, 4),
        "volume (km3)": round(sum(a["volume"] for a in kept) / 1e9, 4),
    }


#: Every fault that a scan counts, and what is done about it (in the order of the report).
ACTIONS = {
    "thickness: nodata (pixels)": "no ice",
    "thickness: not finite (pixels)": "no ice",
    "thickness: negative (pixels)": "no ice",
    "thickness: noise (pixels)": "set to 0 (ALPGM's rule)",
    "surface: no CRS (files)": "that of the thickness file",
    "surface: other CRS (files)": "reprojected, bilinear",
    "surface: resampled to the thickness grid (files)": "bilinear, onto the thickness grid",
    "surface: missing or odd under ice (pixels)": "interpolated from the neighbours",
}


def report_faults(report: ConversionReport, records: Sequence[Record], faults: Mapping[str, int]) -> None:
    """Enter the counts of a scan, with the glaciers where a fault is rare enough to name them."""
    for name, action in ACTIONS.items():
        cases = [record.rgi_id for record in records if record.faults.get(name)]
        report.add(name, faults.get(name, 0), action, cases if len(cases) < len(records) / 2 else ())
    skipped = [record.rgi_id for record in records if record.skipped]
    report.add("glaciers without ice", len(skipped), "left out", skipped)
    zones = Counter(int(r.attributes["epsg"]) for r in records if not r.skipped)
    report.add("coordinate systems", len(zones), "kept for each glacier", [f"EPSG:{z} ({n})" for z, n in zones.items()])
    odd = Counter(round(r.attributes["pixel_area"], 6) for r in records if not r.skipped)
    common = odd.most_common(1)[0][0]
    other = [r.rgi_id for r in records if not r.skipped and round(r.attributes["pixel_area"], 6) != common]
    report.add(f"pixel area not {common:g} m2 (glaciers)", len(other), "kept for each glacier", other)
