"""What every SMB model shares: scikit-learn's conventions without importing it, and checks of what it is given."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.features import feature_names
from alpgm_dask.schema import InputError


class Regressor:
    """A regressor that scikit-learn can clone, search and cross-validate, but that does not need it to predict."""

    _estimator_type = "regressor"
    recipe: str | None

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({settings})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings the model was made with, by name."""
        return {
            name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"
        }

    def set_params(self, **params: Any) -> Regressor:
        """Change settings; unknown names are refused."""
        allowed = self.get_params()
        for name, value in params.items():
            if name not in allowed:
                raise InputError(f"{type(self).__name__} has no setting {name!r}; allowed: {', '.join(allowed)}")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self):
        """What scikit-learn (1.6 or newer) asks of an estimator; only called from there."""
        from sklearn.utils import RegressorTags, Tags, TargetTags

        target = TargetTags(required=True)
        return Tags(estimator_type="regressor", target_tags=target, regressor_tags=RegressorTags())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def score(self, X, y) -> float:
        """Coefficient of determination of the prediction."""
        return scores(np.asarray(y, dtype="float64"), self.predict(X))["r2"]

    def check_features(self, X, n_features: int | None = None, names: tuple[str, ...] | None = None) -> np.ndarray:
        """`X` as float64 (row, feature), refused if it cannot be what the model takes.

        Raises
        ------
        InputError
            Naming the feature for a wrong number, name or order, and for NaN or infinite values.
        """
        names = feature_names(self.recipe) if names is None and self.recipe else names
        values = self.match_features(X, n_features, names)
        bad_rows, bad_columns = np.nonzero(~np.isfinite(values))
        if bad_rows.size:
            name = names[bad_columns[0]] if names else bad_columns[0]
            value = values[bad_rows[0], bad_columns[0]]
            raise InputError(
                f"features: '{name}' is {value} in row {bad_rows[0]} ({bad_rows.size} such values); "
                "allowed: finite numbers"
            )
        return values

    def match_features(self, X, n_features: int | None = None, names: tuple[str, ...] | None = None) -> np.ndarray:
        """`X` as float64 (row, feature), refused for a wrong shape, wrong names or a wrong order of names."""
        names = feature_names(self.recipe) if names is None and self.recipe else names
        if isinstance(X, xr.DataArray) and "feature" in X.coords and names is not None:
            given = tuple(map(str, X["feature"].values))
            if given != tuple(names):
                wrong = next((a, b) for a, b in zip((*given, None), (*names, None), strict=False) if a != b)
                raise InputError(
                    f"features: name {wrong[0]!r} stands where the model has {wrong[1]!r}; allowed: {names}"
                )
        values = np.asarray(X, dtype="float64")
        wanted = n_features if n_features is not None else (len(names) if names else None)
        if values.ndim != 2 or (wanted is not None and values.shape[1] != wanted):
            raise InputError(f"features: shape {values.shape}; allowed: (row, {wanted or 'feature'})")
        return values


def check_target(y, n_rows: int) -> np.ndarray:
    """`y` as float64 (row,), refused if it is of another length, not finite, or constant."""
    values = np.asarray(y, dtype="float64")
    if values.shape != (n_rows,):
        raise InputError(f"target: shape {values.shape}; allowed: ({n_rows},), one value per row of features")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise InputError(f"target: {values[bad[0]]} in row {bad[0]} ({bad.size} such values); allowed: finite numbers")
    if n_rows < 2 or np.ptp(values) == 0:
        raise InputError(f"target: constant over {n_rows} rows; allowed: at least two different values")
    return values


def scores(observed: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """r2, rmse, mae and bias (predicted - observed).

    >>> scores(np.array([0.0, 2.0]), np.array([1.0, 2.0]))
    {'r2': 0.5, 'rmse': 0.7071067811865476, 'mae': 0.5, 'bias': 0.5}
    """
    error = predicted - observed
    spread = np.sum((observed - observed.mean()) ** 2)
    return {
        "r2": float(1 - np.sum(error**2) / spread) if spread > 0 else float("nan"),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "bias": float(np.mean(error)),
    }
