"""Which climate a glacier takes: massif, elevation and aspect; four cells of a grid; one selection of all."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from test_forcing import make_climate, no_compute, places

from alpgm_dask import forcing
from alpgm_dask.schema import InputError

NONE = np.nan


def massif_climate() -> xr.Dataset:
    """As SAFRAN has it: two massifs, 300 m bands, flat and eight sectors each."""
    sectors = [NONE, *np.arange(0.0, 360.0, 45.0)]
    grid = [(m, z, a) for m in (3, 8) for z in (2400.0, 2700.0, 3000.0) for a in sectors]
    number, height, aspect = (np.array(x) for x in zip(*grid, strict=True))
    where = {3: (6.9, 45.9), 8: (6.1, 45.1)}
    lon, lat = np.array([where[m] for m in number]).T
    names = np.where(number == 3, "Mont-Blanc", "Oisans")
    return places("point", lon, lat, massif_safran=number, massif=names, elevation=height, aspect=aspect)


def test_massif_by_number_then_elevation_then_sector():
    climate = massif_climate()
    glaciers = places(
        "glacier", [6.2] * 5, [45.2] * 5, massif_safran=[3, 8, 8, 8, 0], massif=["", "", "", "", "Mont-Blanc"],
        mean_elevation=[2540.0, 2560.0, 5000.0, 2560.0, 2560.0], aspect=[350.0, 200.0, 112.0, NONE, 46.0],
    )  # fmt: skip
    got = climate.isel(point=forcing.nearest_points(glaciers, climate, 100e3).point)
    assert got.massif_safran.values.tolist() == [3, 8, 8, 8, 3]
    assert got.elevation.values.tolist() == [2400.0, 2700.0, 3000.0, 2700.0, 2700.0]
    np.testing.assert_array_equal(got.aspect, [0.0, 180.0, 90.0, NONE, 45.0])


def test_without_sectors_or_without_flat_points_the_aspect_decides_nothing():
    glaciers = places(
        "glacier", [6.9, 6.9], [45.9] * 2, massif_safran=[3, 3], mean_elevation=[2600.0] * 2, aspect=[90.0, NONE]
    )
    flat = massif_climate().isel(point=slice(0, 27, 9))
    assert forcing.nearest_points(glaciers, flat).point.values.tolist() == [1, 1]
    sectors = massif_climate().isel(point=slice(1, 9))
    assert forcing.nearest_points(glaciers, sectors).point.values.tolist() == [2, 0]
    nowhere = forcing.nearest_points(glaciers.drop_vars("aspect"), massif_climate())
    assert np.isnan(massif_climate().aspect[nowhere.point]).all()


def test_a_number_that_the_climate_lacks_leaves_the_nearest_place():
    glacier = places(
        "glacier", [6.8], [45.8], massif_safran=[21], massif=["Pyrenees"], mean_elevation=[2400.0], aspect=[NONE]
    )
    assert forcing.nearest_points(glacier, massif_climate()).point.values.tolist() == [0]


def test_matching_is_the_same_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    glaciers = places(
        "glacier", rng.uniform(6, 7, 40), rng.uniform(45, 46, 40), massif_safran=rng.choice([0, 3, 8], 40),
        mean_elevation=rng.uniform(2300, 3100, 40), aspect=rng.uniform(0, 360, 40),
    )  # fmt: skip
    whole = forcing.nearest_points(glaciers, massif_climate(), 200e3)
    monkeypatch.setattr("alpgm_dask.forcing.matching.PAIRS", 100)
    xr.testing.assert_identical(forcing.nearest_points(glaciers, massif_climate(), 200e3), whole)


def test_the_distance_limit_is_named_and_can_be_raised():
    glacier = places("glacier", [10.0], [47.0], rgi_id=["RGI60-11.00897"])
    with pytest.raises(InputError, match=r"c.zarr: .*RGI60-11.00897 \(267.1 km\); allowed: .* a larger max_distance"):
        forcing.nearest_points(glacier, massif_climate(), where="c.zarr")
    assert 267e3 < forcing.nearest_points(glacier, massif_climate(), 300e3).forcing_distance.item() < 268e3


# -- bilinear -------------------------------------------------------------------------------------------------


def grid(rows=6, columns=7, lon0=5.0, lat0=44.0, step=0.5, turn=0.0, bend=0.0, north_up=True) -> xr.Dataset:
    """Cell centres of a regular, turned (degrees) or bent grid."""
    row, column = (index.ravel() for index in np.mgrid[:rows, :columns])
    x, y = column * step, (row if not north_up else rows - 1 - row) * step
    a = np.radians(turn)
    lon = lon0 + np.cos(a) * x - np.sin(a) * y + bend * y**2
    lat = lat0 + np.sin(a) * x + np.cos(a) * y + bend * x * y
    return places("point", lon, lat, grid_row=row, grid_column=column, elevation=1000.0 + 100 * row + 10 * column)


GRIDS = {
    "regular": {},
    "south up": {"north_up": False},
    "rotated": {"turn": 30.0},
    "curvilinear": {"turn": -15.0, "bend": 0.03},
}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(GRIDS)), st.floats(0.5, 4.5), st.floats(0.5, 5.5), st.integers(0, 10_000))
def test_weights_put_a_glacier_where_it_is(name, row, column, seed):
    """The mean of the corners' positions is the glacier's, whatever the grid; and so of any bilinear field."""
    cells = grid(**GRIDS[name])
    at = (np.floor(row) * 7 + np.floor(column)).astype(int) + np.array([0, 1, 7, 8])
    weight = np.random.default_rng(seed).dirichlet(np.ones(4))
    lon, lat = (float(np.sum(weight * cells[key].values[at])) for key in ("lon", "lat"))
    got = forcing.bilinear_points(places("glacier", [lon], [lat]), cells, 200e3)
    assert got.interpolated.item() == 1 and got.point.dims == ("glacier", "corner")
    np.testing.assert_allclose(got.weight.sum(), 1.0, rtol=1e-12)
    for key, want in (("lon", lon), ("lat", lat)):
        np.testing.assert_allclose((cells[key].values[got.point] * got.weight).sum(), want, atol=1e-9)


def test_a_regular_grid_gives_the_usual_weights():
    """A quarter of a cell east, three quarters of a cell north of the cell at row 3, column 2."""
    cells = grid(north_up=False)
    got = forcing.bilinear_points(places("glacier", [6.125], [45.875]), cells)
    found = dict(zip(got.point.values[0].tolist(), got.weight.values[0].tolist(), strict=True))
    want = {23: 0.75 * 0.25, 24: 0.25 * 0.25, 30: 0.75 * 0.75, 31: 0.25 * 0.75}
    assert found.keys() == want.keys()
    np.testing.assert_allclose([found[k] for k in want], list(want.values()), rtol=1e-9)
    on_centre = forcing.bilinear_points(places("glacier", [6.0], [45.5]), cells)
    assert (
        on_centre.point.values[0][on_centre.weight.values[0].argmax()] == 23 and on_centre.forcing_distance.item() == 0
    )
    np.testing.assert_allclose(on_centre.weight.max(), 1.0)


def test_across_the_date_line_and_in_the_order_that_points_have():
    cells = grid(lon0=178.5)
    cells["lon"] = (cells["lon"] + 180.0) % 360.0 - 180.0
    shuffled = cells.isel(point=np.random.default_rng(0).permutation(42))
    glacier = places("glacier", [-179.9, 179.9], [45.1, 45.1])
    for some in (cells, shuffled):
        got = forcing.bilinear_points(glacier, some)
        assert got.interpolated.values.tolist() == [1, 1]
        lon = some["lon"].values[got.point] % 360.0
        np.testing.assert_allclose((lon * got.weight).sum("corner"), [180.1, 179.9], atol=1e-9)


def test_the_nearest_cell_where_a_corner_is_missing():
    cells = grid(north_up=False)
    glaciers = places("glacier", [6.1, 6.1, 4.8], [45.1, 45.6, 44.0])
    sea = cells.isel(point=np.delete(np.arange(42), [24]))  # row 3, column 3
    got = forcing.bilinear_points(glaciers, sea)
    assert got.interpolated.values.tolist() == [0, 0, 0]
    assert got.weight.values.tolist() == [[1.0, 0.0, 0.0, 0.0]] * 3
    assert (got.point == got.point[:, 0]).all()
    np.testing.assert_array_equal(got.point[:, 0], forcing.nearest_points(glaciers, sea).point)
    np.testing.assert_allclose(got.forcing_distance, forcing.nearest_points(glaciers, sea).forcing_distance, rtol=1e-9)
    assert forcing.bilinear_points(glaciers, cells).interpolated.values.tolist() == [1, 1, 0]


def test_far_from_the_grid_is_refused_and_no_grid_too():
    glacier = places("glacier", [12.0], [45.0], rgi_id=["G"])
    with pytest.raises(InputError, match=r"of glacier G \(\d+\.\d km\); allowed: nearer climate, or a larger max_dist"):
        forcing.bilinear_points(glacier, grid())
    assert forcing.bilinear_points(glacier, grid(), 500e3).interpolated.item() == 0
    with pytest.raises(InputError, match="'grid_row' is missing; allowed: the points of a grid, or the nearest point"):
        forcing.bilinear_points(glacier, grid().drop_vars("grid_row"))


def test_real_cells_surround_real_places(shared):
    """HISTALP around the Hintereisferner, and its own elevation interpolated by hand."""
    raw = xr.open_dataset(shared / "data/histalp/HISTALP_oetztal.nc")
    names = {"temp": "tas", "prcp": "pr", "hgt": "elevation", "lat": "y", "lon": "x"}
    cells = raw.rename({k: v for k, v in names.items() if k in raw.variables or k in raw.dims})
    cells = cells.assign_coords(lat=("y", raw["lat"].values), lon=("x", raw["lon"].values))
    climate = forcing.as_climate(cells.isel(time=slice(0, 24)), "HISTALP")
    got = forcing.bilinear_points(places("glacier", [10.77], [46.80]), climate)
    by_hand = raw["hgt"].interp(lon=10.77, lat=46.80).item()
    there = (climate["elevation"].values[got.point] * got.weight).sum().item()
    np.testing.assert_allclose(there, by_hand, rtol=1e-6)
    with pytest.raises(InputError, match="no climate within max_distance = 50 km"):
        forcing.nearest_points(places("glacier", [6.87], [45.88], rgi_id=["RGI60-11.03643"]), climate)
    assert (
        250e3
        < forcing.nearest_points(places("glacier", [6.87], [45.88]), climate, 400e3).forcing_distance.item()
        < 350e3
    )


# -- one selection --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corners", [False, True])
def test_climate_at_all_glaciers_is_one_small_lazy_selection(corners, tmp_path):
    rng = np.random.default_rng(1)
    climate = make_climate(4, n_points=20, members=2)
    point = rng.integers(0, 20, (500, 4)) if corners else rng.integers(0, 20, 500)
    weight = rng.dirichlet(np.ones(4), 500) if corners else None
    eager = forcing.climate_at(climate, point, weight)
    assert eager["tas"].dims == ("member", "time", "glacier") and eager["elevation"].dims == ("glacier",)
    chunked = climate.chunk(time=366, point=7, member=1).assign(elevation=climate["elevation"])
    with dask.config.set(scheduler=no_compute):
        lazy = forcing.climate_at(chunked, point, weight)
    xr.testing.assert_identical(lazy.compute(), eager)
    read = len(chunked["tas"].__dask_graph__())
    assert len(lazy["tas"].__dask_graph__()) <= read + 2 * 4 + 4
    k = 123
    one = climate["tas"].isel(point=point[k])
    one = one if weight is None else (one * weight[k]).sum("point")
    np.testing.assert_allclose(eager["tas"].isel(glacier=k), one, rtol=1e-12)
    climate.to_zarr(tmp_path / "c.zarr", zarr_format=3, consolidated=False)
    opened = xr.open_dataset(tmp_path / "c.zarr", engine="zarr", chunks=None, cache=False, consolidated=False)
    direct = forcing.climate_at(opened, point, weight)
    assert direct["tas"].chunks is not None
    xr.testing.assert_identical(direct.compute(), eager)
