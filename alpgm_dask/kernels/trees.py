"""Sums over the trees of a forest, row by row: a row's bits do not depend on the other rows."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def forest_means(
    rows: np.ndarray, feature: np.ndarray, right: np.ndarray, number: np.ndarray, roots: np.ndarray, out: np.ndarray
) -> None:
    """What each of several equal groups of trees says of each row: the mean over the group's trees.

    Nodes of all trees lie end to end, each tree in the order in which it is walked down leftmost first (preorder), so
    the left child of a node is the next node. The sum over trees has one order, that of the trees.

    Parameters
    ----------
    rows
        (row, feature) float32, as scikit-learn compares them with float64 thresholds; no NaN.
    feature
        (node,) index of the feature that an inner node compares; -1 in a leaf.
    right
        (node,) index of the right child of an inner node, where a row goes that is above the threshold.
    number
        (node,) float64: the threshold of an inner node, the value of a leaf.
    roots
        (tree,) index of each tree's first node.
    out
        (group, row) is written; the number of trees must be a multiple of the number of groups.
    """
    n_groups, n_rows = out.shape
    per_group = roots.size // n_groups
    out[:] = 0.0
    # trees outside, rows inside: a tree's nodes stay in the processor's cache
    for tree in range(roots.size):
        group = tree // per_group
        for row in range(n_rows):
            node = roots[tree]
            while feature[node] >= 0:
                node = node + 1 if rows[row, feature[node]] <= number[node] else right[node]
            out[group, row] += number[node]
    for group in range(n_groups):
        for row in range(n_rows):
            out[group, row] /= per_group
