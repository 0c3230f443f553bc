"""The Gaussian process: against plain formulas, its promises to the year loop, and its honest skill."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_table import training_matrix
from test_smb_lasso import _environment

from alpgm_dask.features import feature_names
from alpgm_dask.kernels.gaussian_process import Term
from alpgm_dask.schema import InputError
from alpgm_dask.smb.folds import cross_folds, group_folds, scheme_folds
from alpgm_dask.smb.model_store import load_model, save_model
from alpgm_dask.smb.process import GaussianProcess
from alpgm_dask.smb.process.columns import LENGTHS, YEAR_LENGTH
from alpgm_dask.smb.process.fit import Parameters, _likelihood, maximise
from alpgm_dask.smb.process.model import TILE

RECIPE = "alpgm-1.2-seasonal-regional"


def made_table(n_glaciers=8, n_years=12, seed=0, noise=0.2):
    """Glaciers in years whose climate is regional, with a law: X, y, glacier, year."""
    random = np.random.default_rng(seed)
    glacier, year = (a.ravel() for a in np.meshgrid(np.arange(n_glaciers), np.arange(n_years), indexing="ij"))
    regional = random.normal(size=(n_years, 3)) * [80.0, 200.0, 90.0]
    own = regional[year] + random.normal(size=(year.size, 3)) * [30.0, 60.0, 30.0]
    low = [2800, 3200, 8, 0.5, 6.2, 44.8, -1]
    high = [3200, 3900, 25, 12, 7.2, 45.9, 1]
    shape = random.uniform(low, high, (n_glaciers, 7))
    X = np.column_stack([own, shape[glacier], regional[year]])
    assert X.shape[1] == len(feature_names(RECIPE))
    missed = random.normal(size=n_years) * 0.3  # what climate does not say of a year
    y = -0.8 - 0.006 * own[:, 0] + 0.002 * own[:, 1] + 0.05 * (shape[glacier, 2] - 15) + missed[year]
    return X, y + noise * random.normal(size=y.size), glacier, year


@pytest.fixture(scope="module")
def fitted():
    X, y, glacier, year = made_table()
    return GaussianProcess(RECIPE, max_iterations=25).fit(X, y, groups=glacier), X, y, glacier, year


def plain_covariance(model, a, b):
    """The covariance of two rows, term by term and pair by pair, in plain words."""

    def rows(X):
        return {name: values[0] for name, values in model._columns.rows(np.atleast_2d(X)).items()}

    one, two, now = rows(a), rows(b), model.parameters_
    total = 0.0
    for term, amplitude in zip(model._terms, now.amplitude, strict=True):
        value = amplitude**2
        for name in term.similarities:
            for group, length in now.lengths[name].items():
                value *= np.exp(-np.mean((one[group] - two[group]) ** 2) / (2 * length**2))
        if term.product == "year":
            value *= np.exp(-np.mean((one["climate"] - two["climate"]) ** 2) / (2 * YEAR_LENGTH**2))
        elif term.product:
            value *= np.mean(one[term.product] * two[term.product])
        total += value
    return total


def test_prediction_and_spread_are_the_textbook_formulas(fitted):
    model, X, y, _, _ = fitted
    asked = made_table(seed=1)[0][:5]
    K = np.array([[plain_covariance(model, a, b) for b in X] for a in X])
    K += model.parameters_.noise**2 * np.eye(len(X))
    k = np.array([[plain_covariance(model, a, b) for b in X] for a in asked])
    expected = y.mean() + k @ np.linalg.solve(K, y - y.mean())
    np.testing.assert_allclose(model.predict(asked), expected, atol=1e-9)
    prior = np.array([plain_covariance(model, a, a) for a in asked])
    variance = prior - np.einsum("ij,ji->i", k, np.linalg.solve(K, k.T)) + model.parameters_.noise**2
    np.testing.assert_allclose(model.predict_spread(asked), np.sqrt(variance), atol=1e-8)


def test_the_likelihood_and_its_derivative(fitted):
    """Against NumPy's determinant and solve, and finite differences in every parameter."""
    model, X, y, _, _ = fitted
    lower = np.tril_indices(len(y))
    K = np.array([[plain_covariance(model, a, b) for b in X] for a in X]) + 0.1 * np.eye(len(X))
    value, _ = _likelihood(K[lower], y - y.mean(), *lower)
    centred = y - y.mean()
    assert value == pytest.approx(0.5 * centred @ np.linalg.solve(K, centred) + 0.5 * np.linalg.slogdet(K)[1])
    distances, products = (
        {k: v[lower] for k, v in given_.items()} for given_ in model._compared(model._rows, model._terms)
    )
    first = Parameters.first(model._terms, LENGTHS)
    objective = captured_objective(first, model._terms, distances, products, centred, np.ones(len(y)))
    at = np.log(first.to_array()) + np.random.default_rng(0).normal(size=np.log(first.to_array()).size) * 0.2
    at[0] = np.log(first.to_array())[0]  # the constant's spread stays
    _, derivative = objective(at)
    step = 1e-5 * np.eye(at.size)
    numeric = [(objective(at + s)[0] - objective(at - s)[0]) / 2e-5 for s in step]
    np.testing.assert_allclose(derivative[1:], numeric[1:], rtol=1e-4, atol=1e-4)
    assert derivative[0] == 0.0


