"""Explanations: they find what a known law goes by, in the shape that it has, and are drawn from the right numbers."""

from __future__ import annotations

from functools import cache

import dask
import matplotlib.image
import numpy as np
import pytest
from smb_tables import RECIPE, law_table

from alpgm_dask import plots
from alpgm_dask.demo import smb_law
from alpgm_dask.features import feature_names
from alpgm_dask.plots.explain import plot_importance, plot_response
from alpgm_dask.schema import InputError
from alpgm_dask.smb import Lasso
from alpgm_dask.smb.base import Regressor
from alpgm_dask.smb.explain import feature_groups, importance_task, permutation_importance, response, sensitivity
from alpgm_dask.smb.importance import is_climate
from alpgm_dask.smb.tree_ensemble import TreeEnsemble

NAMES = feature_names(RECIPE)


def lasso():
    return Lasso(RECIPE, alphas=(1e-3,))


@cache
def importance(scheme="logo", within="table", seed=0):
    options = {
        "n_repeats": 4,
        "n_splits": 20 if scheme == "lsygo" else 4,
        "inner_splits": 3,
        "within": within,
        "seed": seed,
    }
    return permutation_importance(lasso(), law_table(), scheme, **options)


@cache
def both():
    """Lasso and trees, fitted to many glacier-years of the law without noise."""
    table = law_table(40, 50, noise=0.0)
    trees = TreeEnsemble(RECIPE, n_trees=60, min_samples_leaf=2, max_features=1.0)
    models = {"Lasso": lasso(), "trees": trees}
    return {name: model.fit(table.features, table.smb.values) for name, model in models.items()}, table


class Linear(Regressor):
    """3 members that know one number for each feature: -1, 0 and +1 of the first feature more."""

    kind = "linear"

    def __init__(self, recipe=RECIPE, weights=()):
        self.recipe, self.weights = recipe, weights

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None):
        return self

    def predict(self, X):
        return np.asarray(X) @ np.asarray(self.weights)

    def predict_members(self, X):
        return self.predict(X) + np.asarray(X)[:, 0] * np.array([-1.0, 0.0, 1.0])[:, None]


# -- importance ---------------------------------------------------------------------------------------------


def test_features_that_tell_of_the_same_are_one_group():
    months = [f"{name}_anomaly_{month}" for name in ("tas_monthly", "snowfall_monthly") for month in ("oct", "nov")]
    names = [*NAMES, *months, "regional_cpdd_anomaly", "regional_tas_monthly_anomaly_oct", "debris"]
    groups = feature_groups(names)
    assert groups["degree-days"] == ("cpdd_anomaly", "regional_cpdd_anomaly")
    assert groups["winter snowfall"] == ("winter_snowfall_anomaly",)
    assert groups["monthly temperature"] == (*months[:2], "regional_tas_monthly_anomaly_oct")
    assert groups["monthly snowfall"] == tuple(months[2:])
    assert groups["position"] == ("lon", "lat") and groups["aspect"] == ("cos_aspect", "sin_aspect")
    assert groups["elevation"] == ("mean_elevation", "max_elevation") and groups["debris"] == ("debris",)
    single = [
        name
        for group, members in groups.items()
        if " climate" not in group and " topo" not in group
        for name in members
    ]
    assert sorted(single) == sorted(names)
    assert set(groups["all climate"]) | set(groups["all topography"]) == set(names)
    assert set(groups["regional climate"]) == {name for name in names if name.startswith("regional_")}
    assert feature_groups(feature_names("alpgm-1.2"))["aspect"] == ("cos_aspect_degrees",)


