"""Networks in Keras's old file format (HDF5), read without Keras: the layers that ALPGM used, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from alpgm_dask.kernels.network import Dense, Layer, Leaky, Scale, batch_norm, fold
from alpgm_dask.schema import InputError

#: Layers that do something when a network predicts, and layers that only act in training.
ACTIVE = ("Dense", "BatchNormalization", "LeakyReLU")
PASSIVE = ("InputLayer", "Dropout", "GaussianNoise", "GaussianDropout")


def read_network(path: Path, n_features: int) -> list[Layer]:
    """One network as folded layers (:func:`alpgm_dask.kernels.network.fold`), with a network axis of length 1.

    Parameters
    ----------
    path
        A file that Keras 2's `model.save` wrote; the model is a plain sequence of Dense, BatchNormalization, LeakyReLU,
        Dropout and noise layers.
    n_features
        Number of inputs that it must have; it must have one output.

    Raises
    ------
    InputError
        Naming the file: no HDF5, damaged, no layers, an unknown layer or activation, weights that are missing, not
        finite or do not fit each other, another number of inputs or outputs.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            layers = _layers(path, file.attrs)
            group = file.get("model_weights", file)
            steps = [_step(path, layer, group) for layer in layers if layer["class_name"] not in PASSIVE]
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path}: not an HDF5 file, or damaged ({error}); allowed: a network saved by Keras"
        ) from error
    _check_shapes(path, steps, n_features)
    return fold(steps)


def _layers(path: Path, attributes: Any) -> list[dict[str, Any]]:
    """The layers of the model, refused if one is not known."""
    text = attributes.get("model_config")
    try:
        model = json.loads(text)
        layers = model["config"]["layers"] if isinstance(model["config"], dict) else model["config"]
        names = [(layer["class_name"], layer["config"]["name"]) for layer in layers]
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no readable model_config; allowed: a whole model, not its weights alone") from error
    if model.get("class_name") != "Sequential":
        raise InputError(f"{path}: a model of class {model.get('class_name')!r}; allowed: Sequential")
    for kind, name in names:
        if kind not in ACTIVE + PASSIVE:
            raise InputError(f"{path}: layer {name!r} is a {kind!r}; allowed: {', '.join(ACTIVE + PASSIVE)}")
    return layers


def _step(path: Path, layer: dict[str, Any], group: Any) -> Dense | Scale | Leaky:
    """What a layer does to a row."""
    kind, config, name = layer["class_name"], layer["config"], layer["config"]["name"]
    if kind == "LeakyReLU":
        slope = config.get("alpha", config.get("negative_slope"))
        if not isinstance(slope, int | float) or not 0 <= slope <= 1:
            raise InputError(f"{path}: slope {slope!r} of layer {name!r}; allowed: a number from 0 to 1")
        return Leaky(float(slope))
    stored = _arrays(path, group, name)
    if kind == "Dense":
        if config.get("activation", "linear") != "linear":
            raise InputError(
                f"{path}: activation {config['activation']!r} of layer {name!r}; allowed: linear, with LeakyReLU as a "
                "layer of its own"
            )
        kernel = _one(path, stored, name, "kernel", 2)
        bias = _one(path, stored, name, "bias", 1) if config.get("use_bias", True) else np.zeros(kernel.shape[1])
        return Dense(kernel[None], bias[None])
    mean, variance = (_one(path, stored, name, f"moving_{what}", 1) for what in ("mean", "variance"))
    gamma = _one(path, stored, name, "gamma", 1) if config.get("scale", True) else np.ones_like(mean)
    beta = _one(path, stored, name, "beta", 1) if config.get("center", True) else np.zeros_like(mean)
    if not gamma.shape == beta.shape == mean.shape == variance.shape or (variance < 0).any():
        raise InputError(f"{path}: weights of layer {name!r} do not fit each other, or a variance is negative")
    return batch_norm(*(a[None] for a in (gamma, beta, mean, variance)), float(config.get("epsilon", 1e-3)))


def _arrays(path: Path, group: Any, layer: str) -> dict[str, np.ndarray]:
    """The weights of a layer by name, wherever in the layer's group they lie."""
    found: dict[str, np.ndarray] = {}

    def visit(key: str, item: Any) -> None:
        if hasattr(item, "dtype"):
            found[key.rsplit("/", 1)[-1].split(":")[0]] = item[...]

    if layer not in group:
        raise InputError(f"{path}: weights of layer {layer!r} are missing; allowed: a file with the model's weights")
    group[layer].visititems(visit)
    return found


def _one(path: Path, stored: dict[str, np.ndarray], layer: str, name: str, ndim: int) -> np.ndarray:
    """One weight of a layer in float64, refused if it is missing or not finite."""
    if name not in stored:
        raise InputError(f"{path}: {name!r} of layer {layer!r} is missing; allowed: a file with the model's weights")
    values = stored[name]
    if values.ndim != ndim or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise InputError(f"{path}: {name!r} of layer {layer!r} is not {ndim}-dimensional, or not finite numbers")
    return values.astype("float64")


def _check_shapes(path: Path, steps: list[Dense | Scale | Leaky], n_features: int) -> None:
    """Refuse steps that cannot follow each other, and a network of other inputs or outputs than wanted."""
    first = next((step for step in steps if not isinstance(step, Leaky)), None)
    width = first[0].shape[1] if first is not None and steps[0] is first else 0
    if width != n_features:
        raise InputError(f"{path}: a network of {width} inputs; allowed: {n_features}")
    for step in steps:
        if isinstance(step, Leaky):
            continue
        dense = isinstance(step, Dense)
        if step[0].shape[1] != width or (dense and step[1].shape[1] != step[0].shape[2]):
            raise InputError(f"{path}: weights of {step[0].shape[1]} inputs follow {width} outputs; allowed: the same")
        width = step[1].shape[1]
    if width != 1:
        raise InputError(f"{path}: a network of {width} outputs; allowed: 1")
