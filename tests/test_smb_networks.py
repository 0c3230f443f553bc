"""Networks: the batched kernel to the bit, training with Keras, what is stored, what they find that a Lasso cannot."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask.kernels.network import TILE, Dense, Leaky, Scale, Swish, batch_norm, fold, forward
from alpgm_dask.schema import InputError
from alpgm_dask.smb import Lasso, load_model, save_model
from alpgm_dask.smb.base import balanced_weights, scores
from alpgm_dask.smb.folds import group_folds
from alpgm_dask.smb.network_architecture import ARCHITECTURES, architecture_of
from alpgm_dask.smb.neural_network import NeuralNetwork

# -- the kernel ---------------------------------------------------------------------------------------------

#: Hidden layers of the published networks, and one whose widths fit no register.
WIDTHS = [(40, 20, 10, 5), (60, 50, 40, 30, 20, 10), (80, 60, 50, 30, 20, 10, 10, 5), (33, 7)]


def random_steps(widths, n_networks=3, n_features=34, seed=0, activation=None):
    rng = np.random.default_rng(seed)
    steps, n_in = [], n_features
    for width in (*widths, 1):
        steps.append(
            Dense(rng.normal(0, n_in**-0.5, (n_networks, n_in, width)), rng.normal(0, 0.1, (n_networks, width)))
        )
        if width > 1:
            steps.append(activation or Leaky(0.05))
        n_in = width
    return steps


def one_by_one(steps, X):
    """The same, step by step, network by network, row by row."""
    out = np.empty((max(len(s[0]) for s in steps if not isinstance(s, Leaky | Swish)), len(X)))
    for k in range(len(out)):
        for row, x in enumerate(X):
            for step in steps:
                if isinstance(step, Dense):
                    x = x @ step.weights[k] + step.bias[k]
                elif isinstance(step, Scale):
                    x = x * step.factor[k % len(step.factor)] + step.offset[k % len(step.offset)]
                elif isinstance(step, Swish):
                    x = x / (1 + np.exp(-x))
                else:
                    x = np.where(x > 0, x, x * step.slope)
            out[k, row] = x[0]
    return out


@pytest.mark.parametrize("activation", [Leaky(0.05), Swish()])
def test_folded_layers_do_what_the_steps_do(activation):
    rng = np.random.default_rng(1)
    norm = batch_norm(*rng.uniform(0.5, 2, (4, 3, 9)), 1e-3)
    standardised = Scale(rng.uniform(1, 2, (1, 6)), rng.normal(size=(1, 6)))
    first, second, last = (
        Dense(rng.normal(size=(3, a, b)), rng.normal(size=(3, b))) for a, b in ((6, 9), (9, 9), (9, 1))
    )
    orders = {
        2: [standardised, first, second, norm, activation, last, Scale(np.array([[2.0]]), np.array([[-1.0]]))],
        3: [first, activation, norm, second, activation, last],
        1: [first, norm, second, last],
    }
    X = rng.normal(size=(70, 6))
    for n_layers, steps in orders.items():
        layers = fold(steps)
        assert len(layers) == n_layers
        np.testing.assert_allclose(forward(layers, X), one_by_one(steps, X), rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="an activation without a layer before it"):
        fold([activation, last])


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("activation", [Leaky(0.05), Swish()])
def test_a_row_is_bit_identical_whatever_the_batch_and_the_threads(widths, activation):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    layers = fold(random_steps(widths, activation=activation))
    X = np.random.default_rng(2).normal(size=(3 * TILE + 5, 34)) * 30
    with limits(1):
        want = forward(layers, X)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, len(X) - 1), max_size=150), st.sampled_from([1, 2]))
    def same(rows, threads):
        with limits(threads):
            assert np.array_equal(forward(layers, X[rows]), want[:, rows])

    same()


def test_rows_with_holes_are_missing_and_touch_no_other():
    layers = fold(random_steps(WIDTHS[0]))
    X = np.random.default_rng(3).normal(size=(TILE + 9, 34))
    want = forward(layers, X)
    holes = X.copy()
    holes[[0, 5, TILE + 1], [3, 33, 0]] = [np.nan, np.inf, -np.inf]
    got = forward(layers, holes)
    bad = np.isin(np.arange(len(X)), [0, 5, TILE + 1])
    assert np.isnan(got[:, bad]).all() and np.array_equal(got[:, ~bad], want[:, ~bad])
    assert forward(layers, X[:0]).shape == (3, 0)


def test_swish_far_below_zero_is_zero_without_a_warning():
    layers = fold([Scale(np.array([[1.0]]), np.array([[0.0]])), Swish(), Dense(np.ones((1, 1, 1)), np.zeros((1, 1)))])
    with np.errstate(all="raise", under="ignore"):
        assert forward(layers, np.array([[-5000.0], [5000.0]])).tolist() == [[-0.0, 5000.0]]


# -- settings -----------------------------------------------------------------------------------------------


def test_architectures_by_name_by_widths_and_by_what_differs():
    assert architecture_of("published") is ARCHITECTURES["published"]
    assert architecture_of([16, 8]) == architecture_of((16, 8)) == architecture_of({"widths": [16, 8]})
    assert architecture_of({"dropout": [0.1, 0.2]}).rates() == (0.1, 0.2)
    cases = {
        "architecture 'deep' is not known; allowed: default, published": "deep",
        "'width' is not known; allowed: widths, activation": {"width": (3,)},
        "widths": (0, 3),
        "dropout 1.5": {"dropout": 1.5},
        "one or one a layer": {"dropout": (0.1,)},
        "activation 'tanh'; allowed: leaky_relu, swish": {"activation": "tanh"},
        "learning_rate 0": {"learning_rate": 0},
    }
    for message, given_ in cases.items():
        with pytest.raises(InputError, match=message):
            architecture_of(given_)


# -- training -----------------------------------------------------------------------------------------------

SMALL = {"n_members": 2, "epochs": 6, "n_splits": 2}


def made_table(n_glaciers=8, n_years=20, seed=0):
    """A law with a kink: melt only above zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_glaciers * n_years, 5)) * [100, 200, 1, 300, 5] + [0, 0, 45, 2900, 10]
    y = 0.2 - 0.01 * np.maximum(X[:, 0], 0) + 0.001 * X[:, 1]
    return X, y, np.repeat(np.arange(n_glaciers), n_years)


