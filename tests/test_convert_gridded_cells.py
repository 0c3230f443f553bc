"""Which cells of a grid are taken: boxes, places, seams, other grids; and properties of splitting."""

from __future__ import annotations

from itertools import pairwise

import gridded_products as products
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpgm_dask.convert.climate.cells import select_cells
from alpgm_dask.convert.climate.gridded import open_grid, read
from alpgm_dask.convert.climate.grids import Grid, grid_of, same_cells
from alpgm_dask.forcing.matching import great_circle
from alpgm_dask.schema import InputError


def globe(step=10.0, lon_from=0.0, north_first=True) -> Grid:
    lat = np.arange(-85.0, 86.0, step)[:: -1 if north_first else 1]
    lon = np.arange(lon_from, lon_from + 360.0, step)
    ds = xr.Dataset({"v": (("lat", "lon"), np.zeros((lat.size, lon.size)))}, {"lat": lat, "lon": lon})
    return grid_of(ds, ds["v"], "globe")


# -- boxes and places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lon_from", [0.0, -180.0])
@pytest.mark.parametrize("north_first", [True, False])
@pytest.mark.parametrize("box", [(-4, 41, 4, 44), (6, 44, 8, 46), (172, -45, -172, -40), (352, 41, 358, 44)])
def test_a_box_holds_the_corners_of_what_is_inside(lon_from, north_first, box):
    grid = globe(lon_from=lon_from, north_first=north_first)
    cells = select_cells(grid, bounding_box=box)
    assert cells.columns.size <= 5 and cells.rows.size <= 4 and np.all(np.diff(cells.columns) == 1)
    lons, lats = (values[np.ix_(*cells.positions)] for values in (grid.lon, grid.lat))
    west, south, east, north = box
    turned = (lons[0] - west + 90.0) % 360.0 - 90.0
    assert turned.min() <= 0.0 and turned.max() >= (east - west) % 360.0 and np.all(np.diff(turned) == 10.0)
    assert lats.min() <= south and lats.max() >= north


def test_a_whole_globe_is_cut_at_the_antimeridian():
    cells = select_cells(globe(lon_from=0.0))
    lon = globe(lon_from=0.0).lon[0][cells.positions[1]]
    assert cells.columns.size == 36 and np.all(np.diff(lon) == 10.0) and lon[0] == -170.0
    assert cells.columns[0] == 19 and cells.columns[-1] == 54  # 18 more than the file has columns
    assert select_cells(globe(lon_from=-180.0)).columns.tolist() == list(range(36))


@settings(max_examples=60, deadline=None)
@given(st.floats(-179.9, 179.9), st.floats(-74.0, 74.0), st.sampled_from([0.0, -180.0]))
def test_every_place_has_the_cells_around_it(lon, lat, lon_from):
    grid = globe(lon_from=lon_from)
    cells = select_cells(grid, around=(np.array([lon]), np.array([lat])))
    lons, lats = (values[np.ix_(*cells.positions)] for values in (grid.lon, grid.lat))
    nearest = (np.abs((lons - lon + 180.0) % 360.0 - 180.0) <= 10.0) & (np.abs(lats - lat) <= 10.0)
    assert (cells.needed & nearest).sum() >= 4
    assert len({(r, c) for r, c in zip(*np.nonzero(cells.needed & nearest), strict=True)}) >= 4
    assert cells.columns.size < 36 or abs(lat) > 60


def test_two_regions_take_two_patches_and_not_what_lies_between():
    grid = globe()
    cells = select_cells(grid, around=(np.array([7.0, 87.0]), np.array([45.5, 28.0])))
    assert cells.needed.sum() < 0.5 * cells.needed.size
    far = select_cells(grid, around=(np.array([7.0]), np.array([45.5])), margin=3000.0)
    near = select_cells(grid, around=(np.array([7.0]), np.array([45.5])))
    assert far.needed.sum() > 2 * near.needed.sum()


def test_distances_are_those_that_glaciers_are_matched_by():
    """Half a metre less than the distance of cells does not take them; the Earth is one sphere."""
    place, grid = (np.array([0.0]), np.array([5.0])), globe()
    km = great_circle(0.0, 5.0, 0.0, 45.0) / 1000.0
    taken = [select_cells(grid, around=place, margin=km + more) for more in (-5e-4, 5e-4)]
    furthest = [np.abs(grid.lat[np.ix_(*c.positions)][c.needed] - 5.0).max() for c in taken]
    assert furthest == [30.0, 40.0]


