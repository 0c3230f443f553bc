"""From (y, x) rasters to packed pixels, and back: one glacier as a raster, a region as a mosaic."""

from __future__ import annotations

import numpy as np
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr

from alpgm_dask import packing
from alpgm_dask.schema import VARIABLES, InputError


def glacier_pixels(
    thickness: xr.DataArray, surface: xr.DataArray, *, outline: object = None, flowline: object = None
) -> xr.Dataset:
    """The ice pixels of one glacier, and what its raster looked like.

    Parameters
    ----------
    thickness, surface
        (y, x) ice thickness and surface elevation in m on the same grid; `thickness` carries its CRS
        (rioxarray). A pixel is ice where the thickness is above 0.
    outline
        a shapely polygon in the same CRS: which pixels lie inside. None: all.
    flowline
        a shapely line in the same CRS. None: the glacier has none.

    Returns
    -------
    Dataset over ``pixel`` with the variables of :data:`alpgm_dask.packing.PIXEL_VARIABLES`, and scalars: epsg,
    pixel_area, x_origin, y_origin, pixel_width, pixel_height, grid_rows, grid_columns, area, mean_elevation,
    max_elevation.

    Raises
    ------
    InputError
        if there is no CRS, it is not a projected one with an EPSG code, the rasters have two, the grids differ, there
        is no ice, or a value is not finite under ice.
    """
    epsg = _check_crs(thickness, surface)
    if thickness.shape != surface.shape:
        raise InputError(
            f"surface_elevation: grid {surface.shape} differs from that of the thickness {thickness.shape}"
        )
    transform = thickness.rio.transform()
    for axis, step in (("x", transform.a), ("y", transform.e)):
        given = [raster[axis].values for raster in (thickness, surface) if axis in raster.coords]
        if len(given) == 2 and np.abs(given[0] - given[1]).max() > 0.01 * abs(step):
            off = np.abs(given[0] - given[1]).max()
            raise InputError(f"surface_elevation: grid is off by {off:g} m in {axis} from that of the thickness")
    h, e = np.asarray(thickness.values), np.asarray(surface.values)
    row, column = np.nonzero(h > 0)
    if row.size == 0:
        raise InputError("ice_thickness: no pixel above 0 m: there is no ice")
    for name, values in (("ice_thickness", h), ("surface_elevation", e)):
        bad = int((~np.isfinite(values[row, column])).sum())
        if bad:
            raise InputError(f"{name}: not finite in {bad} of {row.size} ice pixels; allowed: numbers")
    x = transform.c + (column + 0.5) * transform.a
    y = transform.f + (row + 0.5) * transform.e
    along = _distance_along(flowline, e, transform)[row, column] if flowline is not None else np.full(row.size, np.nan)
    inside = _inside(outline, x, y) if outline is not None else np.ones(row.size, dtype="int8")
    pixel_area = abs(transform.a * transform.e)
    ice = e[row, column].astype("float64")
    scalars = {
        "epsg": np.int32(epsg),
        "pixel_area": pixel_area,
        "x_origin": transform.c,
        "y_origin": transform.f,
        "pixel_width": transform.a,
        "pixel_height": transform.e,
        "grid_rows": np.int32(h.shape[0]),
        "grid_columns": np.int32(h.shape[1]),
        "area": row.size * pixel_area,
        "mean_elevation": ice.mean(),
        "max_elevation": ice.max(),
    }
    pixels = {
        "ice_thickness": h[row, column],
        "surface_elevation": ice,
        "x": x,
        "y": y,
        "surface_slope": _slope(e, transform)[row, column],
        "flowline_distance": along,
        "inside_outline": inside,
    }
    typed = {name: ("pixel", values.astype(packing.PIXEL_VARIABLES[name])) for name, values in pixels.items()}
    return xr.Dataset({**typed, **{name: ((), value) for name, value in scalars.items()}})


def _check_crs(thickness: xr.DataArray, surface: xr.DataArray) -> int:
    """EPSG code of the thickness, which the surface shares if it has a CRS at all."""
    crs, other = thickness.rio.crs, surface.rio.crs
    epsg = None if crs is None else crs.to_epsg()
    if epsg is None or not crs.is_projected:
        given = "no CRS" if crs is None else f"CRS {crs.to_string()}"
        raise InputError(f"ice_thickness: the raster has {given}; allowed: any projected CRS with an EPSG code")
    if other is not None and other != crs:
        raise InputError(
            f"surface_elevation: CRS {other.to_string()}; allowed: that of the thickness, EPSG:{epsg}, or none"
        )
    return int(epsg)


