"""The synthetic glaciers as the model takes them: a packed dataset and a table of outlines."""

from __future__ import annotations

import geopandas
import numpy as np
import rioxarray  # noqa: F401  (registers the .rio accessor)
import shapely
import xarray as xr
from affine import Affine
from pyproj import Transformer
from rasterio import features
from scipy import ndimage

from alpgm_dask import packing
from alpgm_dask.demo.ice import FINE, Ice
from alpgm_dask.demo.relief import CORNER, EPSG, MASSIFS, PIXEL, SHAPE
from alpgm_dask.raster import glacier_pixels

#: year of the outlines, thickness and surface.
INVENTORY_YEAR = 2015

#: pixels per block: small, so that a small region has several blocks.
TARGET_PIXELS = 20_000

_SCALARS = (
    *("epsg", "pixel_area", "x_origin", "y_origin", "pixel_width", "pixel_height", "grid_rows", "grid_columns"),
    *("area", "mean_elevation", "max_elevation"),
)


def to_lonlat(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude in degrees of projected coordinates in m."""
    return Transformer.from_crs(EPSG, 4326, always_xy=True).transform(x, y)


def massif_centres() -> tuple[np.ndarray, np.ndarray]:
    """(massif,) longitude and latitude of the massifs' centres."""
    rows, columns = np.array([m[1] for m in MASSIFS]), np.array([m[2] for m in MASSIFS])
    step = FINE * PIXEL
    return to_lonlat(CORNER[0] + columns * SHAPE[1] * step, CORNER[1] - rows * SHAPE[0] * step)


def _transform(row: int, column: int) -> Affine:
    return Affine(PIXEL, 0.0, CORNER[0] + column * PIXEL, 0.0, -PIXEL, CORNER[1] - row * PIXEL)


def _raster(values: np.ndarray, row: int, column: int) -> xr.DataArray:
    grid = _transform(row, column)
    out = xr.DataArray(
        values.astype("float32"),
        dims=("y", "x"),
        coords={
            "y": grid.f + (np.arange(values.shape[0]) + 0.5) * grid.e,
            "x": grid.c + (np.arange(values.shape[1]) + 0.5) * grid.a,
        },
    )
    return out.rio.write_crs(EPSG).rio.write_transform(grid)


def _outline(mask: np.ndarray, row: int, column: int) -> shapely.Geometry:
    parts = features.shapes(mask.astype("uint8"), mask=mask, transform=_transform(row, column))
    return shapely.unary_union([shapely.geometry.shape(shape) for shape, _ in parts])


def _flowline(line: np.ndarray) -> shapely.LineString | None:
    """The way of the ice with its corners rounded; None where it is a single point."""
    if len(line) < 2:
        return None
    smooth = ndimage.uniform_filter1d(line, 3, axis=0, mode="nearest")
    smooth[[0, -1]] = line[[0, -1]]
    return shapely.LineString(np.stack([CORNER[0] + smooth[:, 1] * PIXEL, CORNER[1] - smooth[:, 0] * PIXEL], axis=1))


def _aspect(surface: np.ndarray, mask: np.ndarray) -> float:
    """Degree clockwise from north that a surface faces on the mean."""
    down_y, down_x = np.gradient(-surface, PIXEL)
    return float(np.degrees(np.arctan2(down_x[mask].mean(), -down_y[mask].mean())) % 360.0)


def _glacier(ice: Ice, number: int, box: tuple[slice, slice]) -> tuple[xr.Dataset, shapely.Geometry, float]:
    """Pixels, outline (projected) and aspect of one glacier, from a window three pixels wider than it is."""
    row, column = max(box[0].start - 3, 0), max(box[1].start - 3, 0)
    window = (slice(row, box[0].stop + 3), slice(column, box[1].stop + 3))
    mask = ice.label[window] == number
    surface = ice.surface[window]
    outline = _outline(mask, row, column)
    pixels = glacier_pixels(
        _raster(np.where(mask, ice.thickness[window], 0.0), row, column),
        _raster(surface, row, column),
        outline=outline,
        flowline=_flowline(ice.flowlines[number]),
    )
    return pixels, outline, _aspect(surface, mask)


def build(ice: Ice, massif: np.ndarray) -> tuple[xr.Dataset, geopandas.GeoDataFrame]:
    """The packed glaciers and their outlines, both in the order of the packed store.

    Parameters
    ----------
    ice
        the rasters of the region.
    massif
        (y, x) position of the massif of each cell of the flow grid.

    Returns
    -------
    glaciers
        packed dataset (``glacier``, ``pixel``), see :mod:`alpgm_dask.packing`.
    outlines
        one row per glacier, EPSG:4326.
    """
    boxes = ndimage.find_objects(ice.label)
    numbers = sorted(ice.flowlines)
    parts = [_glacier(ice, n, boxes[n - 1]) for n in numbers]
    pixels = [p for p, _, _ in parts]
    centre = shapely.centroid([outline for _, outline, _ in parts])
    x, y = shapely.get_x(centre), shapely.get_y(centre)
    lon, lat = to_lonlat(x, y)
    step = FINE * PIXEL
    group = massif[((CORNER[1] - y) // step).astype(int), ((x - CORNER[0]) // step).astype(int)]
    rank = [int((group[:i] == group[i]).sum()) + 1 for i in range(len(numbers))]
    words = {
        "rgi_id": [f"DEMO-00.{i + 1:05d}" for i in range(len(numbers))],
        "glims_id": [f"D{1000 * a:06.0f}E{1000 * b:05.0f}N" for a, b in zip(lon, lat, strict=True)],
        "name": [f"{MASSIFS[g][0]} {r}" for g, r in zip(group, rank, strict=True)],
        "massif": [MASSIFS[g][0] for g in group],
        "subregion": ["Demo Alps"] * len(numbers),
    }
    attributes = xr.Dataset({name: ("glacier", np.array(values, dtype=object)) for name, values in words.items()})
    attributes = attributes.assign(
        lon=("glacier", lon),
        lat=("glacier", lat),
        aspect=("glacier", np.array([a for _, _, a in parts])),
        inventory_year=("glacier", np.full(len(numbers), INVENTORY_YEAR, dtype="int32")),
        **{name: ("glacier", np.array([p[name].item() for p in pixels])) for name in _SCALARS},
    )
    attributes["epsg"] = attributes["epsg"].astype("int32")
    attributes = attributes.set_coords(["rgi_id", "glims_id", "name", "lon", "lat"])
    glaciers = packing.pack(attributes, pixels, TARGET_PIXELS)
    glaciers.attrs["title"] = "Demo Alps: synthetic glaciers"
    order = packing.plan_blocks(np.array([p.sizes["pixel"] for p in pixels]), TARGET_PIXELS).order
    return glaciers, _outlines(attributes.isel(glacier=order), [parts[i][1] for i in order])


def _outlines(attributes: xr.Dataset, shapes: list[shapely.Geometry]) -> geopandas.GeoDataFrame:
    columns = {n: attributes[n].values for n in ("rgi_id", "glims_id", "name", "massif", "inventory_year")}
    table = {**columns, "outline_source": "ice mask"}
    return geopandas.GeoDataFrame(table, geometry=shapes, crs=EPSG).to_crs(4326)
