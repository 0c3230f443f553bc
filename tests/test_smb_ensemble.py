"""Ensembles: weights chosen on rows that no member has seen, members of different recipes, stored and loaded."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from smb_tables import RECIPE, law_table

from alpgm_dask.features import feature_names
from alpgm_dask.schema import InputError
from alpgm_dask.smb import Lasso, load_model, model_card, save_model
from alpgm_dask.smb.base import Regressor, scores
from alpgm_dask.smb.ensemble import Ensemble
from alpgm_dask.smb.folds import Fold, cross_folds, group_folds
from alpgm_dask.smb.stacking import Job, Table, best_weights, columns_of, common_recipe, nested_folds, run_job
from alpgm_dask.smb.tree_ensemble import TreeEnsemble


def members():
    trees = TreeEnsemble(RECIPE, n_trees=20, n_members=4, min_samples_leaf=2, max_features=1.0)
    return (Lasso(RECIPE, alphas=8), trees)


@cache
def fitted(**change):
    table = law_table()
    model = Ensemble(members(), **{"n_splits": 4, **change})
    return model.fit(table.features, table.smb.values, table.rgi_id.values), table


class Offset(Regressor):
    """Says the first feature plus a number; keeps what it was fitted on. Members say it more and less."""

    kind = "offset"
    seen: list = []  # noqa: RUF012

    def __init__(self, recipe=None, by=0.0, n_members=1):
        self.recipe, self.by, self.n_members = recipe, by, n_members

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None):
        self.n_features_in_ = X.shape[1]
        Offset.seen.append((X[:, -1].copy(), y.copy(), groups, folds, sample_weight))
        return self

    def predict(self, X):
        return self.check_features(X)[:, 0] + self.by

    def predict_members(self, X):
        apart = np.arange(self.n_members) - (self.n_members - 1) / 2
        return np.asarray(X)[:, 0] + self.by + apart[:, None]


def plain_table(n_groups=5, n=8):
    """x0, and a row number as the last feature, so that what a member was given can be told."""
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(size=n_groups * n), np.arange(n_groups * n, dtype=float)], axis=-1)
    return X, X[:, 0] + rng.normal(0, 0.01, len(X)), np.repeat(np.arange(n_groups), n)


# -- weights ------------------------------------------------------------------------------------------------


def test_weights_are_the_best_of_all_that_sum_to_one():
    rng = np.random.default_rng(0)
    for _ in range(20):
        observed = rng.normal(size=30)
        predicted = observed * rng.uniform(0, 1.5, (3, 1)) + rng.normal(size=(3, 30)) * rng.uniform(0.1, 2, (3, 1))
        weight = rng.uniform(0.1, 3, 30)
        got = best_weights(observed, predicted, weight)
        assert got.min() >= 0 and got.sum() == pytest.approx(1, abs=1e-12)
        a, b = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41))
        grid = np.stack([a, b, 1 - a - b])[:, a + b <= 1]
        error = (((grid.T @ predicted - observed) ** 2) * weight).sum(axis=1)
        assert ((got @ predicted - observed) ** 2 * weight).sum() <= error.min() + 1e-9


def test_a_member_that_is_right_gets_all_the_weight():
    observed = np.arange(5.0)
    assert best_weights(observed, np.stack([observed, observed + 1])).tolist() == [1.0, 0.0]
    assert best_weights(observed, np.stack([observed, observed])).sum() == pytest.approx(1.0)


def test_the_ensemble_is_better_than_its_members_where_none_is_right():
    X, y, groups = plain_table()
    model = Ensemble((Offset(by=1.0), Offset(by=-3.0))).fit(X, y, groups)
    np.testing.assert_allclose(model.weights_, [0.75, 0.25], atol=1e-2)
    assert model.cv_scores_["rmse"] < 0.02
    np.testing.assert_allclose(model.predict(X), X[:, 0], atol=0.02)


def test_weights_can_be_given_or_equal():
    X, y, groups = plain_table()
    pair = (Offset(by=1.0), Offset(by=-3.0))
    np.testing.assert_allclose(Ensemble(pair, "equal").fit(X, y, groups).predict(X), X[:, 0] - 1)
    np.testing.assert_allclose(Ensemble(pair, (0.5, 0.5)).fit(X, y).predict(X), X[:, 0] - 1)
    given_weights = Ensemble(pair, (1.0, 0.0)).fit(X, y, groups)
    np.testing.assert_allclose(given_weights.predict(X), X[:, 0] + 1)
    assert given_weights.cv_scores_ == scores(y, X[:, 0] + 1)


# -- nothing of what is held out is looked at ---------------------------------------------------------------


def test_members_see_neither_the_held_out_rows_nor_others_of_their_group():
    X, y, groups = plain_table()
    Offset.seen.clear()
    Ensemble((Offset(),), n_splits=5).fit(X, y, groups, sample_weight=np.arange(1.0, 41.0))
    whole, *inner = Offset.seen
    assert whole[0].tolist() == list(range(40)) and len(inner) == 5
    left_out = []
    for rows, target, of_rows, folds, weight in inner:
        rows = rows.astype(int)
        left_out.append(set(range(40)) - set(rows))
        assert not set(groups[list(left_out[-1])]) & set(groups[rows])
        assert np.array_equal(target, y[rows]) and np.array_equal(of_rows, groups[rows])
        np.testing.assert_allclose(weight, (rows + 1) / np.mean(np.arange(1, 41)))
        assert len(folds) == 4
        for train, test in folds:
            assert len(train) == len(rows) and not set(groups[rows[train]]) & set(groups[rows[test]])
    assert set().union(*left_out) == set(range(40)) and sum(map(len, left_out)) == 40


def test_poisoned_targets_of_the_held_out_rows_change_nothing():
    table = law_table()
    X, y, glacier = table.features.values, table.smb.values, table.rgi_id.values
    test = glacier == glacier[0]
    # the outer fold's rows are never given; inside, what a fold's rows are predicted as does not know them
    folds = group_folds(glacier[~test], 4)
    inside, poisoned = y[~test], y[~test].copy()
    poisoned[folds[1].test] += 1000.0
    for member in members():
        said = []
        for target in (inside, poisoned):
            held_out = Table(X[~test], target, np.ones(len(target)), glacier[~test])
            job = Job(member, np.arange(11), folds[1].train, nested_folds(folds, 1), folds[1].test)
            said.append(run_job(job, held_out))
        assert np.array_equal(said[0], said[1])


def test_scores_of_held_out_rows_do_not_use_weights_chosen_on_them():
    # group 0 alone prefers the second member; its own rows must be predicted by the first
    X, y, groups = plain_table(3)
    y = np.where(groups == 0, X[:, 0] + 5.0, X[:, 0])
    model = Ensemble((Offset(by=0.0), Offset(by=5.0)), n_splits=3).fit(X, y, groups)
    want = X[:, 0].copy()
    want[groups != 0] += 2.5  # with group 0 and one group of the others both members are equally good
    assert model.cv_scores_["rmse"] == pytest.approx(scores(y, want)["rmse"], abs=1e-9)


def test_folds_of_years_and_glaciers_stay_apart_inside():
    table = law_table()
    glacier, year = table.rgi_id.values, table.hydro_year.values
    folds = cross_folds(glacier, year, n_folds=6, n_glaciers=2, n_years=2)
    for k, (train, test) in enumerate(folds):
        for inner in nested_folds(folds, k):
            rows = np.flatnonzero(train)
            assert not set(glacier[rows[inner.test]]) & set(glacier[rows[inner.train]])
            assert not set(year[rows[inner.test]]) & set(year[rows[inner.train]])
            assert not set(glacier[test]) & set(glacier[rows])
    with pytest.raises(InputError, match="no other fold is left; allowed: three or more"):
        nested_folds(group_folds(np.array([0, 0, 1, 1])), 0)


# -- predictions --------------------------------------------------------------------------------------------


def test_mean_over_members_is_the_prediction_and_the_spread_that_of_the_mixture():
    model, table = fitted()
    X = table.features.values
    got = model.predict_members(X)
    assert got.shape == (1 + 4, 240) and (model.weights_ > 0).all()
    np.testing.assert_allclose(got.mean(axis=0), model.predict(X), rtol=0, atol=1e-12)
    lasso, trees = (member.predict_members(X) for member in model.members_)
    centre = model.weights_ @ np.stack([lasso.mean(axis=0), trees.mean(axis=0)])
    np.testing.assert_allclose(model.predict(X), centre, atol=1e-12)
    parts = [((rows - centre) ** 2).mean(axis=0) for rows in (lasso, trees)]
    mixture = np.sqrt(model.weights_ @ np.stack(parts))
    assert np.median(np.abs(got.std(axis=0) / mixture - 1)) < 0.2


def test_members_of_equal_weight_and_number_are_left_as_they_are():
    X, y, groups = plain_table()
    model = Ensemble((Offset(by=1.0, n_members=2), Offset(by=-3.0, n_members=2)), "equal").fit(X, y, groups)
    want = X[:, 0] + np.array([0.5, 1.5, -3.5, -2.5])[:, None]
    np.testing.assert_allclose(model.predict_members(X), want, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 239), min_size=1, max_size=30))
def test_a_row_is_bit_identical_whatever_the_batch(rows):
    model, table = fitted()
    X = table.features.values
    assert np.array_equal(model.predict_members(X[rows]), model.predict_members(X)[:, rows])
    assert np.array_equal(model.predict(X[rows]), model.predict(X)[rows])


def test_a_missing_feature_is_missing_in_the_year_loop_and_refused_outside():
    model, table = fitted()
    X = table.features.values[:3].copy()
    X[1, 0] = np.nan
    got = model.predict_members(X)
    assert np.isnan(got).all(axis=0).tolist() == [False, True, False]
    assert np.array_equal(got[:, [0, 2]], model.predict_members(table.features.values[[0, 2]]))
    with pytest.raises(InputError, match="'cpdd_anomaly' is nan in row 1"):
        model.predict(X)


def test_intervals_hold_their_share_of_glaciers_never_seen():
    model, _ = fitted()
    new = law_table(n_glaciers=40, seed=5)
    low, high = model.predict_interval(new.features.values, 0.9)
    assert 0.8 < np.mean((low <= new.smb.values) & (new.smb.values <= high)) < 0.98
    assert (model.predict_spread(new.features.values) > 0).all()


# -- recipes ------------------------------------------------------------------------------------------------


def test_each_member_takes_its_own_columns_by_name():
    assert common_recipe(["standard-seasonal", "standard"]) == "standard"
    assert common_recipe([None, None]) is None
    names = feature_names("standard")
    assert [names[k] for k in columns_of(RECIPE, names, 35)] == list(feature_names(RECIPE))
    for recipes, message in (
        (["standard", "alpgm-1.2"], "no recipe has the features of all"),
        ([None, "standard"], "a recipe for each, or None for all"),
    ):
        with pytest.raises(InputError, match=message):
            common_recipe(recipes)
    with pytest.raises(InputError, match="needs 'cos_aspect'"):
        columns_of(RECIPE, feature_names("alpgm-1.2"), 34)


def test_members_of_different_recipes_predict_as_they_do_alone():
    small = law_table()
    wide = np.random.default_rng(0).normal(size=(240, 35))
    wide[:, columns_of(RECIPE, feature_names("standard"), 35)] = small.features.values
    X = xr.DataArray(wide, dims=("sample", "feature"), coords={"feature": list(feature_names("standard"))})
    pair = (Lasso(RECIPE, alphas=(0.01,)), Lasso("standard", alphas=(0.01,)))
    model = Ensemble(pair, (0.5, 0.5)).fit(X, small.smb.values)
    assert model.recipe == "standard"
    alone = [
        pair[0].fit(small.features, small.smb.values).predict(small.features),
        pair[1].fit(X, small.smb.values).predict(X),
    ]
    np.testing.assert_allclose(model.predict(X), np.mean(alone, axis=0), atol=1e-12)


# -- tasks, stores, scikit-learn, run files -----------------------------------------------------------------


def test_fits_as_tasks_give_the_same_bits():
    model, table = fitted()
    unfitted = Ensemble(members(), n_splits=4)
    task = unfitted.fit_task(table.features, table.smb.values, table.rgi_id.values)
    assert (
        len([key for key in task.dask if "partial" in str(key) or "run_job" in str(key)]) >= 10
    )  # 2 members, 4 folds + 1
    assert not hasattr(unfitted, "members_")
    with dask.config.set(scheduler="threads", num_workers=3):
        got = task.compute()
    assert np.array_equal(got.weights_, model.weights_) and got.cv_scores_ == model.cv_scores_
    assert np.array_equal(got.predict_members(table.features), model.predict_members(table.features))


def test_a_stored_ensemble_is_the_same_and_its_card_tells_of_its_members(tmp_path):
    model, table = fitted()
    folder = save_model(model, tmp_path / "both", model_card(model, table, seed=0))
    card = json.loads((folder / "model_card.json").read_text())
    assert card["weights"] == model.weights_.tolist() and card["settings"] == {"weights": "stacked", "n_splits": 4}
    assert [member["kind"] for member in card["members"]] == ["lasso", "tree_ensemble"]
    assert card["members"][1]["settings"]["n_trees"] == 20 and card["members"][0]["cv_scores"]["r2"] > 0.5
    back = load_model(folder)
    X = table.features
    assert np.array_equal(back.predict_members(X.values), model.predict_members(X.values))
    assert np.array_equal(back.predict_interval(X), model.predict_interval(X))
    assert repr(back) == repr(model) and back.cv_scores_ == model.cv_scores_
    again = back.fit(X, table.smb.values, table.rgi_id.values)
    assert np.array_equal(again.predict(X), model.predict(X))
    with pytest.raises(InputError, match="the weights are not those of a ensemble"):
        card["members"] = card["members"][:1]
        (folder / "model_card.json").write_text(json.dumps(card))
        load_model(folder)


def test_files_of_members_are_stored_under_their_number(tmp_path):
    class Writes(Offset):
        def save_files(self, folder):
            (Path(folder) / "notes.txt").write_text(str(self.by))
            return ["notes.txt"]

    X, y, _ = plain_table()
    model = Ensemble((Writes(by=1.0), Offset(), Writes(by=2.0)), "equal").fit(X, y)
    assert model.save_files(tmp_path) == ["member_0_notes.txt", "member_2_notes.txt"]
    assert (tmp_path / "member_2_notes.txt").read_text() == "2.0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["member_0_notes.txt", "member_2_notes.txt"]


def test_scikit_learn_can_clone_it():
    from sklearn.base import clone

    model = Ensemble(members(), weights=(0.25, 0.75))
    copy = clone(model)
    assert repr(copy) == repr(model) and copy.members[0] is not model.members[0]


def test_a_run_file_can_name_the_members():
    model = Ensemble.of(
        ["lasso", {"kind": "tree_ensemble", "n_trees": 50, "seed": 3}], "standard", seed=1, weights="equal"
    )
    assert model.recipe == "standard" and model.weights == "equal"
    assert model.members[1].n_trees == 50 and model.members[1].seed == 3
    assert Ensemble.of(["tree_ensemble"], seed=1).members[0].seed == 1
    for wrong, message in (
        ("oak", "model 'oak' is not known; allowed: gaussian_process"),
        ("published_lasso", "model 'published_lasso' is not known"),
        ({"n_trees": 3}, "model None is not known"),
        ({"kind": "lasso", "n_trees": 3}, "lasso has no setting 'n_trees'"),
    ):
        with pytest.raises(InputError, match=message):
            Ensemble.of([wrong])


def test_what_cannot_be_fitted_is_refused():
    table = law_table(4, 10)
    X, y, groups = table.features, table.smb.values, table.rgi_id.values
    pair = members()
    whole = np.ones(40, dtype=bool)
    half = Fold(np.arange(40) < 20, np.arange(40) >= 20)
    cases = [
        (Ensemble(()), {}, "members: none given"),
        (Ensemble(("lasso",)), {}, r"members: \['lasso'\]"),
        (Ensemble(pair, "best"), {}, "weights: 'best'; allowed: stacked, equal, or 2 numbers"),
        (Ensemble(pair, (0.5, 0.6)), {}, "allowed: 2 numbers from 0 with sum 1"),
        (Ensemble(pair, (1.5, -0.5)), {}, "allowed: 2 numbers from 0 with sum 1"),
        (Ensemble(pair, n_splits=2), {}, "folds: 2; allowed: three or more"),
        (Ensemble(pair), {"groups": None}, "groups: none given"),
        (Ensemble(pair), {"folds": [half, half]}, "three or more"),
        (Ensemble(pair), {"folds": [Fold(whole, whole)] * 3}, "trains on what it tests"),
    ]
    for model, change, message in cases:
        with pytest.raises(InputError, match=message):
            model.fit(X, y, **{"groups": groups, **change})
    with pytest.raises(InputError, match="constant over 40 rows"):
        Ensemble(pair).fit(X, np.ones(40), groups)