def captured_objective(*arguments):
    """The function that the search minimises."""
    from unittest import mock

    with mock.patch("scipy.optimize.minimize") as minimize:
        minimize.return_value = mock.Mock(x=np.log(arguments[0].to_array()), nit=0)
        maximise(*arguments, 1)
    return minimize.call_args.args[0]


def test_parameters_survive_as_an_array():
    one = Parameters(np.array([0.1, 0.2]), {"place": {"topography": 1.5, "location": 0.3}}, 0.4)
    back = Parameters.first((Term(), Term()), one.lengths).from_array(one.to_array())
    np.testing.assert_allclose(back.amplitude, one.amplitude)
    assert back.lengths["place"] == pytest.approx(one.lengths["place"]) and back.noise == pytest.approx(0.4)


def test_leaving_rows_out_in_closed_form_is_conditioning_without_them(fitted):
    model, X, y, glacier, year = fitted
    fold = cross_folds(glacier, year, n_folds=1, n_glaciers=2, n_years=2, seed=3)[0]
    model._calibrate(y, [fold])
    K = np.array([[plain_covariance(model, a, b) for b in X] for a in X])
    train, test = np.flatnonzero(fold.train), np.flatnonzero(fold.test)
    noisy = K[np.ix_(train, train)] + model.parameters_.noise**2 * np.eye(train.size)
    k = K[np.ix_(test, train)]
    expected = model.mean_ + k @ np.linalg.solve(noisy, y[train] - model.mean_)
    assert model.error_ == pytest.approx(np.sqrt(np.mean((expected - y[test]) ** 2)))
    model._calibrate(y, group_folds(glacier))


def test_it_separates_the_year_from_climate_and_fills_it_in_for_other_glaciers():
    """A glacier left out gets its year's effect from the others; for a year left out only climate speaks."""
    X, y, glacier, year = made_table(10, 25, noise=0.1)
    error, spread = {}, {}
    for name, out in (("glacier", glacier == 0), ("year", year == 0)):
        model = GaussianProcess(RECIPE, max_iterations=25).fit(X[~out], y[~out])
        error[name] = np.sqrt(np.mean((model.predict(X[out]) - y[out]) ** 2))
        spread[name] = model.predict_spread(X[out]).mean()
    assert error["glacier"] < 0.25 and spread["glacier"] < 0.7 * spread["year"]


def test_members_are_draws_around_the_prediction():
    X, y, _, _ = made_table()
    model = GaussianProcess(RECIPE, n_members=400, n_frequencies=400, max_iterations=25).fit(X, y)
    asked = made_table(seed=2)[0][:40]
    members = model.predict_members(asked)
    np.testing.assert_allclose(members.mean(axis=0), model.predict(asked), atol=1e-12)
    expected = np.sqrt(model.predict_spread(asked) ** 2 - model.parameters_.noise**2)
    assert np.median(members.std(axis=0) / expected) == pytest.approx(1.0, abs=0.1)
    assert not np.array_equal(members, replace_seed(model, X, y).predict_members(asked))


def replace_seed(model, X, y):
    return GaussianProcess(**{**model.get_params(), "seed": 1}).fit(X, y)


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.integers(0, 299), min_size=1, max_size=300))
def test_a_row_is_bit_identical_whatever_the_batch(fitted, rows):
    model = fitted[0]
    X = np.tile(made_table(seed=4)[0], (4, 1))[:300]
    X[7, 2] = np.nan
    whole = model.predict_members(X)
    np.testing.assert_array_equal(model.predict_members(X[rows]), whole[:, rows])
    assert np.isnan(whole[:, 7]).all() and np.isfinite(np.delete(whole, 7, axis=1)).all()


