"""SMB models on disk: a folder with a card that a person can read and weights that the card vouches for."""

from __future__ import annotations

import hashlib
import importlib
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.features import feature_names
from alpgm_dask.schema import InputError
from alpgm_dask.smb.extrapolation import training_range

#: Where the class of each kind of model is; imported only when one is loaded.
KINDS = {
    "lasso": ("alpgm_dask.smb.lasso", "Lasso"),
    "gaussian_process": ("alpgm_dask.smb.process", "GaussianProcess"),
    "neural_network": ("alpgm_dask.smb.neural_network", "NeuralNetwork"),
    "tree_ensemble": ("alpgm_dask.smb.tree_ensemble", "TreeEnsemble"),
    "ensemble": ("alpgm_dask.smb.ensemble", "Ensemble"),
    "published_networks": ("alpgm_dask.smb.published", "PublishedNetworks"),
    "published_lasso": ("alpgm_dask.smb.published", "PublishedLasso"),
}

#: Kinds that a run can train.
TRAINED = ("gaussian_process", "lasso", "neural_network", "tree_ensemble", "ensemble")

CARD, WEIGHTS = "model_card.json", "weights.npz"


def class_of(kind: str) -> Any:
    """The class of a kind of model, one of KINDS."""
    module, name = KINDS[kind]
    return getattr(importlib.import_module(module), name)


def make_model(kind: str, recipe: str | None = None, settings: dict[str, Any] | None = None, seed: int = 0) -> Any:
    """An unfitted model from words and numbers, as a run file has them.

    Parameters
    ----------
    kind
        "gaussian_process", "lasso", "neural_network", "tree_ensemble" or "ensemble".
    recipe
        which features it takes; None: its own default.
    settings
        its other settings by name; those of an ensemble as :meth:`.ensemble.Ensemble.of` takes them.
    seed
        of whatever is random in it, unless the settings say another.

    Raises
    ------
    InputError
        for an unknown kind or setting.

    >>> make_model("lasso", "standard", {"alphas": 20})
    Lasso(recipe='standard', alphas=20, eps=0.001, cv='glacier', n_splits=10)
    """
    if kind not in TRAINED:
        raise InputError(f"model {kind!r} is not known; allowed: {', '.join(TRAINED)}")
    make = class_of(kind)
    settings = {**({"recipe": recipe} if recipe is not None else {}), **(settings or {})}
    if hasattr(make, "of"):
        return make.of(**{"seed": seed, **settings})
    allowed = list(make().get_params())
    if "seed" in allowed:
        settings = {"seed": seed, **settings}
    unknown = [name for name in settings if name not in allowed]
    if unknown:
        raise InputError(f"{kind} has no setting {unknown[0]!r}; allowed: {', '.join(allowed)}")
    return make(**settings)


def table_fingerprint(table: xr.Dataset) -> str:
    """sha256 of a training table: features, smb, and the glacier and year of each sample. Computes the table."""
    digest = hashlib.sha256()
    for name in ("features", "smb", "hydro_year"):
        digest.update(np.ascontiguousarray(table[name].values, dtype="float64").tobytes())
    group = table["rgi_id"] if "rgi_id" in table.coords else table["glacier_index"]
    digest.update("\n".join(map(str, group.values)).encode())
    digest.update("\n".join(map(str, table["feature"].values)).encode())
    return digest.hexdigest()


def model_card(model: Any, table: xr.Dataset, *, seed: int | None = None, **extra: Any) -> dict[str, Any]:
    """What a fitted model is and where it comes from, as JSON-ready values.

    Parameters
    ----------
    model
        A fitted model of this package.
    table
        The training table (:func:`alpgm_dask.features.training_table`).
    seed
        Of whatever is random in the fit; None where nothing is.
    extra
        Further entries, such as `reference_period`.
    """
    group = table["rgi_id"] if "rgi_id" in table.coords else table["glacier_index"]
    years = table["hydro_year"].values
    return {
        **model.about(),
        "features": list(map(str, table["feature"].values)),
        "feature_range": [bound.tolist() for bound in training_range(table["features"].values)],
        "target": "smb",
        "target_units": "m year-1",
        "n_samples": int(table.sizes["sample"]),
        "groups": sorted(set(map(str, group.values))),
        "period": [int(years.min()), int(years.max())],
        "seed": seed,
        "data_sha256": table_fingerprint(table),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        **extra,
    }


