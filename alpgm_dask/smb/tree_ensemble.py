"""An ensemble of regression trees, grown by scikit-learn, kept as plain arrays and walked without it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from alpgm_dask.kernels.trees import forest_means
from alpgm_dask.schema import InputError
from alpgm_dask.smb.base import Regressor, check_target, check_weights, mean_over_members, scores
from alpgm_dask.smb.folds import inner_folds

#: What is tried where a setting is None: rows of a leaf, at least, and share of the features drawn for each split.
GRID = {"min_samples_leaf": (2, 4), "max_features": (0.3, 1.0)}

#: Trees while settings are compared: enough to rank them; the rest is for the model that is kept.
CHOICE_TREES = 60

#: name of the algorithm -> class in sklearn.ensemble.
ALGORITHMS = {"extra_trees": "ExtraTreesRegressor", "random_forest": "RandomForestRegressor"}


class TreeEnsemble(Regressor):
    """Mean of many regression trees: extremely randomised ones (Geurts et al. 2006, doi:10.1007/s10994-006-6226-1) or
    a random forest (Breiman 2001, doi:10.1023/A:1010933404324).

    Trees give back means of balances that they have seen: outside of the range of the training they say what they say
    at its border, so a warming beyond it does not melt more. :meth:`alpgm_dask.smb.explain.response` shows it.

    Parameters
    ----------
    recipe
        Which features the columns are (:data:`alpgm_dask.features.RECIPES`); None: any, unnamed.
    algorithm
        "extra_trees" or "random_forest".
    n_trees
        How many; a multiple of `n_members`.
    min_samples_leaf, max_features
        Rows of a leaf, at least; share of the features drawn for each split, above 0 to 1. None: the one of
        :data:`GRID` with the smallest squared error on held-out groups.
    n_members
        Trees are dealt into so many groups of equal size; each group's mean is a member. A tree alone is too noisy to
        be a member, and 200 too many to carry through a run; the members' spread is how far the mean is from that of
        infinitely many trees, which is small. The error of the model is in :meth:`predict_spread`.
    n_splits
        Largest number of inner folds; fewer where there are fewer groups.
    seed
        Of the trees: the same seed gives the same trees.

    Attributes
    ----------
    min_samples_leaf_, max_features_
        The settings that the trees were grown with.
    feature_, right_, number_, roots_
        The nodes, see :func:`alpgm_dask.kernels.trees.forest_means`: 14 bytes a node.
    cv_scores_, train_scores_
        Scores of the held-out groups of the inner folds (with :data:`CHOICE_TREES` trees), and of the training rows.
    """

    kind = "tree_ensemble"

    def __init__(
        self,
        recipe: str | None = "standard",
        algorithm: str = "extra_trees",
        n_trees: int = 200,
        min_samples_leaf: int | None = None,
        max_features: float | None = None,
        n_members: int = 10,
        n_splits: int = 5,
        seed: int = 0,
    ) -> None:
        self.recipe = recipe
        self.algorithm = algorithm
        self.n_trees = n_trees
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.n_members = n_members
        self.n_splits = n_splits
        self.seed = seed

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None) -> TreeEnsemble:
        """Choose what is None on held-out rows, then grow the trees on all rows.

        With all settings given, neither groups nor folds are needed; intervals are then not available.

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
            NaN or infinite values, wrong shapes or names, a constant target, fewer than two groups, settings that are
            not allowed, nothing to choose the settings on.
        """
        X = self.check_features(X)
        y, weight = check_target(y, len(X)), check_weights(sample_weight, len(X))
        candidates = self._candidates()
        settings, self.cv_scores_ = candidates[0], {}
        if len(candidates) > 1 or groups is not None or folds is not None:
            folds = inner_folds(groups, folds, len(X), self.n_splits)
            settings = self._choose(X, y, weight, candidates, folds)
        self.min_samples_leaf_, self.max_features_ = (settings[name] for name in GRID)
        self._keep(self._grow(X, y, weight, settings, self.n_trees))
        self.n_features_in_ = X.shape[1]
        self.train_scores_ = scores(y, self.predict(X))
        return self

    def predict(self, X) -> np.ndarray:
        """SMB (row,), m w.e. per year; rows with missing features are refused (InputError)."""
        members = self.predict_members(self.check_features(X, self.n_features_in_))
        return mean_over_members(members)

    def predict_members(self, X) -> np.ndarray:
        """SMB (smb_member, row): the mean of each group of trees; a row with a missing feature is NaN."""
        X = self.match_features(X, self.n_features_in_)
        rows = np.ascontiguousarray(X, dtype="float32")
        out = np.empty((self.n_members, len(X)))
        forest_means(rows, self.feature_, self.right_, self.number_, self.roots_, out)
        out[:, np.isnan(X).any(axis=1)] = np.nan
        return out

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored to predict again."""
        nodes = {name: getattr(self, name) for name in ("feature_", "right_", "number_", "roots_")}
        names = ("min_samples_leaf_", "max_features_", "n_features_in_")
        return nodes | {name: np.array(getattr(self, name)) for name in names} | self.calibration_arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> TreeEnsemble:
        """A model from what :meth:`to_arrays` gave and its card; ValueError for nodes that are not those of trees."""
        model = cls(**card.get("settings", {}))
        model.feature_, model.right_ = np.asarray(arrays["feature_"], "int16"), np.asarray(arrays["right_"], "int32")
        model.number_, model.roots_ = np.asarray(arrays["number_"], "float64"), np.asarray(arrays["roots_"], "int32")
        for name in ("min_samples_leaf_", "max_features_", "n_features_in_"):
            setattr(model, name, arrays[name].item())
        _check_nodes(model)
        model.set_calibration(arrays)
        model.cv_scores_, model.train_scores_ = card.get("cv_scores", {}), card.get("train_scores", {})
        return model

    def _candidates(self) -> list[dict[str, Any]]:
        """The settings to compare, after a look at those that were given."""
        if self.algorithm not in ALGORITHMS:
            raise InputError(f"algorithm: {self.algorithm!r}; allowed: {', '.join(ALGORITHMS)}")
        if self.n_members < 1 or self.n_trees < self.n_members or self.n_trees % self.n_members:
            raise InputError(f"n_trees: {self.n_trees}; allowed: a multiple of n_members, {self.n_members}")
        given = {name: getattr(self, name) for name in GRID}
        leaf, share = given["min_samples_leaf"], given["max_features"]
        if leaf is not None and (leaf != int(leaf) or leaf < 1):
            raise InputError(f"min_samples_leaf: {leaf}; allowed: None, or a whole number from 1")
        if share is not None and not 0 < share <= 1:
            raise InputError(f"max_features: {share}; allowed: None, or a share above 0, up to 1")
        tried = [GRID[name] if value is None else (value,) for name, value in given.items()]
        return [dict(zip(GRID, values, strict=True)) for values in product(*tried)]

    def _choose(self, X, y, weight, candidates: list[dict[str, Any]], folds) -> dict[str, Any]:
        """The candidate with the smallest squared error on the folds' held-out rows."""
        n_trees = min(self.n_trees, CHOICE_TREES)
        target, of = (np.concatenate([values[fold.test] for fold in folds]) for values in (y, weight))
        held_out = [
            np.concatenate([self._grow(X[a], y[a], weight[a], settings, n_trees).predict(X[b]) for a, b in folds])
            for settings in candidates
        ]
        best = int(np.argmin([np.average((predicted - target) ** 2, weights=of) for predicted in held_out]))
        self.cv_scores_ = scores(target, held_out[best])
        self.calibrate(target, held_out[best])
        return candidates[best]

    def _grow(self, X, y, weight, settings: dict[str, Any], n_trees: int):
        from sklearn import ensemble

        algorithm = getattr(ensemble, ALGORITHMS[self.algorithm])
        return algorithm(n_trees, random_state=self.seed, **settings).fit(X, y, sample_weight=weight)

    def _keep(self, forest) -> None:
        """Nodes of all trees end to end; scikit-learn numbers those of a tree in preorder."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        self.roots_ = np.cumsum([0, *(tree.node_count for tree in trees[:-1])]).astype("int32")
        root_of = np.repeat(self.roots_, [tree.node_count for tree in trees])
        left, right = (
            np.concatenate([getattr(tree, n) for tree in trees]) for n in ("children_left", "children_right")
        )
        leaf = left < 0
        if ((left + root_of)[~leaf] != np.flatnonzero(~leaf) + 1).any():
            raise RuntimeError("scikit-learn's trees are not numbered in preorder; allowed: versions in which they are")
        feature, threshold = (np.concatenate([getattr(tree, n) for tree in trees]) for n in ("feature", "threshold"))
        value = np.concatenate([tree.value[:, 0, 0] for tree in trees])
        self.feature_ = np.where(leaf, -1, feature).astype("int16")
        self.right_ = np.where(leaf, -1, right + root_of).astype("int32")
        self.number_ = np.where(leaf, value, threshold)


def _check_nodes(model: TreeEnsemble) -> None:
    """Refuse nodes that a walk could leave or never end in: children follow their parents, within the arrays."""
    n = len(model.feature_)
    inner = model.feature_ >= 0
    ends = np.append(model.roots_[1:], n)[np.searchsorted(model.roots_, np.arange(n), side="right") - 1]
    ahead = (model.right_ > np.arange(n) + 1) & (model.right_ < ends)
    fits = len(model.roots_) == model.n_trees and len(model.right_) == len(model.number_) == n and not model.roots_[0]
    if not fits or not ahead[inner].all() or (model.feature_ >= model.n_features_in_).any():
        raise ValueError(f"{n} nodes of {len(model.roots_)} trees do not make trees")
