"""Response curves: what a model says of a climate that no year had, all else standing still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from alpgm_dask.schema import VARIABLES, InputError
from alpgm_dask.smb.base import Regressor, mean_over_members
from alpgm_dask.smb.extrapolation import training_range
from alpgm_dask.smb.importance import REGIONAL, is_climate
from alpgm_dask.smb.scoring import glacier_labels
from alpgm_dask.smb.stacking import columns_of

#: What the other climate does while one predictor moves.
OTHERS = ("zero", "observed", "regression")

#: Predictors whose response is asked for by default.
SEASONAL = ("cpdd", "winter_snowfall", "summer_snowfall")

#: Ranges that slopes are taken over.
RANGES = ("below training", "negative", "positive", "above training")


def response(
    models: Regressor | Mapping[str, Regressor],
    background: xr.Dataset,
    *,
    predictors: Sequence[str] = SEASONAL,
    values: Mapping[str, Sequence[float]] | None = None,
    n_steps: int = 41,
    others: str = "zero",
) -> xr.Dataset:
    """Response of SMB to one climate anomaly at a time, under static geometry (Bolibar et al. 2022,
    doi:10.1038/s41467-022-28033-0): the prediction at an anomaly minus that without it, mean over the rows.

    The glacier's own anomaly and its region's are moved together. Topography stays that of each row.

    Parameters
    ----------
    models
        Fitted models by name, or one; their recipes may differ, each takes its features by name.
    background
        Training table with the features of all models: its rows are averaged over, and its range is what training
        knew. A part of the rows is often enough: ``table.isel(sample=slice(None, None, 5))``; the range is then theirs.
    predictors
        Names of predictors.
    values
        Anomalies of each predictor, in its units; None: `n_steps` from 1.5 times the lowest to 1.5 times the highest
        of training.
    others
        What the other climate features are meanwhile: "zero", as in the paper; "observed", as in the rows;
        "regression", what goes with the anomaly in the table (least squares through 0). With months among the
        features, degree-days that rise while no month is warmer are not a climate: take "regression" there.

    Returns
    -------
    Dataset (``model``, ``predictor``, ``step``): smb_change (m w.e. per year), its standard deviation over the model's
    members (smb_change_member_sd) and over glaciers (smb_change_glacier_sd); anomaly and outside, whether it is
    outside of training, over (``predictor``, ``step``); training_min, training_max over (``predictor``): where the
    anomaly of the glacier and that of the region are both inside.

    Raises
    ------
    InputError
        For predictors that the table has no anomaly of, features that a model misses, no such `others`.
    """
    models = models if isinstance(models, Mapping) else {models.kind: models}
    if others not in OTHERS:
        raise InputError(f"others: {others!r}; allowed: {', '.join(OTHERS)}")
    features = background["features"].transpose("sample", "feature")
    names, X = tuple(map(str, features["feature"].values)), np.asarray(features.values, dtype="float64")
    _, of_glacier = np.unique(glacier_labels(background), return_inverse=True)
    found, steps, limits = [], [], []
    for predictor in predictors:
        moved = _moved_columns(predictor, names)
        low, high = training_range(X[:, moved])
        limits.append((low.max(), high.min()))
        own = 1.5 * low[0], 1.5 * high[0]
        steps.append(np.linspace(*own, n_steps) if values is None else _asked(values, predictors, predictor))
        still = _still(X, names, moved, others)
        found.append([_curve(m, names, still, steps[-1], of_glacier) for m in models.values()])
    return _curves(list(models), predictors, np.array(steps), np.array(limits), np.array(found), others)


def _asked(values: Mapping[str, Sequence[float]], predictors: Sequence[str], predictor: str) -> np.ndarray:
    """The anomalies that are asked for, as many of one predictor as of another."""
    lengths = {name: len(values[name]) if name in values else 0 for name in predictors}
    if len(set(lengths.values())) > 1 or not lengths[predictor] or not np.isfinite(values[predictor]).all():
        raise InputError(f"values: {lengths}; allowed: as many finite anomalies for each of {', '.join(predictors)}")
    return np.asarray(values[predictor], dtype="float64")


def _moved_columns(predictor: str, names: tuple[str, ...]) -> np.ndarray:
    """Columns of a predictor's anomaly: the glacier's own, then its region's where there is one."""
    own = f"{predictor}_anomaly"
    if own not in names:
        allowed = [name.removesuffix("_anomaly") for name in names if name.endswith("_anomaly")]
        raise InputError(f"predictors: the table has no '{own}'; allowed: {', '.join(allowed)}")
    return np.array([names.index(name) for name in (own, REGIONAL + own) if name in names])


