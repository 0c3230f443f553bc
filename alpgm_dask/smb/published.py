"""The SMB models that ALPGM published: networks in Keras's old file format, and two Lassos; loaded, never trained.

Bolibar et al. (2020), Deep learning applied to glacier evolution modelling, The Cryosphere 14, 565-584,
doi:10.5194/tc-14-565-2020. They take the 34 features of recipe "alpgm-1.2", raw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from alpgm_dask.features import feature_names
from alpgm_dask.kernels.network import Layer, forward
from alpgm_dask.schema import InputError
from alpgm_dask.smb.base import Regressor, mean_over_members
from alpgm_dask.smb.keras_files import read_network

RECIPE = "alpgm-1.2"

#: How the published Lassos call the features that do not have the names of our recipes; months: see `_column`.
_NAMES = {
    "cpdd": "cpdd_anomaly",
    "winter_snowfall": "winter_snowfall_anomaly",
    "summer_snowfall": "summer_snowfall_anomaly",
    "area_km2": "area",
    "cos_aspect": "cos_aspect_degrees",
}


class Published(Regressor):
    """What the published models share: nothing to set, no training, the features of one recipe.

    Attributes
    ----------
    card
        What the model was read from; `save_model(model, folder, model.card)` stores it.
    """

    kind: str

    def __init__(self) -> None:
        self.recipe = RECIPE
        self.n_features_in_ = len(feature_names(RECIPE))

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None):
        """Refused (InputError)."""
        raise InputError(f"{self.kind}: published models are not trained again; allowed: predict, or another model")

    def predict(self, X) -> np.ndarray:
        """SMB (row,), m w.e. per year: the mean of the members; rows with missing features are refused (InputError)."""
        return mean_over_members(self.predict_members(self.check_features(X, self.n_features_in_)))

    def describe(self, files: list[Path]) -> dict[str, Any]:
        """A model card: what the model is, and the files it was read from with their hashes."""
        return {
            "kind": self.kind,
            "recipe": self.recipe,
            "features": list(feature_names(self.recipe)),
            "settings": {},
            "target": "smb",
            "target_units": "m year-1",
            "source": "Bolibar et al. (2020), doi:10.5194/tc-14-565-2020",
            "read_from": [{"file": f.name, "sha256": hashlib.sha256(f.read_bytes()).hexdigest()} for f in files],
        }


class PublishedNetworks(Published):
    """An ensemble of published networks, in the order given, of several architectures if need be.

    Attributes
    ----------
    groups_
        For each architecture: positions of its networks in the ensemble, and their layers, ready for
        :func:`alpgm_dask.kernels.network.forward`.
    """

    kind = "published_networks"

    def set_networks(self, networks: list[list[Layer]]) -> PublishedNetworks:
        """Take networks with a network axis of length 1 each, and put those of one shape together."""
        alike: dict[Any, list[int]] = {}
        for position, layers in enumerate(networks):
            shape = tuple((layer.weights.shape[1:], layer.slope) for layer in layers)
            alike.setdefault(shape, []).append(position)
        self.groups_ = [(np.array(members), _stack([networks[k] for k in members])) for members in alike.values()]
        return self

    def predict_members(self, X) -> np.ndarray:
        """SMB (network, row), m w.e. per year; a row with a missing feature is NaN, and touches no other row."""
        X = self.match_features(X, self.n_features_in_)
        out = np.empty((sum(len(members) for members, _ in self.groups_), len(X)))
        for members, layers in self.groups_:
            out[members] = forward(layers, X)
        return out

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored to predict again: for each architecture its members, and the layers' arrays."""
        arrays: dict[str, np.ndarray] = {}
        for a, (members, layers) in enumerate(self.groups_):
            arrays[f"members_{a}"] = members
            for k, layer in enumerate(layers):
                arrays |= {f"{name}_{a}_{k}": np.asarray(value) for name, value in layer._asdict().items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> PublishedNetworks:
        """A model from what :meth:`to_arrays` gave."""
        model = cls()
        n_groups = sum(name.startswith("members_") for name in arrays)
        model.groups_ = [(arrays[f"members_{a}"], _group(arrays, a)) for a in range(n_groups)]
        model.n_features_in_ = model.groups_[0][1][0].weights.shape[1]
        return model


class PublishedLasso(Published):
    """Published linear models of features and products of two features, as an ensemble of one or more.

    `smb = intercept + sum(coef * (term - mean) / std)`: the coefficients are those of standardised terms, and a
    product is formed of raw features before it is standardised.

    Attributes
    ----------
    intercept_
        (model,) m w.e. per year.
    terms_, scaled_, mean_
        (model, term, 2) columns that are multiplied, -1: none; (model, term) coefficient over standard deviation;
        (model, term) mean. Shorter models are filled up with coefficients of 0.
    """

    kind = "published_lasso"

    def set_models(self, models: list[dict[str, np.ndarray]]) -> PublishedLasso:
        """Take what :func:`_read_lasso` gave."""
        longest = max(len(one["coef"]) for one in models)
        self.intercept_ = np.array([one["intercept"] for one in models], dtype="float64")
        self.terms_ = np.full((len(models), longest, 2), -1)
        self.scaled_, self.mean_ = np.zeros((2, len(models), longest))
        for k, one in enumerate(models):
            n = len(one["coef"])
            self.terms_[k, :n] = one["terms"]
            self.scaled_[k, :n], self.mean_[k, :n] = one["coef"] / one["std"], one["mean"]
        return self

    def predict_members(self, X) -> np.ndarray:
        """SMB (model, row), m w.e. per year; a row with a missing feature is NaN, and touches no other row."""
        X = self.match_features(X, self.n_features_in_)
        out = np.repeat(self.intercept_[:, None], len(X), axis=1)
        for k, terms in enumerate(self.terms_):
            # term by term: the order of summation must not depend on the number of rows
            for (first, second), weight, mean in zip(terms, self.scaled_[k], self.mean_[k], strict=True):
                if weight != 0.0:
                    term = X[:, first] * X[:, second] if second >= 0 else X[:, first]
                    out[k] += (term - mean) * weight
        out[:, ~np.isfinite(X).all(axis=1)] = np.nan
        return out

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored to predict again."""
        return {name: getattr(self, name) for name in ("intercept_", "terms_", "scaled_", "mean_")}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> PublishedLasso:
        """A model from what :meth:`to_arrays` gave."""
        model = cls()
        for name in ("intercept_", "terms_", "scaled_", "mean_"):
            setattr(model, name, np.asarray(arrays[name]))
        return model


def load_published(files_or_folder: str | Path | Iterable[str | Path]) -> PublishedNetworks | PublishedLasso:
    """ALPGM's published networks (`.h5`) as one ensemble, or its Lassos (`.json`), ready to predict.

    Neither Keras nor TensorFlow is needed. Architectures may be mixed.

    Parameters
    ----------
    files_or_folder
        One file; several, whose order is that of the members; or a folder. Of a folder, the files directly in it,
        sorted by name; if it has none, those anywhere below it, sorted by their path within it (ALPGM keeps each
        network of an ensemble in a folder of its own: `LSYGO_soft/ensemble/10/ann_glacier_model.h5`).

    Returns
    -------
    PublishedNetworks or PublishedLasso, of recipe "alpgm-1.2": `predict(X)` is the mean, `predict_members(X)` (network,
    row); X (row, 34) raw.

    Raises
    ------
    InputError
        Naming the file: missing, another kind, damaged, a network of other layers or inputs; an empty folder; networks
        and Lassos together.
    """
    files = _files(files_or_folder)
    kinds = {file.suffix.lower() for file in files}
    if kinds == {".h5"}:
        networks = [read_network(file, len(feature_names(RECIPE))) for file in files]
        model: Published = PublishedNetworks().set_networks(networks)
    elif kinds == {".json"}:
        model = PublishedLasso().set_models([_read_lasso(file) for file in files])
    else:
        raise InputError(f"{files_or_folder}: files of {', '.join(sorted(kinds))}; allowed: all .h5, or all .json")
    model.card = model.describe(files)
    return model


def _files(given: str | Path | Iterable[str | Path]) -> list[Path]:
    """The files meant, in order; refused if there are none or one does not exist."""
    if isinstance(given, str | Path) and Path(given).is_dir():
        folder = Path(given)
        known = (".h5", ".json")
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in known and f.is_file())
        files = files or sorted(f for f in folder.rglob("*") if f.suffix.lower() in known and f.is_file())
        if not files:
            raise InputError(f"{folder}: no network in it or below; allowed: a folder of .h5 or .json files")
        return files
    files = [Path(given)] if isinstance(given, str | Path) else [Path(file) for file in given]
    if not files:
        raise InputError("published models: no file given; allowed: at least one .h5 or .json")
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: {'a folder' if file.is_dir() else 'no such file'}; allowed: .h5 or .json files")
    return files


def _stack(networks: list[list[Layer]]) -> list[Layer]:
    """Layers of several networks of one shape, as layers of all of them."""
    return [
        Layer(np.concatenate([a.weights for a in same]), np.concatenate([a.bias for a in same]), same[0].slope)
        for same in zip(*networks, strict=True)
    ]


def _group(arrays: dict[str, np.ndarray], a: int) -> list[Layer]:
    """The layers of one architecture from what `to_arrays` gave."""
    n_layers = sum(name.startswith(f"weights_{a}_") for name in arrays)
    parts = [[arrays[f"{name}_{a}_{k}"] for name in Layer._fields] for k in range(n_layers)]
    return [Layer(weights, bias, float(slope)) for weights, bias, slope in parts]


def _read_lasso(path: Path) -> dict[str, np.ndarray]:
    """Terms, coefficients, means, standard deviations (term,) and intercept of one Lasso."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        names = stored["features"]
        out = {
            key: np.array(stored[name], dtype="float64")
            for key, name in (("coef", "coef"), ("mean", "training_mean"), ("std", "training_std"))
        }
        out["intercept"] = np.array(stored["intercept"], dtype="float64")
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: not a published Lasso ({error!r}); allowed: JSON with features, coef, intercept, training_mean, "
            "training_std"
        ) from error
    fits = all(out[key].shape == (len(names),) for key in ("coef", "mean", "std"))
    if not names or not fits or not all(np.isfinite(a).all() for a in out.values()) or (out["std"] <= 0).any():
        raise InputError(f"{path}: one finite coefficient, mean and positive deviation for each feature is allowed")
    out["terms"] = np.array([_term(path, name) for name in names])
    return out


def _term(path: Path, name: Any) -> tuple[int, int]:
    """Columns of a feature, or of a product of two; -1: none."""
    columns = [_column(path, part) for part in str(name).split("*")]
    if len(columns) > 2:
        raise InputError(f"{path}: {name!r}; allowed: a feature, or a product of two")
    return (columns[0], columns[1] if len(columns) == 2 else -1)


def _column(path: Path, name: str) -> int:
    names = feature_names(RECIPE)
    quantity, _, month = name.rpartition("_")
    ours = _NAMES.get(name, f"{quantity}_monthly_anomaly_{month}" if quantity in ("tas", "snowfall") else name)
    if ours not in names:
        raise InputError(f"{path}: feature {name!r} is not known; allowed: those of recipe {RECIPE!r}, and products")
    return names.index(ours)
