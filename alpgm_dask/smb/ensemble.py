"""Several SMB models combined into one, with weights chosen on rows that none of them has seen."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from alpgm_dask.features import feature_names
from alpgm_dask.schema import InputError
from alpgm_dask.smb import stacking
from alpgm_dask.smb.base import Regressor, check_target, check_weights, mean_over_members, scores
from alpgm_dask.smb.folds import Fold, inner_folds
from alpgm_dask.smb.model_store import class_of, make_model
from alpgm_dask.smb.validation import unfitted_copy


class Ensemble(Regressor):
    """Weighted mean of models: stacking with weights from 0 that sum to 1 (Breiman 1996, doi:10.1007/BF00117832; van
    der Laan et al. 2007, doi:10.2202/1544-6115.1309).

    Every member is fitted once without each inner fold, and what it says of that fold's rows, unseen, decides the
    weights. Inside, a member chooses its own settings on the other inner folds, cut to the rows that it is given, so
    the rows it is judged on decide nothing. Then every member is fitted on all rows. The cost: (folds + 1) fits of
    each member; :meth:`fit_task` makes each of them a task.

    Parameters
    ----------
    members
        Unfitted models of this package; their recipes may differ, see :attr:`recipe`.
    weights
        "stacked"; "equal"; or the weights themselves, from 0, with sum 1.
    n_splits
        Largest number of inner folds; fewer where there are fewer groups.

    Attributes
    ----------
    members_, weights_
        The fitted members and their weights (model,).
    cv_scores_, train_scores_
        Scores of the held-out rows, each combined with weights from the other folds; and of the training rows.
    """

    kind = "ensemble"

    def __init__(
        self,
        members: Sequence[Regressor] = (),
        weights: str | Sequence[float] = "stacked",
        n_splits: int = 5,
    ) -> None:
        self.members = members
        self.weights = weights
        self.n_splits = n_splits

    @classmethod
    def of(
        cls,
        members: Sequence[str | dict[str, Any]],
        recipe: str | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> Ensemble:
        """An unfitted ensemble from words and numbers, as a run file has them.

        Parameters
        ----------
        members
            Kinds, or tables of a kind and its settings: ``["lasso", {"kind": "tree_ensemble", "n_trees": 100}]``.
        recipe, seed
            Of the members that do not state theirs; no recipe: the one that is theirs by default.
        settings
            As of the class.

        >>> Ensemble.of(["lasso", {"kind": "tree_ensemble", "seed": 7}], recipe="standard").members[1].recipe
        'standard'
        """
        return cls(tuple(_made(member, recipe, seed) for member in members), **settings)

    @property
    def recipe(self) -> str | None:
        """The smallest recipe that holds the features of every member; each takes its columns by name."""
        self._check_members()
        return stacking.common_recipe([member.recipe for member in self.members])

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None) -> Ensemble:
        """Fit every member without each inner fold, choose the weights, fit every member on all rows.

        With weights that are given or equal, neither groups nor folds are needed, if the members do not need them;
        intervals are then not available.

        Parameters
        ----------
        X
            (row, feature), finite; an xarray.DataArray with a `feature` coordinate is checked for names and order.
        y
            (row,) SMB, m w.e. per year.
        groups
            (row,) the glacier of each row: whole ones are held out.
        folds
            (train, test) masks to hold out instead, such as folds of years; at least three.
        sample_weight
            (row,) relative weights; None: all the same.

        Raises
        ------
        InputError
            As the members; no members, members whose recipes do not fit together, weights that are not allowed.
        """
        table, folds = self._prepare(X, y, groups, folds, sample_weight)
        return _combine(self, [stacking.run_job(job, table) for job in self._jobs(table, folds)], table, folds)

    def fit_task(self, X, y, groups=None, *, folds=None, sample_weight=None):
        """As :meth:`fit`, but lazy: a Dask Delayed of the fitted ensemble in which each fit of a member is a task.

        The numbers are those of :meth:`fit`, to the bit where the members' are. This object stays unfitted.
        """
        from dask import delayed

        table, folds = self._prepare(X, y, groups, folds, sample_weight)
        # partial: Dask shall not look for tasks among the rows, masks and settings of a job
        shared = delayed(table)
        parts = [delayed(partial(stacking.run_job, job), pure=False)(shared) for job in self._jobs(table, folds)]
        return delayed(partial(_combine, unfitted_copy(self), table=table, folds=folds), pure=False)(parts)

    def predict(self, X) -> np.ndarray:
        """SMB (row,), m w.e. per year; rows with missing features are refused (InputError)."""
        X = self.check_features(X, self.n_features_in_)
        return stacking.weighted(self._active_weights(), [mean_over_members(rows) for rows in self._rows(X)])

    def predict_members(self, X) -> np.ndarray:
        """SMB (smb_member, row), the members of all models of the ensemble; a row with a missing feature is NaN.

        With p the prediction and f a member of a model of K members and weight w, n members in all, a row is
        ``p + sqrt(w n / K) (f - p)``, all shifted by the same so that their plain mean is p. Their plain variance is
        then that of the weighted mixture of the members, less the square of the shift. Where all models have the same
        weight and number of members the rows are the members themselves. Models of weight 0 are left out.
        """
        X = self.match_features(X, self.n_features_in_)
        weights, rows = self._active_weights(), self._rows(X)
        centre = stacking.weighted(weights, [mean_over_members(of_model) for of_model in rows])
        n = sum(map(len, rows))
        scale = [np.sqrt(weight * n / len(of_model)) for weight, of_model in zip(weights, rows, strict=True)]
        out = np.concatenate([s * (of_model - centre) for s, of_model in zip(scale, rows, strict=True)])
        out += centre - mean_over_members(out)
        out[:, np.isnan(X).any(axis=1)] = np.nan
        return out

    def predict_spread(self, X) -> np.ndarray:
        """(row,) m w.e. per year: error expected of each row, that of a mixture of the members' errors.

        The weighted mean of the members' variances plus the variance between the members.
        """
        if not all(hasattr(member, "error_") for member in self.members_):
            return super().predict_spread(X)
        X = self.check_features(X, self.n_features_in_)
        cut = stacking.cut_columns
        members = [stacking.predict_both(member, cut(X, columns)) for member, columns in self._active()]
        return stacking.mixture(self._active_weights(), *map(np.array, zip(*members, strict=True)))[1]

    def settings(self) -> dict[str, Any]:
        """The settings as JSON holds them, without the members, which :meth:`about` describes."""
        return {name: value for name, value in super().settings().items() if name != "members"}

    def about(self) -> dict[str, Any]:
        """What the card says of the ensemble, and of each of its members."""
        return {**super().about(), "weights": self.weights_.tolist(), "members": [m.about() for m in self.members_]}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored to predict again; that of the members under `member_0/`, `member_1/` ..."""
        arrays = {"weights_": self.weights_, "n_features_in_": np.array(self.n_features_in_)}
        for k, member in enumerate(self.members_):
            arrays |= {f"member_{k}/{name}": values for name, values in member.to_arrays().items()}
        return arrays | self.calibration_arrays()

    def save_files(self, folder: str | Path) -> list[str]:
        """The files that members store beside their weights, named by their member."""
        names = []
        for k, member in enumerate(self.members_):
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                for name in member.save_files(temporary) if hasattr(member, "save_files") else []:
                    names.append(f"member_{k}_{name}")
                    (Path(temporary) / name).rename(Path(folder) / names[-1])
        return names

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Ensemble:
        """A model from what :meth:`to_arrays` gave and its card."""
        fitted = []
        for k, about in enumerate(card["members"]):
            own = {n.split("/", 1)[1]: values for n, values in arrays.items() if n.startswith(f"member_{k}/")}
            fitted.append(class_of(about["kind"]).from_arrays(own, about))
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in card["settings"].items()}
        model = cls(tuple(unfitted_copy(member) for member in fitted), **settings)
        model.members_, model.weights_ = fitted, np.asarray(arrays["weights_"], dtype="float64")
        if len(model.weights_) != len(fitted):
            raise ValueError(f"{len(model.weights_)} weights of {len(fitted)} members")
        model.n_features_in_ = int(arrays["n_features_in_"])
        model.set_calibration(arrays)
        model.cv_scores_, model.train_scores_ = card.get("cv_scores", {}), card.get("train_scores", {})
        return model

    def _check_members(self) -> None:
        wrong = [member for member in self.members if not isinstance(member, Regressor)]
        if not len(self.members) or wrong:
            raise InputError(f"members: {wrong or 'none given'}; allowed: one or more models of this package")

    def _prepare(self, X, y, groups, folds, sample_weight) -> tuple[stacking.Table, list[Fold] | None]:
        """What was given, checked; no folds where there is nothing to make them of and none are needed."""
        X = self.check_features(X)
        y, weight = check_target(y, len(X)), check_weights(sample_weight, len(X))
        chosen = stacking.given_weights(self.weights, len(self.members)) is None
        if chosen or groups is not None or folds is not None:
            folds = inner_folds(groups, folds, len(X), self.n_splits)
            if len(folds) < 3:
                raise InputError(f"folds: {len(folds)}; allowed: three or more, so that two are left inside each")
        return stacking.Table(X, y, weight, None if groups is None else np.asarray(groups)), folds

    def _jobs(self, table: stacking.Table, folds: list[Fold] | None) -> list[stacking.Job]:
        """Each member on all rows, then each member without each fold."""
        names = feature_names(self.recipe) if self.recipe else ()
        columns = [stacking.columns_of(member.recipe, names, table.X.shape[1]) for member in self.members]
        whole = np.ones(len(table.y), dtype=bool)
        pairs = list(zip(self.members, columns, strict=True))
        jobs = [stacking.Job(member, of, whole, folds, None) for member, of in pairs]
        for k, fold in enumerate(folds or ()):
            jobs += [
                stacking.Job(member, of, fold.train, stacking.nested_folds(folds, k), fold.test) for member, of in pairs
            ]
        return jobs

    def _active(self) -> list[tuple[Regressor, np.ndarray]]:
        """Fitted members of a weight above 0, and their columns."""
        names = feature_names(self.recipe) if self.recipe else ()
        used = [member for member, weight in zip(self.members_, self.weights_, strict=True) if weight > 0]
        return [(member, stacking.columns_of(member.recipe, names, self.n_features_in_)) for member in used]

    def _active_weights(self) -> np.ndarray:
        return self.weights_[self.weights_ > 0]

    def _rows(self, X: np.ndarray) -> list[np.ndarray]:
        """What the members of each active model say, (smb_member, row) each."""
        return [member.predict_members(stacking.cut_columns(X, columns)) for member, columns in self._active()]


