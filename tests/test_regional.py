"""The region's mean climate: numbers that can be checked in the head, the same bits in training and in a run."""

from __future__ import annotations

import numpy as np
import pytest
import small_region as small
import xarray as xr

from alpgm_dask import forcing, learning, open_catalog
from alpgm_dask.config import Config
from alpgm_dask.features import feature_matrix, feature_names
from alpgm_dask.inputs import open_inputs
from alpgm_dask.schema import InputError

FIRST, LAST = small.HISTORY[0], small.PROJECTION[1]
KINDS = {
    "climate": {"kind": "climate", "history": "climate", "projection": "projections"},
    "predictors": {"kind": "predictors", "history": "history", "projection": "scenarios"},
}


def config_of(catalog, kind="predictors", recipe="standard-seasonal-regional", years=(FIRST, LAST), **more) -> Config:
    given = {"title": "t", "catalog": str(catalog), "output": "run", "period": {"start": years[0], "end": years[1]}}
    given["smb"] = {"model": "lasso", "recipe": recipe}
    given["forcing"] = {**KINDS[kind], "reference_period": small.HISTORY}
    for name, values in more.items():
        given[name] = {**given.get(name, {}), **values}
    return Config.model_validate(given)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return small.write_region(tmp_path_factory.mktemp("region"), small.everything())


def test_predictors_by_hand(catalog):
    """G0 and G3 have 1 K day more every year; the climatology is that of 2002, the middle of the history."""
    config = config_of(catalog)
    found = learning.regional_climate(open_inputs(config), config)
    assert found.dims == ("member", "hydro_year", "predictor") and found.shape == (2, 9, 3)
    want = np.zeros((9, 3))
    want[:, 0] = np.arange(FIRST, LAST + 1) - 2002
    np.testing.assert_allclose(found[0], want, atol=1e-9)
    np.testing.assert_array_equal(found[0], found[1])


