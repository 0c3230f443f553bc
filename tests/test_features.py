"""The features: one order for training and for the year loop; the original's training matrix."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_forcing import ALPGM_KNOTS, chunked, made_predictors, no_compute

from alpgm_dask import features, forcing
from alpgm_dask.schema import InputError


def made_topography(n, seed=1):
    rng = np.random.default_rng(seed)
    values = {
        "mean_elevation": rng.uniform(2500, 3000, n), "max_elevation": rng.uniform(3100, 3800, n),
        "tongue_slope": rng.uniform(8, 35, n), "area": rng.uniform(1e4, 1e7, n), "lon": rng.uniform(6, 7, n),
        "lat": rng.uniform(45, 46, n), "aspect": rng.uniform(0, 360, n),
    }  # fmt: skip
    return xr.Dataset({name: ("glacier", value) for name, value in values.items()})


def inputs(n=12, monthly=True):
    predictors = made_predictors(n, noise=10.0, monthly=monthly)
    predictors = predictors.assign_coords(rgi_id=("glacier", [f"G{i}" for i in range(n)]))
    return predictors, forcing.reference_climatology(predictors, (2000, 2002)), made_topography(n)


def test_recipes_have_the_originals_order():
    names = features.feature_names("alpgm-1.2")
    assert names[:10] == (
        "cpdd_anomaly", "winter_snowfall_anomaly", "summer_snowfall_anomaly", "mean_elevation", "max_elevation",
        "tongue_slope", "area", "lon", "lat", "cos_aspect_degrees",
    )  # fmt: skip
    assert names[10] == "tas_monthly_anomaly_oct" and names[21] == "tas_monthly_anomaly_sep"
    assert names[22] == "snowfall_monthly_anomaly_oct" and len(names) == 34
    standard = features.feature_names("standard")
    assert standard[9:11] == ("cos_aspect", "sin_aspect") and len(standard) == 35
    assert features.feature_names("alpgm-1.2-seasonal") == names[:10]
    assert {f.name for f in features.FEATURES} == set(names) | set(standard)
    assert not features.needs_monthly("standard-seasonal") and features.needs_monthly("standard")


def test_aspect_of_both_recipes():
    topography = {name: np.zeros(3) for name in features.TOPOGRAPHY} | {"aspect": np.array([0.0, 90.0, 350.0])}
    ours = features.feature_matrix("standard-seasonal", np.zeros((3, 3)), topography)
    np.testing.assert_allclose(ours[:2, 9:], [[1, 0], [0, 1]], atol=1e-15)
    original = features.feature_matrix("alpgm-1.2-seasonal", np.zeros((3, 3)), topography)
    np.testing.assert_allclose(original[:, 9], [1.0, np.cos(90.0), 1.0])


@pytest.mark.parametrize("recipe", features.RECIPES)
def test_table_equals_matrix_and_is_lazy(recipe):
    predictors, reference, topography = inputs()
    with dask.config.set(scheduler=no_compute):
        lazy = features.feature_table(chunked(predictors, glacier=5), reference, topography, recipe)
    assert lazy.chunks is not None and lazy.dims == ("glacier", "hydro_year", "feature")
    assert tuple(lazy.feature.values) == features.feature_names(recipe)
    anomalies = forcing.predictor_array(predictors).values - forcing.predictor_array(reference).values[:, None]
    kernel_topography = {name: topography[name].values for name in features.TOPOGRAPHY}
    for year in range(3):
        want = features.feature_matrix(recipe, anomalies[:, year], kernel_topography)
        assert np.array_equal(lazy.isel(hydro_year=year).values, want)
        one = {name: value[4:5] for name, value in kernel_topography.items()}
        assert np.array_equal(features.feature_matrix(recipe, anomalies[4:5, year], one), want[4:5])


def test_members_and_topography_by_year():
    predictors, reference, topography = inputs()
    members = predictors.expand_dims(member=2)
    topography["area"] = topography.area * xr.DataArray(
        [1.0, 2.0], dims="hydro_year", coords={"hydro_year": [2001, 2002]}
    )
    later = members.sel(hydro_year=[2001, 2002])
    got = features.feature_table(later, reference, topography, "alpgm-1.2")
    assert got.dims == ("member", "glacier", "hydro_year", "feature")
    area = got.sel(feature="area").isel(member=1)
    np.testing.assert_allclose(area[:, 1], 2 * area[:, 0])
    with pytest.raises(InputError, match="'area' has no hydrological year 2000"):
        features.feature_table(predictors, reference, topography, "alpgm-1.2")


def test_training_table_drops_what_was_not_observed():
    predictors, reference, topography = inputs()
    smb = xr.DataArray(
        np.arange(36.0).reshape(12, 3), dims=("glacier", "hydro_year"), coords={"hydro_year": [2001, 2002, 2003]}
    )
    smb[0, 0] = np.nan
    with dask.config.set(scheduler=no_compute):
        table = features.training_table(chunked(predictors, glacier=4), reference, topography, smb, "standard")
    assert table.sizes == {"sample": 23, "feature": 35} and table.features.chunks is not None
    assert table.smb.values[:3].tolist() == [1.0, 3.0, 4.0]
    assert table.rgi_id.values[:3].tolist() == ["G0", "G1", "G1"]
    assert table.hydro_year.values[:3].tolist() == [2002, 2001, 2002]
    whole = features.feature_table(predictors, reference, topography, "standard")
    np.testing.assert_array_equal(table.features[1], whole[1].sel(hydro_year=2001))
    with pytest.raises(InputError, match="no value in the years"):
        features.training_table(predictors, reference, topography, smb * np.nan, "standard")


def test_bad_features_are_refused():
    predictors, reference, topography = inputs(monthly=False)
    with pytest.raises(InputError, match=r"'nice' is not known; allowed: standard, alpgm-1\.2"):
        features.feature_names("nice")
    with pytest.raises(InputError, match="needs 27 predictors"):
        features.feature_table(predictors, reference, topography, "standard").compute()
    with pytest.raises(InputError, match="no 'aspect'"):
        features.feature_table(predictors, reference, topography.drop_vars("aspect"), "standard-seasonal")
    topography["rgi_id"] = ("glacier", [f"G{i}" for i in (1, 0, *range(2, 12))])
    with pytest.raises(InputError, match="glacier 0 is G0 in the predictors and G1 in the topography"):
        features.feature_table(predictors, reference, topography, "standard-seasonal")


def test_the_originals_training_matrix_is_reproduced(shared):
    folder, glims = shared / "data/safran_glaciers", shared / "data/alpgm/glacier_data/GLIMS"
    matrix = np.load(folder / "training_matrix.npz")
    X, y = matrix["X"], matrix["y"]
    seasonal = xr.open_dataset(folder / "safran_seasonal_1959_2015.nc").load()
    monthly = xr.open_dataset(folder / "safran_monthly_smb_glaciers_1959_2015.nc").load()
    table = {
        year: pd.read_csv(glims / f"{name}.csv", sep=";", encoding="latin-1")
        for year, name in {
            1967: "GLIMS_1967", 1985: "GLIMS_1985", 2003: "GLIMS_temporal_32_1950", 2015: "GLIMS_Rabatel_30_2015"
        }.items()
    }  # fmt: skip
    rows = [int(np.flatnonzero(seasonal.glims_id.values == g)[0]) for g in matrix["glims_id"]]
    predictors = seasonal.isel(glacier=rows).drop_vars(["glims_id", "name"])
    predictors["tas_monthly"], predictors["snowfall_monthly"] = monthly.tas_monthly, monthly.snowfall_monthly
    years = predictors.hydro_year.values

    def over_years(column):
        maps = np.empty((32, len(ALPGM_KNOTS)))
        for i, glacier in enumerate(matrix["glims_id"]):
            for k, year in enumerate(ALPGM_KNOTS.values()):
                found = table[year].set_index("GLIMS_ID")[column]
                maps[i, k] = np.atleast_1d(found.loc[glacier])[0] if year < 2003 else table[year][column][i]
        return ("glacier", "hydro_year"), np.array([np.interp(years, list(ALPGM_KNOTS), m) for m in maps])

    last = table[2015]
    topography = xr.Dataset(
        {"mean_elevation": over_years("MEAN_Pixel"), "area": over_years("Area")}, coords={"hydro_year": years}
    )
    topography["area"] = topography["area"] * 1e6
    columns = {"max_elevation": "MAX_Pixel", "tongue_slope": "slope20", "lon": "x_coord", "lat": "y_coord"}
    for name, column in {**columns, "aspect": "Aspect_num"}.items():
        topography[name] = ("glacier", last[column].values.astype(float))
    # the published matrix is relative to 1984-2015
    reference = forcing.reference_climatology(predictors, (1984, 2015))
    smb = xr.DataArray(y, dims=("glacier", "hydro_year"), coords={"hydro_year": years})
    got = features.training_table(predictors, reference, topography, smb, "alpgm-1.2")
    assert got.sizes["sample"] == 1047
    want = X[np.isfinite(y)]
    equal = np.isclose(got.features, want, rtol=1e-9, atol=1e-8).all(axis=1)
    # three glaciers come from another run of the original's climate, three have other maps in the inventories
    differ = sorted(set(got.glacier_index.values[~equal].tolist()))
    assert differ == DIFFERENT
    np.testing.assert_allclose(got.features[:, 4:6], want[:, 4:6])
    np.testing.assert_allclose(got.features[:, 7:10], want[:, 7:10])


#: Positions of the glaciers whose rows of the matrix do not follow from the tables that were published with it.
DIFFERENT = [0, 12, 15, 25, 30, 31]