@pytest.mark.parametrize("scheme", ["logo", "loyo", "lsygo"])
def test_what_the_law_goes_by_is_found_and_noise_is_not(scheme):
    found = importance(scheme)
    mean = found["rmse_increase"].mean("repeat")
    assert mean.sel(feature_group="degree-days") > 0.3
    assert mean.sel(feature_group=["degree-days", "winter snowfall", "summer snowfall"]).min() > 0.01
    assert np.abs(mean.sel(feature_group=["position", "elevation", "aspect"])).max() < 0.01
    assert mean.sel(feature_group="all climate") > mean.sel(feature_group="degree-days")
    assert found.attrs["scheme"] == scheme and found["rmse_increase"].dims == ("feature_group", "repeat")
    decrease = found["r2_decrease"].mean("repeat")
    assert decrease.sel(feature_group="degree-days") > 0.3 > 0.01 > decrease.sel(feature_group="position")


def test_numbers_are_those_of_shuffling_by_hand():
    table = law_table(4, 6)
    weights = np.zeros(11)
    weights[0], weights[6] = -0.004, 1.0
    model = Linear(weights=tuple(weights))
    found = permutation_importance(
        model, table, "logo", groups={"a": ["cpdd_anomaly", "area"]}, n_repeats=2, inner_splits=2
    )
    X, y = table.features.values, table.smb.values

    def rmse(values):
        return np.sqrt(np.mean((values @ weights - y) ** 2))

    for repeat in range(2):
        shuffled = X.copy()
        donors = np.random.default_rng([0, 0, repeat]).permutation(24)
        shuffled[:, [0, 6]] = X[donors][:, [0, 6]]
        assert float(found["rmse_increase"][0, repeat]) == pytest.approx(rmse(shuffled) - rmse(X), abs=1e-12)
    assert float(found["rmse"]) == pytest.approx(rmse(X), abs=1e-12)


def test_shuffling_within_a_glacier_cannot_show_what_is_the_same_all_over_it():
    alone = permutation_importance(lasso(), law_table(6, 15), "logo", n_repeats=2, within="fold", inner_splits=2)
    assert np.abs(alone["rmse_increase"].sel(feature_group="area")).max() == 0.0
    assert alone["rmse_increase"].sel(feature_group="degree-days").min() > 0.2


def test_importance_is_the_same_whatever_runs_it_and_follows_the_seed():
    table = law_table(6, 10)
    options = {"n_repeats": 2, "n_splits": 3, "inner_splits": 2}
    task = importance_task(lasso(), table, "logo", **options)
    got = []
    for scheduler in ("sync", "threads"):
        with dask.config.set(scheduler=scheduler):
            got.append(task.compute())
    assert got[0].identical(got[1])
    other = permutation_importance(lasso(), table, "logo", seed=1, **options)
    assert not np.array_equal(other["rmse_increase"], got[0]["rmse_increase"]) and other["rmse"] == got[0]["rmse"]


def test_what_cannot_be_shuffled_is_refused():
    table = law_table(4, 6)
    for options, message in (
        ({"within": "year"}, "within: 'year'"),
        ({"n_repeats": 0}, "n_repeats: 0"),
        ({"groups": {"a": ["depth"]}}, "no feature 'depth' in the table; allowed: cpdd_anomaly"),
        ({"inner_splits": 1}, "inner_splits: 1"),
    ):
        with pytest.raises(InputError, match=message):
            permutation_importance(lasso(), table, "logo", **options)
    with pytest.raises(InputError, match="scheme 'logos' is not known"):
        permutation_importance(lasso(), table, "logos")


# -- response -----------------------------------------------------------------------------------------------


