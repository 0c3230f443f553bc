"""Where a model is asked about what it has not seen: features outside of the range of its training rows."""

from __future__ import annotations

import numpy as np

from alpgm_dask.schema import InputError


def training_range(X) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each feature over the training rows, each (feature,).

    >>> [bound.tolist() for bound in training_range(np.array([[0.0, 5.0], [1.0, 3.0]]))]
    [[0.0, 3.0], [1.0, 5.0]]

    Raises
    ------
    InputError
        for no rows, or another shape than (row, feature).
    """
    X = np.asarray(X, dtype="float64")
    if X.ndim != 2 or not len(X):
        raise InputError(f"features: shape {X.shape}; allowed: (row, feature) with at least one row")
    return X.min(axis=0), X.max(axis=0)


def outside_range(X, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(row,) int: how many features of each row lie outside of the training range; a missing feature does not count.

    Each row by itself. A row with 0 may still be a combination that training never had: this flag is a lower bound.

    Parameters
    ----------
    X
        (row, feature), in the units of training.
    low, high
        (feature,) from :func:`training_range`.

    >>> low, high = np.array([0.0, 3.0]), np.array([1.0, 5.0])
    >>> outside_range(np.array([[0.5, 4.0], [2.0, 4.0], [-1.0, 9.0]]), low, high).tolist()
    [0, 1, 2]
    """
    X = np.asarray(X, dtype="float64")
    if X.ndim != 2 or X.shape[1] != len(low):
        raise InputError(f"features: shape {X.shape}; allowed: (row, {len(low)}), the features of the range")
    return (np.less(X, low) | np.greater(X, high)).sum(axis=1)
