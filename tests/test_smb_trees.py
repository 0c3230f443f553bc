"""Trees: the same numbers as scikit-learn without it, bits that do not depend on the batch, what is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_table import training_matrix
from smb_tables import RECIPE, law_table

import alpgm_dask
from alpgm_dask.kernels.trees import forest_means
from alpgm_dask.schema import InputError
from alpgm_dask.smb import load_model, model_card, save_model
from alpgm_dask.smb.base import scores
from alpgm_dask.smb.folds import group_folds
from alpgm_dask.smb.tree_ensemble import GRID, TreeEnsemble

SMALL = {"recipe": RECIPE, "n_trees": 30, "n_members": 5}


@cache
def fitted(**change):
    table = law_table()
    model = TreeEnsemble(**{**SMALL, **change}).fit(table.features, table.smb.values, table.rgi_id.values)
    return model, table


def scikit_learn(model, X, y, weight=None):
    from sklearn import ensemble

    name = {"extra_trees": "ExtraTreesRegressor", "random_forest": "RandomForestRegressor"}[model.algorithm]
    options = {"min_samples_leaf": model.min_samples_leaf_, "max_features": model.max_features_}
    # a random forest draws other rows with weights that are all 1 than without weights
    weight = np.ones(len(y)) if weight is None else weight
    return getattr(ensemble, name)(model.n_trees, random_state=model.seed, **options).fit(X, y, sample_weight=weight)


def test_two_trees_are_walked_as_a_person_would():
    # tree 0: x0 <= 1 ? 10 : (x1 <= 5 ? 20 : 30); tree 1: a leaf, 4
    feature = np.array([0, -1, 1, -1, -1, -1], "int16")
    right = np.array([2, -1, 4, -1, -1, -1], "int32")
    number = np.array([1.0, 10.0, 5.0, 20.0, 30.0, 4.0])
    rows = np.array([[1.0, 9.0], [2.0, 5.0], [2.0, 6.0]], "float32")
    for n_groups, want in ((1, [[7.0, 12.0, 17.0]]), (2, [[10.0, 20.0, 30.0], [4.0, 4.0, 4.0]])):
        out = np.full((n_groups, 3), np.nan)
        forest_means(rows, feature, right, number, np.array([0, 5], "int32"), out)
        assert out.tolist() == want


@pytest.mark.parametrize("algorithm", ["extra_trees", "random_forest"])
def test_numbers_are_those_of_scikit_learn(algorithm):
    model, table = fitted(algorithm=algorithm, max_features=0.5)
    X, y = table.features.values, table.smb.values
    elsewhere = X * np.random.default_rng(1).normal(1.0, 2.0, X.shape)
    reference = scikit_learn(model, X, y)
    for rows in (X, elsewhere):
        np.testing.assert_allclose(model.predict(rows), reference.predict(rows), rtol=0, atol=1e-12)


def test_a_value_at_a_threshold_goes_where_scikit_learn_sends_it():
    # thresholds of a random forest lie half-way between training values; float32 and float64 then differ in side
    model, table = fitted(algorithm="random_forest", max_features=1.0, min_samples_leaf=2)
    X, y = table.features.values, table.smb.values
    inner = np.flatnonzero(model.feature_ >= 0)[::7]
    rows = np.tile(X[0], (3 * inner.size, 1))
    at = model.number_[inner]
    for k, values in enumerate((at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf))):
        rows[k * inner.size + np.arange(inner.size), model.feature_[inner]] = values
    np.testing.assert_allclose(model.predict(rows), scikit_learn(model, X, y).predict(rows), rtol=0, atol=1e-12)


def test_weights_enter_as_in_scikit_learn():
    table = law_table()
    X, y = table.features.values, table.smb.values
    weight = np.linspace(0.2, 3.0, len(y))
    model = TreeEnsemble(**SMALL, min_samples_leaf=2, max_features=0.5).fit(X, y, sample_weight=weight)
    want = scikit_learn(model, X, y, weight / weight.mean()).predict(X)
    np.testing.assert_allclose(model.predict(X), want, rtol=0, atol=1e-12)
    assert np.abs(model.predict(X) - fitted(min_samples_leaf=2, max_features=0.5)[0].predict(X)).max() > 0.01


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 239), min_size=1, max_size=40))
def test_a_row_is_bit_identical_whatever_the_batch(rows):
    model, table = fitted()
    X = table.features.values
    assert np.array_equal(model.predict_members(X[rows]), model.predict_members(X)[:, rows])
    assert np.array_equal(model.predict(X[rows]), model.predict(X)[rows])


def test_members_are_groups_of_trees_whose_mean_is_the_prediction():
    model, table = fitted()
    X = table.features.values
    members = model.predict_members(X)
    assert members.shape == (5, 240) and members.std(axis=0).min() > 0
    np.testing.assert_allclose(members.mean(axis=0), model.predict(X), rtol=0, atol=1e-12)
    reference = scikit_learn(model, X, table.smb.values)
    of_second = np.mean([tree.predict(X.astype("float32")) for tree in reference.estimators_[6:12]], axis=0)
    np.testing.assert_allclose(members[1], of_second, rtol=0, atol=1e-12)


def test_a_missing_feature_is_missing_in_the_year_loop_and_refused_outside():
    model, table = fitted()
    X = table.features.values[:4].copy()
    X[2, 10] = np.nan
    got = model.predict_members(X)
    assert np.isnan(got).all(axis=0).tolist() == [False, False, True, False]
    assert np.array_equal(got[:, [0, 1, 3]], model.predict_members(table.features.values[[0, 1, 3]]))
    with pytest.raises(InputError, match="'sin_aspect' is nan in row 2"):
        model.predict(X)


def test_settings_are_chosen_on_held_out_glaciers():
    model, table = fitted()
    assert model.min_samples_leaf_ in GRID["min_samples_leaf"] and model.max_features_ in GRID["max_features"]
    assert model.train_scores_["r2"] > model.cv_scores_["r2"] > 0.8
    X, y, glacier = table.features.values, table.smb.values, table.rgi_id.values
    error = {}
    for leaf in GRID["min_samples_leaf"]:
        for share in GRID["max_features"]:
            one = TreeEnsemble(**SMALL, min_samples_leaf=leaf, max_features=share).fit(X, y, glacier)
            error[leaf, share] = one.cv_scores_["rmse"]
    assert min(error, key=error.get) == (model.min_samples_leaf_, model.max_features_)
    assert error[model.min_samples_leaf_, model.max_features_] == model.cv_scores_["rmse"]


def test_the_same_seed_gives_the_same_trees_and_another_others():
    X = fitted()[1].features.values
    again = TreeEnsemble(**SMALL).fit(X, fitted()[1].smb.values, fitted()[1].rgi_id.values)
    assert np.array_equal(again.predict(X), fitted()[0].predict(X))
    assert not np.array_equal(fitted(seed=1)[0].predict(X), fitted()[0].predict(X))


def test_intervals_hold_their_share_of_glaciers_never_seen():
    model, _ = fitted()
    new = law_table(n_glaciers=40, seed=5)
    low, high = model.predict_interval(new.features.values, 0.9)
    assert 0.8 < np.mean((low <= new.smb.values) & (new.smb.values <= high)) < 0.98
    lone = TreeEnsemble(**SMALL, min_samples_leaf=2, max_features=1.0).fit(new.features.values, new.smb.values)
    with pytest.raises(InputError, match="fitted without held-out rows"):
        lone.predict_interval(new.features.values)


def test_a_stored_model_is_the_same(tmp_path):
    model, table = fitted()
    folder = save_model(model, tmp_path / "trees", model_card(model, table, seed=model.seed))
    back = load_model(folder)
    X = table.features.values
    assert np.array_equal(back.predict_members(X), model.predict_members(X))
    assert np.array_equal(back.predict_interval(X), model.predict_interval(X))
    assert back.get_params() == model.get_params() and back.min_samples_leaf_ == model.min_samples_leaf_
    nodes = sum(
        arrays.nbytes for name, arrays in model.to_arrays().items() if name in ("feature_", "right_", "number_")
    )
    assert nodes == 14 * len(model.feature_)
    assert (folder / "weights.npz").stat().st_size < nodes + 10_000


def test_prediction_does_not_need_scikit_learn(tmp_path):
    model, table = fitted()
    save_model(model, tmp_path / "m", model_card(model, table))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    code = (
        "import sys, pickle, numpy as np; from alpgm_dask.smb import load_model;"
        f"m = load_model(r'{tmp_path / 'm'}'); p = pickle.load(open(r'{tmp_path / 'model.pkl'}', 'rb'));"
        "X = np.ones((2, 11)); assert np.array_equal(m.predict(X), p.predict(X)); m.predict_interval(X);"
        "assert 'sklearn' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(alpgm_dask.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)


@pytest.mark.parametrize("change", ["right_", "roots_", "feature_", "number_"])
def test_nodes_that_are_not_those_of_trees_are_refused(tmp_path, change):
    model, table = fitted()
    card = model_card(model, table)

    class Damaged(TreeEnsemble):
        def to_arrays(self):
            arrays = dict(model.to_arrays())
            values = arrays[change].copy()
            if change == "right_":
                values[0] = 0  # a walk that never ends
            elif change == "feature_":
                values[0] = 11
            arrays[change] = values[:-1] if change in ("roots_", "number_") else values
            return arrays

    folder = save_model(Damaged(**model.get_params()), tmp_path / "m", card)
    with pytest.raises(InputError, match="the weights are not those of a tree_ensemble"):
        load_model(folder)
    assert json.loads((folder / "model_card.json").read_text())["kind"] == "tree_ensemble"


def test_bad_settings_and_bad_data_are_refused():
    table = law_table(4, 10)
    X, y, groups = table.features, table.smb.values, table.rgi_id.values
    settings_refused = [
        ({"algorithm": "oak"}, "algorithm: 'oak'; allowed: extra_trees, random_forest"),
        ({"n_trees": 31}, "n_trees: 31; allowed: a multiple of n_members, 5"),
        ({"n_members": 0}, "n_trees: 30; allowed: a multiple"),
        ({"min_samples_leaf": 0}, "min_samples_leaf: 0"),
        ({"max_features": 1.5}, r"max_features: 1\.5"),
    ]
    for change, message in settings_refused:
        with pytest.raises(InputError, match=message):
            TreeEnsemble(**{**SMALL, **change}).fit(X, y, groups)
    hole = X.copy()
    hole[7, 5] = np.nan
    data_refused = [
        ((hole, y, groups), "'tongue_slope' is nan in row 7"),
        ((X, y, np.full(40, "one")), r"a single glacier \(one\)"),
        ((X, y, None), "none given; allowed: the glacier of each row"),
        ((X, np.full(40, 1.5), groups), "constant over 40 rows"),
        ((X[:, ::-1], y, groups), "stands where the model has 'cpdd_anomaly'"),
    ]
    for arguments, message in data_refused:
        with pytest.raises(InputError, match=message):
            TreeEnsemble(**SMALL).fit(*arguments)


def test_scikit_learn_can_clone_it():
    from sklearn.base import clone

    assert clone(TreeEnsemble(**SMALL)).get_params() == TreeEnsemble(**SMALL).get_params()


def test_honest_score_with_glaciers_left_out(shared):
    # eight folds of four glaciers: a whole leave-one-out takes minutes; the oracle's near-default trees reach .715
    table = training_matrix(shared)
    X, y, group = table.features.values, table.smb.values, table.rgi_id.values
    predicted = np.full(len(y), np.nan)
    for train, test in group_folds(group, 8):
        model = TreeEnsemble("alpgm-1.2", n_trees=60, min_samples_leaf=2, max_features=0.3)
        predicted[test] = model.fit(X[train], y[train]).predict(X[test])
    got = scores(y, predicted)
    assert got["r2"] == pytest.approx(0.71, abs=0.02) and got["rmse"] == pytest.approx(0.575, abs=0.02)
