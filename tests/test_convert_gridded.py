"""Gridded archives as their products write them: values in the canonical form, stamps, units, laziness."""

from __future__ import annotations

import dask
import gridded_products as products
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alpgm_dask import forcing
from alpgm_dask.convert.climate.gridded import open_grid, read
from alpgm_dask.schema import InputError


def no_compute(dsk, keys, **kwargs):
    raise AssertionError("something was computed while a graph was built")


def lazily(*args, **kwargs):
    """What `read` gives, with Dask's scheduler out of reach."""
    with dask.config.set(scheduler=no_compute):
        return read(*args, **kwargs)


def check_canonical(archive, days=365, calendar="standard"):
    climate = archive.climate
    assert climate.chunks and forcing.as_climate(climate).identical(climate)
    assert climate.sizes["time"] == days and [label for label, _ in archive.pieces] == ["2001"]
    assert climate["time"].dt.calendar in (calendar, "proleptic_gregorian")
    assert str(climate["time"].values[0])[:10] == "2000-10-01"
    assert climate["tas"].attrs["units"] == "K" and climate["grid_row"].dtype == climate["grid_column"].dtype == "int64"


# -- products -----------------------------------------------------------------------------------------------


def test_histalp_is_read_as_it_is(shared):
    path = shared / "data/histalp/HISTALP_oetztal.nc"
    archive = lazily(path)
    climate, raw = archive.climate, xr.open_dataset(path)
    assert climate.sizes == {"time": 2556, "point": 49} and forcing.time_step(climate) == "monthly"
    assert [archive.pieces[0][0], archive.pieces[-1][0], len(archive.pieces)] == ["1802", "2014", 213]
    assert set(climate.data_vars) == {"tas", "pr"} and archive.grows == "time"
    cell = {"lat": int(climate.grid_row[10]), "lon": int(climate.grid_column[10])}
    np.testing.assert_allclose(climate["tas"][:, 10], raw["temp"].isel(cell) + 273.15, atol=1e-4)
    np.testing.assert_array_equal(climate["pr"][:, 10], raw["prcp"].isel(cell))
    assert float(climate.elevation[10]) == float(raw["hgt"].isel(cell)) and climate.lat[10] == raw["lat"][cell["lat"]]


def test_era5_hours_become_days_across_greenwich(tmp_path):
    archive = lazily(products.era5(tmp_path), accumulated="step")
    check_canonical(archive)
    climate = archive.climate.compute()
    assert climate["lon"].values.reshape(3, 3)[0].tolist() == [-0.25, 0.0, 0.25]
    assert climate["lat"].values.reshape(3, 3)[:, 0].tolist() == [46.5, 46.25, 46.0]
    np.testing.assert_allclose(climate["tas"][5].values.reshape(3, 3), products.cell_values(3, 3), atol=1e-3)
    np.testing.assert_allclose(climate["elevation"], 1000.0, rtol=1e-6)
    # 1 mm in the first hour of every day; 5 mm in the hour that ends at 00:00 of 1 March, a quarter of it snow
    wet = climate["rainfall"] + climate["snowfall"]
    np.testing.assert_allclose(wet.sel(time="2001-03-01"), 1.0, rtol=1e-5)
    np.testing.assert_allclose(wet.sel(time="2001-02-28"), 6.0, rtol=1e-5)
    np.testing.assert_allclose(climate["snowfall"].sel(time="2001-02-28"), 1.5, rtol=1e-5)


def test_era5_land_grows_over_the_day(tmp_path):
    archive = lazily(products.era5_land(tmp_path / "land.nc"), accumulated="day")
    check_canonical(archive)
    np.testing.assert_allclose(archive.climate["pr"], 2.4, rtol=1e-5)
    np.testing.assert_allclose(archive.climate["elevation"], 500.0)


def test_era5_months_are_means_of_daily_sums(tmp_path):
    time = pd.date_range("2000-10-01", periods=12, freq="MS") + pd.Timedelta(hours=6)
    dims = ("valid_time", "latitude", "longitude")
    coords = {"valid_time": time, "latitude": [46.0], "longitude": [7.0]}
    ds = xr.Dataset({"t2m": (dims, np.full((12, 1, 1), 280.0), {"units": "K"})}, coords)
    ds["tp"] = (dims, np.full((12, 1, 1), 1e-3), {"units": "m", "GRIB_stepType": "avgad"})
    ds["z"] = (dims[1:], np.full((1, 1), products.GRAVITY), {"units": "m**2 s**-2"})
    ds.to_netcdf(tmp_path / "months.nc")
    pr = read(tmp_path / "months.nc").climate["pr"]
    np.testing.assert_allclose(pr[:, 0], [31, 30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30], rtol=1e-6)
    del ds["tp"].attrs["GRIB_stepType"]
    with pytest.raises(InputError, match=r"'tp' is in 'm' by months, and does not say of what.*accumulated='day'"):
        read(ds)
    np.testing.assert_allclose(read(ds, accumulated="day").climate["pr"], pr, rtol=1e-6)
    np.testing.assert_allclose(read(ds, accumulated="step").climate["pr"], 1.0, rtol=1e-6)