def test_response_of_a_linear_model_is_its_weights():
    table = law_table(4, 6)
    weights = np.linspace(-0.005, 0.005, 11)
    asked = {name: [-200.0, 0.0, 100.0] for name in ("cpdd", "winter_snowfall", "summer_snowfall")}
    for others in ("zero", "observed"):
        curves = response(Linear(weights=tuple(weights)), table, values=asked, others=others)
        assert curves["smb_change"].dims == ("model", "predictor", "step")
        want = weights[:3, None] * np.array(asked["cpdd"])
        np.testing.assert_allclose(curves["smb_change"][0], want, atol=1e-9)
        np.testing.assert_allclose(curves["smb_change_glacier_sd"], 0.0, atol=1e-9)
        # the members' first weights are -1, 0 and 1 apart
        np.testing.assert_allclose(curves["smb_change_member_sd"][0, 0], np.array([200, 0, 100]) * np.sqrt(2 / 3))
        np.testing.assert_allclose(curves["smb_change_member_sd"][0, 1:], 0.0, atol=1e-9)
    slopes = sensitivity(response(Linear(weights=tuple(weights)), table))["slope"]
    assert slopes.dims == ("model", "predictor", "range") and slopes.sizes["range"] == 4
    np.testing.assert_allclose(slopes[0], np.repeat(100 * weights[:3, None], 4, axis=1), atol=1e-9)


def test_the_region_moves_with_the_glacier_and_others_go_with_it_if_asked():
    names = feature_names("standard-seasonal-regional")
    seasonal = law_table(5, 8)
    X = np.zeros((40, 14))
    X[:, :11] = seasonal.features.values
    X[:, 1] = 0.5 * X[:, 0]  # snow follows warmth in this table
    X[:, 11:] = X[:, :3] * 0.8
    table = seasonal.drop_vars(["features", "feature"]).assign(features=(("sample", "feature"), X))
    table = table.assign_coords(feature=list(names))
    weights = np.zeros(14)
    weights[[0, 1, 11]] = -0.003, 0.001, -0.002
    model = Linear("standard-seasonal-regional", tuple(weights))
    asked = {"cpdd": [100.0]}
    for others, want in (("zero", -0.5), ("observed", -0.5), ("regression", -0.45)):
        curves = response(model, table, predictors=["cpdd"], values=asked, others=others)
        assert float(curves["smb_change"].squeeze()) == pytest.approx(want, abs=1e-9)
    # the region's anomalies are smaller: training ends where the first of the two ends
    assert float(curves["training_max"][0]) == pytest.approx(X[:, 11].max())
    narrow = response(Linear(RECIPE, tuple(weights[:11])), table, predictors=["cpdd"], values=asked)
    assert float(narrow["smb_change"].squeeze()) == pytest.approx(-0.3, abs=1e-9)


def test_the_law_of_the_demo_is_recovered_better_by_trees_than_by_lasso():
    models, table = both()
    curves = response(models, table, predictors=["cpdd"])
    known = curves.isel(step=np.flatnonzero(~curves["outside"].values[0]))
    cpdd = known["anomaly"].values[0]
    slope, area = table.features.sel(feature="tongue_slope"), table.features.sel(feature="area") * 1e6
    law = [float((smb_law(c, 0.0, 0.0, slope, area) - smb_law(0.0, 0.0, 0.0, slope, area)).mean()) for c in cpdd]
    error = np.sqrt(((known["smb_change"] - xr_of(law, known)) ** 2).mean("step"))[:, 0]
    assert float(error.sel(model="trees")) < 0.5 * float(error.sel(model="Lasso"))
    slopes = sensitivity(curves)["slope"].sel(predictor="cpdd")
    ratio = slopes.sel(range="positive") / slopes.sel(range="negative")
    assert float(ratio.sel(model="Lasso")) == pytest.approx(1.0)
    # melt per degree-day falls as it gets warmer; outside of training trees stand still and Lasso goes on
    assert float(ratio.sel(model="trees")) < 0.6
    assert float(slopes.sel(range="above training", model="trees")) == pytest.approx(0.0, abs=1e-9)
    assert float(slopes.sel(range="above training", model="Lasso")) < -0.1


def xr_of(values, like):
    import xarray as xr

    return xr.DataArray(values, dims="step").broadcast_like(like["smb_change"].isel(model=0, drop=True))