def _still(X: np.ndarray, names: tuple[str, ...], moved: np.ndarray, others: str) -> tuple[np.ndarray, np.ndarray]:
    """Features without the anomaly (row, feature), and what each changes by for one unit of it (feature,)."""
    base, direction = X.copy(), np.zeros(X.shape[1])
    if others != "observed":
        climate = [column for column, name in enumerate(names) if is_climate(name)]
        base[:, climate] = 0.0
        if others == "regression":
            cause = X[:, moved[0]]
            direction[climate] = cause @ X[:, climate] / (cause @ cause)
    base[:, moved], direction[moved] = 0.0, 1.0
    return base, direction


def _curve(
    model: Regressor, names: Sequence[str], still: tuple, steps: np.ndarray, of_glacier: np.ndarray
) -> np.ndarray:
    """(3, step): change of SMB, its standard deviation over the model's members, and over glaciers."""
    base, direction = still
    columns, count = columns_of(model.recipe, names, len(names)), np.bincount(of_glacier)

    def members(step: float) -> np.ndarray:
        return model.predict_members(np.ascontiguousarray((base + step * direction)[:, columns]))

    start, out = members(0.0), np.empty((3, len(steps)))
    for k, step in enumerate(steps):
        change = members(step) - start
        row = mean_over_members(change)
        glacier = np.bincount(of_glacier, weights=row) / count
        out[:, k] = row.mean(), change.mean(axis=1).std(), glacier.std()
    return out


def _curves(models: list[str], predictors, steps, limits, found: np.ndarray, others: str) -> xr.Dataset:
    dims = ("model", "predictor", "step")
    mean, member, glacier = np.moveaxis(found, (2, 1), (0, 1))
    outside = (steps < limits[:, :1]) | (steps > limits[:, 1:])
    out = xr.Dataset(
        {
            "smb_change": (dims, mean, {"units": "m year-1", "long_name": "change of annual mass balance"}),
            "smb_change_member_sd": (dims, member, {"units": "m year-1"}),
            "smb_change_glacier_sd": (dims, glacier, {"units": "m year-1"}),
            "outside": (dims[1:], outside, {"long_name": "whether training knew no such anomaly"}),
            "training_min": ("predictor", limits[:, 0]),
            "training_max": ("predictor", limits[:, 1]),
        },
        coords={
            "model": models,
            "predictor": list(predictors),
            "anomaly": (dims[1:], steps),
            "units": ("predictor", [VARIABLES[name].units for name in predictors]),
        },
        attrs={"others": others},
    )
    return out


def sensitivity(curves: xr.Dataset, per: float = 100.0) -> xr.Dataset:
    """Slopes of response curves over four ranges: below, inside (negative, positive) and above what training knew.

    A linear model has one slope; a model that says that melt per degree-day falls as it gets warmer has a flatter one
    where anomalies are positive.

    Parameters
    ----------
    curves
        from :func:`response`.
    per
        Anomaly that the slope is given for, in the predictor's units.

    Returns
    -------
    Dataset (``model``, ``predictor``, ``range``): slope, m w.e. per year and `per` units, by least squares over the
    steps of a range; NaN where it has fewer than two.
    """
    anomaly = curves["anomaly"]
    low, high = curves["training_min"], curves["training_max"]
    inside = {
        "below training": anomaly <= low,
        "negative": (anomaly >= low) & (anomaly <= 0),
        "positive": (anomaly >= 0) & (anomaly <= high),
        "above training": anomaly >= high,
    }
    slopes = []
    for name in RANGES:
        x, y = anomaly.where(inside[name]), curves["smb_change"].where(inside[name])
        x = x - x.mean("step")
        spread = (x**2).sum("step")
        slopes.append((x * y).sum("step") / spread.where(spread > 0) * per)
    out = xr.concat(slopes, xr.Variable("range", list(RANGES))).transpose("model", "predictor", "range").rename("slope")
    out.attrs = {"units": "m year-1", "long_name": f"change of annual mass balance per {per:g} units of the anomaly"}
    return out.to_dataset()