def test_e_obs_with_elevation_in_another_file(tmp_path):
    folder = products.e_obs(tmp_path)
    files = [str(folder / "t[gx]_*.nc"), folder / "rr_ens_mean_0.1deg_reg_v30.0e.nc"]
    archive = lazily(files, orography=folder / "elevation")
    check_canonical(archive)
    # of six cells one is sea, one has no elevation; the mean is taken, not the maximum
    assert archive.climate["elevation"].values.tolist() == [100.0, 200.0, 300.0, 400.0]
    assert archive.report.count("cells without elevation") == 1
    assert archive.report.count("cells without values at both ends of the record") == 1
    np.testing.assert_allclose(archive.climate["tas"][0], [270.0, 280.0, 271.0, 281.0], atol=1e-4)
    np.testing.assert_allclose(archive.climate["pr"], 2.0)
    with pytest.raises(InputError, match=r"'elevation' is missing.*orography=<file on the same grid>"):
        read(files)


@pytest.mark.parametrize(("calendar", "noon", "days"), [("standard", False, 365), ("noleap", True, 365)])
def test_fluxes_of_w5e5_and_cmip6(tmp_path, calendar, noon, days):
    archive = lazily(products.flux_model(tmp_path, calendar, noon), member="one")
    check_canonical(archive, days, calendar)
    climate = archive.climate
    assert climate["tas"].dims == ("member", "time", "point") and archive.grows == "time"
    labels = [climate[name].item() for name in ("member", "gcm", "rcm", "scenario")]
    assert labels == ["one", "CESM2", "", "historical"]
    np.testing.assert_allclose(climate["snowfall"], 0.5, rtol=1e-5)
    np.testing.assert_allclose(climate["rainfall"], 1.5, rtol=1e-5)
    np.testing.assert_array_equal(climate["tas"][0, 0].values.reshape(3, 2), products.cell_values(3, 2))


def test_years_of_360_days(tmp_path):
    archive = lazily(products.flux_model(tmp_path, "360_day", source_id="HadGEM3-GC31-LL"))
    check_canonical(archive, 360, "360_day")
    assert str(archive.climate["time"].values[-1])[:10] == "2001-09-30"
    np.testing.assert_allclose(archive.climate["rainfall"].sum("time"), 1.5 * 360, rtol=1e-4)


@pytest.mark.parametrize("with_positions", [True, False])
def test_rotated_pole_of_euro_cordex(tmp_path, with_positions):
    archive = lazily(products.euro_cordex(tmp_path / "c.nc", with_positions), member="m", labels={"scenario": "RCP8.5"})
    check_canonical(archive)
    climate = archive.climate
    assert [climate[n].item() for n in ("gcm", "rcm", "scenario")] == ["MOHC-HadGEM2-ES", "KNMI-RACMO22E", "RCP8.5"]
    lon, lat = products.rotated_positions(np.array([-8.0, -7.89, -7.78]), np.array([-4.0, -3.89]))
    np.testing.assert_allclose(climate["lon"], lon.ravel(), atol=1e-6)
    np.testing.assert_allclose(climate["lat"], lat.ravel(), atol=1e-6)
    assert 6 < lon.min() < lon.max() < 7 and 46 < lat.min() < lat.max() < 47
    np.testing.assert_array_equal(climate["tas"][0, 0].values.reshape(2, 3), products.cell_values(2, 3))


def test_months_stamped_in_their_middle(tmp_path):
    climate = read(products.euro_cordex(tmp_path / "c.nc", monthly=True)).climate
    assert climate.indexes["time"].equals(pd.date_range("2000-10-01", "2001-09-01", freq="MS"))
    np.testing.assert_allclose(climate["pr"].isel(time=4), 2.0 * 28, rtol=1e-6)


def test_a_projected_grid_in_kilometres(tmp_path):
    archive = lazily(products.laea(tmp_path / "laea.nc"))
    check_canonical(archive)
    # the projection's origin is its false easting and northing; 10 km north of it are 0.0899 degrees
    climate = archive.climate
    at = int(np.flatnonzero((climate.grid_row == 1) & (climate.grid_column == 0))[0])
    assert (round(float(climate.lon[at]), 9), round(float(climate.lat[at]), 9)) == (10.0, 52.0)
    north = float(climate.lat[(climate.grid_row == 0) & (climate.grid_column == 0)].item())
    assert north == pytest.approx(52.0 + 10.0 / 111.27, abs=1e-3)
    np.testing.assert_allclose(climate["pr"], 2.0)
    np.testing.assert_allclose(climate["tas"][0], [270.0, 280.0, 271.0, 281.0], atol=1e-4)


