"""A raster of elevations as it lies in a file or a Zarr store: opened lazily, units and place checked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rioxarray
import xarray as xr
from rasterio.transform import Affine, array_bounds

from alpgm_dask.schema import InputError

#: How metres are spelt.
METRES = {"", "1", "m", "metre", "metres", "meter", "meters", "m a.s.l.", "m asl"}

#: Beyond this (m) a value is no elevation but a fill value that the file does not declare.
FILL_BEYOND = 1e30

_ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
_DEGREES = {"lon": "x", "longitude": "x", "lat": "y", "latitude": "y"}


@dataclass(frozen=True)
class Raster:
    """An opened raster: nothing of it is read yet.

    Attributes
    ----------
    where
        file or store, for messages.
    array
        (y, x) north up, missing as NaN, lazy.
    transform
        of the outer corner of its first pixel.
    crs
        None where the file has none.
    """

    where: str
    array: xr.DataArray
    transform: Affine
    crs: rasterio.CRS | None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        return array_bounds(*self.array.shape, self.transform)


def is_zarr(where: str | Path) -> bool:
    """Whether a path is a Zarr store or a group in one."""
    text = str(where)
    if "://" in text:
        return ".zarr" in text
    return any((Path(text) / mark).exists() for mark in _ZARR_MARKS)


def is_mosaic(where: str | Path, variable: str) -> bool:
    """Whether a path is one raster of many glaciers (True), or clips: a folder or a pattern with ``{id}`` (False).

    Raises
    ------
    InputError
        if there is nothing.
    """
    text = str(where)
    if "{id}" in text or (Path(text).is_dir() and not is_zarr(text)):
        return False
    if "://" in text or Path(text).exists():
        return True
    raise InputError(
        f"{where}: variable '{variable}': no such file; allowed: a raster, a Zarr store, a folder of clips, or a "
        "pattern with {id}"
    )


def open_raster(where: str, variable: str) -> Raster:
    """Open a GeoTIFF, a Zarr store or a NetCDF file that holds one 2-D variable.

    Parameters
    ----------
    where
        path or address; of a Zarr store also ``STORE/GROUP``.
    variable
        what it holds, for messages.

    Raises
    ------
    InputError
        naming file, variable, value and what is allowed: several variables or bands, units other than metres, a
        rotated or irregular grid.
    """
    label = f"{where}: variable '{variable}'"
    array = _from_xarray(where, label) if is_zarr(where) or where.endswith(".nc") else _from_gdal(where, label)
    units = str(array.attrs.get("units") or "").strip()
    if units.lower() not in METRES:
        raise InputError(f"{label} has units {units!r}; allowed: 'm', or none, which is taken as metres")
    crs = array.rio.crs
    _refuse_feet(crs, label)
    transform = _transform(array, label)
    if transform.e > 0:
        array = array.isel(y=slice(None, None, -1))
        top = transform.f + transform.e * array.sizes["y"]
        transform = Affine(transform.a, 0.0, transform.c, 0.0, -transform.e, top)
    return Raster(where, array, transform, crs)


def _from_gdal(where: str, label: str) -> xr.DataArray:
    try:
        found = rioxarray.open_rasterio(where, mask_and_scale=True)
    except rasterio.RasterioIOError as error:
        raise InputError(f"{label} cannot be opened: {error}; allowed: a raster that GDAL reads, or Zarr") from error
    if not isinstance(found, xr.DataArray) or found.sizes["band"] != 1:
        given = "several variables" if not isinstance(found, xr.DataArray) else f"{found.sizes['band']} bands"
        raise InputError(f"{label} has {given}; allowed: one band")
    return found.isel(band=0, drop=True)


def _from_xarray(where: str, label: str) -> xr.DataArray:
    engine = {"engine": "zarr"} if is_zarr(where) else {}
    with warnings.catch_warnings():
        # whether metadata are consolidated is the business of who wrote the store
        warnings.filterwarnings("ignore", message="Failed to open Zarr store", category=RuntimeWarning)
        ds = xr.open_dataset(where, chunks=None, cache=False, decode_coords="all", **engine).squeeze()
    mapping = [str(name) for name, v in ds.data_vars.items() if {"crs_wkt", "spatial_ref"} & set(v.attrs)]
    ds = ds.set_coords(mapping)
    found = sorted(str(name) for name, v in ds.data_vars.items() if v.ndim == 2)
    if len(found) != 1:
        raise InputError(f"{label}: the 2-D variables are {found or 'none'}; allowed: one")
    array = ds[found[0]]
    if mapping and "grid_mapping" not in array.encoding:  # the variable is there, and nobody said what for
        array.encoding["grid_mapping"] = mapping[0]
    array = array.rename({dim: _DEGREES[str(dim)] for dim in array.dims if dim in _DEGREES})
    if set(array.dims) != {"x", "y"}:
        raise InputError(f"{label} has the dimensions {array.dims}; allowed: y and x, or lat and lon")
    return array.transpose("y", "x")


def _transform(array: xr.DataArray, label: str) -> Affine:
    told = "spatial_ref" in array.coords and "GeoTransform" in array.coords["spatial_ref"].attrs
    axes = [array[axis].values.astype("float64") if axis in array.coords else None for axis in ("x", "y")]
    if not told:
        if any(axis is None or axis.size < 2 for axis in axes):
            raise InputError(f"{label} has no transform; allowed: coordinates x and y of at least 2 pixels each")
        steps = [np.diff(axis) for axis in axes]
        if any(np.ptp(step) > 0.01 * abs(step[0]) for step in steps):
            raise InputError(f"{label} has coordinates of unequal steps; allowed: a regular grid")
    transform = array.rio.transform(recalc=False) if told else array.rio.transform(recalc=True)
    if transform.b or transform.d or transform.a <= 0 or transform.e == 0:
        raise InputError(f"{label} has the transform {tuple(transform)[:6]}; allowed: not rotated, x to the east")
    return transform


def _refuse_feet(crs: rasterio.CRS | None, label: str) -> None:
    """A CRS may say the unit of heights too."""
    if crs is None:
        return
    from pyproj import CRS

    for axis in CRS.from_user_input(crs.to_wkt()).axis_info[2:]:
        if axis.unit_conversion_factor != 1.0:
            raise InputError(f"{label} has heights in {axis.unit_name} ({crs.to_string()}); allowed: metres")
