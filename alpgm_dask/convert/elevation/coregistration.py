"""How far two elevation models lie apart on ground that has no ice, after Nuth and Kaab (2011).

The offset is estimated with xdem (doi:10.5281/zenodo.4809698) as Nuth and Kaab describe it
(doi:10.5194/tc-5-271-2011): differences of elevation over the slope follow the cosine of the aspect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import rasterio
import rasterio.features
import shapely
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

from alpgm_dask.convert.elevation.grids import Grid, Offset, cut, is_metric, moved, on_grid, step_in_metres, utm, window
from alpgm_dask.convert.elevation.opened import Raster, open_raster
from alpgm_dask.convert.elevation.surveys import DEGREES, GlacierSurveys, place
from alpgm_dask.schema import InputError

#: m around the outlines in which ground is looked at.
BUFFER = 3000.0

#: Cells that are held at once; a larger region is looked at in coarser cells.
CELLS = 4_000_000

#: Cells of stable ground without which nothing is estimated.
LEAST = 500

#: A fit that leaves more than this share of the spread it found is none.
_NO_BETTER = 1.02


@dataclass(frozen=True)
class Coregistration:
    """What was found on stable ground.

    Attributes
    ----------
    east, north, up
        m that the first survey is moved by.
    nmad_before, nmad_after
        m, spread of the differences (second minus first): 1.4826 times the median absolute deviation.
    median_before, median_after
        m, their median.
    cells, cell_size
        cells of stable ground, and their side in m.
    crs
        what east and north are directions of (EPSG code or WKT).
    """

    east: float
    north: float
    up: float
    nmad_before: float
    nmad_after: float
    median_before: float
    median_after: float
    cells: int
    cell_size: float
    crs: str

    def offset(self) -> Offset:
        """What is applied to the first survey."""
        return Offset(self.east, self.north, self.up, rasterio.CRS.from_user_input(self.crs))

    def as_dict(self) -> dict[str, object]:
        """Plain numbers and text, to three digits."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


def nmad(values: np.ndarray) -> float:
    """Normalised median absolute deviation, NaN left out.

    >>> round(nmad(np.array([1.0, 2.0, 3.0, np.nan])), 4)
    1.4826
    """
    return float(1.4826 * np.nanmedian(np.abs(values - np.nanmedian(values))))


def require_xdem() -> Any:
    """xdem, or an InputError that says how to get it."""
    try:
        import xdem
    except ImportError as error:
        raise InputError(
            "--coregister: the package xdem is not installed; allowed: pip install 'alpgm_dask[coregister]', or "
            "elevation models that are co-registered already"
        ) from error
    return xdem


def _region(first: Raster, second: Raster, crs: Sequence[rasterio.CRS], outlines: np.ndarray, cells: int) -> Grid:
    """The grid around the outlines, where both rasters are, at the resolution that bounds memory."""
    west, south, east, north = shapely.total_bounds(outlines)
    lon, lat = (west + east) / 2, (south + north) / 2
    plane = crs[1] if is_metric(crs[1]) else utm(lon, lat)
    boxes = [transform_bounds(c, plane, *raster.bounds) for raster, c in zip((first, second), crs, strict=True)]
    around = transform_bounds(DEGREES, plane, west, south, east, north)
    boxes.append((around[0] - BUFFER, around[1] - BUFFER, around[2] + BUFFER, around[3] + BUFFER))
    low, high = np.max(boxes, axis=0)[:2], np.min(boxes, axis=0)[2:]
    if not (low < high).all():
        raise InputError(f"{first.where} and {second.where}: no ground around the outlines that both cover")
    finest = max(step_in_metres(raster, c, lon, lat) for raster, c in zip((first, second), crs, strict=True))
    step = max(finest, math.sqrt(float(np.prod(high - low)) / cells))
    t = second.transform
    if (
        step == finest
        and plane == crs[1]
        and math.isclose(abs(t.a), abs(t.e))
        and math.isclose(step, t.a, rel_tol=5e-3)
    ):
        return window(t, (*low, *high), plane)
    return window(Affine(step, 0.0, 0.0, 0.0, -step, 0.0), (*low, *high), plane)


def _tiles(grid: Grid, finest: float) -> Iterator[tuple[slice, slice, Grid]]:
    """Parts of a grid whose pixels, as the files have them, are no more than :data:`CELLS`."""
    side = max(int(math.sqrt(CELLS) * min(finest / grid.transform.a, 1.0)), 16)
    for row in range(0, grid.shape[0], side):
        for column in range(0, grid.shape[1], side):
            rows = slice(row, min(row + side, grid.shape[0]))
            columns = slice(column, min(column + side, grid.shape[1]))
            shape = (rows.stop - row, columns.stop - column)
            yield rows, columns, Grid(cut(grid.transform, row, column), shape, grid.crs)


