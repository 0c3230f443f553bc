"""Cross-validation of SMB models: whole groups held out, everything that is chosen chosen without them.

One fold is one task. In the task the model is fitted on the training rows; its inner folds are made by the same scheme
on these rows alone, so that penalty, epoch, depth and the width of intervals never see the rows they are scored on.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from dask import compute, delayed

from alpgm_dask.schema import InputError, texts
from alpgm_dask.smb.base import Regressor, balanced_weights, check_target
from alpgm_dask.smb.extrapolation import outside_range, training_range
from alpgm_dask.smb.folds import Fold, scheme_folds
from alpgm_dask.smb.scoring import BASELINES, LEVELS, glacier_labels

#: What ALPGM 1.2 did, and what has to be said beside every number that comes from it.
PROTOCOLS = {"nested": "", "published": "epoch chosen on the test fold: not a measure of skill"}

WEIGHTS = ("none", "balanced")

#: Ends of the intervals, as they are called in predictions.
ENDS = tuple(f"{end}_{100 * level:.0f}" for level in LEVELS for end in ("lower", "upper"))


@dataclass(frozen=True)
class Plan:
    """How a validation is done; from one seed, whatever the number of workers.

    Attributes
    ----------
    scheme
        "logo", "loyo", "lsygo", "years-N", or the name of a label of the rows, such as "massif".
    years
        first and last year that is tested; None: all. Other years are trained on.
    n_splits
        at most so many outer folds; None: every group alone (lsygo: 64 folds).
    inner_splits
        at most so many inner folds.
    seed
        of lsygo's drawing.
    protocol
        "nested", or "published": the epoch is chosen on the test fold, as ALPGM 1.2 did.
    weights
        "none", or "balanced": rare balances count more in the fit (:func:`alpgm_dask.smb.base.balanced_weights`).
    """

    scheme: str
    years: tuple[int, int] | None = None
    n_splits: int | None = None
    inner_splits: int = 10
    seed: int = 0
    protocol: str = "nested"
    weights: str = "none"

    def __post_init__(self) -> None:
        for name, allowed in (("protocol", tuple(PROTOCOLS)), ("weights", WEIGHTS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name}: {getattr(self, name)!r}; allowed: {', '.join(allowed)}")
        for name, least in (("n_splits", 2), ("inner_splits", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name}: {value}; allowed: {least} or more")


@dataclass(frozen=True)
class _Rows:
    """A training table as plain arrays: what travels to the tasks."""

    X: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    labels: dict[str, np.ndarray]

    def features(self, keep: np.ndarray) -> xr.DataArray:
        return xr.DataArray(self.X[keep], dims=("sample", "feature"), coords={"feature": list(self.names)})


def row_labels(table: xr.Dataset) -> dict[str, np.ndarray]:
    """What rows can be grouped by: glacier, year, and every other label of the samples, such as massif.

    Raises
    ------
    InputError
        if glaciers or years are missing.
    """
    if "hydro_year" not in table.coords:
        raise InputError(f"table: no coordinate 'hydro_year' in {list(table.coords)}; allowed: one of each sample")
    labels = {"glacier": glacier_labels(table), "year": table["hydro_year"].values}
    for name in set(table.coords) - {"hydro_year", "rgi_id", "glacier_index", "sample"}:
        if table[name].dims == ("sample",):
            labels[str(name)] = np.asarray(texts(table[name]), dtype=str)
    return labels


def outer_folds(table: xr.Dataset, plan: Plan) -> list[Fold]:
    """The folds that are tested, after checking that the training rows of each can be divided again.

    Raises
    ------
    InputError
        for an unknown scheme, too few groups for folds, or for inner folds of what is left.
    """
    labels = row_labels(table)
    folds = scheme_folds(plan.scheme, labels, n_splits=plan.n_splits, seed=plan.seed, years=plan.years)
    for k, fold in enumerate(folds):
        try:
            _inner(labels, fold, plan)
        except InputError as error:
            raise InputError(f"{plan.scheme}, fold {k}: inside its training rows: {error}") from error
    return folds


def _inner(labels: dict[str, np.ndarray], fold: Fold, plan: Plan) -> list[Fold]:
    inside = {name: values[fold.train] for name, values in labels.items()}
    return scheme_folds(plan.scheme, inside, n_splits=plan.inner_splits, seed=plan.seed)


def fold_tasks(model: Regressor, table: xr.Dataset, plan: Plan) -> list[Any]:
    """One lazy task for each fold; each gives a dict of the fold's out-of-fold predictions.

    Parameters
    ----------
    model
        an unfitted model; every fold fits a copy of it.
    table
        (``sample``, ``feature``) from :func:`alpgm_dask.features.training_table`; features may be lazy.
    plan
        what is held out, and how.

    Returns
    -------
    list of dask Delayed, for :func:`assemble` once computed.

    Raises
    ------
    InputError
        as :func:`outer_folds`; a table without features, smb or labels, or with values that are not finite (when
        computed, where the features are lazy); the published protocol with a model that chooses no epoch.
    """
    for name in ("features", "smb"):
        if name not in table:
            raise InputError(f"table: no variable {name!r} in {list(table.data_vars)}; allowed: features and smb")
    if plan.protocol == "published" and not hasattr(model, "fit_published"):
        raise InputError(f"protocol 'published': a {model.kind} chooses no epoch; allowed: nested")
    folds, unfitted = outer_folds(table, plan), unfitted_copy(model)
    features = table["features"].transpose("sample", "feature")
    names = tuple(map(str, features["feature"].values))
    given = (table["smb"].values, names, row_labels(table))
    if features.chunks is None:
        rows = delayed(_checked(unfitted, features.values, *given), traverse=False)
    else:
        rows = delayed(_checked)(unfitted, features.data, *given)
    task, unfitted = delayed(_predict_fold, pure=False), delayed(unfitted, traverse=False)
    return [task(unfitted, rows, delayed(fold, traverse=False), k, plan) for k, fold in enumerate(folds)]


def unfitted_copy(model: Regressor) -> Regressor:
    """A model of the same settings that has learned nothing, and shares nothing with this one."""
    return type(model)(**copy.deepcopy(model.get_params(deep=False)))


def _checked(model: Regressor, X: Any, y: np.ndarray, names: tuple[str, ...], labels: dict[str, np.ndarray]) -> _Rows:
    rows = _Rows(np.asarray(X, dtype="float64"), np.asarray(y, dtype="float64"), names, labels)
    model.check_features(rows.features(np.ones(len(rows.X), dtype=bool)))
    check_target(rows.y, len(rows.X))
    return rows


def _predict_fold(unfitted: Regressor, rows: _Rows, fold: Fold, k: int, plan: Plan) -> dict[str, Any]:
    """Fit on the training rows, predict the test rows; the target of the test rows is used by "published" alone."""
    began = time.perf_counter()
    model = unfitted_copy(unfitted)
    X, y = rows.features(fold.train), rows.y[fold.train]
    held_out = rows.features(fold.test)
    weight = balanced_weights(y) if plan.weights == "balanced" else None
    if plan.protocol == "published":
        model.fit_published(X, y, held_out, rows.y[fold.test], sample_weight=weight)
    else:
        folds = _inner(rows.labels, fold, plan)
        model.fit(X, y, groups=rows.labels["glacier"][fold.train], folds=folds, sample_weight=weight)
    part = {"fold": k, "rows": np.flatnonzero(fold.test), "n_train": int(fold.train.sum())}
    part |= {"predicted": np.asarray(model.predict(held_out)), **_intervals(model, held_out, plan)}
    part |= {"outside": outside_range(held_out, *training_range(X)), **_baselines(rows, fold)}
    part |= {"chosen": json.dumps(chosen(model)), "plan": json.dumps(asdict(plan)), "model": model.kind}
    return part | {"seconds": time.perf_counter() - began}


def _intervals(model: Regressor, X: xr.DataArray, plan: Plan) -> dict[str, np.ndarray]:
    """Spread and ends of the intervals; NaN where the model had no held-out rows to learn their width from."""
    if plan.protocol == "published" or not hasattr(model, "error_"):
        return {name: np.full(len(X), np.nan) for name in ("spread", *ENDS)}
    pairs = [model.predict_interval(X, level) for level in LEVELS]
    return {"spread": model.predict_spread(X)} | dict(zip(ENDS, np.concatenate(pairs), strict=True))


def _baselines(rows: _Rows, fold: Fold) -> dict[str, np.ndarray]:
    """Means of the training rows of the same year and of the same glacier; of all of them where there are none."""
    y, out = rows.y[fold.train], {}
    for name, label in zip(BASELINES, ("year", "glacier"), strict=True):
        known, code, count = np.unique(rows.labels[label][fold.train], return_inverse=True, return_counts=True)
        mean = np.bincount(code.ravel(), weights=y) / count
        wanted = rows.labels[label][fold.test]
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        out[f"{name}_defined"] = known[at] == wanted
        out[name] = np.where(out[f"{name}_defined"], mean[at], y.mean())
    return out


def chosen(model: Regressor) -> dict[str, Any]:
    """What a fit learned that is a number, a word or a few of them, such as a penalty or epochs; JSON-ready."""
    out = {}
    for name, value in vars(model).items():
        if not name.endswith("_") or name.startswith("_") or name == "n_features_in_":
            continue
        value = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        few = isinstance(value, list | tuple) and len(value) <= _FEW
        if isinstance(value, _PLAIN) or (few and all(isinstance(v, _PLAIN) for v in value)):
            out[name.removesuffix("_")] = value
    return out


_FEW, _PLAIN = 8, bool | int | float | str


def assemble(table: xr.Dataset, parts: Sequence[dict[str, Any]]) -> xr.Dataset:
    """The predictions of all folds, one row for each row that was tested, as often as it was.

    Parameters
    ----------
    table
        the training table.
    parts
        what the tasks of :func:`fold_tasks` gave, in any order.

    Returns
    -------
    Dataset (``prediction``): observed, predicted, spread (m w.e. per year), lower_50, upper_50 ... upper_95 (ends of
    the intervals; NaN without), outside (how many features lie outside of the training range), baseline_year,
    baseline_glacier and whether each is defined (`_defined`; else it is the mean of the training rows); coordinates
    sample (row of the table), fold, hydro_year, and rgi_id, glacier_index, massif and other labels where the table
    has them. By ``outer_fold``: n_train, seconds, chosen (JSON). Attributes: scheme, model, protocol, plan, note.

    Raises
    ------
    InputError
        for no parts, parts of different plans or models, or a fold that stands twice.
    """
    parts = sorted(parts, key=lambda part: part["fold"])
    if not parts:
        raise InputError("validation: no folds; allowed: at least one")
    number = np.array([part["fold"] for part in parts])
    for name in ("plan", "model"):
        if len({part[name] for part in parts}) > 1:
            raise InputError(f"validation: folds of different {name}s; allowed: of one")
    if len(set(number)) < len(number):
        raise InputError(f"validation: folds {number.tolist()}; allowed: each once")
    index = np.concatenate([part["rows"] for part in parts])
    names = ["predicted", "spread", *ENDS, "outside", *BASELINES, *(f"{name}_defined" for name in BASELINES)]
    out = xr.Dataset({name: ("prediction", np.concatenate([p[name] for p in parts])) for name in names})
    out["observed"] = ("prediction", table["smb"].values[index])
    labels = {n: ("prediction", c.values[index]) for n, c in table.coords.items() if c.dims == ("sample",)}
    fold = np.repeat(number, [len(part["rows"]) for part in parts])
    out = out.assign_coords({**labels, "sample": ("prediction", index), "fold": ("prediction", fold)})
    for name in ("n_train", "seconds", "chosen"):
        out[name] = ("outer_fold", np.array([part[name] for part in parts]))
    plan = json.loads(parts[0]["plan"])
    about = {"scheme": plan["scheme"], "protocol": plan["protocol"], "note": PROTOCOLS[plan["protocol"]]}
    out.attrs = {**about, "model": str(parts[0]["model"]), "plan": str(parts[0]["plan"])}
    return out.assign_coords(outer_fold=number)


def cross_validate(model: Regressor, table: xr.Dataset, scheme: str, **options: Any) -> xr.Dataset:
    """Cross-validate a model here and now, with whatever Dask scheduler is set: :func:`fold_tasks`, then
    :func:`assemble`.

    Parameters
    ----------
    model, table
        as :func:`fold_tasks`.
    scheme, options
        attributes of :class:`Plan`.
    """
    tasks = fold_tasks(model, table, Plan(scheme, **options))
    return assemble(table, compute(*tasks))
