"""A Lasso on standardised features, its penalty chosen by cross-validation over whole glaciers."""

from __future__ import annotations

from typing import Any

import numpy as np

from alpgm_dask.schema import InputError
from alpgm_dask.smb.base import Regressor, check_target, scores


class Lasso(Regressor):
    """Linear model of SMB with an L1 penalty (Tibshirani 1996, doi:10.1111/j.2517-6161.1996.tb02080.x).

    Features are standardised with the mean and standard deviation of the training rows. The penalty is the one with
    the smallest pooled squared error when whole groups (glaciers) are left out; each inner fold is standardised on
    its own training rows, so nothing of the held-out glaciers enters. A validation that leaves glaciers out must
    fit this estimator anew in each fold: then the choice of the penalty is nested in it.

    Parameters
    ----------
    recipe
        Which features the columns are (:data:`alpgm_dask.features.RECIPES`); None: any, unnamed.
    alphas
        Number of penalties tried, or the penalties themselves (on standardised features, target in m w.e.); a
        sequence of one fixes the penalty, without cross-validation.
    eps
        Smallest penalty tried as a fraction of the one that makes all weights 0.
    cv
        What the groups of `fit` are; only recorded.
    n_splits
        Largest number of inner folds; fewer where there are fewer groups.

    Attributes
    ----------
    weights_, intercept_
        (feature,) float64 and float, on raw features.
    coef_, feature_mean_, feature_scale_, alpha_
        Weights on standardised features; the standardisation; the penalty chosen.
    cv_scores_, train_scores_
        Scores of the held-out groups of the inner folds, and of the training rows.
    """

    kind = "lasso"

    def __init__(
        self,
        recipe: str | None = "alpgm-1.2-seasonal",
        alphas: int | tuple[float, ...] = 60,
        eps: float = 1e-3,
        cv: str = "glacier",
        n_splits: int = 10,
    ) -> None:
        self.recipe = recipe
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.n_splits = n_splits

    def fit(self, X, y, groups=None) -> Lasso:
        """Choose the penalty on held-out groups, then fit all rows.

        Parameters
        ----------
        X
            (row, feature), finite; an xarray.DataArray with a `feature` coordinate is checked for names and order.
        y
            (row,) SMB, m w.e. per year.
        groups
            (row,) the glacier of each row.

        Raises
        ------
        InputError
            NaN or infinite values, wrong shapes or names, a constant target, fewer than two groups.
        """
        X = self.check_features(X)
        y = check_target(y, len(X))
        alphas = self._penalties(X, y)
        self.cv_scores_ = {}
        self.alpha_ = float(alphas[0])
        if len(alphas) > 1:
            self._choose(X, y, alphas, check_groups(groups, len(X), self.cv))
        self.feature_mean_, self.feature_scale_ = _standardisation(X)
        self.coef_ = _path(X, y, [self.alpha_], self.feature_mean_, self.feature_scale_)[:, 0]
        self._set_weights(float(y.mean()))
        self.n_features_in_ = X.shape[1]
        self.train_scores_ = scores(y, self.predict(X))
        return self

    def predict(self, X) -> np.ndarray:
        """SMB (row,), m w.e. per year; rows with missing features are refused (InputError)."""
        return self.predict_members(self.check_features(X, self.n_features_in_))[0]

    def predict_members(self, X) -> np.ndarray:
        """SMB (1, row) for the year loop: a row with a missing feature is NaN, and touches no other row.

        Summed feature by feature instead of as a matrix product: a product's order of summation depends on the
        number of rows, and so would the last digits of a glacier on its block.
        """
        X = self.match_features(X, self.n_features_in_)
        out = np.full(len(X), self.intercept_)
        for j, weight in enumerate(self.weights_):
            out += X[:, j] * weight
        return out[None, :]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored to predict again."""
        names = ("coef_", "feature_mean_", "feature_scale_", "weights_")
        return {n: getattr(self, n) for n in names} | {"intercept_": np.array(self.intercept_)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Lasso:
        """A model from what :meth:`to_arrays` gave and its card."""
        settings = card.get("settings", {})
        model = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
        for name in ("coef_", "feature_mean_", "feature_scale_", "weights_"):
            setattr(model, name, np.asarray(arrays[name], dtype="float64"))
        model.intercept_ = float(arrays["intercept_"])
        model.n_features_in_ = len(model.weights_)
        model.alpha_ = float(card.get("alpha", float("nan")))
        model.cv_scores_, model.train_scores_ = card.get("cv_scores", {}), card.get("train_scores", {})
        return model

    def _set_weights(self, intercept: float) -> None:
        self.weights_ = self.coef_ / self.feature_scale_
        self.intercept_ = intercept - float(np.sum(self.weights_ * self.feature_mean_))

    def _penalties(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        if np.ndim(self.alphas):
            values = np.sort(np.asarray(self.alphas, dtype="float64"))[::-1]
            if not values.size or not (np.isfinite(values) & (values > 0)).all():
                raise InputError(f"alphas: {self.alphas}; allowed: positive numbers")
            return values
        mean, scale = _standardisation(X)
        largest = np.abs((X - mean).T @ (y - y.mean()) / scale).max() / len(y)
        return np.geomspace(largest, largest * self.eps, int(self.alphas))

    def _choose(self, X: np.ndarray, y: np.ndarray, alphas: np.ndarray, groups: np.ndarray) -> None:
        held_out = np.empty((len(y), len(alphas)))
        for test in _folds(groups, self.n_splits):
            train = ~test
            mean, scale = _standardisation(X[train])
            coefficients = _path(X[train], y[train], alphas, mean, scale)
            held_out[test] = y[train].mean() + ((X[test] - mean) / scale) @ coefficients
        best = int(np.argmin(np.mean((held_out - y[:, None]) ** 2, axis=0)))
        self.alpha_ = float(alphas[best])
        self.cv_scores_ = scores(y, held_out[:, best])


def check_groups(groups, n_rows: int, what: str = "glacier") -> np.ndarray:
    """Groups as an array (row,), refused if they are missing, of another length, or all the same."""
    if groups is None:
        raise InputError(f"groups: none given; allowed: the {what} of each row, so that whole {what}s are held out")
    values = np.asarray(groups)
    if values.shape != (n_rows,):
        raise InputError(f"groups: shape {values.shape}; allowed: ({n_rows},), one per row of features")
    different = np.unique(values)
    if different.size < 2:
        raise InputError(f"groups: a single {what} ({different[0]}) in {n_rows} rows; allowed: at least two")
    return values


def _folds(groups: np.ndarray, n_splits: int) -> list[np.ndarray]:
    """Masks of held-out rows: groups dealt, largest first, to the fold with the fewest rows so far."""
    names, code, count = np.unique(groups, return_inverse=True, return_counts=True)
    fold_of, load = np.empty(len(names), dtype=int), np.zeros(min(n_splits, len(names)))
    for group in np.argsort(-count, kind="stable"):
        fold_of[group] = int(np.argmin(load))
        load[fold_of[group]] += count[group]
    return [fold_of[code.ravel()] == fold for fold in range(len(load))]


def _standardisation(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; 1 for a constant column, whose weight is then 0."""
    scale = X.std(axis=0)
    # a constant column's standard deviation is rounding noise, not exactly 0
    constant = np.ptp(X, axis=0) == 0
    return X.mean(axis=0), np.where(constant, 1.0, scale)


def _path(X: np.ndarray, y: np.ndarray, alphas, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Coefficients (feature, alpha) on standardised features, for penalties in falling order."""
    from sklearn.linear_model import lasso_path

    # lasso_path wants centred, Fortran-ordered data; the target's mean is the intercept
    standardised = np.asfortranarray((X - mean) / scale)
    return lasso_path(standardised, y - y.mean(), alphas=np.asarray(alphas), max_iter=20_000, tol=1e-6)[1]
