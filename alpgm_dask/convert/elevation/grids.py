"""The grid on which a glacier's surveys are compared, and how rasters come onto it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import Affine, array_bounds

from alpgm_dask.convert.cleaning import GRID_TOLERANCE
from alpgm_dask.convert.elevation.opened import FILL_BEYOND, Raster

#: Pixels that are read beyond what is asked for, so that bilinear weights are whole.
_MARGIN = 2

#: Share of a pixel that is an error of rounding.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Grid:
    """A north-up grid: transform, (rows, columns), CRS."""

    transform: Affine
    shape: tuple[int, int]
    crs: rasterio.CRS

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        return array_bounds(*self.shape, self.transform)

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """(y, x) coordinates of the pixels' centres, in the CRS."""
        x = self.transform.c + (np.arange(self.shape[1]) + 0.5) * self.transform.a
        y = self.transform.f + (np.arange(self.shape[0]) + 0.5) * self.transform.e
        return np.broadcast_to(x, self.shape), np.broadcast_to(y[:, None], self.shape)


@dataclass(frozen=True)
class Offset:
    """How far the first survey must be moved to fit the second: m to the east, to the north and up, in a CRS."""

    east: float
    north: float
    up: float
    crs: rasterio.CRS

    def away(self, grid: Grid) -> Grid:
        """Where a grid finds its values in the survey as it is: the grid, moved the other way."""
        middle = cut(grid.transform, grid.shape[0] / 2, grid.shape[1] / 2)
        x, y = move(np.array([middle.c]), np.array([middle.f]), grid.crs, self.crs)
        # in another zone north is another direction
        x, y = move(x - self.east, y - self.north, self.crs, grid.crs)
        t = grid.transform
        east, north = float(x[0]) - middle.c, float(y[0]) - middle.f
        return Grid(Affine(t.a, 0.0, t.c + east, 0.0, t.e, t.f + north), grid.shape, grid.crs)