def test_flattened_points_without_a_grid(tmp_path):
    """As GSWP3-W5E5 is given for glaciers: one dimension of points, longitudes of 0..360, invariants with a time."""
    time = pd.date_range("2000-10-01", periods=12, freq="MS")
    places = {"longitude": ("points", [359.75, 6.75]), "latitude": ("points", [42.75, 45.75])}
    tas = xr.Dataset({"tas": (("time", "points"), np.full((12, 2), 280.0), {"units": "K"})}, {"time": time, **places})
    pr = xr.Dataset({"pr": (("time", "points"), np.full((12, 2), 1e-5))}, {"time": time, **places})
    pr["pr"].attrs = {"units": "kg m-2 s-1"}
    high = xr.Dataset({"ASurf": (("time", "points"), [[1500.0, 2500.0]], {"units": "m"})}, {"time": time[:1], **places})
    for name, ds in (("tas", tas), ("pr", pr), ("inv", high)):
        ds.to_netcdf(tmp_path / f"{name}.nc")
    climate = read([tmp_path / "tas.nc", tmp_path / "pr.nc"], orography=tmp_path / "inv.nc").climate
    assert climate["lon"].values.tolist() == [-0.25, 6.75] and climate["elevation"].values.tolist() == [1500.0, 2500.0]
    assert float(climate["pr"][0, 0]) == pytest.approx(1e-5 * 86400 * 31)
    near = read([tmp_path / "tas.nc", tmp_path / "pr.nc"], orography=tmp_path / "inv.nc", bounding_box=(6, 45, 7, 46))
    assert near.climate["lon"].values.tolist() == [6.75]


# -- stores and graphs --------------------------------------------------------------------------------------


def test_a_zarr_store_gives_what_its_files_give(tmp_path):
    files = products.euro_cordex(tmp_path / "c.nc")
    with xr.open_dataset(files) as ds:
        ds.chunk(time=100).to_zarr(tmp_path / "store.zarr", consolidated=False)
    from_files, from_store = lazily(files).climate, lazily(tmp_path / "store.zarr").climate
    xr.testing.assert_identical(from_files.load(), from_store.load())
    by_url = lazily((tmp_path / "store.zarr").as_uri())
    xr.testing.assert_identical(by_url.climate.load(), from_store)


def test_a_dataset_that_is_a_graph_stays_one(tmp_path):
    ds = xr.open_dataset(products.euro_cordex(tmp_path / "c.nc")).chunk(time=100)
    ds = ds.assign({name: ds[name].compute() for name in ("orog", "lon", "lat")})
    archive = lazily(ds)
    assert "not looked for" in " ".join(archive.report.notes)
    xr.testing.assert_identical(archive.climate.load(), read(tmp_path / "c.nc").climate.load())


def test_the_grid_is_there_over_all_of_its_days(tmp_path):
    with dask.config.set(scheduler=no_compute):
        grid = open_grid(products.euro_cordex(tmp_path / "c.nc"))
    assert grid["tas"].dims == ("time", "y", "x") and grid.sizes == {"time": 426, "y": 2, "x": 3}
    assert grid["elevation"].dims == grid["lon"].dims == ("y", "x")
    flat = forcing.as_climate(grid)
    assert flat.sizes == {"time": 426, "point": 6}


def test_blocks_are_of_bounded_size(tmp_path, monkeypatch):
    from alpgm_dask.convert.climate import cells

    path = products.era5_land(tmp_path / "land.nc")
    whole = lazily(path, accumulated="day").climate
    monkeypatch.setattr(cells, "BLOCK_BYTES", 100 * 4 * 4)  # 100 hours of four cells
    small = lazily(path, accumulated="day").climate
    assert max(small.chunks["time"]) <= 100 // 24 + 1 and len(small.chunks["time"]) > len(whole.chunks["time"])
    xr.testing.assert_identical(small.load(), whole.load())
    monkeypatch.setattr(cells, "BLOCK_BYTES", 1)
    stored = xr.DataArray(np.zeros((50, 4, 6), "f4"), dims=("time", "lat", "lon"))
    assert cells._in_blocks(stored, {"time": 10, "lat": 2, "lon": 3}).data.chunksize == (1, 2, 3)
    monkeypatch.setattr(cells, "BLOCK_BYTES", 20 * 24 * 4)
    assert cells._in_blocks(stored, {"time": 10, "lat": 2, "lon": 3}).data.chunksize == (20, 4, 6)