def test_curves_say_where_training_ends():
    models, table = both()
    curves = response(models["Lasso"], table, n_steps=21)
    assert list(curves["model"].values) == ["lasso"]
    X = table.features.values
    np.testing.assert_allclose(curves["anomaly"][:, 0], 1.5 * X[:, :3].min(axis=0))
    np.testing.assert_allclose(curves["anomaly"][:, -1], 1.5 * X[:, :3].max(axis=0))
    inside = (curves["anomaly"].T.values >= X[:, :3].min(axis=0)) & (curves["anomaly"].T.values <= X[:, :3].max(axis=0))
    assert np.array_equal(~curves["outside"].T.values, inside) and 0 < inside.sum() < inside.size
    assert curves["units"].values.tolist() == ["K day", "kg m-2", "kg m-2"]


def test_what_has_no_response_is_refused():
    models, table = both()
    for options, message in (
        ({"predictors": ["rain"]}, "has no 'rain_anomaly'; allowed: cpdd, winter_snowfall, summer_snowfall"),
        ({"others": "mean"}, "others: 'mean'; allowed: zero, observed, regression"),
        ({"values": {"cpdd": [1.0]}}, "as many finite anomalies"),
        ({"values": {"cpdd": [1.0], "winter_snowfall": [1.0], "summer_snowfall": [1.0, 2.0]}}, "as many finite"),
        ({"predictors": ["cpdd"], "values": {"cpdd": [np.nan]}}, "as many finite"),
    ):
        with pytest.raises(InputError, match=message):
            response(models["Lasso"], table, **options)
    with pytest.raises(InputError, match="recipe 'standard' needs 'tas_monthly_anomaly_oct'"):
        response(Linear("standard"), table)
    assert is_climate("regional_cpdd_anomaly") and not is_climate("area")


# -- figures ------------------------------------------------------------------------------------------------


def _saved(fig, path):
    picture = matplotlib.image.imread(plots.save(fig, path))
    assert picture[..., :3].std() > 0.01


def test_bars_are_the_means_and_whiskers_the_range(tmp_path):
    found = importance()
    fig = plot_importance(found)
    (ax,) = fig.axes
    labels = [text.get_text() for text in ax.get_yticklabels()]
    mean = found["rmse_increase"].mean("repeat")
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], mean.sel(feature_group=labels))
    assert labels[0] == "degree-days" and labels[-2:] == ["all climate", "all topography"]
    assert "LOGO" in ax.get_title() and f"r² {float(found['r2']):.2f}" in ax.get_legend().get_texts()[0].get_text()
    _saved(fig, tmp_path / "importance.png")
    both_schemes = plot_importance({"glaciers": found, "years": importance("loyo")}, "r2_decrease")
    assert len(both_schemes.axes[0].patches) == 2 * len(labels)
    assert both_schemes.axes[0].get_xlabel() == "decrease of r² when shuffled"
    _saved(both_schemes, tmp_path / "two.png")
    with pytest.raises(InputError, match="score: 'mae'; allowed: rmse_increase, r2_decrease"):
        plot_importance(found, "mae")


def test_curves_are_solid_where_training_reaches(tmp_path):
    models, table = both()
    curves = response(models, table, n_steps=15)
    fig = plot_response(curves)
    assert len(fig.axes) == 3
    solid = [line for line in fig.axes[0].lines if line.get_linewidth() == 2.0]
    assert [line.get_label() for line in solid] == ["Lasso", "trees"]
    drawn, outside = np.asarray(solid[1].get_ydata()), curves["outside"].values[0]
    assert np.isnan(drawn[outside]).all()
    np.testing.assert_allclose(drawn[~outside], curves["smb_change"].values[1, 0, ~outside])
    assert "K day" in fig.axes[0].get_xlabel() and "kg m⁻²" in fig.axes[1].get_xlabel()
    _saved(fig, tmp_path / "response.png")
    _saved(plot_response(curves.isel(predictor=[0], model=[1])), tmp_path / "one.png")
