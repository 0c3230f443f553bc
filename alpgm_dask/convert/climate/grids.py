"""Horizontal grids of CF files: where every cell lies, whether two files share a grid, and which cells are needed.

Longitudes and latitudes may be axes (regular grid), fields (curvilinear, rotated pole), computed from a projection
(CF grid mapping), or belong to points. Longitudes are brought to -180..180.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.forcing.matching import on_sphere
from alpgm_dask.schema import InputError

_LON = ("lon", "longitude", "nav_lon", "XLONG")
_LAT = ("lat", "latitude", "nav_lat", "XLAT")
_X = ("x", "rlon", "X", "easting", "xc")
_Y = ("y", "rlat", "Y", "northing", "yc")
_X_NAMES = ("projection_x_coordinate", "grid_longitude")
_Y_NAMES = ("projection_y_coordinate", "grid_latitude")

#: Part of the distance to the next cell by which positions of one grid may differ between files (rounding).
_SAME_PLACE = 0.01


@dataclass(frozen=True)
class Grid:
    """Positions of the cells of one file.

    Attributes
    ----------
    where
        the file.
    dims
        its dimensions, (row, column) or (point,).
    lon, lat
        degrees, of that shape; NaN where a cell has no position.
    axes
        the coordinates along `dims` that cells are told apart by; () for points and curvilinear grids.
    """

    where: str
    dims: tuple[str, ...]
    lon: np.ndarray
    lat: np.ndarray
    axes: tuple[np.ndarray, ...] = ()

    @property
    def cyclic(self) -> bool:
        """Whether the last column is the western neighbour of the first one."""
        if len(self.dims) == 1 or self.lon.shape[1] < 3 or np.ptp(self.lat[0]) != 0:
            return False
        steps = np.abs(turned(np.diff(self.lon[0])))
        return bool(np.ptp(steps) < 0.1 * steps[0] and abs(steps.mean() * self.lon.shape[1] - 360.0) < 0.5 * steps[0])


def turned(degrees: np.ndarray) -> np.ndarray:
    """Longitudes, or differences of longitudes, between -180 and 180; what is between them stays as it is, to the bit.

    >>> turned(np.array([10.1, 359.75, 180.0, -190.0])).tolist()
    [10.1, -0.25, 180.0, 170.0]
    """
    out = np.asarray(degrees, dtype="float64")
    out = np.where(out > 180.0, out - 360.0, out)
    return np.where(out < -180.0, out + 360.0, out)


def grid_of(ds: xr.Dataset, field: xr.DataArray, where: str) -> Grid:
    """The grid of a field that has no other dimensions than those of its grid; coordinates are read.

    Raises
    ------
    InputError
        if neither longitudes and latitudes nor a projection are there.
    """
    lon, lat = (_coordinate(ds, field, names, name) for names, name in ((_LON, "longitude"), (_LAT, "latitude")))
    if lon is not None and lat is not None:
        if lon.ndim == lat.ndim == 1 and lon.dims != lat.dims:
            axes = (lat.values.astype("float64"), turned(lon.values))
            lats, lons = np.meshgrid(*axes, indexing="ij", copy=False)
            return Grid(where, (str(lat.dims[0]), str(lon.dims[0])), lons, lats, axes)
        if lon.dims == lat.dims and lon.ndim in (1, 2):
            axes = _own_axes(ds, tuple(map(str, lon.dims))) if lon.ndim == 2 else ()
            lons, lats = turned(lon.values), lat.values.astype("float64")
            return Grid(where, tuple(map(str, lon.dims)), lons, lats, axes)
    x, y = (_coordinate(ds, field, *names) for names in ((_X, *_X_NAMES), (_Y, *_Y_NAMES)))
    if x is not None and y is not None and x.ndim == y.ndim == 1:
        axes = (_metres(y), _metres(x))
        lons, lats = _unprojected(_mapping(ds, field, where), *axes, where)
        return Grid(where, (str(y.dims[0]), str(x.dims[0])), turned(lons), lats, axes)
    raise InputError(
        f"{where}: variable '{field.name}' has dimensions {field.dims}, and no longitude and latitude are found for "
        "them; allowed: coordinates with the standard names longitude and latitude, or x and y with a CF grid mapping"
    )


def _coordinate(ds: xr.Dataset, field: xr.DataArray, names: tuple[str, ...], *standard: str) -> xr.DataArray | None:
    """The coordinate along dimensions of the field that has a standard name, else one of the names."""
    fits = [ds[n] for n, v in ds.variables.items() if 1 <= v.ndim <= 2 and set(v.dims) <= set(field.dims)]
    for coordinate in fits:
        if coordinate.attrs.get("standard_name") in standard:
            return coordinate
    return next((c for name in names for c in fits if c.name == name), None)


def _own_axes(ds: xr.Dataset, dims: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Axes of a grid with fields of longitude and latitude, such as rlat and rlon; () if it has none."""
    if not all(dim in ds.variables and ds[dim].dtype.kind == "f" for dim in dims):
        return ()
    return tuple(_metres(ds[dim]) for dim in dims)


