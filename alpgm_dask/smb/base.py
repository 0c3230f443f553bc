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

    def settings(self) -> dict[str, Any]:
        """The settings as JSON holds them, for the card of a stored model."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self.get_params().items()}

    def about(self) -> dict[str, Any]:
        """What the card of a stored model says of the model itself: what it is, and how the fit went; JSON-ready."""
        return {
            "kind": self.kind,
            "recipe": self.recipe,
            "settings": self.settings(),
            "alpha": getattr(self, "alpha_", None),
            "train_scores": getattr(self, "train_scores_", {}),
            "cv_scores": getattr(self, "cv_scores_", {}),
        }

    def __sklearn_tags__(self):
        """What scikit-learn (1.6 or newer) asks of an estimator; only called from there."""
        from sklearn.utils import RegressorTags, Tags, TargetTags

        target = TargetTags(required=True)
        return Tags(estimator_type="regressor", target_tags=target, regressor_tags=RegressorTags())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def calibrate(self, observed: np.ndarray, predicted: np.ndarray, spread: np.ndarray | None = None) -> None:
        """Learn how wide intervals have to be from rows that were held out, predicted without having been seen.

        Keeps `error_`, the root mean square error of these rows, and `error_ratio_`, their absolute errors in units
        of the spread that the model claimed for them, in rising order: split conformal prediction with a scaled score
        (Lei et al. 2018, doi:10.1080/01621459.2017.1307116, Sect. 5.2).

        Parameters
        ----------
        observed, predicted
            (row,) m w.e. per year, of rows held out inside the training.
        spread
            (row,) what :meth:`predict_spread` would have said of them; None: the same for all.
        """
        error = np.abs(np.asarray(predicted) - np.asarray(observed))
        self.error_ = float(np.sqrt(np.mean(error**2)))
        self.error_ratio_ = np.sort(error / (self.error_ if spread is None else spread))

    def calibration_arrays(self) -> dict[str, np.ndarray]:
        """What :meth:`calibrate` learned, to be stored; nothing where it was not called."""
        if not hasattr(self, "error_"):
            return {}
        return {"error_": np.array(self.error_), "error_ratio_": self.error_ratio_}

    def set_calibration(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`calibration_arrays` gave."""
        if "error_" in arrays:
            self.error_, self.error_ratio_ = float(arrays["error_"]), np.asarray(arrays["error_ratio_"])

    def predict_spread(self, X) -> np.ndarray:
        """(row,) m w.e. per year: the error expected of each row: that of held-out rows, and the members' spread."""
        return np.sqrt(self.error_**2 + self.predict_members(X).var(axis=0))

    def predict_interval(self, X, level: float = 0.9) -> np.ndarray:
        """(2, row) m w.e. per year: lower and upper end of the interval that holds a share `level` of observations.

        Its width is the spread, times what that share of the rows held out inside the training needed.

        Raises
        ------
        InputError
            if the model was fitted without held-out rows, or `level` is not between 0 and 1.
        """
        if not hasattr(self, "error_"):
            raise InputError(f"{self.kind}: fitted without held-out rows; allowed: fit with groups or folds")
        if not 0 < level < 1:
            raise InputError(f"level: {level}; allowed: between 0 and 1")
        n = self.error_ratio_.size
        rank = min(int(np.ceil((n + 1) * level)), n) - 1
        half = self.error_ratio_[rank] * self.predict_spread(X)
        centre = self.predict(X)
        return np.stack([centre - half, centre + half])

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


def check_weights(sample_weight, n_rows: int) -> np.ndarray:
    """Weights as float64 (row,) of mean 1, refused if of another length, negative, not finite or all 0; None: ones."""
    if sample_weight is None:
        return np.ones(n_rows)
    values = np.asarray(sample_weight, dtype="float64")
    if values.shape != (n_rows,):
        raise InputError(f"sample_weight: shape {values.shape}; allowed: ({n_rows},), one per row of features")
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() == 0:
        raise InputError("sample_weight: not finite, negative or all 0; allowed: positive numbers")
    return values / values.mean()


def balanced_weights(y, width: float = 1.0) -> np.ndarray:
    """Weights (row,) of mean 1 that give every class of SMB the same total: rare, extreme balances count more.

    What scikit-learn calls "balanced"; classes are `width` m w.e. wide. ALPGM trains with and without such weights.

    >>> balanced_weights([-0.5, -0.4, -0.2, 2.5]).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    _, code, count = np.unique(np.floor(np.asarray(y) / width), return_inverse=True, return_counts=True)
    return len(code) / (len(count) * count[code.ravel()])


def mean_over_members(members: np.ndarray) -> np.ndarray:
    """(row,) mean of (smb_member, row), added member by member.

    NumPy's own mean over the first axis adds in another order where there is a single row.
    """
    total = np.zeros(members.shape[1])
    for member in members:
        total += member
    return total / len(members)


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
