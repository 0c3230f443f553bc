"""A handful of glaciers with numbers that can be checked in the head, and everything that a run of them reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from rasterio.transform import from_origin

from alpgm_dask import packing, store
from alpgm_dask.catalog import Entry, write_catalog
from alpgm_dask.raster import glacier_pixels
from alpgm_dask.schema import annotate

X0, Y0, STEP, EPSG = 300_000.0, 5_000_000.0, 10.0, 32632
HISTORY, PROJECTION = (2000, 2004), (2005, 2008)


def no_compute(dsk, keys, **kwargs):
    raise AssertionError("something was computed while a graph was built")


def raster(values, *, x0: float = X0, y0: float = Y0, step: float = STEP, crs: int | str | None = EPSG) -> xr.DataArray:
    """(y, x) north up, with the outer corner of its first pixel at (x0, y0)."""
    values = np.asarray(values)
    rows, columns = values.shape
    x, y = x0 + (np.arange(columns) + 0.5) * step, y0 - (np.arange(rows) + 0.5) * step
    out = xr.DataArray(values, dims=("y", "x"), coords={"y": y, "x": x})
    out = out.rio.write_crs(crs) if crs is not None else out
    return out.rio.write_transform(from_origin(x0, y0, step, step))


def pixels_from(thickness, surface, **options) -> xr.Dataset:
    """:func:`glacier_pixels` of two arrays on one grid."""
    place = {key: options.pop(key) for key in ("x0", "y0", "step", "crs") if key in options}
    return glacier_pixels(raster(thickness, **place), raster(surface, **place), **options)


def pack_rasters(pixels: list[xr.Dataset], target_pixels: int = 10_000, **extra: list) -> xr.Dataset:
    """Packed dataset of :func:`glacier_pixels`, named G0, G1, ... in the order given."""
    scalars = [name for name in pixels[0].variables if pixels[0][name].ndim == 0]
    attributes = xr.Dataset({name: ("glacier", np.array([p[name].item() for p in pixels])) for name in scalars})
    attributes["epsg"] = attributes["epsg"].astype("int32")
    for name, values in extra.items():
        attributes[name] = ("glacier", np.array(values, dtype=object if isinstance(values[0], str) else None))
    ids = np.array([f"G{i}" for i in range(len(pixels))], dtype=object)
    return packing.pack(attributes.assign_coords(rgi_id=("glacier", ids)), pixels, target_pixels)


def glaciers() -> xr.Dataset:
    """Four glaciers of 1, 2, 3 and 4 pixels, 100 m2 each, two in massif A and two in B, 0.01 degrees apart."""
    pixels = [
        pixels_from(np.full((1, n), 10.0 * n, dtype="float32"), 2500.0 + 200 * n - 10 * np.arange(n)[None])
        for n in (1, 2, 3, 4)
    ]
    return pack_rasters(
        pixels,
        target_pixels=5,
        lon=[7.00, 7.01, 7.02, 7.03],
        lat=[45.0] * 4,
        aspect=[0.0, 90.0, 180.0, 270.0],
        massif=["A", "A", "B", "B"],
        subregion=["11-01", "11-01", "11-01", ""],
        name=["one", "two", "three", "four"],
    )


def predictors(years: tuple[int, int], members: int = 0) -> xr.Dataset:
    """Rows of G0..G3: 100 K day more for every 200 m less, and years that differ by 1."""
    span, dims = np.arange(years[0], years[1] + 1), ("glacier", "hydro_year")
    height = 2700.0 + 200 * np.arange(4)
    cpdd = 1000 - 0.5 * (height[:, None] - 2700) + (span - 2000)
    snow = np.full(cpdd.shape, 500.0)
    values = {"cpdd": cpdd, "winter_snowfall": snow, "summer_snowfall": snow / 5}
    out = xr.Dataset({name: (dims, v) for name, v in values.items()})
    if members:
        names = np.array([f"m{i}" for i in range(members)], dtype=object)
        out = out.expand_dims(member=names)
    ids = np.array([f"G{i}" for i in range(4)], dtype=object)
    out = out.assign_coords(hydro_year=span, rgi_id=("glacier", ids), lon=("glacier", 7 + 0.01 * np.arange(4)))
    out = out.assign_coords(lat=("glacier", [45.0] * 4), massif=("glacier", np.array(list("AABB"), dtype=object)))
    return annotate(out.assign(reference_elevation=("glacier", height)))


def daily(years: tuple[int, int], members: int = 0, calendar: str = "standard") -> xr.Dataset:
    """Every day of the hydrological years at one point of each massif; 1 degC, no precipitation."""
    start, end = f"{years[0] - 1}-10-01", f"{years[1]}-09-30"
    time = xr.date_range(start, end, calendar=calendar, use_cftime=calendar != "standard")
    dims, shape = ("time", "point"), (len(time), 2)
    values = {"tas": np.full(shape, 274.15), "snowfall": np.zeros(shape), "rainfall": np.zeros(shape)}
    out = xr.Dataset({name: (dims, v.astype("float32")) for name, v in values.items()})
    if members:
        out = out.expand_dims(member=np.array([f"m{i}" for i in range(members)], dtype=object))
    place = {"elevation": [2700.0, 2900.0], "lon": [7.0, 7.02], "lat": [45.0, 45.0]}
    out = out.assign({name: ("point", np.array(v)) for name, v in place.items()})
    out["massif"] = ("point", np.array(["A", "B"], dtype=object))
    return annotate(out.assign_coords(time=time)).transpose("member", "time", "point", missing_dims="ignore")


def observations(years: tuple[int, int] = HISTORY) -> xr.Dataset:
    """Mass balance of G0 and G3: -1 and -2 m w.e. in every year."""
    span = np.arange(years[0], years[1] + 1)
    yearly, ones = ("glacier", "hydro_year"), np.ones((2, span.size))
    out = xr.Dataset(
        {
            "smb": (yearly, -ones * [[1.0], [2.0]]),
            "mean_elevation": (yearly, 2700 * ones),
            "area": (yearly, 1e6 * ones),
            "max_elevation": ("glacier", [2900.0, 3000.0]),
            "tongue_slope": ("glacier", [10.0, 20.0]),
            "aspect": ("glacier", [0.0, 90.0]),
            "massif": ("glacier", np.array(["A", "B"], dtype=object)),
        },
        coords={
            "hydro_year": span,
            "rgi_id": ("glacier", np.array(["G0", "G3"], dtype=object)),
            "lon": ("glacier", [7.0, 7.03]),
            "lat": ("glacier", [45.0, 45.0]),
        },
    )
    return annotate(out)


def delta_h() -> xr.Dataset:
    """One function: that of G1, 0 at the top and 1 at the terminus, two nodes and a padded third."""
    return annotate(
        xr.Dataset(
            {
                "delta_h": (("glacier", "node"), np.array([[0.0, 1.0, np.nan]])),
                "normalized_elevation": (("glacier", "node"), np.array([[0.0, 1.0, np.nan]])),
            },
            coords={"rgi_id": ("glacier", np.array(["G1"], dtype=object))},
        )
    )


def everything() -> dict[str, xr.Dataset]:
    """Entry -> dataset, of daily and of predictor runs."""
    return {
        "glaciers": glaciers(),
        "delta_h": delta_h(),
        "smb_observations": observations(),
        "climate": daily(HISTORY),
        "projections": daily(PROJECTION, members=2),
        "history": predictors(HISTORY),
        "scenarios": predictors(PROJECTION, members=2),
    }


def write_region(folder: Path, datasets: dict[str, xr.Dataset], base: Path | None = None) -> Path:
    """Write stores and a catalog that lists them, and the other stores of `base` where it is given."""
    folder.mkdir(parents=True, exist_ok=True)
    urls = {p.stem: str(p) for p in sorted(base.glob("*.zarr"))} if base is not None else {}
    for name, dataset in datasets.items():
        store.write(dataset, str(folder / f"{name}.zarr"))
        urls[name] = f"{{CATALOG_DIR}}/{name}.zarr"
    write_catalog(folder / "catalog.yaml", {name: Entry("zarr", url) for name, url in urls.items()})
    return folder / "catalog.yaml"


def attributes_loaded(ds: xr.Dataset) -> xr.Dataset:
    """A packed dataset with its attributes in memory and its pixels lazy, as reading attributes is allowed."""
    loaded = ds.drop_dims("pixel").compute()
    return ds.assign(loaded.data_vars).assign_coords(loaded.coords)