def _metres(axis: xr.DataArray) -> np.ndarray:
    scale = 1000.0 if str(axis.attrs.get("units", "")).lower() in ("km", "kilometre", "kilometer") else 1.0
    return axis.values.astype("float64") * scale


def _mapping(ds: xr.Dataset, field: xr.DataArray, where: str) -> dict[str, Any]:
    """Attributes of the grid mapping: the one that the field names, else the only one of the file."""
    named = str(field.attrs.get("grid_mapping") or field.encoding.get("grid_mapping") or "").split(":")[0].strip()
    if named in ds.variables:
        return dict(ds[named].attrs)
    found = [v.attrs for v in ds.variables.values() if "grid_mapping_name" in v.attrs or "crs_wkt" in v.attrs]
    if len(found) != 1:
        raise InputError(
            f"{where}: variable '{field.name}' names the grid mapping {named!r}, which is missing; allowed: a variable "
            "with the attributes of a CF grid mapping, or longitude and latitude"
        )
    return dict(found[0])


def _unprojected(mapping: dict[str, Any], y: np.ndarray, x: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude (row, column) on the projection's own ellipsoid, as models on a sphere mean them."""
    import pyproj

    attrs = {
        key: v.item() if isinstance(v, np.ndarray | np.generic) and v.size == 1 else v for key, v in mapping.items()
    }
    try:
        crs = pyproj.CRS.from_cf(attrs)
    except (pyproj.exceptions.CRSError, KeyError) as error:
        raise InputError(f"{where}: its grid mapping {attrs} is not understood: {error}") from error
    geographic = crs.source_crs if crs.is_derived and crs.source_crs is not None else crs.geodetic_crs
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return pyproj.Transformer.from_crs(crs, geographic, always_xy=True).transform(columns, rows)


def same_cells(grid: Grid, other: Grid) -> tuple[np.ndarray, ...]:
    """Positions along each dimension of `other` where the cells of `grid` are; `other` may be larger.

    Raises
    ------
    InputError
        naming the file and the first place that it lacks.
    """
    if len(grid.dims) == len(other.dims) and grid.axes and other.axes:
        found = tuple(map(_nearest, grid.axes, other.axes))
    elif grid.lon.shape == other.lon.shape:
        found = tuple(np.arange(n) for n in grid.lon.shape)
    else:
        raise InputError(
            f"{other.where}: its grid has {other.lon.shape} cells, that of {grid.where} {grid.lon.shape}; "
            "allowed: one grid (bring the files to one grid first)"
        )
    allowed = _SAME_PLACE * np.maximum(np.hypot(*spacing(grid)), 1e-3)
    at = np.ix_(*found)
    apart = np.hypot(turned(other.lon[at] - grid.lon) * np.cos(np.radians(grid.lat)), other.lat[at] - grid.lat)
    wrong = np.argwhere(apart > allowed)
    if wrong.size:
        place = tuple(wrong[0])
        raise InputError(
            f"{other.where}: its grid is not that of {grid.where}: it has no cell at lon {grid.lon[place]:.4f}, "
            f"lat {grid.lat[place]:.4f} ({len(wrong)} such cells); allowed: one grid"
        )
    return found


def _nearest(axis: np.ndarray, other: np.ndarray) -> np.ndarray:
    order = np.argsort(other, kind="stable")
    at = np.clip(np.searchsorted(other[order], axis), 1, max(len(other) - 1, 1))
    low, high = order[at - 1], order[np.minimum(at, len(other) - 1)]
    return np.where(np.abs(other[low] - axis) <= np.abs(other[high] - axis), low, high)


def spacing(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Distance in longitude and latitude (degree, like `lon`) to the neighbours of each cell."""
    if len(grid.dims) == 1:
        return _between_points(grid)
    out = []
    for values in (grid.lon, grid.lat):
        total = np.zeros(values.shape)
        for axis in range(2):
            if values.shape[axis] > 1:
                step = np.abs(turned(np.diff(values, axis=axis)))
                ends = [np.take(step, [0], axis), np.take(step, [-1], axis)]
                total += np.fmax(np.concatenate([ends[0], step], axis), np.concatenate([step, ends[1]], axis))
        out.append(total)
    return out[0], out[1]


def _between_points(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Of points that are no grid: the distance to the nearest other point, in both directions."""
    if grid.lon.size < 2:
        return np.zeros(grid.lon.shape), np.zeros(grid.lon.shape)
    from scipy.spatial import cKDTree

    places = on_sphere(grid.lon, grid.lat)
    degrees = np.degrees(2 * np.arcsin(np.clip(cKDTree(places).query(places, k=2)[0][:, 1] / 2, 0, 1)))
    return degrees / np.maximum(np.cos(np.radians(grid.lat)), 1e-6), degrees
