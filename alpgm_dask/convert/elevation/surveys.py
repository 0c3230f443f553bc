"""One glacier in two surveys: its pixels, their surface and how it changed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import rasterio
import shapely
import xarray as xr
from pyproj import Geod
from rasterio.transform import Affine

from alpgm_dask import packing
from alpgm_dask.convert.elevation.grids import (
    Grid,
    Offset,
    is_metric,
    move,
    moved,
    on_grid,
    step_in_metres,
    utm,
    window,
)
from alpgm_dask.convert.elevation.opened import Raster, open_raster
from alpgm_dask.schema import InputError

DEGREES = rasterio.CRS.from_epsg(4326)

#: No elevation and no change of one is larger, in m.
LARGEST = 9000.0

#: A change beyond this (m) is told of: an outlier, or a void that was filled with something.
LARGE_CHANGE = 400.0

#: Why a glacier is left out.
OUTSIDE, NO_PIXEL = "outside of the elevation models", "no pixel's centre inside the outline"


@dataclass(frozen=True)
class GlacierSurveys:
    """The rasters of one glacier.

    Attributes
    ----------
    first, second
        the two surveys; or the map of differences and the surface that goes with it.
    outline
        WKB in EPSG:4326; None: the valid pixels of the rasters are the glacier.
    """

    rgi_id: str
    first: str
    second: str
    outline: bytes | None = None


@dataclass(frozen=True)
class Method:
    """How the rasters of all glaciers are read.

    Attributes
    ----------
    difference
        `first` is a map of differences and `second` a surface, not two surveys.
    clips
        the rasters are cut out already: those in degrees stay on their own grid, so that values stay exact.
    offset
        what the first survey is moved by before it is compared.
    """

    difference: bool = False
    clips: bool = False
    offset: Offset | None = None

    @property
    def variables(self) -> tuple[str, str]:
        """What `first` and `second` hold."""
        return "elevation_change" if self.difference else "surface_elevation", "surface_elevation"


class LeftOutError(Exception):
    """A glacier that the rasters say nothing of: the message says why."""


Open = Callable[[str, str], Raster]


def place(first: Raster, second: Raster) -> tuple[rasterio.CRS, rasterio.CRS, int]:
    """The CRS of both rasters; one that has none gets the other's (and how often that was needed).

    Raises
    ------
    InputError
        if neither has one.
    """
    if first.crs is None and second.crs is None:
        raise InputError(f"{first.where} and {second.where} have no CRS; allowed: any CRS, for one of them at least")
    return first.crs or second.crs, second.crs or first.crs, int(first.crs is None or second.crs is None)


def grid_of(reference: Raster, crs: rasterio.CRS, outline: shapely.Geometry | None, clips: bool) -> Grid:
    """The grid of a glacier: the reference's own if it is in metres (or a clip), else one in the glacier's UTM zone.

    Parameters
    ----------
    reference, crs
        the raster that is not resampled where that can be helped, and its CRS.
    outline
        in EPSG:4326; None: all of the raster.
    clips
        a grid in degrees is kept.
    """
    if is_metric(crs) or (clips and crs.is_geographic):
        if outline is None:
            return Grid(reference.transform, reference.array.shape, crs)
        return window(reference.transform, moved(outline, DEGREES, crs).bounds, crs)
    if outline is None:
        outline = moved(shapely.box(*reference.bounds), crs, DEGREES)
    lon, lat = outline.centroid.x, outline.centroid.y
    plane, step = utm(lon, lat), step_in_metres(reference, crs, lon, lat)
    # lines at multiples of the step, so that the grid depends on nothing but the zone and the raster
    return window(Affine(step, 0.0, 0.0, 0.0, -step, 0.0), moved(outline, DEGREES, plane).bounds, plane)


def read_surveys(job: GlacierSurveys, method: Method, open_: Open = open_raster) -> tuple[xr.Dataset, Counter]:
    """One glacier's pixels, and counts of what was met.

    Returns
    -------
    pixels
        Dataset over ``pixel`` with :data:`alpgm_dask.packing.ELEVATION_VARIABLES`, and scalars: epsg, pixel_area, area,
        lon, lat, x_origin, y_origin, pixel_width, pixel_height, grid_rows, grid_columns.
    faults
        name -> count.

    Raises
    ------
    InputError
        naming file, variable, value and what is allowed.
    LeftOutError
        if the outline does not meet the reference raster (the second survey, or the difference), or holds no pixel.
    """
    first, second = (open_(path, name) for path, name in zip((job.first, job.second), method.variables, strict=True))
    crs_first, crs_second, lent = place(first, second)
    reference, crs = (first, crs_first) if method.difference else (second, crs_second)
    outline = None if job.outline is None else shapely.from_wkb(job.outline)
    if outline is not None and not moved(outline, DEGREES, crs).intersects(shapely.box(*reference.bounds)):
        raise LeftOutError(OUTSIDE)
    grid = grid_of(reference, crs, outline, method.clips)
    x, y = grid.centres()
    inside = None if outline is None else _inside(moved(outline, DEGREES, grid.crs), x, y)
    if inside is not None and not inside.any():
        raise LeftOutError(NO_PIXEL)
    source = grid if method.offset is None else method.offset.away(grid)
    a, a_warped = on_grid(first, crs_first, source)
    b, b_warped = on_grid(second, crs_second, grid)
    inside = np.isfinite(a) | np.isfinite(b) if inside is None else inside
    if not inside.any():
        raise LeftOutError(NO_PIXEL)
    a, b = a[inside], b[inside]
    _refuse_implausible(job, method, a, b)
    a = a if method.offset is None else a + method.offset.up
    change, surface = (a, b) if method.difference else (b - a, mean_of(a, b))
    faults = Counter(
        {
            "surveys: resampled (glaciers)": int(a_warped or b_warped),
            "surveys: no CRS (glaciers)": lent,
            "change: missing (pixels)": int(np.isnan(change).sum()),
            "change: large (pixels)": int((np.abs(change) > LARGE_CHANGE).sum()),
            "surface: missing (pixels)": int(np.isnan(surface).sum()),
        }
    )
    values = {"surface_elevation": surface, "elevation_change": change}
    return _pixels(values, x[inside], y[inside], grid, outline), faults


def mean_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The mean of two surveys; where only one is there, that one; NaN where neither is.

    >>> mean_of(np.array([1.0, 1.0, np.nan, np.nan]), np.array([3.0, np.nan, 3.0, np.nan])).tolist()
    [2.0, 1.0, 3.0, nan]
    """
    return np.where(np.isnan(first), second, np.where(np.isnan(second), first, (first + second) / 2))


