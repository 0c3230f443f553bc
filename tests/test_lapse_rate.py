"""The lapse rate that climate itself has: found beside gradients and massifs, refused where it cannot be."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from test_forcing import make_climate, no_compute

from alpgm_dask import forcing
from alpgm_dask.forcing import Downscaling, lapse
from alpgm_dask.schema import InputError

RATES = np.array([5.0, 4.0, 3.5, 3.5, 4.5, 5.5, 6.0, 6.5, 6.5, 6.5, 6.0, 5.5]) * 1e-3


def climate_with(rates=RATES, massifs=4, seed=0, years=2, members=0, **gradient) -> xr.Dataset:
    """Points of massifs, 6 elevations each, that have these lapse rates; massifs and places differ by degrees."""
    rng = np.random.default_rng(seed)
    n = 6 * massifs
    climate = make_climate(years, n_points=n, members=members)
    massif, height = np.repeat(np.arange(massifs) + 1, 6), np.tile(900.0 + 450 * np.arange(6), massifs)
    lon, lat = rng.uniform(5, 8, n), rng.uniform(44, 46, n)
    if not gradient.get("spread_out", True):
        lon, lat = lon[massif], lat[massif]
    month = (climate["time"].dt.month.values - 10) % 12
    weather = climate["tas"].isel(point=[0]).values
    tas = weather - height * np.asarray(rates)[month][:, None] + 1.5 * (lon - 6) - 0.8 * (lat - 45)
    climate["tas"] = (climate["tas"].dims, tas + 3.0 * (massif == 2), {"units": "K"})
    coords = {"lon": lon, "lat": lat, "massif_safran": massif}
    return climate.assign(elevation=("point", height, {"units": "m"})).assign_coords(
        {k: ("point", v) for k, v in coords.items()}
    )


@pytest.mark.parametrize("spread_out", [True, False])
def test_known_rates_are_found(spread_out):
    found = forcing.estimate_lapse_rate(climate_with(spread_out=spread_out))
    assert found.dims == ("month",) and found["month"].values.tolist() == list(range(1, 13))
    np.testing.assert_allclose(found, RATES, rtol=1e-6)
    assert found.attrs["units"] == "K m-1"
    assert Downscaling(lapse_rate=tuple(found.values)).lapse_rates.shape == (12,)


def test_lazy_from_dask_and_from_a_store(tmp_path):
    climate = climate_with(members=2)
    eager = forcing.estimate_lapse_rate(climate)
    with dask.config.set(scheduler=no_compute):
        lazy = forcing.estimate_lapse_rate(climate.assign(tas=climate["tas"].chunk(time=100, point=5)))
    np.testing.assert_allclose(lazy.compute(), eager, rtol=1e-9)
    climate.to_zarr(tmp_path / "c.zarr", zarr_format=3, consolidated=False)
    opened = xr.open_dataset(tmp_path / "c.zarr", engine="zarr", chunks=None, cache=False, consolidated=False)
    direct = forcing.estimate_lapse_rate(opened)
    assert direct.chunks is not None
    np.testing.assert_allclose(direct.compute(), eager, rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-0.02, 0.03), min_size=12, max_size=12))
def test_estimates_keep_their_bounds(rates):
    found = forcing.estimate_lapse_rate(climate_with(rates, years=1))
    np.testing.assert_allclose(found, np.clip(rates, *lapse.BOUNDS), rtol=1e-6, atol=1e-9)


def test_names_of_massifs_serve_as_numbers_do():
    climate = climate_with()
    named = climate.drop_vars("massif_safran").assign_coords(massif=("point", np.array(list("ABCD")).repeat(6)))
    np.testing.assert_allclose(forcing.estimate_lapse_rate(named), forcing.estimate_lapse_rate(climate), rtol=1e-12)
    no_massif = climate_with(massifs=1).drop_vars("massif_safran")
    np.testing.assert_allclose(forcing.estimate_lapse_rate(no_massif), RATES, rtol=1e-6)


def test_months_are_grouped_as_they_are_also_of_months():
    daily = climate_with()
    monthly = daily.resample(time="MS").mean().assign(elevation=daily["elevation"])
    for name in ("tas", "snowfall", "rainfall"):
        monthly[name].attrs = daily[name].attrs
    np.testing.assert_allclose(forcing.estimate_lapse_rate(monthly), RATES, rtol=1e-6)


def test_points_of_one_elevation_are_refused():
    flat = climate_with()
    flat["elevation"] = (flat["elevation"] * 0.05 + 2000.0).assign_attrs(units="m")
    with pytest.raises(InputError, match=r"c.nc: variable 'elevation' of 24 points spreads by \d\d m .* give a value"):
        forcing.estimate_lapse_rate(flat, where="c.nc")
    with pytest.raises(InputError, match="'elevation' of 4 points"):  # a plane goes through three of them
        forcing.estimate_lapse_rate(climate_with().isel(point=[0, 2, 4, 5]))
    with pytest.raises(InputError, match="'lat' is missing"):
        forcing.estimate_lapse_rate(climate_with().drop_vars("lat"))


def test_the_oracles_climate_has_a_plausible_rate(shared):
    ds = xr.open_dataset(shared / "oracle/climate/daily_inputs.nc")
    climate = ds.rename(snow="snowfall", rain="rainfall", ZS="elevation")
    for name, units in {"tas": "degC", "snowfall": "kg m-2", "rainfall": "kg m-2", "elevation": "m"}.items():
        climate[name].attrs["units"] = units
    climate["massif"] = climate["massif"].astype(int).astype(str)
    climate = climate.assign_coords(lon=("point", np.full(13, 6.5)), lat=("point", np.full(13, 45.0)))
    found = forcing.estimate_lapse_rate(climate)
    assert found.min() > 4e-3 and found.max() < 7e-3
