"""Permutation importance: how much worse held-out glaciers and years are predicted without a group of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.schema import InputError
from alpgm_dask.smb.base import Regressor, check_target, scores
from alpgm_dask.smb.folds import Fold, scheme_folds
from alpgm_dask.smb.validation import Plan, outer_folds, row_labels, unfitted_copy

#: Features that belong together: what a name starts with, without `regional_` -> what the group is called.
GROUPS = {
    "cpdd": "degree-days",
    "winter_snowfall": "winter snowfall",
    "summer_snowfall": "summer snowfall",
    "tas_monthly": "monthly temperature",
    "snowfall_monthly": "monthly snowfall",
    "mean_elevation": "elevation",
    "max_elevation": "elevation",
    "tongue_slope": "tongue slope",
    "area": "area",
    "lon": "position",
    "lat": "position",
    "cos_aspect": "aspect",
    "sin_aspect": "aspect",
}

#: Where permuted values come from.
WITHIN = ("table", "fold")

#: What the name of a feature of the region starts with, before the name of the glacier's own.
REGIONAL = "regional_"


def is_climate(name: str) -> bool:
    """Whether a feature is an anomaly of climate, of the glacier or of its region; else it is topography."""
    return "_anomaly" in name


def feature_groups(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Features that are permuted together, as they tell of the same: :data:`GROUPS`, then all climate, and all else.

    A feature of the glacier and its region's are one group, as are the months; a name that is not known stands alone.

    >>> groups = feature_groups(["cpdd_anomaly", "lon", "lat", "regional_cpdd_anomaly"])
    >>> groups["degree-days"], groups["position"], groups["regional climate"]
    (('cpdd_anomaly', 'regional_cpdd_anomaly'), ('lon', 'lat'), ('regional_cpdd_anomaly',))
    """
    out: dict[str, list[str]] = {}
    for name in names:
        bare = name.removeprefix(REGIONAL)
        found = [group for start, group in GROUPS.items() if bare == start or bare.startswith(f"{start}_")]
        out.setdefault(found[0] if found else name, []).append(name)
    together = {
        "all climate": [name for name in names if is_climate(name)],
        "regional climate": [name for name in names if name.startswith(REGIONAL)],
        "all topography": [name for name in names if not is_climate(name)],
    }
    return {group: tuple(members) for group, members in (out | together).items() if members}


def importance_task(
    model: Regressor,
    table: xr.Dataset,
    scheme: str,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    n_repeats: int = 10,
    seed: int = 0,
    within: str = "table",
    **options: Any,
):
    """As :func:`permutation_importance`, but lazy: a Dask Delayed of its result, each fold a task."""
    from dask import delayed

    if within not in WITHIN or n_repeats < 1:
        raise InputError(f"within: {within!r}, n_repeats: {n_repeats}; allowed: {' or '.join(WITHIN)}, 1 or more")
    features = table["features"].transpose("sample", "feature")
    names, plan = tuple(map(str, features["feature"].values)), Plan(scheme, **options)
    groups = {k: tuple(v) for k, v in (feature_groups(names) if groups is None else groups).items()}
    unknown = [name for group in groups.values() for name in group if name not in names]
    if unknown:
        raise InputError(f"groups: no feature {unknown[0]!r} in the table; allowed: {', '.join(names)}")
    X = unfitted_copy(model).check_features(features)
    y, labels = check_target(table["smb"].values, len(X)), row_labels(table)
    columns = [np.array([names.index(name) for name in group]) for group in groups.values()]
    shared = delayed((X, y, labels, columns), traverse=False)
    task = delayed(_permuted_fold, pure=False)
    parts = [
        task(unfitted_copy(model), shared, delayed(fold, traverse=False), k, plan, n_repeats, (seed, within))
        for k, fold in enumerate(outer_folds(table, plan))
    ]
    about = {"scheme": scheme, "model": model.kind, "seed": seed, "within": within}
    return delayed(_pool, pure=False)(parts, y, groups, about)