@lru_cache(maxsize=64)
def _mover(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def move(x: np.ndarray, y: np.ndarray, source: rasterio.CRS, target: rasterio.CRS) -> tuple[np.ndarray, np.ndarray]:
    """Points of one CRS in another."""
    return _mover(source.to_wkt(), target.to_wkt()).transform(x, y)


def moved(geometry: shapely.Geometry, source: rasterio.CRS, target: rasterio.CRS) -> shapely.Geometry:
    """A geometry of one CRS in another."""
    if source == target:
        return geometry
    return shapely.transform(geometry, lambda xy: np.column_stack(move(xy[:, 0], xy[:, 1], source, target)))


def utm(lon: float, lat: float) -> rasterio.CRS:
    """The UTM zone of a place in degrees.

    >>> utm(6.9, 45.9).to_epsg(), utm(-70.0, -30.0).to_epsg()
    (32632, 32719)
    """
    zone = min(int((lon + 180.0) // 6.0) + 1, 60)
    return rasterio.CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def is_metric(crs: rasterio.CRS) -> bool:
    """Whether a grid in this CRS can be kept: projected, in metres, and with an EPSG code to name it by."""
    return crs.is_projected and crs.linear_units_factor[1] == 1.0 and crs.to_epsg() is not None


def step_in_metres(raster: Raster, crs: rasterio.CRS, lon: float, lat: float) -> float:
    """Size of a raster's pixel at a place, in m: the side of a square of the same area, to three digits.

    The raster's own CRS is `crs`, the place is in degrees.
    """
    plane, degrees = utm(lon, lat), rasterio.CRS.from_epsg(4326)
    x, y = move(lon, lat, degrees, crs)
    dx, dy = raster.transform.a / 2, raster.transform.e / 2
    east = np.diff(move(np.array([x - dx, x + dx]), np.array([y, y]), crs, plane), axis=1)
    north = np.diff(move(np.array([x, x]), np.array([y - dy, y + dy]), crs, plane), axis=1)
    side = math.sqrt(float(np.hypot(*east)[0] * np.hypot(*north)[0]))
    return float(f"{side:.3g}")


def cut(transform: Affine, row: float, column: float) -> Affine:
    """The transform of a part of a grid that starts at a row and a column."""
    t = transform
    return Affine(t.a, 0.0, t.c + column * t.a, 0.0, t.e, t.f + row * t.e)


def window(transform: Affine, bounds: tuple[float, float, float, float], crs: rasterio.CRS) -> Grid:
    """The part of an endless grid (its `transform`) that holds a box."""
    west, south, east, north = bounds
    # a box whose edge is that of a pixel, but for rounding, does not ask for the next one
    column = math.floor((west - transform.c) / transform.a + _ROUNDING)
    row = math.floor((north - transform.f) / transform.e + _ROUNDING)
    columns = max(math.ceil((east - transform.c) / transform.a - _ROUNDING) - column, 1)
    rows = max(math.ceil((south - transform.f) / transform.e - _ROUNDING) - row, 1)
    return Grid(cut(transform, row, column), (rows, columns), crs)


def on_grid(raster: Raster, crs: rasterio.CRS, grid: Grid) -> tuple[np.ndarray, bool]:
    """A raster's values on a grid, reading only what lies there; and whether they had to be resampled.

    Parameters
    ----------
    raster, crs
        the raster, and its CRS (its partner's, where it has none).
    grid
        the grid. Where it is the raster's own, values are taken as they are.

    Returns
    -------
    (y, x) float64, NaN where the raster has nothing, is missing or is not read.

    Notes
    -----
    Bilinear between the four pixels around, all of which must be there: on a slope of 30 degrees a value that leaves a
    missing neighbour out is metres off. Much finer pixels are averaged first. GDAL's own bilinear warp is not used: its
    kernel gets wider as pixels get finer, and does not give back a plane (0.1 m on a slope of 6 degrees).
    """
    offset = _offset(raster.transform, raster.array.shape, crs, grid)
    if offset is not None:
        return _copied(raster, grid.shape, *offset), False
    x, y = grid.centres()
    if crs != grid.crs:
        x, y = move(x, y, grid.crs, crs)
    row, column = (y - raster.transform.f) / raster.transform.e, (x - raster.transform.c) / raster.transform.a
    finer = 1
    if min(grid.shape) > 1:
        steps = (np.abs(np.diff(row, axis=0)).mean(), np.abs(np.diff(column, axis=1)).mean())
        finer = max(int(min(steps)), 1) if np.isfinite(steps).all() else 1
    rows, columns = (_span(at, n, finer) for at, n in zip((row, column), raster.array.shape, strict=True))
    if rows is None or columns is None:
        return np.full(grid.shape, np.nan), False
    values = _means(_loaded(raster, rows, columns), finer)
    row, column = (row - rows.start) / finer, (column - columns.start) / finer
    return bilinear(values, row - 0.5, column - 0.5), True


def _span(at: np.ndarray, size: int, finer: int) -> slice | None:
    """Pixels of one axis that bilinear weights need, from a multiple of `finer` on; None if there are none."""
    there = at[np.isfinite(at)]
    if there.size == 0 or there.max() < 0 or there.min() > size:
        return None
    first = math.floor(max(there.min() - _MARGIN * finer, 0.0) / finer) * finer
    return slice(first, min(math.ceil(there.max()) + _MARGIN * finer, size))


def _loaded(raster: Raster, rows: slice, columns: slice) -> np.ndarray:
    """A part of a raster, read: float64, missing as NaN."""
    values = raster.array.isel(y=rows, x=columns).load().values.astype("float64")
    with np.errstate(invalid="ignore"):
        values[~(np.abs(values) < FILL_BEYOND)] = np.nan
    return values


def _means(values: np.ndarray, n: int) -> np.ndarray:
    """Means of n x n pixels, of which at least half must be there."""
    if n == 1:
        return values
    rows, columns = (-(-size // n) * n for size in values.shape)
    padded = np.full((rows, columns), np.nan)
    padded[: values.shape[0], : values.shape[1]] = values
    parts = padded.reshape(rows // n, n, columns // n, n)
    there = np.isfinite(parts).sum(axis=(1, 3))
    return np.where(2 * there >= n * n, np.nansum(parts, axis=(1, 3)) / np.maximum(there, 1), np.nan)


def bilinear(values: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Values between the centres of pixels; NaN where one of those around is missing.

    Parameters
    ----------
    values
        (y, x).
    row, column
        places, of any one shape; 0 is the centre of the first pixel.

    >>> bilinear(np.array([[0.0, 1.0], [2.0, np.nan]]), np.array([0.5, 0.0, 0.5]), np.array([0.0, 0.25, 0.5])).tolist()
    [1.0, 0.25, nan]
    """
    bad = ~(np.isfinite(row) & np.isfinite(column))
    row, column = np.where(bad, -9.0, row), np.where(bad, -9.0, column)
    top, left = np.floor(row).astype("int64"), np.floor(column).astype("int64")
    down, right = row - top, column - left
    out = np.zeros(row.shape)
    for i, along in ((0, 1.0 - down), (1, down)):
        for j, across in ((0, 1.0 - right), (1, right)):
            weight, r, c = along * across, top + i, left + j
            outside = (r < 0) | (c < 0) | (r >= values.shape[0]) | (c >= values.shape[1])
            found = np.where(outside, np.nan, values[r.clip(0, values.shape[0] - 1), c.clip(0, values.shape[1] - 1)])
            out += np.where(weight < _ROUNDING, 0.0, weight * found)
    return out


def _offset(transform: Affine, shape: tuple[int, int], crs: rasterio.CRS, grid: Grid) -> tuple[int, int] | None:
    """(row, column) of the grid's corner in a raster whose pixels are those of the grid; None where they are others."""
    mine, size = grid.transform, max(*shape, *grid.shape)
    steps = max(abs(mine.a / transform.a - 1.0), abs(mine.e / transform.e - 1.0)) * size
    row, column = (mine.f - transform.f) / transform.e, (mine.c - transform.c) / transform.a
    off = max(abs(row - round(row)), abs(column - round(column)))
    if max(steps, off) > GRID_TOLERANCE or crs != grid.crs:
        return None
    return round(row), round(column)


def _copied(raster: Raster, shape: tuple[int, int], row: int, column: int) -> np.ndarray:
    """The part of a raster of a shape that starts at (row, column), NaN where there is nothing."""
    out, places = np.full(shape, np.nan), []
    for start, have, want in zip((row, column), raster.array.shape, shape, strict=True):
        low, high = max(start, 0), min(start + want, have)
        if high <= low:
            return out
        places.append((slice(low - start, high - start), slice(low, high)))
    (to_row, from_row), (to_column, from_column) = places
    out[to_row, to_column] = _loaded(raster, from_row, from_column)
    return out
