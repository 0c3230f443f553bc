"""Rasters: what is read of them, that they come back as they were, and that a mosaic lies where it should."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import shapely
import small_region as small
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Transformer

from alpgm_dask import packing, raster
from alpgm_dask.schema import InputError

MASKS = arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7)))


def plane(rows: int, columns: int, *, east: float = 0.0, south: float = 0.0) -> np.ndarray:
    """Elevation that rises by `east` m per pixel eastwards and `south` m per pixel southwards."""
    return 2000.0 + east * np.arange(columns)[None, :] + south * np.arange(rows)[:, None]


# -- pixels of a raster -------------------------------------------------------------------------------------


def test_pixels_and_scalars():
    h = np.array([[0.0, 5.0, 7.0], [np.nan, 9.0, -1.0]])
    out = small.pixels_from(h, plane(2, 3, east=100.0))
    assert out["ice_thickness"].values.tolist() == [5, 7, 9]
    assert out["surface_elevation"].values.tolist() == [2100, 2200, 2100]
    assert (out["x"].values - small.X0).tolist() == [15, 25, 15]
    assert (out["y"].values - small.Y0).tolist() == [-5, -5, -15]
    assert out["inside_outline"].values.tolist() == [1, 1, 1]
    assert np.isnan(out["flowline_distance"].values).all()
    assert {name: str(out[name].dtype) for name in packing.PIXEL_VARIABLES} == packing.PIXEL_VARIABLES
    scalars = {name: out[name].item() for name in out.variables if out[name].ndim == 0}
    assert scalars == {
        "epsg": 32632,
        "pixel_area": 100.0,
        "x_origin": small.X0,
        "y_origin": small.Y0,
        "pixel_width": 10.0,
        "pixel_height": -10.0,
        "grid_rows": 2,
        "grid_columns": 3,
        "area": 300.0,
        "mean_elevation": 6400.0 / 3,
        "max_elevation": 2200.0,
    }


@pytest.mark.parametrize(("east", "south", "slope"), [(10, 0, 45.0), (0, -10, 45.0), (6, 8, 45.0), (0, 0, 0.0)])
def test_slope_of_a_plane(east, south, slope):
    out = small.pixels_from(np.ones((4, 5)), plane(4, 5, east=east, south=south))
    np.testing.assert_allclose(out["surface_slope"].values, slope, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1)])
def test_rasters_of_one_row_or_column(shape):
    out = small.pixels_from(np.ones(shape), plane(*shape, east=10.0, south=10.0))
    np.testing.assert_allclose(out["surface_slope"].values, 0.0 if shape == (1, 1) else 45.0, atol=1e-4)
    assert out["area"] == 100.0 * shape[0] * shape[1]


def test_outline_counts_pixels_by_their_centres():
    left = shapely.box(small.X0, small.Y0 - 20, small.X0 + 14.9, small.Y0)
    out = small.pixels_from(np.ones((2, 3)), plane(2, 3), outline=left)
    assert out["inside_outline"].values.tolist() == [1, 0, 0, 1, 0, 0]
    out = small.pixels_from(np.ones((2, 3)), plane(2, 3), outline=left.buffer(0.2))
    assert out["inside_outline"].values.tolist() == [1, 1, 0, 1, 1, 0]


@pytest.mark.parametrize("reverse", [False, True])
def test_distance_along_a_flowline_starts_at_its_upper_end(reverse):
    ends = [(small.X0 + 0.001, small.Y0 - 15), (small.X0 + 39.999, small.Y0 - 15)]
    line = shapely.LineString(ends[::-1] if reverse else ends)
    out = small.pixels_from(np.ones((3, 4)), plane(3, 4, east=-100.0), flowline=line)
    distance = out["flowline_distance"].values.reshape(3, 4)
    assert np.isnan(distance[[0, 2]]).all()
    np.testing.assert_allclose(distance[1], [5, 15, 25, 35], atol=2.6)
    assert (np.diff(distance[1]) > 0).all()


def test_a_flowline_that_misses_the_raster_gives_no_distance():
    line = shapely.LineString([(0, 0), (100, 100)])
    out = small.pixels_from(np.ones((2, 2)), plane(2, 2), flowline=line)
    assert np.isnan(out["flowline_distance"].values).all()


@pytest.mark.parametrize(
    ("thickness", "surface", "message"),
    [
        (small.raster(np.ones((2, 2)), crs=None), small.raster(plane(2, 2)), "ice_thickness: the raster has no CRS"),
        (
            small.raster(np.ones((2, 2)), crs=4326),
            small.raster(plane(2, 2)),
            "has CRS EPSG:4326; allowed: any projected",
        ),
        (
            small.raster(np.ones((2, 2)), crs="+proj=tmerc +lat_0=1 +lon_0=7 +ellps=bessel"),
            small.raster(plane(2, 2)),
            "allowed: any projected CRS with an EPSG code",
        ),
        (
            small.raster(np.ones((2, 2))),
            small.raster(plane(2, 2), crs=32631),
            "surface_elevation: CRS EPSG:32631; allowed: that of the thickness, EPSG:32632",
        ),
        (small.raster(np.ones((2, 2))), small.raster(plane(2, 3)), r"grid \(2, 3\) differs from .* \(2, 2\)"),
        (small.raster(np.ones((2, 2))), small.raster(plane(2, 2), x0=small.X0 + 5), "grid is off by 5 m in x"),
        (small.raster(np.ones((2, 2))), small.raster(plane(2, 2), y0=small.Y0 - 10), "grid is off by 10 m in y"),
        (small.raster(np.zeros((2, 2))), small.raster(plane(2, 2)), "there is no ice"),
        (small.raster(np.full((2, 2), np.nan)), small.raster(plane(2, 2)), "there is no ice"),
        (
            small.raster(np.ones((2, 2))),
            small.raster([[1.0, np.nan], [1.0, 1.0]]),
            "surface_elevation: not finite in 1 of 4 ice pixels",
        ),
        (small.raster([[np.inf, 1.0]]), small.raster([[1.0, 1.0]]), "ice_thickness: not finite in 1 of 2 ice pixels"),
    ],
)
def test_what_is_refused(thickness, surface, message):
    with pytest.raises(InputError, match=message):
        raster.glacier_pixels(thickness, surface)


def test_a_surface_without_crs_takes_that_of_the_thickness_and_nan_off_the_ice_is_allowed():
    out = raster.glacier_pixels(small.raster([[1.0, 0.0]]), small.raster([[2000.0, np.nan]], crs=None))
    assert out.sizes["pixel"] == 1 and out["epsg"] == 32632


# -- and back -----------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(MASKS, MASKS, st.integers(1, 60), st.integers(0, 99))
def test_rasters_come_back_as_they_were(mask, other, target, seed):
    assume(mask.any() and other.any())
    rng = np.random.default_rng(seed)
    thickness = [np.where(m, rng.uniform(1, 300, m.shape), 0).astype("float32") for m in (mask, other)]
    surface = [rng.uniform(1000, 4000, m.shape).astype("float32") for m in (mask, other)]
    crs = (32631, 32632)
    pixels = [small.pixels_from(h, e, crs=c) for h, e, c in zip(thickness, surface, crs, strict=True)]
    ds = small.pack_rasters(pixels, target)
    for i in range(2):
        for name, values in (("ice_thickness", thickness[i]), ("surface_elevation", surface[i])):
            out = raster.to_raster(ds, f"G{i}", name)
            expected = small.raster(values, crs=crs[i])
            ice = thickness[i] > 0
            np.testing.assert_array_equal(out.values[ice], values[ice])
            assert np.isnan(out.values[~ice]).all()
            np.testing.assert_allclose(out["x"], expected["x"])
            np.testing.assert_allclose(out["y"], expected["y"])
            assert out.rio.crs.to_epsg() == crs[i] and out.name == name and out.attrs["units"] == "m"


def test_raster_is_lazy_and_keeps_dimensions_in_front():
    ds = small.attributes_loaded(small.pack_rasters([small.pixels_from([[0.0, 2.0], [3.0, 4.0]], plane(2, 2))]))
    ds["later"] = ds["ice_thickness"].expand_dims(member=2, hydro_year=3) * xr.DataArray([1.0, 10.0], dims="member")
    # the shape and place of a raster are in the attributes; pixels stay where they are
    with dask.config.set(scheduler=small.no_compute):
        one, many = raster.to_raster(ds, "G0"), raster.to_raster(ds, "G0", "later")
    assert one.chunks is not None and many.chunks is not None
    assert many.dims == ("member", "hydro_year", "y", "x") and many.shape == (2, 3, 2, 2)
    np.testing.assert_array_equal(one, [[np.nan, 2], [3, 4]])
    np.testing.assert_array_equal(many[1, 2], [[np.nan, 20], [30, 40]])


def test_integers_are_zero_off_the_ice():
    ds = small.pack_rasters([small.pixels_from([[0.0, 2.0]], plane(1, 2))])
    out = raster.to_raster(ds, "G0", "inside_outline")
    assert out.dtype == "int8" and out.values.tolist() == [[0, 1]]


def test_a_raster_can_be_written_and_read(tmp_path):
    import rioxarray

    ds = small.pack_rasters([small.pixels_from([[0.0, 2.0], [3.0, 4.0]], plane(2, 2))])
    raster.to_raster(ds, "G0").rio.to_raster(tmp_path / "one.tif")
    with rioxarray.open_rasterio(tmp_path / "one.tif") as found:
        np.testing.assert_array_equal(found.values[0], [[np.nan, 2], [3, 4]])
        assert found.rio.crs.to_epsg() == small.EPSG
        assert found.rio.transform().c == small.X0 and found.rio.transform().f == small.Y0


# -- a region -----------------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(MASKS, st.integers(0, 99))
def test_mosaic_on_the_pixels_own_grid_conserves_volume(mask, seed):
    assume(mask.any())
    rng = np.random.default_rng(seed)
    pixels = [
        small.pixels_from(np.where(mask, rng.uniform(1, 300, mask.shape), 0), plane(*mask.shape), x0=small.X0 + 100 * i)
        for i in range(3)
    ]
    ds = small.pack_rasters(pixels, target_pixels=20)
    painted = raster.mosaic(ds, crs=small.EPSG, resolution=10.0)
    total = sum(float(p["ice_thickness"].sum()) for p in pixels)
    np.testing.assert_allclose(float(painted.sum()), total, rtol=1e-6)
    assert int(painted.notnull().sum()) == 3 * mask.sum()
    for i in range(3):
        one = raster.to_raster(ds, f"G{i}")
        there = painted.sel(x=one["x"], y=one["y"], method="nearest", tolerance=1e-6)
        np.testing.assert_array_equal(there.values.astype("float32"), one.values.astype("float32"))


def test_a_coarser_cell_is_the_mean_of_its_pixels():
    ds = small.pack_rasters([small.pixels_from([[1.0, 3.0], [0.0, 8.0]], plane(2, 2))])
    painted = raster.mosaic(ds, crs=small.EPSG, resolution=20.0)
    assert painted.values[np.isfinite(painted.values)].tolist() == [4.0]


def test_two_zones_land_in_the_right_place():
    places = {"G0": (5.7, 45.0, 32631), "G1": (6.3, 45.0, 32632)}
    pixels = []
    for number, (lon, lat, crs) in enumerate(places.values()):
        x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
        pixels.append(
            small.pixels_from(np.full((3, 3), 10.0 * (number + 1)), plane(3, 3), x0=x - 15, y0=y + 15, crs=crs)
        )
    painted = raster.mosaic(small.pack_rasters(pixels, target_pixels=9), crs=3035, resolution=100.0).compute()
    assert painted.rio.crs.to_epsg() == 3035
    there = Transformer.from_crs(4326, 3035, always_xy=True)
    for number, (lon, lat, _) in enumerate(places.values()):
        x, y = there.transform(lon, lat)
        assert painted.sel(x=x, y=y, method="nearest") == 10.0 * (number + 1)
    assert int(painted.notnull().sum()) <= 8


def test_mosaic_is_lazy():
    ds = small.attributes_loaded(
        small.pack_rasters([small.pixels_from(np.ones((2, 2)), plane(2, 2))] * 3, target_pixels=4)
    )
    with dask.config.set(scheduler=small.no_compute):
        assert raster.mosaic(ds, resolution=50.0).chunks is not None
