"""Reading one glacier's thickness and surface on one grid: every fault is counted, and mended or refused on purpose."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
import rasterio.warp
import rioxarray
import shapely
import xarray as xr
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.fill import fillnodata
from rasterio.transform import Affine

from alpgm_dask.schema import InputError

#: Thickness above this is noise (ALPGM, Bolibar et al. 2020), in m.
NOISE_ABOVE = 550.0

#: Elevations outside this range are not on this planet's land, in m.
ELEVATION_RANGE = (-500.0, 9000.0)

#: Grids are the same if their origins and steps agree to this share of a pixel.
GRID_TOLERANCE = 0.01


@dataclass(frozen=True)
class Rules:
    """How faults of rasters are treated.

    Attributes
    ----------
    noise_above
        thickness above this (m) is set to 0; None keeps it.
    resample
        a surface on another grid is resampled bilinearly onto the thickness grid; False refuses it.
    fill_surface
        a surface that is missing under ice is interpolated from its neighbours; False refuses it.
    """

    noise_above: float | None = None
    resample: bool = False
    fill_surface: bool = False


@dataclass(frozen=True)
class RasterPair:
    """The files of one glacier, and the geometries (WKB, in `geometry_epsg`) that go with it.

    ``mosaic`` says that `surface` covers many glaciers and is cut out and resampled for each.
    """

    rgi_id: str
    thickness: str
    surface: str
    outline: bytes | None = None
    flowline: bytes | None = None
    geometry_epsg: int = 4326
    mosaic: bool = False


@lru_cache(maxsize=64)
def transformer(source: int, target: int) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def reproject(geometry: shapely.Geometry, source: int, target: int) -> shapely.Geometry:
    """A geometry in another coordinate system (EPSG codes)."""
    if source == target:
        return geometry
    move = transformer(source, target)
    return shapely.transform(geometry, lambda xy: np.column_stack(move.transform(xy[:, 0], xy[:, 1])))


@lru_cache(maxsize=64)
def _epsg(wkt: str) -> int | None:
    return rasterio.CRS.from_wkt(wkt).to_epsg()


@lru_cache(maxsize=64)
def _wkt(epsg: int) -> str:
    return rasterio.CRS.from_epsg(epsg).to_wkt()


def data_array(values: np.ndarray, transform: Affine, epsg: int) -> xr.DataArray:
    """(y, x) array with what rioxarray reads its CRS and transform from; the WKT is parsed once per zone."""
    rows, columns = values.shape
    text = " ".join(map(repr, (transform.c, transform.a, transform.b, transform.f, transform.d, transform.e)))
    coords = {
        "x": transform.c + (np.arange(columns) + 0.5) * transform.a,
        "y": transform.f + (np.arange(rows) + 0.5) * transform.e,
        "spatial_ref": ((), 0, {"crs_wkt": _wkt(epsg), "spatial_ref": _wkt(epsg), "GeoTransform": text}),
    }
    return xr.DataArray(values, dims=("y", "x"), coords=coords)


def affine_of(array: xr.DataArray) -> Affine:
    """The transform that rioxarray keeps with an array, without the check of the coordinates that takes it 1 ms."""
    return Affine.from_gdal(*map(float, array.coords["spatial_ref"].attrs["GeoTransform"].split()))


def clean_thickness(
    thickness: np.ndarray, nodata: float | None, noise_above: float | None
) -> tuple[np.ndarray, Counter]:
    """Thickness with 0 wherever there is no ice, and how many pixels were set to 0 for which reason.

    Parameters
    ----------
    thickness
        (y, x) in m.
    nodata
        the file's value for no data, or None.
    noise_above
        thickness above this is noise, in m; None: none is.
    """
    h = thickness.astype("float32")
    missing = (
        np.zeros(h.shape, bool) if nodata is None or np.isnan(nodata) else thickness == thickness.dtype.type(nodata)
    )
    not_finite = ~np.isfinite(h) & ~missing
    negative = (h < 0) & ~missing & ~not_finite
    noise = (h > noise_above) & ~missing & ~not_finite if noise_above is not None else np.zeros(h.shape, bool)
    faults = Counter(
        {
            "thickness: nodata (pixels)": int(missing.sum()),
            "thickness: not finite (pixels)": int(not_finite.sum()),
            "thickness: negative (pixels)": int(negative.sum()),
            "thickness: noise (pixels)": int(noise.sum()),
        }
    )
    h[missing | not_finite | negative | noise] = 0.0
    return h, faults


def _read_thickness(pair: RasterPair, rules: Rules) -> tuple[xr.DataArray, Counter]:
    with rasterio.open(pair.thickness) as file:
        values, transform, crs, nodata = file.read(1), file.transform, file.crs, file.nodata
    where = f"{pair.thickness}: variable 'ice_thickness'"
    if crs is None:
        raise InputError(f"{where} has no CRS; allowed: a projected CRS in metres with an EPSG code")
    epsg = _epsg(crs.to_wkt())
    if epsg is None or not crs.is_projected:
        raise InputError(f"{where} has the CRS {crs.to_string()}; allowed: a projected CRS in metres with an EPSG code")
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise InputError(f"{where} has the transform {tuple(transform)[:6]}; allowed: north up, not rotated")
    values, faults = clean_thickness(values, nodata, rules.noise_above)
    return data_array(values, transform, epsg), faults


def _open_surface(path: str, fallback: rasterio.CRS, box: tuple[float, ...] | None) -> xr.DataArray:
    """A surface as rioxarray sees it, missing as NaN; of a mosaic only what lies around `box` (in `fallback`)."""
    with rioxarray.open_rasterio(path, masked=True) as file:
        surface = file.isel(band=0, drop=True)
        if surface.rio.crs is None:
            surface = surface.rio.write_crs(fallback)
        if box is not None:
            west, south, east, north = rasterio.warp.transform_bounds(fallback, surface.rio.crs, *box)
            margin = 3 * max(map(abs, surface.rio.resolution()))
            surface = surface.rio.clip_box(west - margin, south - margin, east + margin, north + margin)
        return surface.astype("float32").load()


def _same_grid(file: Any, ours: Affine, shape: tuple[int, ...]) -> bool:
    offsets = (np.array(file.transform[:6]) - np.array(ours[:6])) / ours.a
    steps = np.abs(offsets[[0, 4]]).max() * max(shape)
    return file.shape == shape and max(np.abs(offsets[[1, 2, 3, 5]]).max(), steps) < GRID_TOLERANCE


def _read_surface(pair: RasterPair, thickness: xr.DataArray, rules: Rules) -> tuple[xr.DataArray, Counter]:
    faults: Counter = Counter()
    epsg = thickness.rio.crs.to_epsg()
    where = f"{pair.surface}: variable 'surface_elevation'"
    ours = affine_of(thickness)
    with rasterio.open(pair.surface) as file:
        crs, same = file.crs, _same_grid(file, ours, thickness.shape)
        offset = math.hypot(file.transform.c - ours.c, file.transform.f - ours.f)
        values = None if pair.mosaic or not same else file.read(1, masked=True).astype("float32").filled(np.nan)
    if crs is None:
        if pair.mosaic:
            raise InputError(f"{where} has no CRS; allowed: any CRS, the mosaic covers many glaciers")
        faults["surface: no CRS (files)"] += 1
    elif not pair.mosaic and _epsg(crs.to_wkt()) != epsg:
        if not rules.resample:
            raise InputError(f"{where} has the CRS {crs.to_string()}; allowed: EPSG:{epsg}, that of {pair.thickness}")
        faults["surface: other CRS (files)"] += 1
    if values is not None:
        return data_array(values, ours, epsg), faults
    if not pair.mosaic and not rules.resample:
        raise InputError(
            f"{where} lies on another grid than the thickness (origins {offset:.2f} m apart); "
            f"allowed: the grid of {pair.thickness}, or resampling (--resample)"
        )
    faults["surface: resampled to the thickness grid (files)"] += 0 if pair.mosaic else 1
    surface = _open_surface(pair.surface, thickness.rio.crs, thickness.rio.bounds() if pair.mosaic else None)
    return surface.rio.reproject_match(thickness, resampling=Resampling.bilinear), faults


def read_pair(pair: RasterPair, rules: Rules) -> tuple[xr.DataArray, xr.DataArray, Counter]:
    """Thickness and surface of one glacier on the thickness grid, cleaned, with counts of what was met.

    Where there is no ice at all the surface is not read: thickness comes back twice.

    Returns
    -------
    thickness, surface
        (y, x) in m, with CRS; thickness is 0 where there is no ice, the surface is finite under and beside ice.
    faults
        name -> count.

    Raises
    ------
    InputError
        naming file, variable, value and what is allowed, for what `rules` do not let pass.
    """
    thickness, faults = _read_thickness(pair, rules)
    if not (thickness.values > 0).any():
        return thickness, thickness, faults
    surface, more = _read_surface(pair, thickness, rules)
    values = surface.values.astype("float32")
    with np.errstate(invalid="ignore"):
        odd = (values < ELEVATION_RANGE[0]) | (values > ELEVATION_RANGE[1])
    values[odd | ~np.isfinite(values)] = np.nan
    missing = np.isnan(values)
    under_ice = int((missing & (thickness.values > 0)).sum())
    if under_ice and not rules.fill_surface:
        raise InputError(
            f"{pair.surface}: variable 'surface_elevation' is missing under ice at {under_ice} pixels; "
            f"allowed: {ELEVATION_RANGE[0]:g} to {ELEVATION_RANGE[1]:g} m wherever the thickness is above 0"
        )
    if missing.any() and not missing.all():
        # beside the ice too: the slope of a margin pixel needs its neighbours
        values = fillnodata(values, mask=~missing, max_search_distance=100.0)
    more["surface: missing or odd under ice (pixels)"] += under_ice
    return thickness, surface.copy(data=values), faults + more