@pytest.fixture(scope="module")
def tensorflow():
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="module", params=["default", "published"])
def fitted(request, tensorflow):
    X, y, groups = made_table()
    return NeuralNetwork(None, request.param, **SMALL).fit(X, y, groups), X, y


def test_a_fitted_model_keeps_the_contract(fitted):
    model, X, y = fitted
    members = model.predict_members(X)
    assert members.shape == (2, 160) and model.n_features_in_ == 5 and model.protocol_ == "nested"
    np.testing.assert_allclose(model.predict(X), members.mean(axis=0), atol=1e-12)
    assert model.train_scores_ == scores(y, model.predict(X)) and set(model.cv_scores_) == {"r2", "rmse", "mae", "bias"}
    assert 1 <= model.epochs_ <= 6
    low, high = model.predict_interval(X[:7], 0.9)
    assert ((low < model.predict(X[:7])) & (model.predict(X[:7]) < high)).all()
    holes = X[:3].copy()
    holes[1, 2] = np.nan
    assert np.isnan(model.predict_members(holes)).all(axis=0).tolist() == [False, True, False]
    with pytest.raises(InputError, match="is nan in row 1"):
        model.predict(holes)


def test_keras_says_the_same_as_numpy(fitted, tmp_path):
    import keras

    model, X, _ = fitted
    assert model.save_files(tmp_path) == ["network.keras"]
    network = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_allclose(network.predict(X, verbose=0).T, model.predict_members(X), atol=1e-4)


