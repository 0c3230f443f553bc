"""Values of points at glaciers: those of one point, or the weighted mean of the corners that it lies between."""

from __future__ import annotations

import numpy as np


def at_places(values: np.ndarray, point: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(glacier, step) values of each glacier's point, or the weighted mean of its corners, in the type of `values`.

    Parameters
    ----------
    values
        (point, step).
    point
        (glacier,) or (glacier, corner) int, rows of `values`.
    weight
        (glacier, corner), 1 in sum; None: `point` is (glacier,).

    >>> at_places(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0, 1]]), np.array([[0.25, 0.75]])).tolist()
    [[2.5, 3.5]]
    """
    if weight is None:
        return values[point]
    total = np.zeros((point.shape[0], values.shape[1]))
    for corner in range(point.shape[1]):
        total += weight[:, corner, None] * values[point[:, corner]]
    return total.astype(values.dtype)