def _versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for package in ("alpgm_dask", "numpy", "scikit-learn", "xarray"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            out[package] = "not installed"
    return out


def save_model(model: Any, folder: str | Path, card: dict[str, Any]) -> Path:
    """Write a model's weights and its card, with the hash of the weights in it; return the folder.

    Raises
    ------
    InputError
        If the folder holds a model already, or the card describes another kind or recipe.
    """
    folder = Path(folder)
    if (folder / CARD).exists():
        raise InputError(f"{folder}: holds a model already; allowed: a folder without {CARD}")
    for key in ("kind", "recipe"):
        if card.get(key) != getattr(model, key):
            raise InputError(f"{folder}: card says {key} {card.get(key)!r}, the model is {getattr(model, key)!r}")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / WEIGHTS).open("wb") as file:
        np.savez(file, **model.to_arrays())
    # what a model stores beside the weights, such as networks in the format of Keras
    more = model.save_files(folder) if hasattr(model, "save_files") else []
    signed = {**card, "files": {name: _sha256(folder / name) for name in [WEIGHTS, *more]}}
    (folder / CARD).write_text(json.dumps(signed, indent=2, allow_nan=True) + "\n", encoding="utf-8")
    return folder


def load_card(folder: str | Path) -> dict[str, Any]:
    """The card of a stored model."""
    path = Path(folder) / CARD
    if not path.is_file():
        raise InputError(f"{folder}: no {CARD}; allowed: a folder written by save_model")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(card, dict):
        raise InputError(f"{path}: holds a {type(card).__name__}; allowed: an object")
    return card


def load_model(folder: str | Path) -> Any:
    """A stored model, ready to predict; its `card` attribute is the card.

    Raises
    ------
    InputError
        No card, an unknown kind, missing weights, weights whose hash is not the card's, features that are not (or no
        longer) those of the recipe.
    """
    folder, card = Path(folder), load_card(folder)
    kind = card.get("kind")
    if kind not in KINDS:
        raise InputError(f"{folder / CARD}: kind {kind!r}; allowed: {', '.join(KINDS)}")
    _check_files(folder, card)
    recipe = card.get("recipe")
    if recipe is not None and list(feature_names(recipe)) != card.get("features"):
        raise InputError(f"{folder / CARD}: features are not those of recipe {recipe!r}: {card.get('features')}")
    weights = folder / WEIGHTS
    try:
        with np.load(weights, allow_pickle=False) as arrays:
            model = class_of(kind).from_arrays(dict(arrays), card)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: the weights are not those of a {kind} with these settings ({error})") from error
    if model.n_features_in_ != len(card["features"]):
        raise InputError(
            f"{weights}: weights of {model.n_features_in_} features, the card lists {len(card['features'])}"
        )
    model.card = card
    if "feature_range" in card:
        model.feature_low_, model.feature_high_ = np.array(card["feature_range"], dtype="float64")
    return model


def _check_files(folder: Path, card: dict[str, Any]) -> None:
    """Refuse a folder that lacks a file of the card, or holds another one than the card vouches for."""
    files = card.get("files")
    if not isinstance(files, dict) or WEIGHTS not in files:
        raise InputError(f"{folder / CARD}: files is {files!r}; allowed: names and sha256, {WEIGHTS} among them")
    for name, signed in files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise InputError(f"{path}: missing; the card names it")
        if _sha256(path) != signed:
            raise InputError(f"{path}: sha256 is {_sha256(path)}, the card says {signed}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
