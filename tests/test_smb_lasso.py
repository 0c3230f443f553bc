"""The Lasso: what it finds, what it holds, what it refuses, how it is stored; its honest score on real data."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask.features import feature_names
from alpgm_dask.schema import InputError
from alpgm_dask.smb import Lasso, load_model, model_card, save_model, table_fingerprint
from alpgm_dask.smb.base import scores
from alpgm_dask.smb.folds import group_folds

NAMES = feature_names("alpgm-1.2-seasonal")


def made_table(n_glaciers=12, n_years=20, noise=0.1, seed=0):
    """smb = 0.5 - 0.01 cpdd + 0.002 winter snow + noise; the other features do nothing."""
    rng = np.random.default_rng(seed)
    n = n_glaciers * n_years
    scale = np.array([100.0, 200, 80, 200, 300, 8, 5, 0.3, 0.4, 0.7])
    X = rng.normal(0, 1, (n, 10)) * scale + np.array([0, 0, 0, 2900, 3400, 18, 3, 6.6, 45.5, 0])
    y = 0.5 - 0.01 * X[:, 0] + 0.002 * X[:, 1] + rng.normal(0, noise, n)
    return xr.Dataset(
        {"features": (("sample", "feature"), X), "smb": ("sample", y)},
        coords={
            "feature": list(NAMES),
            "rgi_id": ("sample", np.repeat([f"RGI60-11.{i:05d}" for i in range(n_glaciers)], n_years)),
            "hydro_year": ("sample", np.tile(np.arange(1990, 1990 + n_years), n_glaciers)),
        },
    )


def fitted(**change):
    table = made_table(**change)
    return Lasso().fit(table.features, table.smb, table.rgi_id), table


def test_it_finds_the_law_and_leaves_the_rest_out():
    model, table = fitted()
    np.testing.assert_allclose(model.weights_[:2], [-0.01, 0.002], rtol=0.05)
    assert np.abs(model.coef_[2:]).max() < 0.03 * np.abs(model.coef_[0])
    assert model.train_scores_["rmse"] < 0.12 and model.cv_scores_["rmse"] < 0.13
    assert model.train_scores_ == scores(table.smb.values, model.predict(table.features))
    assert model.predict_members(table.features.values).shape == (1, 240)


def test_standardised_weights_equal_those_of_scikit_learn():
    from sklearn.linear_model import Lasso as Reference

    table = made_table()
    model = Lasso(alphas=(0.05,)).fit(table.features, table.smb)
    X = table.features.values
    want = Reference(alpha=0.05, tol=1e-10).fit((X - X.mean(0)) / X.std(0), table.smb.values)
    np.testing.assert_allclose(model.coef_, want.coef_, atol=1e-6)
    np.testing.assert_allclose(model.predict(X), want.predict((X - X.mean(0)) / X.std(0)), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 239), min_size=1, max_size=40))
def test_a_row_is_bit_identical_whatever_the_batch(rows):
    model, table = fitted()
    X = table.features.values
    assert np.array_equal(model.predict_members(X[rows])[0], model.predict_members(X)[0][rows])


def test_folds_are_whole_groups_and_cover_every_row():
    groups = np.repeat([3, 1, 2, 7, 5], [10, 40, 5, 5, 20])
    folds = [fold.test for fold in group_folds(groups, 3)]
    assert np.sum(folds, axis=0).tolist() == [1] * 80 and len(folds) == 3
    for test in folds:
        assert not set(groups[test]) & set(groups[~test])
    assert len(group_folds(groups, 10)) == 5


def test_scikit_learn_can_use_it():
    from sklearn.base import clone
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

    table = made_table(4)
    model = clone(Lasso(alphas=(0.01,)))
    got = cross_val_predict(
        model, table.features.values, table.smb.values, groups=table.rgi_id.values, cv=LeaveOneGroupOut()
    )
    assert scores(table.smb.values, got)["r2"] > 0.95
    with pytest.raises(InputError, match="no setting 'alpah'; allowed: recipe, alphas"):
        model.set_params(alpah=1)


def test_prediction_does_not_need_scikit_learn(tmp_path):
    model, table = fitted()
    save_model(model, tmp_path / "m", model_card(model, table))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    assert len(pickle.dumps(model)) < 3000
    code = (
        "import sys, pickle, numpy as np; from alpgm_dask.smb import load_model;"
        f"m = load_model(r'{tmp_path / 'm'}'); p = pickle.load(open(r'{tmp_path / 'model.pkl'}', 'rb'));"
        "X = np.ones((2, 10)); assert np.array_equal(m.predict(X), p.predict_members(X)[0]);"
        "assert 'sklearn' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=_environment())


def _environment():
    import os
    from pathlib import Path

    import alpgm_dask

    return {**os.environ, "PYTHONPATH": str(Path(alpgm_dask.__file__).parents[1])}


def test_a_stored_model_is_the_same_and_its_card_tells_its_story(tmp_path):
    model, table = fitted()
    folder = save_model(model, tmp_path / "lasso", model_card(model, table, reference_period=[1967, 2015]))
    back = load_model(folder)
    assert np.array_equal(back.predict(table.features), model.predict(table.features))
    assert back.get_params() == model.get_params() and back.alpha_ == model.alpha_
    card = json.loads((folder / "model_card.json").read_text())
    assert card["recipe"] == "alpgm-1.2-seasonal" and card["features"] == list(NAMES)
    assert card["n_samples"] == 240 and len(card["groups"]) == 12 and card["period"] == [1990, 2009]
    assert card["data_sha256"] == table_fingerprint(table) and card["reference_period"] == [1967, 2015]
    assert card["cv_scores"] == model.cv_scores_ and "numpy" in card["versions"]
    assert len(card["files"]["weights.npz"]) == 64
    other = made_table(seed=1)
    assert table_fingerprint(other) != card["data_sha256"] == table_fingerprint(table.chunk(sample=50))
    with pytest.raises(InputError, match="holds a model already"):
        save_model(model, folder, card)


def test_a_card_that_does_not_match_is_refused(tmp_path):
    model, table = fitted()
    folder = save_model(model, tmp_path / "lasso", model_card(model, table))
    path = folder / "model_card.json"
    card = json.loads(path.read_text())
    faults = {
        "kind 'oracle'; allowed: lasso": {"kind": "oracle"},
        "the card says": {"files": {"weights.npz": "0" * 64}},
        "features are not those of recipe": {"features": list(NAMES)[::-1]},
    }
    for message, change in faults.items():
        path.write_text(json.dumps({**card, **change}))
        with pytest.raises(InputError, match=message):
            load_model(folder)
    path.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        load_model(folder)
    path.unlink()
    with pytest.raises(InputError, match=r"no model_card.json"):
        load_model(folder)
    with pytest.raises(InputError, match=r"card says recipe 'standard', the model is 'alpgm-1\.2-seasonal'"):
        save_model(model, tmp_path / "new", {**card, "recipe": "standard"})


def test_bad_training_data_are_refused():
    table = made_table()
    X, y, groups = table.features, table.smb.values, table.rgi_id.values
    hole = X.copy()
    hole[7, 5] = np.nan
    cases = [
        ((hole, y, groups), "'tongue_slope' is nan in row 7"),
        ((X.where(X < 5000, np.inf) * np.inf, y, groups), "such values"),
        ((X, y, np.full(240, "one")), r"a single glacier \(one\)"),
        ((X, y, None), "none given; allowed: the glacier of each row"),
        ((X, y, groups[:5]), r"groups: shape \(5,\)"),
        ((X, np.full(240, 1.5), groups), "constant over 240 rows"),
        ((X, np.append(y[:-1], np.nan), groups), "target: nan in row 239"),
        ((X, y[:-1], groups), r"target: shape \(239,\)"),
        ((X[:, :9].values, y, groups), r"shape \(240, 9\); allowed: \(row, 10\)"),
        ((X[:, ::-1], y, groups), "'cos_aspect_degrees' stands where the model has 'cpdd_anomaly'"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            Lasso().fit(*arguments)
    with pytest.raises(InputError, match="positive numbers"):
        Lasso(alphas=(0.1, -1.0)).fit(X, y, groups)


def test_a_missing_feature_is_missing_in_the_year_loop_and_refused_outside():
    model, table = fitted()
    X = table.features.values[:3].copy()
    X[1, 0] = np.nan
    got = model.predict_members(X)[0]
    assert np.isnan(got).tolist() == [False, True, False]
    with pytest.raises(InputError, match="'cpdd_anomaly' is nan in row 1"):
        model.predict(X)


def test_a_constant_feature_gets_no_weight():
    table = made_table()
    table["features"][:, 7] = 6.7
    model = Lasso().fit(table.features, table.smb, table.rgi_id)
    assert model.weights_[7] == 0.0 and np.isfinite(model.weights_).all()


@pytest.mark.parametrize(("recipe", "r2", "rmse"), [("alpgm-1.2-seasonal", 0.415, 0.818), ("alpgm-1.2", 0.511, 0.748)])
def test_honest_score_with_glaciers_left_out(shared, recipe, r2, rmse):
    # every fold chooses its penalty anew, without the glacier it is scored on
    matrix = np.load(shared / "data/safran_glaciers/training_matrix.npz")
    n = len(feature_names(recipe))
    X, y, group = matrix["X"].reshape(-1, 34)[:, :n], matrix["y"].ravel(), np.repeat(np.arange(32), 57)
    X, y, group = (a[np.isfinite(matrix["y"].ravel())] for a in (X, y, group))
    predicted = np.full(len(y), np.nan)
    for glacier in range(32):
        test = group == glacier
        predicted[test] = Lasso(recipe, alphas=20, n_splits=5).fit(X[~test], y[~test], group[~test]).predict(X[test])
    got = scores(y, predicted)
    assert len(y) == 1047
    assert got["r2"] == pytest.approx(r2, abs=0.02) and got["rmse"] == pytest.approx(rmse, abs=0.02)
