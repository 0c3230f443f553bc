"""The cells of a grid that are needed: a box or the surroundings of glaciers, with a ring for interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from alpgm_dask.convert.climate.grids import Grid, spacing
from alpgm_dask.forcing.matching import EARTH_RADIUS, on_sphere
from alpgm_dask.schema import InputError

_EARTH_RADIUS_KM = EARTH_RADIUS / 1000.0
_KM_PER_DEGREE = np.pi * _EARTH_RADIUS_KM / 180.0

_BOX, _AROUND = "bounding_box (--bounding-box)", "around (--around-glaciers)"

#: Bytes of one block of what is read, at most, unless the file's own blocks are larger.
BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Cells:
    """A rectangle of a grid, and which of its cells are needed.

    Attributes
    ----------
    rows
        (row,) positions along the grid's rows; None for points.
    columns
        (column,) positions along the grid's columns, west to east or as in the file, one after the other: where a
        grid that goes round the Earth is cut elsewhere than in the file, they go on beyond its number of columns.
    size
        number of columns, or of points, of the grid.
    needed
        (row, column) or (point,) bool.
    """

    rows: np.ndarray | None
    columns: np.ndarray
    size: int
    needed: np.ndarray

    @property
    def positions(self) -> tuple[np.ndarray, ...]:
        """Positions in the file along each dimension."""
        columns = self.columns % self.size
        return (columns,) if self.rows is None else (self.rows, columns)


def select_cells(
    grid: Grid,
    bounding_box: Sequence[float] | None = None,
    around: tuple[np.ndarray, np.ndarray] | None = None,
    margin: float = 0.0,
) -> Cells:
    """Cells inside of a box or near places, with those beside them: every place has the cells around it.

    Parameters
    ----------
    grid
        of the archive.
    bounding_box
        west, south, east, north (degree); west may be greater than east: across the antimeridian.
    around
        longitudes and latitudes (degree) of places.
    margin
        km around every place of `around` from which cells are taken besides.

    Raises
    ------
    InputError
        for a box or places that are none, and where no cell is inside.
    """
    needed = np.isfinite(grid.lon) & np.isfinite(grid.lat)
    if bounding_box is not None:
        needed &= _inside(grid, _checked_box(bounding_box))
    if around is not None:
        needed &= _near(grid, around, margin)
    if not needed.any():
        extent = f"lon {np.nanmin(grid.lon):g} to {np.nanmax(grid.lon):g}, lat {np.nanmin(grid.lat):g} to "
        asked = f"{_BOX} {tuple(bounding_box)}" if bounding_box is not None else f"the places of {_AROUND}"
        raise InputError(f"{grid.where}: no cell of its grid is at {asked}; it covers {extent}{np.nanmax(grid.lat):g}")
    if len(grid.dims) == 1:
        at = np.flatnonzero(needed)
        return Cells(None, at, needed.size, np.ones(at.size, dtype=bool))
    rows = np.flatnonzero(needed.any(axis=1))
    rows = np.arange(rows[0], rows[-1] + 1)
    columns = _column_range(needed.any(axis=0), grid)
    size = needed.shape[1]
    return Cells(rows, columns, size, needed[np.ix_(rows, columns % size)])


def _column_range(needed: np.ndarray, grid: Grid) -> np.ndarray:
    """Consecutive columns that hold all needed ones; round the Earth, the longest gap stays out."""
    at = np.flatnonzero(needed)
    if not grid.cyclic:
        return np.arange(at[0], at[-1] + 1)
    if at.size == needed.size:
        # a whole globe is cut at the antimeridian
        start = int(np.argmin(grid.lon[0])) if grid.lon[0, 1] > grid.lon[0, 0] else int(np.argmax(grid.lon[0]))
        return start + np.arange(needed.size)
    gaps = np.diff(np.append(at, at[0] + needed.size))
    last = int(np.argmax(gaps))
    start = at[(last + 1) % at.size]
    return np.arange(start, start + needed.size - gaps[last] + 1)


def _checked_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    given = tuple(float(value) for value in box)
    if len(given) != 4:
        raise InputError(f"{_BOX}: {given} has {len(given)} numbers; allowed: (west, south, east, north)")
    west, south, east, north = given
    if not (-90 <= south < north <= 90 and -180 <= west <= 360 and -180 <= east <= 360 and west != east):
        raise InputError(
            f"{_BOX}: {given} is none; allowed: (west, south, east, north), longitudes of -180 to 360, "
            "latitudes of -90 to 90 degrees, south below north"
        )
    return west, south, east, north


def _inside(grid: Grid, box: tuple[float, float, float, float]) -> np.ndarray:
    west, south, east, north = box
    # points that are no grid have nothing beside them that interpolation would need
    ring_lon, ring_lat = spacing(grid) if len(grid.dims) == 2 else (np.zeros(1), np.zeros(1))
    width = 360.0 if east - west >= 360.0 else (east - west) % 360.0
    from_west = (grid.lon - west + ring_lon) % 360.0
    return (from_west <= width + 2 * ring_lon) & (grid.lat >= south - ring_lat) & (grid.lat <= north + ring_lat)


def _near(grid: Grid, around: tuple[np.ndarray, np.ndarray], margin: float) -> np.ndarray:
    """Cells no farther from a place than `margin` km, or than a cell's diagonal."""
    from scipy.spatial import cKDTree

    lon, lat = (np.atleast_1d(np.asarray(values, dtype="float64")) for values in around)
    wrong = np.flatnonzero(~(np.isfinite(lon) & (np.abs(lat) <= 90.0))) if lon.shape == lat.shape else np.array([0])
    if not lon.size or lon.shape != lat.shape or wrong.size:
        given = f"{lon.size} longitudes and {lat.size} latitudes"
        if lon.size and lon.shape == lat.shape:
            given = f"lon {lon[wrong[0]]}, lat {lat[wrong[0]]}"
        raise InputError(
            f"{_AROUND}: {given} are no places; allowed: longitudes and latitudes (degree), as many of each"
        )
    if not margin >= 0.0:
        raise InputError(f"margin (--margin): {margin} km; allowed: 0 or more")
    ring_lon, ring_lat = spacing(grid)
    diagonal = np.hypot(ring_lon * np.cos(np.radians(grid.lat)), ring_lat) * _KM_PER_DEGREE * 1.01
    cells = on_sphere(grid.lon.ravel(), grid.lat.ravel())
    known = np.isfinite(cells).all(axis=1)
    reach = np.maximum(diagonal.ravel(), margin)
    limit = 2 * np.sin(min(float(np.nanmax(reach[known])) / _EARTH_RADIUS_KM, np.pi) / 2)
    chord = np.full(known.size, np.inf)
    chord[known] = cKDTree(on_sphere(lon, lat)).query(cells[known], distance_upper_bound=limit * 1.0001)[0]
    with np.errstate(invalid="ignore"):
        km = 2 * np.arcsin(np.clip(chord / 2, 0, 1)) * _EARTH_RADIUS_KM
    return (np.isfinite(chord) & (km <= reach)).reshape(grid.lon.shape)