def _slope(elevation: np.ndarray, transform: object) -> np.ndarray:
    """Slope of a surface in degrees; 0 along a direction in which the raster is one pixel wide."""
    gradient = np.zeros((2, *elevation.shape))
    for axis, step in enumerate((transform.e, transform.a)):
        if elevation.shape[axis] > 1:
            gradient[axis] = np.gradient(elevation.astype("float64"), step, axis=axis)
    return np.degrees(np.arctan(np.hypot(gradient[0], gradient[1])))


def _inside(outline: object, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    import shapely

    return shapely.contains_xy(outline, x, y).astype("int8")


def _distance_along(line: object, elevation: np.ndarray, transform: object) -> np.ndarray:
    """(y, x) distance in m along a line from its upper end, at the pixels that it crosses; NaN elsewhere."""
    import shapely

    step = 0.5 * min(abs(transform.a), abs(transform.e))
    along = np.arange(0.0, line.length + step, step).clip(max=line.length)
    points = shapely.get_coordinates(shapely.line_interpolate_point(line, along))
    column = np.floor((points[:, 0] - transform.c) / transform.a).astype(int)
    row = np.floor((points[:, 1] - transform.f) / transform.e).astype(int)
    on = (row >= 0) & (row < elevation.shape[0]) & (column >= 0) & (column < elevation.shape[1])
    row, column, along = row[on], column[on], along[on]
    out = np.full(elevation.shape, np.nan)
    if along.size:
        if elevation[row[-1], column[-1]] > elevation[row[0], column[0]]:
            along = line.length - along
        total = np.zeros(elevation.shape)
        count = np.zeros(elevation.shape)
        np.add.at(total, (row, column), along)
        np.add.at(count, (row, column), 1)
        crossed = count > 0
        out[crossed] = total[crossed] / count[crossed]
    return out


def _scatter(values: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    fill = np.nan if values.dtype.kind == "f" else 0
    out = np.full((*values.shape[:-1], *shape), fill, dtype=values.dtype)
    out[..., row, column] = values
    return out


def to_raster(ds: xr.Dataset, rgi_id: str, name: str = "ice_thickness") -> xr.DataArray:
    """One glacier's variable as an ordinary raster, lazily.

    Parameters
    ----------
    ds
        a packed dataset, or results that carry its grid variables.
    rgi_id
        the glacier.
    name
        a variable along ``pixel``; other dimensions are kept in front.

    Returns
    -------
    DataArray (..., y, x) with the glacier's CRS, north up, ready for ``.rio.to_raster``; NaN off the ice.

    Raises
    ------
    InputError
        if the glacier is unknown, or there is no such variable along ``pixel``.
    """
    _require_pixels(ds, name)
    one = packing.glacier(ds, rgi_id)
    grid = {k: float(one[k]) for k in ("x_origin", "y_origin", "pixel_width", "pixel_height")}
    shape = (int(one["grid_rows"]), int(one["grid_columns"]))
    column = np.rint((one["x"] - grid["x_origin"]) / grid["pixel_width"] - 0.5).astype("int64")
    row = np.rint((one["y"] - grid["y_origin"]) / grid["pixel_height"] - 0.5).astype("int64")
    out = xr.apply_ufunc(
        _scatter,
        one[name],
        row,
        column,
        kwargs={"shape": shape},
        input_core_dims=[["pixel"]] * 3,
        output_core_dims=[["y", "x"]],
        dask="parallelized",
        output_dtypes=[one[name].dtype],
        dask_gufunc_kwargs={"output_sizes": {"y": shape[0], "x": shape[1]}, "allow_rechunk": True},
    )
    out = out.assign_coords(
        x=grid["x_origin"] + (np.arange(shape[1]) + 0.5) * grid["pixel_width"],
        y=grid["y_origin"] + (np.arange(shape[0]) + 0.5) * grid["pixel_height"],
    )
    out.attrs = dict(one[name].attrs)
    out = out.rename(name).rio.write_crs(int(one["epsg"]))
    return out.rio.write_nodata(np.nan) if out.dtype.kind == "f" else out


def _require_pixels(ds: xr.Dataset, name: str, *, only: bool = False) -> None:
    """Refuse a variable that is missing, or not along ``pixel`` (alone, if `only`)."""
    along = [str(n) for n, v in ds.data_vars.items() if (v.dims == ("pixel",) if only else "pixel" in v.dims)]
    if name not in along:
        given = f"has dimensions {ds[name].dims}" if name in ds.variables else "is missing"
        hint = "; select one of each other dimension with isel first" if only else ""
        raise InputError(f"variable {name!r} {given}; allowed: {', '.join(sorted(along))}{hint}")


def mosaic(ds: xr.Dataset, name: str = "ice_thickness", *, crs: int = 3035, resolution: float = 250.0) -> xr.DataArray:
    """A region painted on one grid, lazily: every cell is the mean of the pixels whose centres fall into it.

    Parameters
    ----------
    ds
        a packed dataset.
    name
        a variable along ``pixel`` only.
    crs
        EPSG code of the mosaic's projected coordinate system.
    resolution
        size of a cell in m.

    Returns
    -------
    DataArray (y, x), NaN where there is no ice.

    Raises
    ------
    InputError
        if there is no such variable along ``pixel`` alone.

    Notes
    -----
    A block is painted by one task; the client holds the mosaic, never the pixels.
    """
    import dask
    import dask.array as da
    from pyproj import Transformer

    _require_pixels(ds, name, only=True)
    parts = []
    box = _extent(ds, crs, resolution)
    shape = (round((box[3] - box[1]) / resolution), round((box[2] - box[0]) / resolution))
    for block in packing.blocks(ds):
        part = ds[["epsg", "row_size", "row_start", "x", "y", name]].isel(block.region)
        parts.append(dask.delayed(_paint)(part, name, crs, box, resolution, shape, block.pixels.start, Transformer))
    while len(parts) > 1:  # two at a time: no worker ever holds more than three of the mosaic
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [dask.delayed(sum)(pair) if len(pair) == 2 else pair[0] for pair in pairs]
    total, count = da.from_delayed(parts[0], (2, *shape), "float64")
    values = da.where(count > 0, total / da.maximum(count, 1), np.nan)
    coords = {
        "y": box[3] - (np.arange(shape[0]) + 0.5) * resolution,
        "x": box[0] + (np.arange(shape[1]) + 0.5) * resolution,
    }
    out = xr.DataArray(values, dims=("y", "x"), coords=coords, name=name, attrs=VARIABLES[name].attrs())
    return out.rio.write_crs(crs)


def _extent(ds: xr.Dataset, crs: int, resolution: float) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of all glaciers' grids in another CRS, snapped to the resolution."""
    from pyproj import Transformer

    edges = []
    x0, y0 = ds["x_origin"].values, ds["y_origin"].values
    x1 = x0 + ds["pixel_width"].values * ds["grid_columns"].values
    y1 = y0 + ds["pixel_height"].values * ds["grid_rows"].values
    epsg = ds["epsg"].values
    for code in np.unique(epsg):
        there = Transformer.from_crs(int(code), crs, always_xy=True)
        zone = epsg == code
        for x in (x0, x1):
            for y in (y0, y1):
                edges.append(np.stack(there.transform(x[zone], y[zone])))
    corners = np.concatenate(edges, axis=1)
    low = np.floor(corners.min(axis=1) / resolution - 1) * resolution
    high = np.ceil(corners.max(axis=1) / resolution + 1) * resolution
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _paint(part, name, crs, box, resolution, shape, first, transformer) -> np.ndarray:
    """(2, y, x) sum and count of a block's pixels on the mosaic's grid."""
    out = np.zeros((2, shape[0] * shape[1]))
    values = part[name].values.astype("float64")
    zone = np.zeros(values.size, dtype="int32")
    for start, size, code in zip(part["row_start"].values, part["row_size"].values, part["epsg"].values, strict=True):
        zone[start - first : start - first + size] = code
    zone[~np.isfinite(values)] = 0
    for code in np.unique(zone[zone > 0]):
        here = zone == code
        there = transformer.from_crs(int(code), crs, always_xy=True)
        x, y = there.transform(part["x"].values[here], part["y"].values[here])
        column = ((x - box[0]) // resolution).astype("int64")
        row = ((box[3] - y) // resolution).astype("int64")
        cell = row * shape[1] + column
        out[0] += np.bincount(cell, weights=values[here], minlength=out.shape[1])
        out[1] += np.bincount(cell, minlength=out.shape[1])
    return out.reshape(2, *shape)
