"""A Gaussian process for SMB that knows that a year's signal is regional and a glacier's character its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alpgm_dask.features import feature_names
from alpgm_dask.kernels.gaussian_process import Term, covariance, mean_product, squared_distance
from alpgm_dask.smb.base import Regressor, check_target, check_weights, scores
from alpgm_dask.smb.folds import Fold, inner_folds
from alpgm_dask.smb.process.columns import LENGTHS, YEAR_LENGTH, Columns, check_recipe
from alpgm_dask.smb.process.draws import PriorDraws
from alpgm_dask.smb.process.fit import Parameters, maximise

#: Rows that are predicted together: products of one shape give a row the same bits whatever its neighbours are. Few,
#: for a block of glaciers has few left in many years, and the last tile is filled up.
TILE = 8

#: Rows whose spread is worked out together: bounds the memory.
PORTION = 256


class GaussianProcess(Regressor):
    """Gaussian process regression of SMB (Rasmussen and Williams 2006, ISBN 026218253X, Eqs. 2.25 and 2.26).

    The covariance of two glacier-years is a sum of terms, each with an amplitude that the training rows choose:

    - a constant; linear in the region's climate of the year (seasonal anomalies, annual snowfall, means of groups of
      months, products of degree-days with all three seasonal anomalies), in a glacier's deviation from it, in
      topography and location;
    - what is the glacier's own: an offset and a sensitivity to the region's climate, alike for a glacier's own years;
    - what is the place's: an offset and a sensitivity, alike for glaciers of similar topography and location;
    - what is the year's: an offset shared by the region, and two patterns in space on a wide and a narrow scale, alike
      for rows of the same regional climate.

    The last group carries what climate does not explain from observed glaciers to others in the same year, and is
    silent in a year without observations; then only the terms of climate speak, which were fitted beside it and so
    do not mistake the many glaciers of one year for many independent years (a mixed model in the sense of Laird and
    Ware 1982, doi:10.2307/2529876). Amplitudes and lengths have the largest marginal likelihood of the training rows.

    Parameters
    ----------
    recipe
        a recipe with regional climate (:data:`alpgm_dask.features.RECIPES`).
    n_members
        draws of the posterior that :meth:`predict_members` gives; 1: only the mean.
    n_frequencies
        random frequencies that each similarity of a draw is made of.
    max_iterations
        of the search for amplitudes and lengths.
    n_splits
        largest number of inner folds, which only widen or narrow the intervals.
    seed
        of the draws.

    Attributes
    ----------
    parameters_
        amplitudes, lengths and noise chosen, see :class:`alpgm_dask.smb.process.fit.Parameters`.
    cv_scores_, train_scores_
        scores of held-out rows of the inner folds (amplitudes and lengths from all training rows), and of the
        training rows.
    """

    kind = "gaussian_process"

    def __init__(
        self,
        recipe: str | None = "standard-regional",
        n_members: int = 16,
        n_frequencies: int = 64,
        max_iterations: int = 60,
        n_splits: int = 10,
        seed: int = 0,
    ) -> None:
        self.recipe = recipe
        self.n_members = n_members
        self.n_frequencies = n_frequencies
        self.max_iterations = max_iterations
        self.n_splits = n_splits
        self.seed = seed

    def check_features(self, X, n_features: int | None = None, names: tuple[str, ...] | None = None) -> np.ndarray:
        """As of every model; a recipe without regional climate is refused here, before anything is fitted."""
        check_recipe(self.recipe)
        return super().check_features(X, n_features, names)

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None) -> GaussianProcess:
        """Choose amplitudes and lengths, condition on all rows, and learn the width of intervals on held-out rows.

        Parameters
        ----------
        X
            (row, feature), finite; an xarray.DataArray with a `feature` coordinate is checked for names and order.
        y
            (row,) SMB, m w.e. per year.
        groups, folds
            (row,) the glacier of each row, or (train, test) masks: what is held out to calibrate intervals; None
            of both: intervals are not calibrated.
        sample_weight
            (row,) relative weights: a row of weight 2 has half the noise variance.

        Raises
        ------
        InputError
            NaN or infinite values, wrong shapes or names, a recipe without regional climate, a constant target.
        """
        X = self.check_features(X)
        y, weight = check_target(y, len(X)), check_weights(sample_weight, len(X))
        self.n_features_in_ = X.shape[1]
        self.X_, self.mean_, self.noise_weight_ = X, float(y.mean()), 1.0 / np.maximum(weight, 1e-6)
        self._arrange()
        self._choose(y - self.mean_)
        self._condition(y - self.mean_)
        if groups is not None or folds is not None:
            self._calibrate(y, inner_folds(groups, folds, len(X), self.n_splits))
        self.train_scores_ = scores(y, self.predict(X))
        return self

    def predict(self, X) -> np.ndarray:
        """SMB (row,), m w.e. per year; rows with missing features are refused (InputError)."""
        return self._predict(self.check_features(X, self.n_features_in_), members=False)[0]

    def predict_members(self, X) -> np.ndarray:
        """(smb_member, row): draws of the posterior, shifted so that their mean is :meth:`predict`.

        A draw is one possible law: the same for every glacier and year, so that errors that glaciers share do not
        average out in a region. A row with a missing feature is NaN, and touches no other row.
        """
        return self._predict(self.match_features(X, self.n_features_in_), members=self.n_members > 1)

    def predict_spread(self, X) -> np.ndarray:
        """(row,) m w.e. per year: standard deviation of a new observation (Rasmussen and Williams 2006, Eq. 2.26)."""
        from scipy.linalg import solve_triangular

        X = self.check_features(X, self.n_features_in_)
        out = np.empty(len(X))
        for start in range(0, len(X), PORTION):
            rows = self._columns.rows(X[start : start + PORTION])
            known = solve_triangular(self._cholesky(), self._covariance(rows, self._terms).T, lower=True)
            out[start : start + PORTION] = self._variance(rows) - np.square(known).sum(axis=0)
        return np.sqrt(np.maximum(out, 0.0) + self.parameters_.noise**2)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored to predict again."""
        arrays = {"X": self.X_, "noise_weight": self.noise_weight_, "mean": np.array(self.mean_)}
        arrays |= {"solved": self.solved_, "parameters": self.parameters_.to_array()}
        return arrays | self.calibration_arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> GaussianProcess:
        """A model from what :meth:`to_arrays` gave and its card."""
        model = cls(**card.get("settings", {}))
        model.X_, model.noise_weight_ = np.asarray(arrays["X"]), np.asarray(arrays["noise_weight"])
        model.mean_, model.solved_ = float(arrays["mean"]), np.asarray(arrays["solved"])
        model.n_features_in_ = model.X_.shape[1]
        model._arrange()
        first = Parameters.first(model._terms, LENGTHS)
        model.parameters_ = first.from_array(arrays["parameters"])
        model._draw()
        model._prepare()
        model.set_calibration(arrays)
        model.cv_scores_, model.train_scores_ = card.get("cv_scores", {}), card.get("train_scores", {})
        return model

    def __getstate__(self) -> dict[str, Any]:
        # the largest array by far, and quickly made again where it is needed
        return {**self.__dict__, "_lower": None}

    def _arrange(self) -> None:
        """Training rows as the covariance takes them."""
        self._columns = Columns(self.recipe, feature_names(self.recipe))
        self._terms = self._columns.terms
        self._columns.scale(self.X_)
        self._rows = self._columns.rows(self.X_)
        # all rows of a year share the region's climate: years are compared, not rows
        self._years, year_of = np.unique(self._rows["climate"], axis=0, return_inverse=True)
        self._year_of, self._lower = year_of.ravel(), None

    def _compared(self, rows: dict[str, np.ndarray], terms: Sequence[Term]) -> tuple[dict, dict]:
        """Squared distances and products of features of rows with the training rows, each (row, training row)."""
        distances = {name: squared_distance(rows[name], self._rows[name]) for name in ("topography", "location")}
        used = sorted({term.product for term in terms} - {None, "year"})
        products = {name: mean_product(rows[name], self._rows[name]) for name in used}
        alike = np.exp(squared_distance(rows["climate"], self._years) * (-0.5 / YEAR_LENGTH**2))
        return distances, {**products, "year": alike[:, self._year_of]}

    def _covariance(self, rows: dict[str, np.ndarray], terms: Sequence[Term]) -> np.ndarray:
        """(row, training row) of some of the terms."""
        amplitude = [a for term, a in zip(self._terms, self.parameters_.amplitude, strict=True) if term in terms]
        distances, products = self._compared(rows, terms)
        return covariance(terms, np.array(amplitude), self.parameters_.lengths, distances, products)[0]

    def _variance(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """(row,) prior variance of each row."""
        out = np.zeros(len(rows["climate"]))
        for term, a in zip(self._terms, self.parameters_.amplitude, strict=True):
            alone = term.product in (None, "year")
            out += a * a * (1.0 if alone else np.square(rows[term.product]).mean(axis=1))
        return out

    def _choose(self, y: np.ndarray) -> None:
        """Amplitudes and lengths; of everything between pairs of rows only the lower triangle is kept."""
        lower = np.tril_indices(y.size)
        pairs = self._compared(self._rows, self._terms)
        distances, products = ({name: values[lower] for name, values in given.items()} for given in pairs)
        first = Parameters.first(self._terms, LENGTHS)
        self.parameters_, self.n_iterations_ = maximise(
            first, self._terms, distances, products, y, self.noise_weight_, self.max_iterations
        )

    def _cholesky(self) -> np.ndarray:
        """Of the covariance of the training rows with their noise; made again when it is asked for, not stored."""
        if self._lower is None:
            from scipy.linalg import cholesky

            matrix = self._covariance(self._rows, self._terms)
            matrix[np.diag_indices(len(matrix))] += self.parameters_.noise**2 * self.noise_weight_
            self._lower = cholesky(matrix, lower=True)
        return self._lower

    def _draw(self) -> None:
        sizes = {name: values.shape[1] for name, values in self._rows.items()}
        self._prior = PriorDraws(self._terms, self.parameters_, sizes, self.n_members, self.n_frequencies, self.seed)

    def _condition(self, y: np.ndarray) -> None:
        """Solve for the observations, and for the errors of the draws at the training rows (Matheron's rule).

        A draw of the posterior is a draw g of the prior less what its errors at the training rows say:
        ``g(x) + k(x) K^-1 (y - g - noise)`` (Wilson et al. 2020, arXiv:2002.09309, Eq. 9).
        """
        from scipy.linalg import cho_solve

        self._draw()
        noise = self.parameters_.noise * np.sqrt(self.noise_weight_)
        random = np.random.default_rng([self.seed, 1])
        error = self._prior(self._rows) + noise[:, None] * random.standard_normal((y.size, self.n_members))
        self.solved_ = cho_solve((self._cholesky(), True), np.concatenate([y[:, None], error], axis=1))
        self._prepare()

    def _prepare(self) -> None:
        """Linear terms as weights of features, so that only the others compare rows."""
        self._linear = {}
        for term, a in zip(self._terms, self.parameters_.amplitude, strict=True):
            if not term.similarities and term.product != "year":
                values = self._rows[term.product]
                self._linear[term.product] = (a * a / values.shape[1]) * (values.T @ self.solved_)
        self._comparing = tuple(term for term in self._terms if term.similarities or term.product == "year")

    def _predict(self, X: np.ndarray, members: bool) -> np.ndarray:
        """(smb_member, row), or (1, row) without members; in tiles of one shape, the last one filled with zeros."""
        known = np.isfinite(X).all(axis=1)
        out = np.full((self.n_members if members else 1, len(X)), np.nan)
        rows = np.flatnonzero(known)
        for start in range(0, rows.size, TILE):
            chosen = rows[start : start + TILE]
            tile = np.zeros((TILE, X.shape[1]))
            tile[: chosen.size] = X[chosen]
            out[:, chosen] = self._predict_tile(self._columns.rows(tile), members)[: chosen.size].T
        return out

    def _predict_tile(self, rows: dict[str, np.ndarray], members: bool) -> np.ndarray:
        """(row, smb_member) or (row, 1)."""
        used = slice(None) if members else slice(1)
        known = self._covariance(rows, self._comparing) @ self.solved_[:, used]
        for name, weight in self._linear.items():
            known += rows[name] @ weight[:, used]
        mean = self.mean_ + known[:, :1]
        if not members:
            return mean
        away = self._prior(rows) - known[:, 1:]
        away -= away.mean(axis=1, keepdims=True)
        return mean + away * np.sqrt(self.n_members / (self.n_members - 1))

    def _calibrate(self, y: np.ndarray, folds: list[Fold]) -> None:
        """Predict every fold as if it had been left out, amplitudes and lengths as they are.

        With the inverse covariance Q, rows H held out are predicted by ``y_H - Q_HH^-1 (Q y)_H`` with covariance
        ``Q_HH^-1`` (Rasmussen and Williams 2006, Eq. 5.12, for more than one row).
        """
        from scipy.linalg import cho_solve, inv

        inverse = cho_solve((self._cholesky(), True), np.eye(y.size))
        observed, predicted, spread = [], [], []
        for train, test in folds:
            out = np.flatnonzero(~train)
            left = inv(inverse[np.ix_(out, out)])
            tested = test[out]
            observed.append(y[out][tested])
            predicted.append((y[out] - left @ self.solved_[out, 0])[tested])
            spread.append(np.sqrt(np.diagonal(left))[tested])
        target, values = np.concatenate(observed), np.concatenate(predicted)
        self.cv_scores_ = scores(target, values)
        self.calibrate(target, values, np.concatenate(spread))
