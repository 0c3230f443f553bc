"""What an ensemble of models needs: weights from held-out predictions, folds inside folds, a recipe that fits all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alpgm_dask.features import RECIPES, feature_names
from alpgm_dask.schema import InputError
from alpgm_dask.smb.base import Regressor
from alpgm_dask.smb.folds import Fold
from alpgm_dask.smb.validation import unfitted_copy


class Table(NamedTuple):
    """What members are fitted on: (row, feature), (row,), (row,) and, if given, the group of each row."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    groups: np.ndarray | None


class Job(NamedTuple):
    """One fit of a member: which columns and rows, what it chooses on, and which rows it is then asked about."""

    member: Regressor
    columns: np.ndarray
    train: np.ndarray
    folds: list[Fold] | None
    test: np.ndarray | None


def given_weights(weights: str | Sequence[float], n_models: int) -> np.ndarray | None:
    """Weights (model,) that are not to be chosen: equal ones or those given; None for "stacked": they are."""
    if isinstance(weights, str):
        if weights not in ("stacked", "equal"):
            raise InputError(f"weights: {weights!r}; allowed: stacked, equal, or {n_models} numbers")
        return np.full(n_models, 1.0 / n_models) if weights == "equal" else None
    values = np.asarray(weights, dtype="float64")
    if values.shape != (n_models,) or not (values >= 0).all() or abs(values.sum() - 1) > 1e-9:
        raise InputError(f"weights: {weights}; allowed: {n_models} numbers from 0 with sum 1")
    return values


def best_weights(observed: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Weights w of models, from 0 and with sum 1, that make the squared error of their weighted mean smallest.

    Since the weights sum to 1, the error of the mean is the mean of the errors R: |R w| is to be small. The
    non-negative least squares solution u of [R; 1] u = [0; 1] has its direction: for u = s w, the best s leaves
    q / (1 + q) with q = |R w|^2, which rises with q. Lawson and Hanson 1995, doi:10.1137/1.9781611971217, ch. 23.

    Parameters
    ----------
    observed
        (row,) m w.e. per year.
    predicted
        (model, row), of rows that the models were not fitted on.
    weight
        (row,) relative weights of the rows; None: all the same.

    >>> observed = np.array([0.0, 1.0, 2.0])
    >>> best_weights(observed, np.stack([observed + 1, observed - 3])).round(12).tolist()
    [0.75, 0.25]
    """
    from scipy.optimize import nnls

    root = np.sqrt(np.ones(len(observed)) if weight is None else weight)
    error = (predicted - observed) * root
    # a scale of 1 keeps the row of ones and the errors comparable
    scale = np.sqrt(np.mean(error**2, axis=1).min() * len(observed)) or 1.0
    system = np.vstack([error.T / scale, np.ones(len(predicted))])
    solution = nnls(system, np.append(np.zeros(len(observed)), 1.0))[0]
    return solution / solution.sum()


def left_out_weights(observed: np.ndarray, predicted: np.ndarray, weight: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(model, row) for each row the weights from the rows of the other folds, as :func:`best_weights` has them.

    Parameters
    ----------
    observed, predicted, weight
        As there.
    fold
        (row,) number of the fold that the row was held out in; at least two folds.
    """
    out = np.empty(predicted.shape)
    for k in np.unique(fold):
        others = fold != k
        out[:, ~others] = best_weights(observed[others], predicted[:, others], weight[others])[:, None]
    return out


def nested_folds(folds: Sequence[Fold], k: int) -> list[Fold]:
    """The folds other than `k`, on the training rows of fold `k` alone: what a model chooses on that is fitted there.

    Raises
    ------
    InputError
        if no other fold has rows to train on and rows to test among them.

    >>> a, b, c = (Fold(np.arange(3) != i, np.arange(3) == i) for i in range(3))
    >>> [fold.test.tolist() for fold in nested_folds([a, b, c], 0)]
    [[True, False], [False, True]]
    """
    rows = folds[k].train
    cut = [Fold(fold.train[rows], fold.test[rows]) for j, fold in enumerate(folds) if j != k]
    cut = [fold for fold in cut if fold.train.any() and fold.test.any()]
    if not cut:
        raise InputError(f"folds: inside the training rows of fold {k} no other fold is left; allowed: three or more")
    return cut


def common_recipe(recipes: Sequence[str | None]) -> str | None:
    """The smallest recipe with the features of all; None where none is named.

    >>> common_recipe(["standard-seasonal", "standard"])
    'standard'

    Raises
    ------
    InputError
        if some are named and some not, or no recipe holds the features of all.
    """
    if all(recipe is None for recipe in recipes):
        return None
    if any(recipe is None for recipe in recipes):
        raise InputError(f"members: recipes {list(recipes)}; allowed: a recipe for each, or None for all")
    wanted = set().union(*(feature_names(recipe) for recipe in recipes))
    holding = [recipe for recipe in RECIPES if wanted <= set(feature_names(recipe))]
    if not holding:
        raise InputError(
            f"members: no recipe has the features of all of {list(recipes)}; allowed: {', '.join(RECIPES)}"
        )
    return min(holding, key=lambda recipe: len(feature_names(recipe)))


def columns_of(recipe: str | None, names: Sequence[str], n_features: int) -> np.ndarray:
    """Positions of a recipe's features among `names`; all `n_features` where no recipe is named.

    Raises
    ------
    InputError
        naming the first feature that is missing.
    """
    if recipe is None:
        return np.arange(n_features)
    at = {str(name): position for position, name in enumerate(names)}
    missing = [name for name in feature_names(recipe) if name not in at]
    if missing:
        raise InputError(f"features: recipe {recipe!r} needs '{missing[0]}'; allowed: a table that has it")
    return np.array([at[name] for name in feature_names(recipe)])


def cut_columns(X: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Some columns, row after row in memory as kernels take them, which picking columns alone does not give."""
    return np.ascontiguousarray(X[:, columns])


def run_job(job: Job, table: Table):
    """A member fitted on all rows; or, fitted without a fold's rows, what it says of them (:func:`predict_both`)."""
    model = unfitted_copy(job.member)
    groups = None if table.groups is None else table.groups[job.train]
    X = cut_columns(table.X, job.columns)
    model.fit(X[job.train], table.y[job.train], groups, folds=job.folds, sample_weight=table.weight[job.train])
    return model if job.test is None else predict_both(model, X[job.test])


def predict_both(model: Regressor, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prediction (row,) and the error that the model expects (row,): NaN of a model fitted without held-out rows."""
    predicted = model.predict(X)
    return predicted, model.predict_spread(X) if hasattr(model, "error_") else np.full_like(predicted, np.nan)


def weighted(weights: Sequence, values: Sequence[np.ndarray]) -> np.ndarray:
    """(row,) weighted sum over models, added model by model: a row's bits do not depend on the number of rows."""
    total = np.zeros(len(values[0]))
    for weight, of_model in zip(weights, values, strict=True):
        total += weight * of_model
    return total


def mixture(weights: np.ndarray, predicted: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (row,) of a weighted mixture of models (model, row)."""
    mean = weighted(weights, predicted)
    return mean, np.sqrt(weighted(weights, spread**2 + (predicted - mean) ** 2))