def _inside(outline: shapely.Geometry, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    shapely.prepare(outline)
    return shapely.contains_xy(outline, x, y)


def _refuse_implausible(job: GlacierSurveys, method: Method, first: np.ndarray, second: np.ndarray) -> None:
    for where, name, values in zip((job.first, job.second), method.variables, (first, second), strict=True):
        far = np.abs(values) > LARGEST
        if far.any():
            raise InputError(
                f"{where}: variable '{name}' is {values[far][0]:g} m at {int(far.sum())} pixels of {job.rgi_id}; "
                f"allowed: -{LARGEST:g} to {LARGEST:g} m, and a nodata value that the file declares"
            )


def _pixels(
    values: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, grid: Grid, outline: shapely.Geometry | None
) -> xr.Dataset:
    """Pixels at projected places, with what is to be known of their grid."""
    lon, lat = move(x, y, grid.crs, DEGREES)
    if grid.crs.is_projected:
        scalars = _own_grid(grid)
    else:
        plane = utm(float(lon.mean()), float(lat.mean()))
        x, y = move(lon, lat, DEGREES, plane)
        scalars = _grid_around(x, y, *_cell(grid), plane)
    area = x.size * scalars["pixel_area"]
    if outline is not None:
        area = abs(Geod(ellps="WGS84").geometry_area_perimeter(outline)[0])
    scalars |= {"area": area, "lon": float(lon.mean()), "lat": float(lat.mean())}
    values |= {"x": x, "y": y}
    typed = {name: ("pixel", values[name].astype(dtype)) for name, dtype in packing.ELEVATION_VARIABLES.items()}
    return xr.Dataset({**typed, **{name: ((), value) for name, value in scalars.items()}})


def _own_grid(grid: Grid) -> dict[str, float]:
    t = grid.transform
    return {
        "epsg": grid.crs.to_epsg(),
        "pixel_area": abs(t.a * t.e),
        "x_origin": t.c,
        "y_origin": t.f,
        "pixel_width": t.a,
        "pixel_height": t.e,
        "grid_rows": grid.shape[0],
        "grid_columns": grid.shape[1],
    }


def _cell(grid: Grid) -> tuple[float, float]:
    """Width and height in m of the pixel in the middle of a grid in degrees."""
    west, south, east, north = grid.bounds
    lon, lat, t = (west + east) / 2, (south + north) / 2, grid.transform
    geod = Geod(ellps="WGS84")
    width = geod.inv(lon - t.a / 2, lat, lon + t.a / 2, lat)[2]
    return width, geod.inv(lon, lat + t.e / 2, lon, lat - t.e / 2)[2]


def _grid_around(x: np.ndarray, y: np.ndarray, width: float, height: float, plane: rasterio.CRS) -> dict[str, float]:
    """A grid for pixels that lie on one in degrees: each falls into a cell, now and then two into one."""
    return {
        "epsg": plane.to_epsg(),
        "pixel_area": width * height,
        "x_origin": float(x.min()) - width / 2,
        "y_origin": float(y.max()) + height / 2,
        "pixel_width": width,
        "pixel_height": -height,
        "grid_rows": math.ceil(np.ptp(y) / height) + 1,
        "grid_columns": math.ceil(np.ptp(x) / width) + 1,
    }