def permutation_importance(model: Regressor, table: xr.Dataset, scheme: str, **options: Any) -> xr.Dataset:
    """How much worse held-out rows are predicted when a group of features is shuffled (Breiman 2001,
    doi:10.1023/A:1010933404324; Fisher et al. 2019, arXiv:1801.01489).

    Each fold's model is fitted without the fold, its settings chosen on inner folds of the same scheme. The features of
    a group are then replaced, all by those of the same other row, and scores are pooled over the folds. Importances of
    groups that tell of the same do not add up: shuffling one of them leaves the other.

    Parameters
    ----------
    model
        Unfitted model.
    table
        (``sample``, ``feature``) from :func:`alpgm_dask.features.training_table`.
    scheme
        "logo", "loyo", "lsygo", "years-N" or a label of the rows.
    options
        `groups`: names of features by group, default :func:`feature_groups`; `n_repeats`: how often each is shuffled
        (10); `seed` of the shuffling (0); `within`: "table" takes values from all rows, "fold" from the fold's own:
        then what does not differ within a held-out glacier (its position) or year (the region's climate) cannot show;
        and attributes of :class:`alpgm_dask.smb.validation.Plan` (years, n_splits, inner_splits).

    Returns
    -------
    Dataset (``feature_group``, ``repeat``): rmse_increase (m w.e. per year), r2_decrease; rmse and r2 as they are;
    coordinate features (``feature_group``), names with commas.

    Raises
    ------
    InputError
        As :func:`alpgm_dask.smb.validation.fold_tasks`; for groups of features that are not there.
    """
    return importance_task(model, table, scheme, **options).compute()


def _permuted_fold(model: Regressor, shared: tuple, fold: Fold, k: int, plan: Plan, n_repeats: int, how: tuple) -> dict:
    """What the model that was fitted without the fold says of its rows: as they are, and with groups shuffled."""
    X, y, labels, columns = shared
    inside = {name: values[fold.train] for name, values in labels.items()}
    folds = scheme_folds(plan.scheme, inside, n_splits=plan.inner_splits, seed=plan.seed)
    model.fit(X[fold.train], y[fold.train], inside["glacier"], folds=folds)
    rows, (seed, within) = np.flatnonzero(fold.test), how
    permuted = np.empty((len(columns), n_repeats, rows.size))
    for group, of_group in enumerate(columns):
        for repeat in range(n_repeats):
            if within == "fold":
                donors = np.random.default_rng([seed, group, repeat, k]).permutation(rows)
            else:
                donors = np.random.default_rng([seed, group, repeat]).permutation(len(X))[rows]
            shuffled = X[rows]
            shuffled[:, of_group] = X[donors][:, of_group]
            permuted[group, repeat] = model.predict(shuffled)
    return {"rows": rows, "predicted": model.predict(X[rows]), "permuted": permuted}


def _pool(
    parts: Sequence[dict], y: np.ndarray, groups: dict[str, tuple[str, ...]], about: dict[str, Any]
) -> xr.Dataset:
    """Scores over the rows of all folds together."""
    observed = y[np.concatenate([part["rows"] for part in parts])]
    permuted = np.concatenate([part["permuted"] for part in parts], axis=-1)
    before = scores(observed, np.concatenate([part["predicted"] for part in parts]))
    after = [[scores(observed, predicted) for predicted in of_group] for of_group in permuted]
    dims = ("feature_group", "repeat")
    out = xr.Dataset(
        {
            "rmse_increase": (dims, [[one["rmse"] - before["rmse"] for one in row] for row in after]),
            "r2_decrease": (dims, [[before["r2"] - one["r2"] for one in row] for row in after]),
            "rmse": before["rmse"],
            "r2": before["r2"],
        },
        coords={"feature_group": list(groups), "features": ("feature_group", [", ".join(v) for v in groups.values()])},
        attrs={**about, "n_rows": observed.size, "n_folds": len(parts)},
    )
    out["rmse_increase"].attrs = {"units": "m year-1", "long_name": "increase of the error when shuffled"}
    out["r2_decrease"].attrs = {"units": "1", "long_name": "decrease of r2 when shuffled"}
    return out
