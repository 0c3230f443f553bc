"""ALPGM's published models: read without Keras, equal to what Keras says, refused where they are something else."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from alpgm_dask.features import feature_names
from alpgm_dask.schema import InputError
from alpgm_dask.smb import load_model, save_model
from alpgm_dask.smb.base import scores
from alpgm_dask.smb.published import PublishedLasso, PublishedNetworks, load_published

ANN = "data/alpgm/glacier_data/smb/ANN"


def write_network(path, layers, config=None):
    """A file as Keras 2 writes it: layers are (class, config, weights)."""
    listed = [
        {"class_name": kind, "config": {"name": f"layer_{k}", **settings}}
        for k, (kind, settings, _) in enumerate(layers)
    ]
    model = {"class_name": "Sequential", "config": {"name": "sequential", "layers": listed}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(model if config is None else config)
        group = file.create_group("model_weights")
        for k, (_, _, weights) in enumerate(layers):
            own = group.create_group(f"layer_{k}")
            for name, value in weights.items():
                own[f"layer_{k}_1/{name}:0"] = np.asarray(value, dtype="float32")
    return path


def dense(kernel, bias, **settings):
    return ("Dense", settings, {"kernel": kernel, "bias": bias})


def norm(gamma, beta, mean, variance):
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    return (
        "BatchNormalization",
        {"epsilon": 0.0},
        dict(zip(names, map(np.atleast_1d, (gamma, beta, mean, variance)), strict=True)),
    )


def sums(bias=0.0, n=34):
    """The sum of all features, plus the bias."""
    return [dense(np.ones((n, 1)), [bias])]


ROWS = np.random.default_rng(0).normal(size=(5, 34))


# -- networks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm_first", [True, False])
def test_layers_act_in_the_order_of_the_file(tmp_path, norm_first):
    scale, leaky = norm(2.0, 1.0, 3.0, 4.0), ("LeakyReLU", {"alpha": 0.5}, {})
    middle = [scale, leaky] if norm_first else [leaky, scale]
    got = load_published(write_network(tmp_path / "n.h5", [*sums(), *middle, dense([[1.0]], [1.0])])).predict(ROWS)
    value = ROWS.sum(axis=1)
    for kind, _, _ in middle:
        value = (value - 3) / 2 * 2 + 1 if kind == "BatchNormalization" else np.where(value > 0, value, value / 2)
    np.testing.assert_allclose(got, value + 1, atol=1e-6)


def test_what_acts_in_training_only_does_nothing(tmp_path):
    extra = [("InputLayer", {}, {}), ("GaussianNoise", {"stddev": 9.0}, {}), *sums(2.0), ("Dropout", {"rate": 0.9}, {})]
    model = load_published(write_network(tmp_path / "n.h5", extra))
    np.testing.assert_allclose(model.predict(ROWS), ROWS.sum(axis=1) + 2.0, atol=1e-6)


def test_order_of_members_of_several_architectures(tmp_path):
    deep = [dense(np.ones((34, 2)), [0.0, 0.0]), ("LeakyReLU", {"alpha": 1.0}, {}), dense([[0.5], [0.5]], [30.0])]
    files = [
        write_network(tmp_path / "c.h5", sums(10.0)),
        write_network(tmp_path / "b.h5", deep),
        write_network(tmp_path / "a.h5", sums(20.0)),
    ]
    offset = lambda model: (model.predict_members(ROWS) - ROWS.sum(axis=1)).round(5)[:, 0].tolist()  # noqa: E731
    model = load_published(files)
    assert offset(model) == [10.0, 30.0, 20.0] and len(model.groups_) == 2
    assert offset(load_published(map(str, files[::-1]))) == [20.0, 30.0, 10.0]
    assert offset(load_published(tmp_path)) == [20.0, 30.0, 10.0]
    np.testing.assert_allclose(model.predict(ROWS), ROWS.sum(axis=1) + 20.0, atol=1e-5)
    assert [entry["file"] for entry in model.card["read_from"]] == ["c.h5", "b.h5", "a.h5"]


def test_a_folder_without_files_of_its_own_means_those_below(tmp_path):
    for name, bias in (("9", 9.0), ("10", 10.0)):
        write_network(tmp_path / "ensemble" / name / "net.h5", sums(bias))
    first = load_published(tmp_path).predict_members(ROWS) - ROWS.sum(axis=1)
    assert first.round(5)[:, 0].tolist() == [10.0, 9.0]  # by name, not by number
    write_network(tmp_path / "own.h5", sums(1.0))
    assert load_published(str(tmp_path)).predict_members(ROWS).shape == (1, 5)


def test_a_missing_feature_is_missing_in_the_year_loop_and_refused_outside(tmp_path):
    model = load_published(write_network(tmp_path / "n.h5", sums()))
    X = ROWS.copy()
    X[1, 7] = np.nan
    assert np.isnan(model.predict_members(X)[0]).tolist() == [False, True, False, False, False]
    with pytest.raises(InputError, match="'lon' is nan in row 1"):
        model.predict(X)
    with pytest.raises(InputError, match=r"shape \(5, 33\); allowed: \(row, 34\)"):
        model.predict_members(X[:, 1:])
    with pytest.raises(InputError, match="not trained again"):
        model.fit(ROWS, np.arange(5.0))


def test_stored_and_loaded_without_keras_and_hdf5(tmp_path):
    files = [write_network(tmp_path / "a.h5", sums(1.0)), write_network(tmp_path / "b.h5", sums(2.0))]
    model = load_published(files)
    folder = save_model(model, tmp_path / "stored", model.card)
    np.save(tmp_path / "X.npy", ROWS)
    np.save(tmp_path / "want.npy", model.predict_members(ROWS))
    code = (
        "import sys, numpy as np; from alpgm_dask.smb import load_model; m = load_model('stored');"
        "assert np.array_equal(m.predict_members(np.load('X.npy')), np.load('want.npy'));"
        "assert not {'h5py', 'keras', 'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    back = load_model(folder)
    assert isinstance(back, PublishedNetworks) and back.recipe == "alpgm-1.2" and back.card["read_from"]


def test_bad_networks_are_refused_by_name(tmp_path):
    good = sums()
    broken = tmp_path / "broken.h5"
    broken.write_bytes(write_network(tmp_path / "whole.h5", good).read_bytes()[:900])
    (tmp_path / "text.h5").write_text("not a network")
    holes = np.ones((34, 1))
    holes[3] = np.nan
    cases = {
        "text.h5: not an HDF5 file": tmp_path / "text.h5",
        r"broken\.h5: ": broken,
        r"absent\.h5: no such file": tmp_path / "absent.h5",
        r"inputs\.h5: a network of 12 inputs; allowed: 34": write_network(tmp_path / "inputs.h5", sums(n=12)),
        "a network of 2 outputs; allowed: 1": write_network(tmp_path / "o.h5", [dense(np.ones((34, 2)), [0.0, 0.0])]),
        "layer 'layer_1' is a 'Lambda'; allowed: Dense": write_network(tmp_path / "l.h5", [*good, ("Lambda", {}, {})]),
        "activation 'tanh' of layer 'layer_0'": write_network(
            tmp_path / "t.h5", [dense(np.ones((34, 1)), [0.0], activation="tanh")]
        ),
        "class 'Functional'; allowed: Sequential": write_network(
            tmp_path / "f.h5", [], {"class_name": "Functional", "config": []}
        ),
        "no readable model_config": write_network(tmp_path / "c.h5", [], {"class_name": "Sequential"}),
        "'bias' of layer 'layer_0' is missing": write_network(
            tmp_path / "b.h5", [("Dense", {}, {"kernel": np.ones((34, 1))})]
        ),
        "'kernel' of layer 'layer_0' is not 2-dimensional, or not finite": write_network(
            tmp_path / "n.h5", [dense(holes, [0.0])]
        ),
        "weights of 3 inputs follow 1 outputs": write_network(
            tmp_path / "s.h5", [*good, dense(np.ones((3, 1)), [0.0])]
        ),
        "slope 7 of layer 'layer_1'": write_network(tmp_path / "k.h5", [*good, ("LeakyReLU", {"alpha": 7}, {})]),
    }
    for message, file in cases.items():
        with pytest.raises(InputError, match=message):
            load_published(file)


def test_bad_choices_of_files_are_refused(tmp_path):
    network = write_network(tmp_path / "n" / "a.h5", sums())
    lasso = tmp_path / "l.json"
    lasso.write_text("{}")
    (tmp_path / "empty").mkdir()
    cases = [
        (tmp_path / "empty", "no network in it or below"),
        (tmp_path / "nowhere", "no such file"),
        ([], "no file given"),
        ([network, lasso], r"files of \.h5, \.json; allowed: all \.h5, or all \.json"),
        ([network, tmp_path / "n"], "a folder; allowed"),
        (lasso, "not a published Lasso"),
    ]
    for given, message in cases:
        with pytest.raises(InputError, match=message):
            load_published(given)


# -- Lassos -------------------------------------------------------------------------------------------------


def write_lasso(path, **change):
    stored = {
        "features": ["cpdd", "mean_elevation*cpdd", "snowfall_mar"],
        "coef": [1.0, 2.0, -1.0],
        "intercept": 0.5,
        "training_mean": [10.0, 100.0, 0.0],
        "training_std": [2.0, 4.0, 0.5],
        **change,
    }
    path.write_text(json.dumps(stored))
    return path


def test_a_lasso_is_what_its_file_says(tmp_path):
    X = np.zeros((2, 34))
    names = feature_names("alpgm-1.2")
    X[1, names.index("cpdd_anomaly")], X[1, names.index("mean_elevation")] = 4.0, 50.0
    X[1, names.index("snowfall_monthly_anomaly_mar")] = 3.0
    model = load_published(write_lasso(tmp_path / "l.json"))
    assert model.predict(X).tolist() == [0.5 - 5 - 50, 0.5 - 3 + 50 - 6]
    both = load_published([tmp_path / "l.json", write_lasso(tmp_path / "m.json", intercept=1.5)])
    assert (both.predict_members(X) - model.predict(X)).tolist() == [[0.0, 0.0], [1.0, 1.0]]
    back = load_model(save_model(model, tmp_path / "stored", model.card))
    assert isinstance(back, PublishedLasso) and np.array_equal(back.predict(X), model.predict(X))
    X[0, 33] = np.nan
    assert np.isnan(model.predict_members(X)[0]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["cpdd", "cpdd", "wind"]}, "feature 'wind' is not known"),
        ({"features": ["cpdd", "cpdd", "lat*lat*lat"]}, "a product of two"),
        ({"coef": [1.0]}, "one finite coefficient"),
        ({"training_std": [1.0, 0.0, 1.0]}, "positive deviation"),
        ({"intercept": "high"}, "not a published Lasso"),
    ],
)
def test_bad_lassos_are_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=rf"l\.json: .*{message}"):
        load_published(write_lasso(tmp_path / "l.json", **change))


# -- the real ones ------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(("which", "n"), [("CV", 60), ("full", 31)])
def test_the_published_networks_say_what_they_say_in_keras(shared, which, n):
    oracle = np.load(shared / "oracle/networks/lsygo_soft.npz")
    model = load_published([shared / ANN / file for file in oracle[f"{which}_files"]])
    got, want = model.predict_members(oracle["X"]), oracle[f"{which}_pred"]
    assert got.shape == (n, 256)
    np.testing.assert_allclose(got, want, atol=1e-4)
    np.testing.assert_allclose(model.predict(oracle["X"]), want.mean(axis=0), atol=1e-4)


@pytest.mark.real
def test_every_published_network_loads(shared):
    files = sorted((shared / ANN).rglob("*.h5"))
    oracle = np.load(shared / "oracle/networks/lsygo_soft.npz")
    model = load_published(files)
    assert len(files) > 400 and len(model.groups_) == 3
    members = model.predict_members(oracle["X"])
    assert members.shape == (len(files), 256) and np.isfinite(members).all()
    known = {str(shared / ANN / f): p for f, p in zip(oracle["full_files"], oracle["full_pred"], strict=True)}
    compared = [np.abs(members[k] - known[str(f)]).max() for k, f in enumerate(files) if str(f) in known]
    assert len(compared) == 31 and max(compared) < 1e-4
    ensemble = load_published(shared / ANN / "LSYGO_soft/ensemble")
    assert ensemble.predict_members(oracle["X"]).shape == (31, 256)


@pytest.mark.real
@pytest.mark.parametrize(("which", "r2"), [("spatial", 0.565), ("temporal", 0.446)])
def test_the_published_lassos_fit_what_they_were_fitted_to(shared, which, r2):
    matrix = np.load(shared / "data/safran_glaciers/training_matrix.npz")
    X, y = matrix["X"].reshape(-1, 34), matrix["y"].ravel()
    X, y = X[np.isfinite(y)], y[np.isfinite(y)]
    model = load_published(shared / f"data/alpgm_pretrained/lasso_{which}.json")
    assert scores(y, model.predict(X))["r2"] == pytest.approx(r2, abs=0.005)
