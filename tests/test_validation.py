"""Cross-validation: no look at the test fold, scores and intervals that can be checked in the head, real baselines."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from small_region import no_compute

from alpgm_dask.features import feature_names
from alpgm_dask.schema import InputError
from alpgm_dask.smb import Lasso, extrapolation, scoring, validation
from alpgm_dask.smb.base import balanced_weights, scores
from alpgm_dask.smb.model_store import make_model
from alpgm_dask.smb.validation import Plan, assemble, cross_validate, fold_tasks

RECIPE = "alpgm-1.2-seasonal"
NAMES = feature_names(RECIPE)
MASSIFS = np.array(["Ecrins", "Vanoise", "Mont-Blanc"])


@pytest.fixture(autouse=True)
def one_after_the_other():
    with dask.config.set(scheduler="synchronous"):
        yield


def made_table(n_glaciers=8, n_years=10, noise=0.2, seed=0, recipe=RECIPE) -> xr.Dataset:
    """smb = -0.5 - 0.5 times the first feature + noise; every third glacier is of the same massif."""
    rng, names = np.random.default_rng(seed), feature_names(recipe)
    n = n_glaciers * n_years
    X = rng.normal(0, 1, (n, len(names)))
    glacier = np.repeat(np.arange(n_glaciers), n_years)
    return xr.Dataset(
        {"features": (("sample", "feature"), X), "smb": ("sample", -0.5 - 0.5 * X[:, 0] + rng.normal(0, noise, n))},
        coords={
            "feature": list(names),
            "rgi_id": ("sample", np.array([f"G{i}" for i in glacier], dtype=object)),
            "massif": ("sample", MASSIFS[glacier % 3].astype(object)),
            "hydro_year": ("sample", np.tile(np.arange(2000, 2000 + n_years), n_glaciers)),
        },
        attrs={"recipe": recipe},
    )


class Published(Lasso):
    """A Lasso that looks: of two penalties it keeps the one that is better on the test fold."""

    def fit_published(self, X, y, X_test, y_test, sample_weight=None):
        tried = [Lasso(self.recipe, alphas=(alpha,)).fit(X, y, sample_weight=sample_weight) for alpha in (0.01, 0.5)]
        best = min(tried, key=lambda model: scores(np.asarray(y_test), model.predict(X_test))["rmse"])
        self.__dict__.update(vars(best))
        return self


# -- folds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("scheme", ["logo", "loyo", "lsygo", "massif", "years-3"])
def test_the_target_of_the_test_fold_changes_nothing_that_is_predicted_there(scheme, weights):
    table, options = made_table(12), {"n_splits": 4, "inner_splits": 3, "weights": weights}
    model = Lasso(RECIPE, alphas=5)
    clean = cross_validate(model, table, scheme, **options)
    plan = Plan(scheme, **options)
    names = [*(set(clean.data_vars) - {"observed", "seconds", "chosen", "n_train"})]
    for k, fold in enumerate(validation.outer_folds(table, plan)[:2]):
        smb = table["smb"].values.copy()
        smb[fold.test] += 1000.0
        poisoned = cross_validate(model, table.assign(smb=("sample", smb)), scheme, **options)
        same = clean["fold"].values == k
        for name in names:
            np.testing.assert_array_equal(poisoned[name].values[same], clean[name].values[same], err_msg=name)
        np.testing.assert_array_equal(poisoned["chosen"].values[k], clean["chosen"].values[k])
        others = poisoned["predicted"].values[~same] != clean["predicted"].values[~same]
        assert others.any()  # the other folds do train on it


def other_models():
    """One of each kind, as small as it can be and still choose something on its inner folds."""
    regional, trees = "standard-seasonal-regional", {"n_trees": 6, "n_members": 2, "n_splits": 3}
    members = [{"kind": "lasso", "alphas": 3}, {"kind": "tree_ensemble", **trees}]
    tiny = {"architecture": (4,), "n_members": 1, "epochs": 3, "n_splits": 2}
    return {
        "gaussian_process": (regional, {"n_members": 2, "n_frequencies": 4, "max_iterations": 3}),
        "tree_ensemble": ("standard-seasonal", trees),
        "ensemble": ("standard-seasonal", {"members": members}),
        "neural_network": ("standard-seasonal", tiny),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", other_models())
def test_no_model_looks_at_the_test_fold(kind):
    if kind == "neural_network":
        pytest.importorskip("tensorflow")
    recipe, chosen_settings = other_models()[kind]
    model, table = make_model(kind, recipe, chosen_settings), made_table(12, recipe=recipe)
    for scheme in ("logo", "loyo", "lsygo"):
        plan = Plan(scheme, n_splits=2, inner_splits=3)
        fold = validation.outer_folds(table, plan)[0]
        smb = table["smb"].values.copy()
        smb[fold.test] += 1000.0
        tables = (table, table.assign(smb=("sample", smb)))
        clean, poisoned = (dask.compute(fold_tasks(model, each, plan)[0])[0] for each in tables)
        assert clean["chosen"] == poisoned["chosen"]
        for name in ("predicted", "spread", *validation.ENDS):
            assert np.isfinite(clean[name]).all()
            np.testing.assert_array_equal(clean[name], poisoned[name], err_msg=f"{scheme}: {name}")


@pytest.mark.slow
def test_networks_under_the_published_protocol_look_and_say_so():
    pytest.importorskip("tensorflow")
    recipe, chosen_settings = other_models()["neural_network"]
    model = make_model("neural_network", recipe, chosen_settings)
    got = cross_validate(model, made_table(recipe=recipe), "logo", n_splits=2, protocol="published")
    assert "not a measure of skill" in got.attrs["note"] and not scoring.has_intervals(got)


def test_inner_folds_are_of_the_same_scheme_and_of_training_rows_alone():
    seen = []

    class Spy(Lasso):
        def fit(self, X, y, groups=None, *, folds=None, sample_weight=None):
            seen.append((X, groups, folds))
            return super().fit(X, y, groups, folds=folds, sample_weight=sample_weight)

    table = made_table()
    cross_validate(Spy(RECIPE, alphas=3), table, "loyo", inner_splits=4)
    rows = {tuple(row): year for row, year in zip(table.features.values, table.hydro_year.values, strict=True)}
    held_out = []
    for X, groups, folds in seen:
        years = np.array([rows[tuple(row)] for row in X.values])
        held_out += sorted(set(range(2000, 2010)) - set(years))
        assert len(years) == len(groups) == 72 and len(folds) == 4
        assert all(not set(years[fold.train]) & set(years[fold.test]) for fold in folds)
    assert sorted(held_out) == list(range(2000, 2010))


def test_leaving_glaciers_and_years_out_trains_on_neither():
    table = made_table(12, 12)
    labels = table.rgi_id.values, table.hydro_year.values
    got = cross_validate(Lasso(RECIPE, alphas=(0.1,)), table, "lsygo", n_splits=6)
    for _, fold in got.groupby("fold"):
        glaciers, years = set(fold["rgi_id"].values), set(fold["hydro_year"].values)
        kept = [g not in glaciers and y not in years for g, y in zip(*labels, strict=True)]
        assert len(glaciers) == 4 and len(years) == 3
        assert got["n_train"].sel(outer_fold=int(fold["fold"][0])) == sum(kept)
    assert got.sizes["prediction"] == 6 * 12 and len(np.unique(got["sample"])) < 72  # rows stand as often as tested


def test_tested_years_and_splits():
    got = cross_validate(Lasso(RECIPE, alphas=(0.1,)), made_table(), "loyo", years=(2003, 2005))
    assert sorted(set(got["hydro_year"].values)) == [2003, 2004, 2005] and got.sizes["prediction"] == 24
    assert (got["n_train"].values == 72).all()  # the other years are trained on
    assert cross_validate(Lasso(RECIPE, alphas=3), made_table(), "logo", n_splits=2).sizes["outer_fold"] == 2


def test_every_row_is_tested_once_and_labels_stay_with_it():
    table = made_table()
    got = cross_validate(Lasso(RECIPE, alphas=3), table, "massif").sortby("sample")
    np.testing.assert_array_equal(got["sample"], np.arange(80))
    np.testing.assert_array_equal(got["observed"], table["smb"])
    for name in ("rgi_id", "massif", "hydro_year"):
        np.testing.assert_array_equal(got[name].values, table[name].values)
    assert got.attrs["scheme"] == "massif" and got.attrs["protocol"] == "nested" and got.attrs["note"] == ""
    assert '"alpha"' in str(got["chosen"].values[0]) and (got["seconds"] > 0).all()


def test_folds_are_lazy_and_their_order_does_not_matter():
    table = made_table()
    table["features"] = table["features"].chunk(sample=30)
    with dask.config.set(scheduler=no_compute):
        tasks = fold_tasks(Lasso(RECIPE, alphas=3), table, Plan("logo"))
    parts = dask.compute(*tasks, scheduler="synchronous")
    eager = cross_validate(Lasso(RECIPE, alphas=3), made_table(), "logo")
    for some in (parts, parts[::-1]):
        xr.testing.assert_identical(assemble(table, some).drop_vars("seconds"), eager.drop_vars("seconds"))
    with dask.config.set(scheduler="threads"):
        threads = cross_validate(Lasso(RECIPE, alphas=3), made_table(), "logo")
    xr.testing.assert_identical(threads.drop_vars("seconds"), eager.drop_vars("seconds"))


def test_the_model_that_is_given_stays_unfitted():
    model = Lasso(RECIPE, alphas=3)
    cross_validate(model, made_table(), "logo")
    assert not model.__sklearn_is_fitted__()


# -- protocols, weights, baselines ----------------------------------------------------------------------------


def test_the_published_protocol_looks_and_says_so():
    table = made_table(4, 6, noise=1.0)
    got = cross_validate(Published(RECIPE), table, "logo", protocol="published")
    assert got.attrs["note"] == "epoch chosen on the test fold: not a measure of skill"
    assert not scoring.has_intervals(got) and np.isnan(got["spread"]).all()
    rows = scoring.score_table(got, n_bootstrap=50)
    assert rows["note"][0] == got.attrs["note"] and rows["protocol"][0] == "published"
    assert "not a measure of skill" in scoring.as_text(rows)
    nested = cross_validate(Lasso(RECIPE, alphas=(0.5,)), table, "logo")
    assert scores(*_pair(got))["rmse"] <= scores(*_pair(nested))["rmse"]
    with pytest.raises(InputError, match="a lasso chooses no epoch; allowed: nested"):
        fold_tasks(Lasso(RECIPE), table, Plan("logo", protocol="published"))


def _pair(predictions):
    return predictions["observed"].values, predictions["predicted"].values


def test_balanced_weights_are_those_of_the_training_rows():
    table, seen = made_table(), []

    class Spy(Lasso):
        def fit(self, X, y, groups=None, *, folds=None, sample_weight=None):
            seen.append((y, sample_weight))
            return super().fit(X, y, groups, folds=folds, sample_weight=sample_weight)

    cross_validate(Spy(RECIPE, alphas=3), table, "logo", weights="balanced")
    for y, weight in seen:
        np.testing.assert_array_equal(weight, balanced_weights(y))


def test_baselines_are_means_of_training_rows():
    table = made_table(3, 4)
    y = table["smb"].values.reshape(3, 4)
    model = Lasso(RECIPE, alphas=(0.1,))
    logo = cross_validate(model, table, "logo").sortby("sample")
    others = (y.sum(axis=0) - y) / 2
    np.testing.assert_allclose(logo["baseline_year"], others.ravel())
    np.testing.assert_allclose(logo["baseline_glacier"], np.repeat(others.mean(axis=1), 4))
    assert logo["baseline_year_defined"].all() and not logo["baseline_glacier_defined"].any()
    loyo = cross_validate(model, table, "loyo").sortby("sample")
    np.testing.assert_allclose(loyo["baseline_glacier"], ((y.sum(axis=1, keepdims=True) - y) / 3).ravel())
    assert loyo["baseline_glacier_defined"].all() and not loyo["baseline_year_defined"].any()
    notes = scoring.score_table(loyo, n_bootstrap=20).set_index("predictor")["note"]
    assert notes["baseline: the glacier's own mean"] == ""
    assert notes["baseline: mean of the other glaciers that year"].startswith("not defined for 100 % of the rows")


# -- extrapolation --------------------------------------------------------------------------------------------


def test_rows_outside_of_the_training_range_are_flagged():
    table = made_table()
    table["features"][0, :3] = 50.0
    table["features"][1, 4] = -50.0
    got = cross_validate(Lasso(RECIPE, alphas=3), table, "logo").sortby("sample")
    assert got["outside"].values[:2].tolist() >= [3, 1]
    rows = scoring.score_table(got, n_bootstrap=20)
    inside = int((got["outside"] == 0).sum())
    assert rows["n"].tolist()[:3] == [80, inside, 80 - inside]
    low, high = extrapolation.training_range(table["features"])
    assert extrapolation.outside_range(table["features"], low, high).max() == 0
    hole = np.full((1, 10), np.nan)
    assert extrapolation.outside_range(hole, low, high).tolist() == [0]
    with pytest.raises(InputError, match=r"shape \(80, 9\); allowed: \(row, 10\)"):
        extrapolation.outside_range(table["features"][:, :9], low, high)
    with pytest.raises(InputError, match="at least one row"):
        extrapolation.training_range(np.empty((0, 3)))


# -- scores ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40))
def test_scores_from_sums_are_the_scores(seed, n):
    rng = np.random.default_rng(seed)
    observed, groups = rng.normal(100, 1, n), rng.integers(0, 4, n)
    predicted = observed + rng.normal(0.3, 1, n)
    covered = rng.integers(0, 2, n).astype(float)
    got = scoring.bootstrap_scores(observed, predicted, groups, covered, n_bootstrap=50)
    for name, value in scores(observed, predicted).items():
        assert got[name] == pytest.approx(value, abs=1e-9)
        if len(np.unique(groups)) > 1:
            assert got[f"{name}_low"] <= got[f"{name}_high"]
    assert got["coverage_90"] == pytest.approx(covered.mean()) and got["n"] == n


def test_bootstrap_draws_whole_groups():
    """Two groups with bias 0 and 1: a draw has bias 0, 1/2 or 1, so the interval is [0, 1]; rows would give +-0.07."""
    groups = np.repeat([0, 1], 500)
    observed = np.tile([0.0, 1.0], 500)
    got = scoring.bootstrap_scores(observed, observed + groups, groups)
    assert (got["bias"], got["bias_low"], got["bias_high"]) == (0.5, 0.0, 1.0)
    rows = scoring.bootstrap_scores(observed, observed + groups, np.arange(1000))
    assert rows["bias_low"] > 0.45 and rows["bias_high"] < 0.55
    again = scoring.bootstrap_scores(observed, observed + groups, groups)
    np.testing.assert_array_equal(list(got.values()), list(again.values()))


def test_bootstrap_intervals_hold_the_truth_as_often_as_they_say():
    rng, inside = np.random.default_rng(0), []
    groups = np.repeat(np.arange(30), 20)
    for _ in range(200):
        error = np.repeat(rng.normal(0, 1, 30), 20) + rng.normal(0, 1, 600)
        observed = rng.normal(0, 1, 600)
        got = scoring.bootstrap_scores(observed, observed + error, groups, n_bootstrap=200)
        inside.append(got["bias_low"] <= 0.0 <= got["bias_high"])
    assert 0.88 <= np.mean(inside) <= 0.99


def test_scores_that_are_not_defined_are_missing():
    got = scoring.bootstrap_scores(np.full(4, 0.1), np.zeros(4), np.zeros(4))
    assert np.isnan(got["r2"]) and np.isnan(got["rmse_low"]) and got["rmse"] == pytest.approx(0.1)
    assert np.isnan(got["coverage_90"])
    with pytest.raises(InputError, match="no predictions"):
        scoring.bootstrap_scores(np.empty(0), np.empty(0), np.empty(0))


def test_tables_of_glaciers_and_years():
    got = cross_validate(Lasso(RECIPE, alphas=3), made_table(), "logo")
    by_glacier, by_year = (scoring.scores_by(got, by, n_bootstrap=30) for by in ("glacier", "year"))
    assert len(by_glacier) == 3 * 8 and len(by_year) == 3 * 10
    one = by_glacier.query("glacier == 'G3' and predictor == 'lasso'").iloc[0]
    own = got.isel(prediction=got["rgi_id"].values == "G3")
    assert one["n"] == 10 and one["groups"] == 10 and one["rmse"] == pytest.approx(scores(*_pair(own))["rmse"])
    assert one["rmse_low"] < one["rmse"] < one["rmse_high"]
    assert by_year["groups"].tolist() == [8] * 30
    with pytest.raises(InputError, match="by: 'massif'; allowed: glacier, year"):
        scoring.scores_by(got, "massif")


def test_intervals_cover_what_they_say_on_held_out_groups():
    got = cross_validate(Lasso(RECIPE, alphas=10), made_table(20, 25, noise=0.5), "logo")
    table = scoring.reliability(got, n_bootstrap=100)
    np.testing.assert_allclose(table["coverage"], table.index, atol=0.05)
    assert (np.diff(table["width"]) > 0).all() and (table["coverage_low"] <= table["coverage"]).all()
    share = ((got["lower_90"] <= got["observed"]) & (got["observed"] <= got["upper_90"])).mean()
    assert table.loc[0.9, "coverage"] == pytest.approx(float(share))
    assert scoring.score_table(got, n_bootstrap=10)["coverage_90"][0] == pytest.approx(float(share))


def test_components_of_errors():
    rng = np.random.default_rng(1)
    glacier = np.repeat(np.arange(4000), 30)
    error = np.repeat(rng.normal(0, 0.3, 4000), 30) + rng.normal(0, 0.6, 120_000)
    stays, changes = scoring.error_components(error, glacier)
    assert stays == pytest.approx(0.3, abs=0.01) and changes == pytest.approx(0.6, abs=0.005)


# -- what is refused --------------------------------------------------------------------------------------------


def test_refused():
    table, model = made_table(), Lasso(RECIPE, alphas=3)
    one_glacier, two_glaciers = (table.isel(sample=slice(n)) for n in (10, 20))
    cases = [
        (table, "logi", {}, "scheme 'logi' is not known; allowed: logo, loyo, lsygo, years-N, glacier, year, massif"),
        (one_glacier, "logo", {}, r"a single glacier \(G0\) in 10 rows; allowed: at least two"),
        (two_glaciers, "logo", {}, r"logo, fold 0: inside its training rows: groups: a single glacier \(G1\)"),
        (table, "loyo", {"years": (1990, 1995)}, "no row to test in the years"),
        (table, "logo", {"protocol": "honest"}, "protocol: 'honest'; allowed: nested, published"),
        (table, "logo", {"weights": "heavy"}, "weights: 'heavy'; allowed: none, balanced"),
        (table, "logo", {"inner_splits": 1}, "inner_splits: 1; allowed: 2 or more"),
        (table.drop_vars("rgi_id"), "logo", {}, "no coordinate of glaciers"),
        (table.drop_vars("hydro_year"), "logo", {}, "no coordinate 'hydro_year'"),
        (table.drop_vars("smb"), "logo", {}, "no variable 'smb'"),
        (table.where(table["smb"] < 0), "logo", {}, "such values"),
        (table.assign(smb=table["smb"].where(table["smb"] < 0)), "logo", {}, "target: nan in row"),
        (table.isel(feature=slice(9)), "logo", {}, "allowed"),
        (table.isel(feature=slice(None, None, -1)), "logo", {}, "stands where the model has"),
    ]
    for given_table, scheme, options, message in cases:
        with pytest.raises(InputError, match=message):
            fold_tasks(model, given_table, Plan(scheme, **options))


def test_a_model_without_held_out_rows_has_no_intervals():
    got = cross_validate(Lasso(RECIPE, alphas=(0.1,)), made_table(), "logo")
    assert np.isnan(got["lower_90"]).all() and np.isnan(scoring.score_table(got)["coverage_90"]).all()
    with pytest.raises(InputError, match="lasso: no intervals; allowed: a model that is fitted with held-out rows"):
        scoring.reliability(got)


def test_parts_of_different_validations_are_not_put_together():
    table = made_table()
    parts = [dask.compute(*fold_tasks(Lasso(RECIPE, alphas=3), table, Plan(s))) for s in ("logo", "loyo")]
    for some, message in (
        ([], "no folds"),
        ([parts[0][0], parts[1][1]], "folds of different plans"),
        ([parts[0][0], parts[0][0]], "allowed: each once"),
    ):
        with pytest.raises(InputError, match=message):
            assemble(table, some)


# -- the real table ---------------------------------------------------------------------------------------------


def real_table(shared, target="y") -> xr.Dataset:
    matrix = np.load(shared / "data/safran_glaciers/training_matrix.npz")
    glacier, year = np.nonzero(np.isfinite(matrix[target]))
    return xr.Dataset(
        {
            "features": (("sample", "feature"), matrix["X"][glacier, year, : len(NAMES)]),
            "smb": ("sample", matrix[target][glacier, year]),
        },
        coords={
            "feature": list(NAMES),
            "rgi_id": ("sample", matrix["glims_id"][glacier].astype(object)),
            "hydro_year": ("sample", matrix["hydro_year"][year]),
        },
    )


def pooled(predictions, variable="predicted"):
    got = scores(predictions["observed"].values, predictions[variable].values)
    return [round(got["r2"], 3), round(got["rmse"], 3)]


@pytest.mark.real
def test_real_scores_and_baselines(shared):
    """Baselines of the oracle's README are those of the later target; the published scores are of the earlier one."""
    model = Lasso(RECIPE)
    logo = cross_validate(model, real_table(shared), "logo")
    assert logo.sizes["prediction"] == 1047
    np.testing.assert_allclose(pooled(logo), [0.411, 0.821], atol=0.006)
    assert pooled(logo, "baseline_year") == [0.650, 0.633]
    loyo = cross_validate(model, real_table(shared), "loyo", years=(1984, 2015))
    assert loyo.sizes["prediction"] == 985
    np.testing.assert_allclose(pooled(loyo), [0.376, 0.843], atol=0.006)
    assert pooled(loyo, "baseline_glacier") == [-0.042, 1.089]
    for got in (logo, loyo):
        coverage = scoring.reliability(got, n_bootstrap=50)["coverage"]
        assert 0.85 <= coverage[0.9] <= 0.95
    fixed, later = Lasso(RECIPE, alphas=(0.1,)), real_table(shared, "y_head")
    assert pooled(cross_validate(fixed, later, "logo"), "baseline_year") == [0.631, 0.643]
    assert pooled(cross_validate(fixed, later, "loyo", years=(1984, 2015)), "baseline_glacier") == [-0.042, 1.078]