def test_daily_by_hand(catalog):
    """1 degC every day at points of 2700 m and 2900 m; both glaciers stand at 2700 m."""
    config = config_of(catalog, "climate")
    found = learning.regional_climate(open_inputs(config), config)
    assert found.dims == ("member", "hydro_year", "predictor") and found.shape == (2, 9, 3)
    days = np.array([365.0 + (year % 4 == 0) for year in range(FIRST, LAST + 1)])
    warmer = 1.0 + 200 * 0.006  # the other glacier's point stands 200 m above it
    of_glaciers = days[:, None] * [1.0, warmer]
    want = (of_glaciers - of_glaciers[:5].mean(axis=0)).mean(axis=1)
    np.testing.assert_allclose(found[0, :, 0], want, rtol=1e-4, atol=1e-3)
    assert (found[..., 1:] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_glaciers_of_the_run_change_nothing(catalog, kind):
    whole = config_of(catalog, kind)
    some = config_of(catalog, kind, glaciers={"ids": ("G1", "G2")})
    years = config_of(catalog, kind, years=(FIRST + 2, LAST - 1), forcing={"members": ("m1",)})
    a, b, c = (learning.regional_climate(open_inputs(config), config) for config in (whole, some, years))
    np.testing.assert_array_equal(a, b)
    if kind == "climate":  # predictors are moved to the elevation of the year before the run
        np.testing.assert_array_equal(a.sel(member=["m1"], hydro_year=c["hydro_year"]), c)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_only_made_where_a_recipe_takes_it(catalog, kind, monkeypatch):
    config = config_of(catalog, kind, "standard-seasonal")
    monkeypatch.setattr(learning, "regional_climate", lambda *_: pytest.fail("nobody asked for it"))
    assert "regional_anomaly" not in learning.climate_at_glaciers(open_inputs(config), config)


def test_making_it_reads_no_climate():
    """Names and elevations are read; every value of the climate raises when it is."""
    import dask.array as da

    def trap(values: np.ndarray) -> np.ndarray:
        raise AssertionError("climate was read")

    history, observed = small.predictors(small.HISTORY), small.observations().isel(hydro_year=-1)
    for name in forcing.SEASONAL_PREDICTORS:
        values = da.map_blocks(trap, da.from_array(history[name].values), dtype="f8")
        history[name] = history[name].copy(data=values)
    lazy = forcing.regional_from_predictors(
        observed, history, years=range(*small.HISTORY), reference_period=small.HISTORY
    )
    with pytest.raises(AssertionError, match="climate was read"):
        lazy.compute()


def test_missing_climate_of_an_observed_glacier_is_refused(tmp_path):
    region = small.everything()
    values = region["scenarios"]["cpdd"].values.copy()
    values[1, 3, 2] = np.nan
    region["scenarios"]["cpdd"] = region["scenarios"]["cpdd"].copy(data=values)
    config = config_of(small.write_region(tmp_path, region))
    inputs = open_inputs(config)
    with pytest.raises(InputError, match="observed glacier is missing in hydrological year 2007; recipe 'standard"):
        learning.regional_climate(inputs, config)


def test_years_that_no_part_covers_are_refused():
    climate, observed = small.daily(small.HISTORY), small.observations()
    points = forcing.nearest_points(observed.assign(mean_elevation=observed["mean_elevation"][:, -1]), climate)["point"]
    elevation = observed["mean_elevation"].isel(hydro_year=-1)
    predictors = forcing.annual_predictors(climate, points, elevation)
    reference = forcing.reference_climatology(predictors, small.HISTORY)
    with pytest.raises(InputError, match="regional climate: hydrological years 2010 to 2011 are in no part"):
        forcing.regional_from_climate([climate], points, elevation, reference, [2010, 2011])
    with pytest.raises(InputError, match=r"regional climate: .* 2003 to 2006 are asked for; it covers 2003 to 2004"):
        forcing.regional_from_climate([climate], points, elevation, reference, [2003, 2004, 2005, 2006])


# -- training and run -----------------------------------------------------------------------------------------


def run_features(config: Config, topography: xr.Dataset) -> np.ndarray:
    """(year, glacier, feature) as the year loop makes them at the observed glaciers, at their last elevation."""
    inputs = open_inputs(config)
    observed = inputs.observations.compute()
    predictors = learning.observed_predictors(inputs, config)
    reference = forcing.reference_climatology(predictors, config.forcing.reference_period).compute()
    point = forcing.nearest_points(topography.isel(hydro_year=-1), inputs.history)["point"]
    years = list(config.years)
    daily = forcing.block_forcing_climate(inputs.history, point, reference, years=years)
    region = learning.regional_climate(inputs, config)
    region = region.isel(member=0) if "member" in region.dims else region
    names = ("max_elevation", "tongue_slope", "lon", "lat", "aspect")
    fixed = {name: observed[name].values for name in names}
    rows = []
    for k, year in enumerate(years):
        now = topography.sel(hydro_year=year)
        anomalies = daily.predictors(k, now["mean_elevation"].values) - daily.reference
        here = {**fixed, "mean_elevation": now["mean_elevation"].values, "area": now["area"].values}
        rows.append(feature_matrix(config.smb.recipe, anomalies, here, region.values[k]))
    return np.array(rows)


@pytest.mark.parametrize("constant", [True, False])
def test_a_runs_features_are_those_of_the_training_table(demo_catalog, tmp_path, constant):
    """Of a historical run at the observed glaciers: the same rows, but for the elevation that the region stands at.

    Regional anomalies are exactly equal where the glaciers' elevation does not change. Where it does, those of a run
    are at the last elevation: the region is then colder than it was by the lapse rate times what the glaciers rose
    (by up to 38 m since 1984: 0.23 K and 37 K day).
    """
    from alpgm_dask import store
    from alpgm_dask.catalog import Entry, write_catalog

    demo = open_catalog(demo_catalog)
    observed = demo.read("smb_observations").compute()
    if constant:
        observed["mean_elevation"] = observed["mean_elevation"].isel(hydro_year=-1).broadcast_like(observed["smb"])
        observed = observed.assign(mean_elevation=observed["mean_elevation"].assign_attrs(units="m"))
    store.write(observed, str(tmp_path / "observed.zarr"))
    entries = {name: Entry("zarr", demo.url(name)) for name in ("glaciers", "climate")}
    write_catalog(tmp_path / "c.yaml", {**entries, "smb_observations": Entry("zarr", "{CATALOG_DIR}/observed.zarr")})
    given = {"title": "t", "catalog": str(tmp_path / "c.yaml"), "output": "run", "period": {"start": 1984, "end": 2015}}
    given["forcing"] = {"kind": "climate", "history": "climate"}
    config = Config.model_validate(given | {"smb": {"model": "lasso", "recipe": "standard-regional"}})
    table = learning.training_table(open_inputs(config), config).compute()
    table = table.isel(sample=table["hydro_year"].values >= 1984)
    rows = run_features(config, observed)
    ours = rows[table["hydro_year"].values - 1984, table["glacier_index"].values]
    names = np.array(feature_names("standard-regional"))
    regional = np.char.startswith(names, "regional_")
    np.testing.assert_allclose(ours[:, ~regional], table["features"][:, ~regional], rtol=1e-6, atol=1e-5)
    gap = ours[:, regional] - table["features"].values[:, regional]
    if constant:
        np.testing.assert_array_equal(gap, 0.0)
        return
    last = table["hydro_year"].values == 2015
    np.testing.assert_array_equal(gap[last], 0.0)
    rise = observed["mean_elevation"].isel(hydro_year=-1) - observed["mean_elevation"]
    rise = rise.mean("glacier").sel(hydro_year=table["hydro_year"].values).values
    temperature = names[regional] == "regional_tas_monthly_anomaly_jul"
    np.testing.assert_allclose(gap[:, temperature][:, 0], -0.006 * rise, atol=1e-9)
    cpdd = gap[:, 0]
    assert cpdd.min() < 0 and np.abs(cpdd).max() < 40.0
