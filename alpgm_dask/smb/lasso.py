"""A Lasso on standardised features, its penalty chosen by cross-validation over whole glaciers."""

from __future__ import annotations

from typing import Any

import numpy as np

from alpgm_dask.schema import InputError
from alpgm_dask.smb.base import Regressor, check_target, check_weights, scores
from alpgm_dask.smb.folds import Fold, inner_folds


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

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None) -> Lasso:
        """Choose the penalty on held-out rows, then fit all rows.

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
            NaN or infinite values, wrong shapes or names, a constant target, fewer than two groups.
        """
        X = self.check_features(X)
        y, weight = check_target(y, len(X)), check_weights(sample_weight, len(X))
        alphas = self._penalties(X, y, weight)
        self.cv_scores_ = {}
        self.alpha_ = float(alphas[0])
        if len(alphas) > 1:
            self._choose(X, y, weight, alphas, inner_folds(groups, folds, len(X), self.n_splits, self.cv))
        self.feature_mean_, self.feature_scale_ = _standardisation(X, weight)
        self.coef_ = _path(X, y, weight, [self.alpha_], self.feature_mean_, self.feature_scale_)[:, 0]
        self._set_weights(float(np.average(y, weights=weight)))
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
        arrays = {n: getattr(self, n) for n in names} | {"intercept_": np.array(self.intercept_)}
        return arrays | self.calibration_arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Lasso:
        """A model from what :meth:`to_arrays` gave and its card."""
        settings = card.get("settings", {})
        model = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
        for name in ("coef_", "feature_mean_", "feature_scale_", "weights_"):
            setattr(model, name, np.asarray(arrays[name], dtype="float64"))
        model.intercept_ = float(arrays["intercept_"])
        model.n_features_in_ = len(model.weights_)
        model.set_calibration(arrays)
        model.alpha_ = float(card.get("alpha", float("nan")))
        model.cv_scores_, model.train_scores_ = card.get("cv_scores", {}), card.get("train_scores", {})
        return model

    def _set_weights(self, intercept: float) -> None:
        self.weights_ = self.coef_ / self.feature_scale_
        self.intercept_ = intercept - float(np.sum(self.weights_ * self.feature_mean_))

    def _penalties(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        if np.ndim(self.alphas):
            values = np.sort(np.asarray(self.alphas, dtype="float64"))[::-1]
            if not values.size or not (np.isfinite(values) & (values > 0)).all():
                raise InputError(f"alphas: {self.alphas}; allowed: positive numbers")
            return values
        mean, scale = _standardisation(X, weight)
        centred = weight * (y - np.average(y, weights=weight))
        largest = np.abs((X - mean).T @ centred / scale).max() / len(y)
        return np.geomspace(largest, largest * self.eps, int(self.alphas))

    def _choose(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray, alphas: np.ndarray, folds: list[Fold]) -> None:
        observed, held_out, of = [], [], []
        for train, test in folds:
            mean, scale = _standardisation(X[train], weight[train])
            coefficients = _path(X[train], y[train], weight[train], alphas, mean, scale)
            centre = np.average(y[train], weights=weight[train])
            held_out.append(centre + ((X[test] - mean) / scale) @ coefficients)
            observed.append(y[test])
            of.append(weight[test])
        predicted, target = np.concatenate(held_out), np.concatenate(observed)
        error = np.average((predicted - target[:, None]) ** 2, axis=0, weights=np.concatenate(of))
        best = int(np.argmin(error))
        self.alpha_ = float(alphas[best])
        self.cv_scores_ = scores(target, predicted[:, best])
        self.calibrate(target, predicted[:, best])


def _standardisation(X: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; 1 for a constant column, whose weight is then 0."""
    mean = np.average(X, axis=0, weights=weight)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
    # a constant column's standard deviation is rounding noise, not exactly 0
    constant = np.ptp(X, axis=0) == 0
    return mean, np.where(constant, 1.0, scale)


def _path(X: np.ndarray, y: np.ndarray, weight: np.ndarray, alphas, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Coefficients (feature, alpha) on standardised features, for penalties in falling order."""
    from sklearn.linear_model import lasso_path

    # lasso_path wants centred, Fortran-ordered data; the target's mean is the intercept; weights enter as their roots
    root = np.sqrt(weight)
    standardised = np.asfortranarray((X - mean) / scale * root[:, None])
    target = (y - np.average(y, weights=weight)) * root
    return lasso_path(standardised, target, alphas=np.asarray(alphas), max_iter=20_000, tol=1e-6)[1]