def test_cells_of_a_box_keep_their_place_and_value(tmp_path):
    products.era5(tmp_path, lon=np.arange(0.0, 360.0, 45.0), lat=(60.0, 30.0, 0.0, -30.0))
    climate = read(tmp_path, accumulated="step", bounding_box=(-50, 10, 10, 40)).climate.compute()
    assert set(zip(climate["lon"].values, climate["grid_column"].values, strict=True)) >= {(-45.0, 7), (0.0, 8)}
    places = zip(climate["grid_row"].values, climate["grid_column"].values, strict=True)
    at = {(r, c % 8): k for k, (r, c) in enumerate(places)}
    for (row, column), k in at.items():
        assert float(climate["tas"][3, k]) == pytest.approx(products.BASE + row + 10.0 * column, abs=1e-3)
        assert climate["lat"].values[k] == (60.0, 30.0, 0.0, -30.0)[row]


def test_a_box_on_a_rotated_grid(tmp_path):
    path = products.euro_cordex(tmp_path / "c.nc")
    whole = read(path).climate
    one = read(path, bounding_box=(6.42, 46.1, 6.46, 46.14)).climate
    assert one.sizes["point"] == 4 and 0.0 in (one["lon"] - whole["lon"][0]).values
    assert set(one["grid_column"].values) == {0, 1}


# -- files of one grid --------------------------------------------------------------------------------------


def test_orography_of_a_larger_grid_turned_round(tmp_path):
    (tmp_path / "m").mkdir()
    files = products.flux_model(tmp_path / "m")
    (files / "orog_fx_CESM2.nc").unlink()
    lat, lon = np.arange(90.0, -91.0, -1.0), np.arange(0.0, 360.0, 1.25)
    height = 10.0 * lat[:, None] + lon[None, :]
    fixed = xr.Dataset({"orog": (("y", "x"), height, {"units": "m"})}, {"lat": ("y", lat), "lon": ("x", lon)})
    climate = read(files, orography=fixed).climate
    np.testing.assert_allclose(climate["elevation"], 10.0 * climate["lat"] + climate["lon"])
    shifted = fixed.assign_coords(lon=("x", lon + 0.4))
    with pytest.raises(InputError, match=r"its grid is not that of .*: it has no cell at lon 10.0000, lat 45.0000"):
        read(files, orography=shifted)


def test_a_curvilinear_grid_must_be_the_same():
    lon, lat = np.meshgrid([6.0, 7.0, 8.0], [45.0, 46.0])
    one = Grid("one", ("j", "i"), lon + 0.1 * lat, lat)
    assert [at.tolist() for at in same_cells(one, one)] == [[0, 1], [0, 1, 2]]
    with pytest.raises(InputError, match=r"other: its grid has \(2, 2\) cells"):
        same_cells(one, Grid("other", ("j", "i"), lon[:, :2], lat[:, :2]))


# -- what must not matter -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hours():
    rng = np.random.default_rng(1)
    time = pd.date_range("2000-09-30 06:00", "2001-10-01 03:00", freq="6h")
    coords = {"time": time, "lat": [46.0, 45.0], "lon": [359.0, 0.0]}
    ds = xr.Dataset(coords=coords)
    shape = (len(time), 2, 2)
    ds["t2m"] = (("time", "lat", "lon"), rng.normal(270, 5, shape).astype("f4"), {"units": "K"})
    ds["tp"] = (("time", "lat", "lon"), rng.gamma(0.1, 1e-3, shape).astype("f4"), {"units": "m"})
    ds["z"] = (("lat", "lon"), np.full((2, 2), 9806.65), {"units": "m2 s-2"})
    return ds, open_grid(ds, accumulated="step").compute()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 1460), max_size=5, unique=True), st.randoms(use_true_random=False))
def test_order_and_splitting_of_files_change_nothing(hours, cuts, random):
    ds, whole = hours
    edges = [0, *sorted(cuts), ds.sizes["time"]]
    parts = [ds[["t2m"]].isel(time=slice(a, b)) for a, b in pairwise(edges)]
    parts += [ds[["tp"]].isel(time=slice(a, b)) for a, b in zip(edges[::2], [*edges[2::2], edges[-1]], strict=False)]
    parts = [part for part in parts if part.sizes["time"]] + [ds[["z"]]]
    random.shuffle(parts)
    xr.testing.assert_identical(open_grid(parts, accumulated="step").compute(), whole)


def test_days_are_means_and_sums_of_their_own_steps(hours):
    ds, whole = hours
    day = slice("2001-01-10 00:00", "2001-01-10 18:00")
    np.testing.assert_allclose(whole["tas"].sel(time="2001-01-10"), ds["t2m"].sel(time=day).mean("time"), rtol=1e-6)
    ends = slice("2001-01-10 06:00", "2001-01-11 00:00")
    np.testing.assert_allclose(whole["pr"].sel(time="2001-01-10"), 1e3 * ds["tp"].sel(time=ends).sum("time"), rtol=1e-5)
    assert str(whole["time"].values[0])[:10] == "2000-10-01"  # 30 September lacks its first six hours