def test_stored_pickled_and_loaded_without_tensorflow(fitted, tmp_path):
    model, X, _ = fitted
    card = {**model.about(), "features": list("abcde")}
    assert card["epochs"] == model.epochs_ and card["protocol"] == "nested"
    folder = save_model(model, tmp_path / "stored", card)
    assert sorted(f.name for f in folder.iterdir()) == ["model_card.json", "network.keras", "weights.npz"]
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    assert len(pickle.dumps(model)) < 100_000
    np.savez(tmp_path / "arrays.npz", X=X, want=model.predict_members(X), low=model.predict_interval(X)[0])
    code = (
        "import sys, pickle, numpy as np; from alpgm_dask.smb import load_model; a = np.load('arrays.npz');"
        "m, p = load_model('stored'), pickle.load(open('model.pkl', 'rb'));"
        "assert all(np.array_equal(one.predict_members(a['X']), a['want']) for one in (m, p));"
        "assert np.array_equal(m.predict_interval(a['X'])[0], a['low']);"
        "assert not {'keras', 'tensorflow', 'sklearn', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    back = load_model(folder)
    assert back.epochs_ == model.epochs_ and back.get_params() == model.get_params()
    with np.load(folder / "weights.npz") as arrays:
        missing = {name: arrays[name] for name in arrays.files if name != "kernel_1"}
    with pytest.raises(KeyError, match="kernel_1"):
        NeuralNetwork.from_arrays(missing, card)


def test_the_same_seed_gives_the_same_networks_in_any_process(tensorflow, tmp_path):
    X, y, groups = made_table()
    model = NeuralNetwork(None, (8,), **SMALL).fit(X, y, groups)
    np.savez(tmp_path / "table.npz", X=X, y=y, groups=groups, want=model.predict_members(X))
    # another process, with another number of threads and random numbers drawn before
    code = (
        "import numpy as np, tensorflow as tf, keras; tf.config.threading.set_intra_op_parallelism_threads(2);"
        "keras.utils.set_random_seed(5); keras.random.normal((3,));"
        "from alpgm_dask.smb.neural_network import NeuralNetwork; t = np.load('table.npz');"
        f"m = NeuralNetwork(None, (8,), **{SMALL!r}).fit(t['X'], t['y'], t['groups']);"
        "assert np.array_equal(m.predict_members(t['X']), t['want'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    other = NeuralNetwork(None, (8,), **SMALL, seed=1).fit(X, y, groups)
    assert not np.array_equal(other.predict(X), model.predict(X))


def test_the_choice_of_epochs_sees_only_the_rows_of_the_folds(tensorflow):
    X, y, groups = made_table()
    aside = groups == 7
    folds = [fold._replace(train=fold.train & ~aside, test=fold.test & ~aside) for fold in group_folds(groups, 2)]
    model = NeuralNetwork(None, (8,), **SMALL).fit(X, y, folds=folds)
    assert model.error_ratio_.size == (~aside).sum()
    assert model.cv_scores_["rmse"] == pytest.approx(model.error_)
    changed = NeuralNetwork(None, (8,), **SMALL).fit(X, np.where(aside, -50.0, y), folds=folds)
    assert changed.epochs_ == model.epochs_ and changed.cv_scores_ == model.cv_scores_
    assert not np.array_equal(changed.predict(X), model.predict(X))


def test_the_published_protocol_looks_at_the_test_rows_and_says_so(tensorflow):
    X, y, groups = made_table()
    test = groups < 2
    noise = np.random.default_rng(0).normal(size=test.sum())
    model = NeuralNetwork(None, (8,), n_members=3, epochs=12).fit_published(X[~test], y[~test], X[test], noise)
    assert model.protocol_ == "published" and len(model.epochs_) == 3 and model.cv_scores_ == {}
    # each network stands at its best epoch: longer training cannot make it worse on the test rows
    errors = [
        np.mean((m.predict_members(X[test]) - noise) ** 2, axis=1)
        for m in (
            NeuralNetwork(None, (8,), n_members=3, epochs=n).fit_published(X[~test], y[~test], X[test], noise)
            for n in (1, 6, 12)
        )
    ]
    assert (errors[1] <= errors[0] + 1e-9).all() and (errors[2] <= errors[1] + 1e-9).all()
    with pytest.raises(InputError, match="fitted without held-out rows"):
        model.fit(X, y, groups).fit_published(X[~test], y[~test], X[test], noise).predict_interval(X)
    with pytest.raises(InputError, match=r"test target: shape \(3,\)"):
        model.fit_published(X, y, X[:2], y[:3])


def test_weights_count(tensorflow):
    X, y, groups = made_table()
    balanced = NeuralNetwork(None, (8,), **SMALL, weights="balanced").fit(X, y, groups)
    given_ = NeuralNetwork(None, (8,), **SMALL).fit(X, y, groups, sample_weight=balanced_weights(y))
    none = NeuralNetwork(None, (8,), **SMALL).fit(X, y, groups, sample_weight=np.full(len(y), 7.0))
    np.testing.assert_allclose(balanced.predict(X), given_.predict(X), atol=1e-5)
    assert np.abs(none.predict(X) - given_.predict(X)).max() > 0.01


def test_bad_training_data_and_settings_are_refused():
    X, y, groups = made_table()
    holes, far = X.copy(), X.copy()
    holes[7, 3], far[2, 0] = np.nan, np.inf
    cases = [
        ({}, (holes, y, groups), "'3' is nan in row 7"),
        ({}, (far, y, groups), "'0' is inf in row 2"),
        ({}, (X, np.ones(len(y)), groups), "constant over 160 rows"),
        ({}, (X, y, np.zeros(len(y))), "a single glacier"),
        ({}, (X, y, None), "none given; allowed: the glacier of each row"),
        ({"recipe": "standard-seasonal"}, (X, y, groups), r"shape \(160, 5\); allowed: \(row, 11\)"),
        ({"n_members": 0}, (X, y, groups), "n_members: 0; allowed: a whole number from 1"),
        ({"weights": "some"}, (X, y, groups), "weights: 'some'; allowed: none, balanced"),
        ({"l2": -1.0}, (X, y, groups), "l2 -1.0"),
    ]
    for change, arguments, message in cases:
        with pytest.raises(InputError, match=message):
            NeuralNetwork(**{"recipe": None, **change}).fit(*arguments)


def test_without_tensorflow_it_predicts_and_says_what_training_needs(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    X, y, groups = made_table()
    with pytest.raises(InputError, match="TensorFlow is not installed"):
        NeuralNetwork(None).fit(X, y, groups)


def test_networks_saved_by_todays_keras_can_be_loaded_too(tensorflow, tmp_path):
    import keras

    from alpgm_dask.smb import load_published

    parts = [keras.Input((34,)), keras.layers.Dense(6), keras.layers.LeakyReLU(0.05), keras.layers.BatchNormalization()]
    network = keras.Sequential([*parts, keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    rng = np.random.default_rng(0)
    network.set_weights([rng.uniform(0.1, 1.0, w.shape) for w in network.get_weights()])
    network.save(tmp_path / "n.h5")
    X = rng.normal(size=(9, 34))
    got = load_published(tmp_path / "n.h5").predict(X)
    np.testing.assert_allclose(got, network.predict(X, verbose=0)[:, 0], atol=1e-4)


# -- what they are for --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_table(demo_catalog):
    """Training tables of the demo region, with noise and without, and glaciers to leave out, not the largest."""
    from alpgm_dask import open_catalog
    from alpgm_dask.constants import REFERENCE_PERIOD
    from alpgm_dask.features import training_table
    from alpgm_dask.forcing import annual_predictors, nearest_points, reference_climatology

    catalog = open_catalog(demo_catalog)
    observed, climate = catalog.read("smb_observations").load(), catalog.read("climate")
    at = observed.assign(mean_elevation=observed["mean_elevation"].isel(hydro_year=-1))
    predictors = annual_predictors(climate, nearest_points(at, climate)["point"], observed["mean_elevation"])
    reference = reference_climatology(predictors, REFERENCE_PERIOD)
    noisy, true = (
        training_table(predictors, reference, observed, observed[name], "standard-seasonal").load()
        for name in ("smb", "smb_true")
    )
    return noisy, true, np.unique(noisy["glacier_index"])[2::4]


def test_a_network_finds_the_demo_regions_law_better_than_a_lasso(tensorflow, demo_table):
    from alpgm_dask.demo import smb_law

    noisy, true, left_out = demo_table
    train = noisy.isel(sample=~noisy["glacier_index"].isin(left_out).values)
    test = true.isel(sample=true["glacier_index"].isin(left_out).values)
    models = {
        "lasso": Lasso("standard-seasonal"),
        "network": NeuralNetwork("standard-seasonal", n_members=5, epochs=150, learning_rate=5e-3),
    }
    # a warm year at the left-out glaciers as they are: melt per degree-day falls, which no straight line can say
    warmth = np.linspace(-200.0, 300.0, 26)
    X = np.repeat(test["features"].values.mean(axis=0)[None], warmth.size, axis=0)
    X[:, :3] = np.stack([warmth, 0 * warmth, 0 * warmth], axis=1)
    law = smb_law(warmth, 0.0, 0.0, 20.0, 1e6)
    rmse, curve = {}, {}
    for name, model in models.items():
        model.fit(train["features"], train["smb"], train["glacier_index"].values)
        rmse[name] = scores(test["smb"].values, model.predict(test["features"]))["rmse"]
        response = model.predict(X)
        curve[name] = np.std(response - law)
    print({"noise-free smb of left-out glaciers, rmse": rmse, "response to cpdd, rms error": curve})
    assert rmse["network"] < 0.75 * rmse["lasso"]
    assert curve["network"] < 0.6 * curve["lasso"]
