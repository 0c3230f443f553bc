"""How fast an ensemble of published networks predicts: ours, all networks at once, against Keras and against loops.

    python tests/benchmarks/inference.py                  # 31 networks; 400 glaciers, 85 years
    python tests/benchmarks/inference.py --networks 60 --glaciers 100

Everything runs in this process, one after the other, several times; medians are printed with the range, and so are the
ratios of each repetition. Ours predicts every year of the whole block, year by year as a run does. What would take
hours is measured on a part and scaled up, which flatters it: Keras's first, slow call is not counted. The networks are
ALPGM's where the data are beside the checkout, else random ones of its architecture. All sides get one thread, as a
worker of a run has; with --threads 0 each takes what it likes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHARED = Path(__file__).resolve().parents[3] / "shared"
#: Keras calls for single rows that are timed in a repetition, and years of the calls for whole blocks.
SAMPLE, SAMPLE_YEARS = 20, 2


def spread(values: list[float]) -> str:
    return f"{np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def files(n: int, scratch: Path) -> list[Path]:
    """Networks of the published cross-validation and ensembles, or random ones."""
    folder = SHARED / "data/alpgm/glacier_data/smb/ANN/LSYGO_soft"
    published = sorted(folder.glob("ensemble/*/*.h5")) + sorted(folder.glob("CV/*.h5"))
    if len(published) >= n:
        return published[:n]
    import keras

    for k in range(n):
        layers = [keras.Input((34,)), keras.layers.Dense(34), keras.layers.BatchNormalization()]
        for width in (40, 20, 10, 5):
            layers += [keras.layers.Dense(width), keras.layers.BatchNormalization(), keras.layers.LeakyReLU(0.05)]
        keras.Sequential([*layers, keras.layers.Dense(1)]).save(scratch / f"{k:03d}.h5")
    return sorted(scratch.glob("*.h5"))


def keras_models(paths: list[Path]) -> list:
    """The networks in Keras; files of Keras 2 give the first layer a batch axis that Keras 3 takes for a feature."""
    import keras

    class Dense(keras.layers.Dense):
        @classmethod
        def from_config(cls, config):
            shape = config.get("input_shape")
            if shape and shape[0] is None:
                config["input_shape"] = shape[1:]
            return super().from_config(config)

    return [keras.models.load_model(path, compile=False, custom_objects={"Dense": Dense}) for path in paths]


def one_network(layers, k: int, X: np.ndarray) -> np.ndarray:
    """A network by itself, in NumPy."""
    for weights, bias, slope in layers:
        X = X @ weights[k] + bias[k]
        X = np.maximum(X, slope * X)
    return X[:, 0]


def repetition(model, networks: list, X: np.ndarray) -> dict[str, float]:
    """Seconds for all networks, glaciers and years (X: year, glacier, feature), by method."""
    n_years, n_glaciers, _ = X.shape
    some = X[:SAMPLE_YEARS].astype("float32")
    rows = some[0, :SAMPLE]
    per_year, per_row = n_years / SAMPLE_YEARS, n_years * n_glaciers * len(networks) / SAMPLE
    calls = {
        "ours, batched": (1.0, lambda: [model.predict_members(x) for x in X]),
        "NumPy, each network once a year": (
            1.0,
            lambda: [
                one_network(layers, k, x) for x in X for members, layers in model.groups_ for k in range(len(members))
            ],
        ),
        "Keras model(x), each network once a year (scaled)": (
            per_year,
            lambda: [network(x, training=False).numpy() for x in some for network in networks],
        ),
        "Keras predict, each network once a year (scaled)": (
            per_year,
            lambda: [network.predict(x, verbose=0) for x in some for network in networks],
        ),
        "Keras predict, each glacier, year and network (scaled)": (
            per_row,
            lambda: [networks[0].predict(row[None], verbose=0) for row in rows],
        ),
    }
    return {name: scale * seconds(work) for name, (scale, work) in calls.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=31)
    parser.add_argument("--glaciers", type=int, default=400)
    parser.add_argument("--years", type=int, default=85)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of each side; 0: as many as it likes")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    from threadpoolctl import threadpool_limits

    from alpgm_dask.smb.published import load_published

    if arguments.threads:
        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
        tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(arguments.years, arguments.glaciers, 34))
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(arguments.threads or None):
        paths = files(arguments.networks, Path(folder))
        model, networks = load_published(paths), keras_models(paths)
        want = np.stack([network.predict(X[0], verbose=0)[:, 0] for network in networks])
        assert np.abs(model.predict_members(X[0]) - want).max() < 1e-4
        [network.predict(X[0, :1], verbose=0) for network in networks[:1]]  # compiled for one row
        table: dict[str, list[float]] = {}
        for _ in range(arguments.repeat):
            for name, value in repetition(model, networks, X).items():
                table.setdefault(name, []).append(value)
    source = "ALPGM's" if paths[0].is_relative_to(SHARED) else "random"
    print(f"{len(paths)} networks ({source}), {arguments.glaciers} glaciers, {arguments.years} years")
    ours = table["ours, batched"]
    for name, values in table.items():
        ratios = [value / own for value, own in zip(values, ours, strict=True)]
        print(f"{name:<56} {spread(values):>28} s   {spread(ratios):>26} x ours")


if __name__ == "__main__":
    sys.exit(main())