def test_rows_on_a_tile_border(fitted):
    model = fitted[0]
    X = np.tile(made_table(seed=4)[0], (4, 1))[:257]
    whole = model.predict_members(X)
    for n in (1, TILE - 1, TILE, TILE + 1, 256):
        np.testing.assert_array_equal(model.predict_members(X[:n]), whole[:, :n])
    assert model.predict_members(X[:0]).shape == (16, 0)


def test_months_keep_the_bits_of_a_row_too():
    """Seasons are means of months, whose order of summation must not depend on the number of rows."""
    X, y, _, _ = made_table()
    random, regional = np.random.default_rng(0), X[:, 10:]
    months = random.normal(size=(len(X), 48)) * 50.0
    X = np.column_stack([X[:, :10], months[:, :24], regional, months[:, 24:]])
    model = GaussianProcess("alpgm-1.2-regional", max_iterations=2).fit(X, y)
    whole = model.predict_members(X)
    for row in range(0, len(X), 7):
        np.testing.assert_array_equal(model.predict_members(X[row : row + 1]), whole[:, row : row + 1])


def test_a_stored_model_is_the_same_and_needs_no_scikit_learn(fitted, tmp_path):
    model, X, _, _, _ = fitted
    card = {**model.about(), "features": list(feature_names(RECIPE))}
    folder = save_model(model, tmp_path / "m", card)
    back = load_model(folder)
    np.testing.assert_array_equal(back.predict_members(X), model.predict_members(X))
    np.testing.assert_array_equal(back.predict_interval(X), model.predict_interval(X))
    assert len(pickle.dumps(back)) < 1e6 and replace(back.parameters_) == back.parameters_
    code = (
        "import sys, numpy as np; from alpgm_dask.smb.model_store import load_model;"
        f"load_model(r'{folder}').predict_members(np.ones((2, 13)));"
        "assert 'sklearn' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=_environment())


def test_weights_make_rows_count(fitted):
    """Every row stands there twice, once 3 m w.e. too high: the prediction goes to the one that counts."""
    _, X, y, _, _ = fitted
    twice, target = np.concatenate([X, X]), np.concatenate([y, y + 3.0])
    trusted, doubted = (
        GaussianProcess(RECIPE, max_iterations=15).fit(twice, target, sample_weight=np.repeat(w, y.size)).predict(X)
        for w in ([1.0, 9.0], [9.0, 1.0])
    )
    assert trusted.mean() - y.mean() > 2.0 and doubted.mean() - y.mean() < 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"recipe": "alpgm-1.2-seasonal"},
            "has no regional climate; allowed for a Gaussian process: standard-regional",
        ),
        ({"row": np.nan}, "'winter_snowfall_anomaly' is nan in row 3"),
        ({"y": 1.0}, "constant"),
        ({"groups": "one"}, "a single glacier"),
    ],
)
def test_bad_training_data_are_refused(change, message):
    X, y, glacier, _ = made_table()
    X[3, 1] = change.get("row", X[3, 1])
    y = np.full(y.size, change["y"]) if "y" in change else y
    groups = np.zeros(y.size) if "groups" in change else glacier
    recipe = change.get("recipe", RECIPE)
    with pytest.raises(InputError, match=message):
        GaussianProcess(recipe).fit(X[:, : len(feature_names(recipe))], y, groups=groups)


@pytest.mark.slow
@pytest.mark.real
def test_skill_on_the_real_table(shared):
    """Held out in closed form; amplitudes and lengths see all rows here (`alpgm validate` fits them in every fold)."""
    table = training_matrix(shared, "alpgm-1.2-regional")
    X, y = table.features, table.smb.values
    model = GaussianProcess("alpgm-1.2-regional").fit(X, y)
    labels = {"glacier": table.rgi_id.values, "year": table.hydro_year.values}
    least = {"logo": (0.74, 0.55), "loyo": (0.51, 0.76), "lsygo": (0.47, 0.76)}
    for scheme, (r2, rmse) in least.items():
        model._calibrate(y, scheme_folds(scheme, labels, years=(1984, 2015)))
        assert model.cv_scores_["r2"] > r2 and model.cv_scores_["rmse"] < rmse
        assert 0.85 < np.mean(model.error_ratio_ < 1.645) < 0.95  # its own normal intervals, before calibration
