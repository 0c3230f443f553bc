"""How long to train: held-out errors of inner folds, epoch by epoch; and ALPGM's way, on the rows that are tested."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alpgm_dask.smb.folds import Fold
from alpgm_dask.smb.network_architecture import Weights

#: Over how many epochs the held-out error is averaged before epochs are compared (single ones are noisy), and after how
#: many without a better one the search ends.
SMOOTHING, PATIENCE = 9, 60


class HeldOut:
    """What the networks of inner folds say of rows that they have not seen, after every epoch.

    Attributes
    ----------
    target, weight
        (row,) of the held-out rows, fold after fold.
    mean, variance
        per epoch (row,): mean and variance over the networks of the row's fold.
    """

    def __init__(self, y, weight, folds: list[Fold], scaling: list[dict[str, np.ndarray]], n_networks: int) -> None:
        self.folds, self.scaling, self.n_networks = folds, scaling, n_networks
        self.target = np.concatenate([y[fold.test] for fold in folds])
        self.weight = np.concatenate([weight[fold.test] for fold in folds])
        self.mean: list[np.ndarray] = []
        self.variance: list[np.ndarray] = []

    def look(self, epoch: int, values: np.ndarray, weights: Callable[[], Weights]) -> bool:
        """Keep the predictions (network, row) of an epoch; whether the search is over."""
        mean, variance = [], []
        for i, (fold, scaling) in enumerate(zip(self.folds, self.scaling, strict=True)):
            own = values[i * self.n_networks : (i + 1) * self.n_networks, fold.test].astype("float64")
            own = own * scaling["target_scale"] + scaling["target_mean"]
            mean.append(own.mean(axis=0))
            variance.append(own.var(axis=0))
        self.mean.append(np.concatenate(mean))
        self.variance.append(np.concatenate(variance))
        return epoch - 1 - self.best() > PATIENCE

    def best(self) -> int:
        """Index of the epoch with the smallest weighted squared error, averaged over its neighbours."""
        error = np.array([np.average((mean - self.target) ** 2, weights=self.weight) for mean in self.mean])
        half = SMOOTHING // 2
        return int(np.argmin([error[max(k - half, 0) : k + half + 1].mean() for k in range(len(error))]))


class BestOnTest:
    """Each network's weights at the epoch at which it fits some rows best: ALPGM kept them so, on the test rows.

    Attributes
    ----------
    epochs
        per network, the epoch from 1.
    weights
        those of these epochs.
    """

    def __init__(self, target: np.ndarray) -> None:
        self.target, self.weights = target, {}
        self.error = np.full(len(target), np.inf)
        self.epochs = np.zeros(len(target), dtype=int)

    def look(self, epoch: int, values: np.ndarray, weights: Callable[[], Weights]) -> bool:
        """Compare predictions (network, row) with the target; the search is never over before the last epoch."""
        error = np.mean((values - self.target) ** 2, axis=1)
        better = error < self.error
        if better.any():
            for name, value in weights().items():
                self.weights.setdefault(name, value)[better] = value[better]
            self.error[better], self.epochs[better] = error[better], epoch
        return False


def scaling(X: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Means and standard deviations of the features (feature,) and of the target; 1 for a constant feature."""
    deviation = X.std(axis=0)
    return {
        "feature_mean": X.mean(axis=0),
        # the standard deviation of a constant column is rounding noise, not exactly 0
        "feature_scale": np.where(np.ptp(X, axis=0) == 0, 1.0, deviation),
        "target_mean": np.array(y.mean()),
        "target_scale": np.array(y.std() if np.ptp(y) else 1.0),
    }