def _combine(model: Ensemble, parts: list, table: stacking.Table, folds: list[Fold] | None) -> Ensemble:
    """The ensemble of what the jobs gave, in their order."""
    n = len(model.members)
    model.members_, model.cv_scores_ = parts[:n], {}
    model.weights_ = stacking.given_weights(model.weights, n)
    if folds is not None:
        _weigh(model, [parts[k : k + n] for k in range(n, len(parts), n)], table, folds)
    model.n_features_in_ = table.X.shape[1]
    model.train_scores_ = scores(table.y, model.predict(table.X))
    return model


def _weigh(model: Ensemble, held_out: list[list[tuple]], table: stacking.Table, folds: list[Fold]) -> None:
    """Weights from the held-out rows; scores and intervals from the same rows under weights of the other folds."""
    predicted, spread = (
        np.concatenate([[pair[i] for pair in of_fold] for of_fold in held_out], axis=1) for i in (0, 1)
    )
    target, weight = (np.concatenate([values[fold.test] for fold in folds]) for values in (table.y, table.weight))
    if model.weights_ is None:
        fold_of = np.repeat(np.arange(len(folds)), [fold.test.sum() for fold in folds])
        model.weights_ = stacking.best_weights(target, predicted, weight)
        of_row = stacking.left_out_weights(target, predicted, weight, fold_of)
    else:
        of_row = np.broadcast_to(model.weights_[:, None], predicted.shape)
    combined, expected = stacking.mixture(of_row, predicted, spread)
    model.cv_scores_ = scores(target, combined)
    model.calibrate(target, combined, expected if np.isfinite(expected).all() else None)


def _made(member: str | dict[str, Any], recipe: str | None, seed: int) -> Regressor:
    settings = {"kind": member} if isinstance(member, str) else dict(member)
    return make_model(settings.pop("kind", None), recipe, settings, seed)
