"""Scanning glaciers (first pass) and reading blocks of them (second pass).

Everything here is a plain function of picklable arguments, so that a scan of some glaciers, or a block, is one Dask
task. Memory is bounded by the largest glacier (scan) or by a block (:class:`BlockReader`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import rasterio
import rasterio.features
import shapely
import xarray as xr

from alpgm_dask import packing, raster
from alpgm_dask.convert.cleaning import RasterPair, Rules, affine_of, read_pair, reproject, transformer
from alpgm_dask.schema import InputError


@dataclass(frozen=True)
class Record:
    """What the scan of one glacier found: attributes, counts of faults, or why it is skipped or refused."""

    rgi_id: str
    attributes: dict[str, float] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    ice_outline: bytes | None = None
    skipped: str = ""
    refused: str = ""


def surface_aspect(surface: xr.DataArray, ice: np.ndarray) -> float:
    """Circular mean of the downslope direction over ice pixels, degrees clockwise from north; NaN if flat.

    Parameters
    ----------
    surface
        (y, x) elevation in m, with a transform.
    ice
        (y, x) where there is ice.

    >>> from alpgm_dask.convert.cleaning import data_array
    >>> from rasterio.transform import Affine
    >>> plane = data_array(np.repeat([[30.0], [20.0], [10.0]], 3, axis=1), Affine(10, 0, 0, 0, -10, 0), 32632)
    >>> round(surface_aspect(plane, plane.values > 0))      # rows go south, and so does the slope
    180
    """
    if min(surface.shape) < 2:
        return float("nan")
    transform = affine_of(surface)
    north, east = np.gradient(surface.values.astype("float64"), transform.e, transform.a)
    north, east = -north[ice], -east[ice]
    steep = np.hypot(north, east)
    steep[steep == 0] = np.nan
    mean_north, mean_east = np.nansum(north / steep), np.nansum(east / steep)
    if math.hypot(mean_north, mean_east) < 1e-9:
        return float("nan")
    return math.degrees(math.atan2(mean_east, mean_north)) % 360.0


def ice_polygons(thickness: xr.DataArray) -> shapely.MultiPolygon:
    """The outline of the ice pixels, edge by edge, in EPSG:4326."""
    ice = (thickness.values > 0).astype("uint8")
    found = rasterio.features.shapes(ice, mask=ice > 0, transform=affine_of(thickness), connectivity=4)
    polygons = [shapely.Polygon(shape["coordinates"][0], shape["coordinates"][1:]) for shape, _ in found]
    return reproject(shapely.MultiPolygon(polygons), thickness.rio.crs.to_epsg(), 4326)


def read_glacier(pair: RasterPair, thickness: xr.DataArray, surface: xr.DataArray) -> xr.Dataset:
    """One glacier's ice pixels (:func:`alpgm_dask.raster.glacier_pixels`) from its rasters (:func:`read_pair`)."""
    epsg = thickness.rio.crs.to_epsg()
    outline, flowline = (
        None if wkb is None else reproject(shapely.from_wkb(wkb), pair.geometry_epsg, epsg)
        for wkb in (pair.outline, pair.flowline)
    )
    if outline is not None:
        shapely.prepare(outline)
    try:
        return raster.glacier_pixels(thickness, surface, outline=outline, flowline=flowline)
    except InputError as error:
        raise InputError(f"{pair.thickness} and {pair.surface}: {error}") from error


def _scan_one(pair: RasterPair, rules: Rules) -> Record:
    try:
        thickness, surface, faults = read_pair(pair, rules)
        if not (thickness.values > 0).any():
            return Record(pair.rgi_id, faults=dict(faults), skipped="no ice")
        pixels = read_glacier(pair, thickness, surface)
    except (InputError, rasterio.RasterioIOError) as error:
        return Record(pair.rgi_id, refused=str(error))
    attributes = {str(name): pixels[name].item() for name in pixels.variables if pixels[name].ndim == 0}
    to_degrees = transformer(attributes["epsg"], 4326)
    lon, lat = to_degrees.transform(pixels["x"].values.mean(), pixels["y"].values.mean())
    attributes |= {
        "lon": lon,
        "lat": lat,
        "aspect": surface_aspect(surface, thickness.values > 0),
        "row_size": pixels.sizes["pixel"],
        "volume": float(pixels["ice_thickness"].values.sum(dtype="float64")) * attributes["pixel_area"],
        "pixels_inside": int(pixels["inside_outline"].values.sum()),
        "flowline_pixels": int(np.isfinite(pixels["flowline_distance"].values).sum()),
    }
    ice_outline = None if pair.outline is not None else shapely.to_wkb(ice_polygons(thickness))
    return Record(pair.rgi_id, attributes, dict(faults), ice_outline)


def scan(pairs: Sequence[RasterPair], rules: Rules) -> list[Record]:
    """First pass over some glaciers: attributes and counts, no pixels kept. One Dask task.

    A glacier that must be refused gives a record that says why; the caller decides after all are seen.
    """
    return [_scan_one(pair, rules) for pair in pairs]


@dataclass(frozen=True)
class BlockReader:
    """Second pass: ``reader(b)`` reads the pixels of block `b`. Picklable: it holds paths and outlines, no pixels.

    Attributes
    ----------
    pairs
        files of every glacier, unpacked order (the order that `plan` was made for).
    plan
        which glacier goes where.
    rules
        as in the first pass.
    """

    pairs: tuple[RasterPair, ...]
    plan: packing.BlockPlan
    rules: Rules

    def __call__(self, block: int) -> xr.Dataset:
        pairs = [self.pairs[i] for i in self.plan.members(block)]
        pixels = [read_glacier(pair, *read_pair(pair, self.rules)[:2]) for pair in pairs]
        return packing.pack_block(pixels, self.plan, block)

    def part(self, block: int) -> BlockReader:
        """A reader that carries only the files of one block, so that a task is sent no more than it needs."""
        members = set(self.plan.members(block).tolist())
        blank = RasterPair("", "", "")
        kept = tuple(pair if i in members else blank for i, pair in enumerate(self.pairs))
        return BlockReader(kept, self.plan, self.rules)
