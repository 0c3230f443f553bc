"""Real archives at real glaciers: a SAFRAN file of the Mont-Blanc massif, and HISTALP from 300 km away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alpgm_dask import forcing
from alpgm_dask.convert.climate import gridded, safran
from alpgm_dask.schema import InputError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def glaciers(shared) -> xr.Dataset:
    """French glaciers of 2015 with what matching needs, from their inventory."""
    path = shared / "data/alpgm/glacier_data/GLIMS/GLIMS_2015_massif.csv"
    table = pd.read_csv(path, sep=";", encoding="latin-1")
    names = {"x_coord": "lon", "y_coord": "lat", "MEAN_Pixel": "mean_elevation", "Aspect_num": "aspect"}
    table = table.rename(columns={**names, "Massif_SAFRAN": "massif_safran"})
    kept = ("lon", "lat", "mean_elevation", "aspect", "massif_safran")
    return xr.Dataset({name: ("glacier", table[name].to_numpy()) for name in kept})


@pytest.fixture(scope="module")
def mont_blanc(shared: Path) -> xr.Dataset:
    """Hydrological year 2011 at two real points; its August and September are those of 2010, the file ends in July."""
    days = safran.daily(shared / "data/safran").load()
    late = days.sel(time=slice("2010-08-02", "2010-09-30"))
    late = late.assign_coords(time=late["time"] + np.timedelta64(365, "D"))
    first = late.isel(time=[0]).assign_coords(time=[np.datetime64("2011-08-01", "ns")])
    parts = [days.sel(time=slice("2010-10-01", "2011-07-31")), first, late]
    return xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override")


def test_safran_at_the_glaciers_of_its_massif(mont_blanc, glaciers):
    climate = forcing.as_climate(mont_blanc, "SAFRAN")
    here = glaciers.isel(glacier=np.flatnonzero(glaciers["massif_safran"].values == 3))
    assert here.sizes["glacier"] > 50
    points = forcing.nearest_points(here, climate)
    assert float(points["forcing_distance"].max()) < 25e3
    nearer = np.abs(here["mean_elevation"].values[:, None] - climate["elevation"].values).argmin(axis=1)
    np.testing.assert_array_equal(points["point"], nearer)
    found = forcing.annual_predictors(climate, points["point"], here["mean_elevation"])
    assert found["hydro_year"].values.tolist() == [2011]
    for i in (0, 7, 42):  # the slow and obvious way
        p, z = nearer[i], float(here["mean_elevation"][i])
        t = climate["tas"].values[:, p].astype("float64") - 273.15 + (climate["elevation"].values[p] - z) * 0.006
        total = climate["snowfall"].values[:, p].astype("float64") + climate["rainfall"].values[:, p]
        winter = np.isin(climate["time"].dt.month, (10, 11, 12, 1, 2, 3))
        np.testing.assert_allclose(found["cpdd"][i, 0], t[t > 0].sum(), rtol=1e-9)
        np.testing.assert_allclose(found["winter_snowfall"][i, 0], total[winter & (t < 0)].sum(), rtol=1e-9)
    order = np.argsort(here["mean_elevation"].values)
    assert (np.diff(found["cpdd"].values[order, 0][nearer[order] == 0]) <= 0).all()  # the higher, the colder


def test_safran_is_not_for_glaciers_of_other_mountains(mont_blanc, glaciers):
    far = glaciers.isel(glacier=np.flatnonzero(glaciers["lat"].values < 45.2))
    with pytest.raises(InputError, match=r"no climate within max_distance = 50 km of glacier .*larger max_distance"):
        forcing.nearest_points(far, mont_blanc)


def test_histalp_is_too_far_away_unless_one_insists(shared, glaciers):
    climate = gridded.read(shared / "data/histalp/HISTALP_oetztal.nc").climate
    for choose in (forcing.nearest_points, forcing.bilinear_points):
        with pytest.raises(InputError, match=r"max_distance = 50 km of glacier 0 \(\d{3}\.\d km\)"):
            choose(glaciers, climate)
    points = forcing.nearest_points(glaciers, climate, max_distance=420e3)
    assert 270e3 < float(points["forcing_distance"].min()) < float(points["forcing_distance"].max()) < 420e3
    days = forcing.days_of(climate, range(1960, 2015))
    found = forcing.annual_predictors(days, points["point"], glaciers["mean_elevation"]).compute()
    assert found.sizes["hydro_year"] == 55 and np.isfinite(found["cpdd"].values).all()
    warming = (
        found["cpdd"].mean("glacier").sel(hydro_year=slice(1990, None)).mean()
        - found["cpdd"].mean("glacier").sel(hydro_year=slice(None, 1989)).mean()
    )
    assert 20 < float(warming) < 200  # K day: the warming of the Alps is in it


def test_histalp_goes_with_the_french_mass_balances(shared, glaciers):
    """Degree-days of the Oetztal explain the years of French glaciers: the signal is that of the Alps."""
    climate = gridded.read(shared / "data/histalp/HISTALP_oetztal.nc").climate
    days = forcing.days_of(climate, range(1984, 2015))
    found = forcing.annual_predictors(days, np.array([0]), np.array([2900.0])).compute()
    smb = pd.read_csv(
        shared / "data/alpgm/glacier_data/smb/SMB_raw_temporal.csv", sep=";", header=None, encoding="latin-1"
    )
    values = smb.apply(pd.to_numeric, errors="coerce").to_numpy()
    yearly = np.nanmean(values[:, values.shape[1] - 32 : values.shape[1] - 1], axis=0)  # 1984 to 2014
    assert np.corrcoef(found["cpdd"].values[0], yearly)[0, 1] < -0.5
