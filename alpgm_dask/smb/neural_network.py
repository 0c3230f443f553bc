"""An ensemble of neural networks, trained with Keras, kept as plain arrays, predicting with NumPy alone."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alpgm_dask.kernels.network import forward
from alpgm_dask.schema import InputError
from alpgm_dask.smb.base import (
    Regressor,
    balanced_weights,
    check_target,
    check_weights,
    mean_over_members,
    scores,
)
from alpgm_dask.smb.folds import Fold, inner_folds
from alpgm_dask.smb.network_architecture import Architecture, Weights, architecture_of, folded
from alpgm_dask.smb.network_epochs import BestOnTest, HeldOut, scaling

#: Networks of each inner fold: enough for a steady curve of held-out error over the epochs.
INNER_MEMBERS = 3

SCALING = ("feature_mean", "feature_scale", "target_mean", "target_scale")


class NeuralNetwork(Regressor):
    """Mean of feed-forward networks that differ by their start and the order of their rows in training (deep ensemble,
    Lakshminarayanan et al. 2017, arXiv:1612.01474), for SMB as in Bolibar et al. 2020 (doi:10.5194/tc-14-565-2020).

    Features and target are standardised by the training rows, and the standardisation is part of the stored weights:
    the model takes raw features. The number of epochs is the one with the smallest squared error on the held-out rows
    of inner folds; the networks that are kept are then trained on all rows for so long. Needs TensorFlow to train, and
    only to train. Training asks TensorFlow for a single thread, if it has not started yet: then the same seed gives the
    same networks in any process.

    Parameters
    ----------
    recipe
        Which features the columns are (:data:`alpgm_dask.features.RECIPES`); None: any, unnamed.
    architecture
        "default" or "published" (ALPGM's 40-20-10-5-1); the widths of the hidden layers; or what differs from the
        default, by name: activation, dropout, batch_size ...
        (:class:`alpgm_dask.smb.network_architecture.Architecture`).
    n_members
        Networks of the ensemble.
    epochs
        The most passes over the training rows that are tried.
    learning_rate, l2
        Step of the optimizer, and penalty of the sum of squared weights; None: those of the architecture.
    weights
        "none", or "balanced": rare, extreme balances count more (:func:`alpgm_dask.smb.base.balanced_weights`).
    n_splits
        Largest number of inner folds; fewer where there are fewer groups.
    seed
        Of starts, order of rows, dropout and noise.

    Attributes
    ----------
    epochs_
        The number of epochs chosen; by :meth:`fit_published`, one for each network.
    layers_
        The networks, ready for :func:`alpgm_dask.kernels.network.forward`.
    weights_, scaling_
        The weights as trained, and the standardisation.
    protocol_
        "nested", or "published" if the epochs were chosen on the test fold.
    cv_scores_, train_scores_
        Scores of the held-out rows of the inner folds (with :data:`INNER_MEMBERS` networks), and of the training rows.
    """

    kind = "neural_network"

    def __init__(
        self,
        recipe: str | None = "standard",
        architecture: str | tuple[int, ...] | dict[str, Any] = "default",
        n_members: int = 10,
        epochs: int = 400,
        learning_rate: float | None = None,
        l2: float | None = None,
        weights: str = "none",
        n_splits: int = 5,
        seed: int = 0,
    ) -> None:
        self.recipe = recipe
        self.architecture = architecture
        self.n_members = n_members
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.l2 = l2
        self.weights = weights
        self.n_splits = n_splits
        self.seed = seed

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None) -> NeuralNetwork:
        """Choose the number of epochs on held-out rows, then train the networks on all rows.

        Parameters
        ----------
        X
            (row, feature), finite; an xarray.DataArray with a `feature` coordinate is checked for names and order.
        y
            (row,) SMB, m w.e. per year.
        groups
            (row,) the glacier of each row: whole ones are held out.
        folds
            (train, test) masks to hold out instead, such as folds of years.
        sample_weight
            (row,) relative weights; None: all the same.

        Raises
        ------
        InputError
            NaN or infinite values, wrong shapes or names, a constant target, fewer than two groups, settings that are
            not allowed; TensorFlow is not installed.
        """
        how, (X, y, weight) = self._settings(), self._rows(X, y, sample_weight)
        folds = inner_folds(groups, folds, len(X), self.n_splits)
        self.protocol_ = "nested"
        self._choose(how, X, y, weight, folds)
        networks = [(np.ones(len(X), dtype=bool), 0, k) for k in range(self.n_members)]
        task, scalings = self._task(X, y, weight, networks)
        self._keep(_training().train(task, how, self.epochs_), how, scalings[0])
        self.train_scores_ = scores(y, self.predict(X))
        return self

    def fit_published(self, X, y, X_test, y_test, sample_weight=None) -> NeuralNetwork:
        """Train as ALPGM did, each network kept at the epoch at which it fits the *test* rows best.

        To reproduce published scores. They are not honest: the test rows have been looked at. `protocol_` says so, and
        no intervals are available.

        Parameters
        ----------
        X, y, sample_weight
            Training rows, as for :meth:`fit`.
        X_test, y_test
            (row, feature) and (row,) of the test rows.

        Raises
        ------
        InputError
            As :meth:`fit`.
        """
        how, (X, y, weight) = self._settings(), self._rows(X, y, sample_weight)
        X_test = self.check_features(X_test, X.shape[1])
        y_test = np.asarray(y_test, dtype="float64")
        if y_test.shape != (len(X_test),) or not len(y_test) or not np.isfinite(y_test).all():
            raise InputError(f"test target: shape {y_test.shape}; allowed: ({len(X_test)},), at least one, finite")
        both, target = np.concatenate([X, X_test]), np.concatenate([y, y_test])
        train = np.arange(len(both)) < len(X)
        task, scalings = self._task(
            both, target, np.append(weight, np.ones(len(X_test))), [(train, 0, k) for k in range(self.n_members)]
        )
        best = BestOnTest(task.target[:, ~train])
        _training().train(task, how, self.epochs, lambda k, values, get: best.look(k, values[:, ~train], get))
        self.protocol_, self.epochs_, self.cv_scores_ = "published", best.epochs, {}
        for name in ("error_", "error_ratio_"):  # of an earlier, honest fit
            vars(self).pop(name, None)
        self._keep(best.weights, how, scalings[0])
        self.train_scores_ = scores(y, self.predict(X))
        return self

    def predict(self, X) -> np.ndarray:
        """SMB (row,), m w.e. per year; rows with missing features are refused (InputError)."""
        return mean_over_members(self.predict_members(self.check_features(X, self.n_features_in_)))

    def predict_members(self, X) -> np.ndarray:
        """SMB (network, row), m w.e. per year; a row with a missing feature is NaN, and touches no other row."""
        return forward(self.layers_, self.match_features(X, self.n_features_in_))

    def about(self) -> dict[str, Any]:
        """What the model card says of the model, with the epochs and how they were chosen."""
        return {**super().about(), "epochs": np.asarray(self.epochs_).tolist(), "protocol": self.protocol_}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored to predict, to go on training, or to rebuild the Keras model."""
        arrays = {**self.weights_, **self.scaling_, "epochs_": np.asarray(self.epochs_)}
        return {**arrays, "protocol_": np.array(self.protocol_), **self.calibration_arrays()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> NeuralNetwork:
        """A model from what :meth:`to_arrays` gave and its card."""
        settings = card.get("settings", {})
        model = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
        how = model._settings()
        model.epochs_, model.protocol_ = arrays["epochs_"].tolist(), str(arrays["protocol_"])
        weights = {name: arrays[name] for name in how.names()}
        model._keep(weights, how, {name: arrays[name] for name in SCALING})
        model.set_calibration(arrays)
        model.cv_scores_, model.train_scores_ = card.get("cv_scores", {}), card.get("train_scores", {})
        return model

    def save_files(self, folder: str | Path) -> list[str]:
        """Write the networks as one Keras model, `network.keras`: raw features (row, feature) to SMB (row, network).

        It is made of layers that Keras has: `keras.saving.load_model(path, safe_mode=True)` needs nothing of ours.
        Loading the model back does not need it; without TensorFlow it is not written.

        Returns
        -------
        Names of the files written.
        """
        try:
            training = _training()
        except InputError:
            return []
        how, n_networks = self._settings(), len(self.weights_["kernel_0"])
        network = training.build(how, n_networks, self.n_features_in_, self.seed, self.scaling_)
        training.put_weights(network, self.weights_)
        network.save(Path(folder) / "network.keras")
        return ["network.keras"]

    def _settings(self) -> Architecture:
        """The architecture with this model's own step and penalty, after a look at all settings."""
        for name in ("n_members", "epochs", "n_splits"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < (2 if name == "n_splits" else 1):
                raise InputError(f"{name}: {value!r}; allowed: a whole number from {2 if name == 'n_splits' else 1}")
        if self.weights not in ("none", "balanced"):
            raise InputError(f"weights: {self.weights!r}; allowed: none, balanced")
        own = {name: getattr(self, name) for name in ("learning_rate", "l2") if getattr(self, name) is not None}
        return replace(architecture_of(self.architecture), **own).checked()

    def _rows(self, X, y, sample_weight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X = self.check_features(X)
        y, weight = check_target(y, len(X)), check_weights(sample_weight, len(X))
        return X, y, check_weights(weight * balanced_weights(y), len(X)) if self.weights == "balanced" else weight

    def _task(self, X, y, weight, networks: list[tuple[np.ndarray, int, int]]):
        """What :func:`.network_training.train` takes, and each network's standardisation; a network is the rows it is
        trained on, and two numbers that its random stream follows from.
        """
        scalings = [scaling(X[rows], y[rows]) for rows, _, _ in networks]
        task = _training().Task(
            np.stack([(X - s["feature_mean"]) / s["feature_scale"] for s in scalings]).astype("float32"),
            np.stack([(y - s["target_mean"]) / s["target_scale"] for s in scalings]).astype("float32"),
            np.stack([weight] * len(networks)).astype("float32"),
            [np.flatnonzero(rows) for rows, _, _ in networks],
            [(self.seed, fold, member) for _, fold, member in networks],
            self.seed,
        )
        return task, scalings

    def _choose(self, how: Architecture, X, y, weight, folds: list[Fold]) -> None:
        """Train on the inner folds, keep the number of epochs that suits their held-out rows; calibrate on these."""
        n = min(self.n_members, INNER_MEMBERS)
        task, scalings = self._task(X, y, weight, [(f.train, 1 + i, k) for i, f in enumerate(folds) for k in range(n)])
        curve = HeldOut(y, weight, folds, scalings[::n], n)
        _training().train(task, how, self.epochs, curve.look)
        best = curve.best()
        self.epochs_ = best + 1
        target, predicted, variance = curve.target, curve.mean[best], curve.variance[best]
        self.cv_scores_ = scores(target, predicted)
        spread = np.sqrt(np.mean((predicted - target) ** 2) + variance)
        self.calibrate(target, predicted, spread)

    def _keep(self, weights: Weights, how: Architecture, scaled: dict[str, np.ndarray]) -> None:
        self.weights_, self.scaling_ = weights, scaled
        self.layers_ = folded(weights, how, scaled)
        self.n_features_in_ = len(scaled["feature_mean"])


def _training() -> Any:
    """The module that needs TensorFlow, or a clear word that it is not there."""
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError("neural_network: TensorFlow is not installed; allowed: pip install 'alpgm_dask[ann]'")
    return importlib.import_module("alpgm_dask.smb.network_training")