def take_cells(field: xr.DataArray, dims: tuple[str, ...], positions: tuple[np.ndarray, ...]) -> xr.DataArray:
    """The rectangle of a field as (time, ``y``, ``x``) or (time, ``point``), in lazy blocks of bounded size.

    What is outside of the rectangle is not read: it is cut off before there are blocks.
    """
    ascending = {dim: np.sort(at) for dim, at in zip(dims, positions, strict=True)}
    out = field.isel({dim: _range(at) for dim, at in ascending.items()})
    out = _in_blocks(out, field.encoding.get("preferred_chunks", {}))
    reordered = {dim: np.argsort(np.argsort(at)) for dim, at in zip(dims, positions, strict=True)}
    out = out.isel({dim: _range(at) for dim, at in reordered.items() if np.any(np.diff(at) < 0)})
    names = ("point",) if len(dims) == 1 else ("y", "x")
    out = out.drop_vars([name for name in out.coords if name != "time"])
    return out.transpose(..., *dims).rename(dict(zip(dims, names, strict=True)))


def _range(at: np.ndarray) -> slice | np.ndarray:
    """Consecutive positions as a slice, which files read faster."""
    return slice(int(at[0]), int(at[-1]) + 1) if np.all(np.diff(at) == 1) else at


def _in_blocks(field: xr.DataArray, stored: dict[str, int]) -> xr.DataArray:
    """Blocks of at most BLOCK_BYTES that are made of whole blocks of the file, as far as one of these fits."""
    largest = field.dtype.itemsize * np.prod([max(sizes) for sizes in field.chunks]) if field.chunks else np.inf
    if largest <= BLOCK_BYTES:
        return field
    if field.chunks:
        stored = {str(dim): max(sizes) for dim, sizes in field.chunksizes.items()}
    block = {str(dim): int(n) for dim, n in field.sizes.items()}
    for dim in sorted(block, key=lambda d: (d != "time", -block[d])):
        rest = field.dtype.itemsize * int(np.prod([n for d, n in block.items() if d != dim]))
        unit = min(int(stored.get(dim, 1)), block[dim])
        block[dim] = min(block[dim], max(unit, BLOCK_BYTES // max(rest, 1) // unit * unit))
    over = field.dtype.itemsize * int(np.prod(list(block.values()))) / BLOCK_BYTES
    if over > 1 and "time" in block:
        block["time"] = max(1, int(block["time"] / over))
    return field.chunk(block)
