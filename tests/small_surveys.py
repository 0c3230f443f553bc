"""Two surveys of a plane with three square glaciers on it, as files of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

from alpgm_dask.convert.conversion import Conversion

X0, Y0, STEP, SIZE, EPSG = 330_000.0, 5_080_000.0, 20.0, 60, 32632
DATES = ("2000-08-20", "2015-09-10")
#: rgi_id -> west, south, east, north in pixels from the corner; 36, 25 and 4 pixels.
BOXES = {"A.1": (2, 8, 8, 2), "A.2": (20, 25, 25, 20), "A.3": (40, 52, 42, 50)}
SIZES = {"A.1": 36, "A.2": 25, "A.3": 4}


def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A surface in m: 3000 m at the corner, falling 100 m per km to the east and 50 m per km to the south."""
    return 3000.0 - 0.1 * (x - X0) + 0.05 * (y - Y0)


def thinning(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the surface sank between the surveys, in m."""
    return -10.0 - 0.01 * (x - X0)


def survey(which: str, epsg: int = EPSG, step: float = STEP, size: int = SIZE) -> tuple[np.ndarray, Affine]:
    """Values and transform of a survey ("first", "second", "difference" or "surface") in any CRS."""
    from pyproj import Transformer

    west, south, east, north = (X0, Y0 - STEP * SIZE, X0 + STEP * SIZE, Y0)
    if epsg != EPSG:
        west, south, east, north = transform_bounds(EPSG, epsg, west, south, east, north)
    transform = Affine(step, 0.0, west, 0.0, -step, north)
    rows, columns = round((north - south) / step), round((east - west) / step)
    x = west + (np.arange(columns) + 0.5) * step
    y = north - (np.arange(rows) + 0.5) * step
    xx, yy = Transformer.from_crs(epsg, EPSG, always_xy=True).transform(*np.meshgrid(x, y))
    first = plane(xx, yy)
    second = first + thinning(xx, yy)
    kinds = {"first": first, "second": second, "difference": second - first, "surface": (first + second) / 2}
    return kinds[which].astype("float32"), transform


def write_tif(path: Path, values: np.ndarray, transform: Affine, *, epsg: int | None = EPSG, nodata=None, units=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1}
    crs = None if epsg is None else rasterio.CRS.from_epsg(epsg)
    profile |= {"dtype": values.dtype.name, "transform": transform, "crs": crs, "nodata": nodata}
    with rasterio.open(path, "w", tiled=True, blockxsize=16, blockysize=16, **profile) as file:
        file.write(values, 1)
        if units:
            file.units = (units,)
    return str(path)


def tif(path: Path, which: str, epsg: int = EPSG, step: float = STEP, **options) -> str:
    """A survey as a GeoTIFF."""
    return write_tif(path, *survey(which, epsg, step), epsg=epsg, **options)


def zarr(path: Path, which: str, *, crs: bool = True, units: str = "m", south_up: bool = False) -> str:
    """A survey as a Zarr store of one variable."""
    values, t = survey(which)
    x = t.c + (np.arange(values.shape[1]) + 0.5) * t.a
    y = t.f + (np.arange(values.shape[0]) + 0.5) * t.e
    array = xr.DataArray(values, dims=("y", "x"), coords={"y": y, "x": x}, attrs={"units": units}, name="dem")
    array = array.rio.write_crs(EPSG) if crs else array
    array = array.isel(y=slice(None, None, -1)) if south_up else array
    array.to_dataset().to_zarr(path, encoding={"dem": {"chunks": (16, 16)}}, zarr_format=3, consolidated=False)
    return str(path)


def clips(folder: Path, which: str, margin: int = 2) -> str:
    """A survey as one GeoTIFF for each glacier."""
    values, t = survey(which)
    for rgi_id, (west, south, east, north) in BOXES.items():
        rows, columns = slice(max(north - margin, 0), south + margin), slice(max(west - margin, 0), east + margin)
        cut = Affine(t.a, 0, t.c + columns.start * t.a, 0, t.e, t.f + rows.start * t.e)
        write_tif(folder / f"{rgi_id}.tif", values[rows, columns], cut)
    return str(folder)


def outlines(boxes: dict[str, tuple[float, ...]] | None = None, **columns):
    """Squares of whole pixels."""
    import geopandas as gpd
    import shapely

    found = boxes or BOXES
    edges = {
        i: shapely.box(X0 + w * STEP, Y0 - s * STEP, X0 + e * STEP, Y0 - n * STEP) for i, (w, s, e, n) in found.items()
    }
    return gpd.GeoDataFrame({"rgi_id": list(edges), **columns}, geometry=list(edges.values()), crs=EPSG)


def packed(conversion: Conversion) -> xr.Dataset:
    """The store that a conversion makes, in memory, read block by block as workers do."""
    source = conversion.packed["elevation_models"]
    out = source.template()
    parts = [source.read_block.part(b)(b) for b in range(source.plan.n_blocks)]
    whole = xr.concat(parts, "pixel")
    return out.assign({name: ("pixel", whole[name].values, out[name].attrs) for name in source.variables})