def _read(raster: Raster, crs: rasterio.CRS, grid: Grid) -> np.ndarray:
    """(y, x) float32, read in parts: bilinear, or the mean where cells are coarser than pixels."""
    lon, lat = (
        float(v) for v in shapely.get_coordinates(moved(shapely.box(*grid.bounds), grid.crs, DEGREES).centroid)[0]
    )
    finest = step_in_metres(raster, crs, lon, lat)
    out = np.full(grid.shape, np.nan, dtype="float32")
    for rows, columns, part in _tiles(grid, finest):
        out[rows, columns] = on_grid(raster, crs, part)[0]
    return out


def stable_ground(grid: Grid, outlines: np.ndarray) -> np.ndarray:
    """(y, x) where there is no ice, but glaciers are near: within :data:`BUFFER` of outlines, not touched by one."""
    plane = [moved(outline, DEGREES, grid.crs) for outline in outlines]
    options: dict[str, Any] = {"out_shape": grid.shape, "transform": grid.transform, "all_touched": True}
    ice = rasterio.features.rasterize(plane, fill=0, default_value=1, dtype="uint8", **options)
    near = [outline.simplify(grid.transform.a).buffer(BUFFER, quad_segs=4) for outline in plane]
    return (rasterio.features.rasterize(near, fill=0, default_value=1, dtype="uint8", **options) == 1) & (ice == 0)


def estimate(job: GlacierSurveys, outlines: Sequence[bytes], cells: int = CELLS) -> Coregistration:
    """Offset of the first survey against the second on stable ground around the outlines. One Dask task.

    Parameters
    ----------
    job
        the two mosaics.
    outlines
        WKB in EPSG:4326, of all glaciers: where there is ice.
    cells
        cells that are held at most.

    Raises
    ------
    InputError
        if xdem is not there, there is too little ice-free ground in both surveys, or no offset makes them agree better.
    """
    xdem = require_xdem()
    first, second = (open_raster(path, "surface_elevation") for path in (job.first, job.second))
    crs = place(first, second)[:2]
    shapes = shapely.from_wkb(np.asarray(outlines, dtype=object))
    grid = _region(first, second, crs, shapes, cells)
    before, reference = _read(first, crs[0], grid), _read(second, crs[1], grid)
    stable = stable_ground(grid, shapes) & np.isfinite(before) & np.isfinite(reference)
    if (count := int(stable.sum())) < LEAST:
        raise InputError(
            f"{job.first} and {job.second}: {count} cells of ice-free ground that both surveys have; allowed with "
            f"--coregister: {LEAST} and more around the outlines (rasters that are not cut out), or no --coregister"
        )
    dems = [xdem.DEM.from_array(z, grid.transform, grid.crs, nodata=-9999) for z in (reference, before)]
    fit = xdem.coreg.NuthKaab().fit(*dems, inlier_mask=stable, random_state=0)
    found = fit.meta["outputs"]["affine"]
    offset = Offset(float(found["shift_x"]), float(found["shift_y"]), float(found["shift_z"]), grid.crs)
    after = _read(first, crs[0], offset.away(grid)) + offset.up
    code = grid.crs.to_epsg()
    result = Coregistration(
        east=offset.east,
        north=offset.north,
        up=offset.up,
        nmad_before=nmad((reference - before)[stable]),
        nmad_after=nmad((reference - after)[stable]),
        median_before=float(np.nanmedian((reference - before)[stable])),
        median_after=float(np.nanmedian((reference - after)[stable])),
        cells=count,
        cell_size=grid.transform.a,
        crs=f"EPSG:{code}" if code else grid.crs.to_wkt(),
    )
    # xdem stops at a tolerance of a part of a cell: what is left of the median goes up
    result = replace(result, up=result.up + result.median_after, median_after=0.0)
    if not np.isfinite([offset.east, offset.north]).all() or result.nmad_after > _NO_BETTER * result.nmad_before:
        raise InputError(
            f"{job.first} and {job.second}: the offset found ({result.east:.2f} m east, {result.north:.2f} m north) "
            f"leaves differences of {result.nmad_after:.2f} m (NMAD) where they were {result.nmad_before:.2f} m; "
            "allowed with --coregister: surveys that an offset brings together"
        )
    return result
