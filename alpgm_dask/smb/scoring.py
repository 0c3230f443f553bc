"""How good out-of-fold predictions are: scores with intervals, beside baselines that know no climate.

All functions take the predictions of :func:`alpgm_dask.smb.validation.assemble`. Scores are resampled by whole groups
(glaciers, years, folds), since the errors of one glacier or one year are not independent.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.schema import InputError, texts

#: Nominal coverage of the intervals that are kept of every prediction.
LEVELS = (0.5, 0.8, 0.9, 0.95)

#: Columns of the tables that have an interval beside them.
SCORES = ("r2", "rmse", "mae", "bias", "coverage_90")

#: Variable of the predictions -> what it is called in tables.
BASELINES = {
    "baseline_year": "baseline: mean of the other glaciers that year",
    "baseline_glacier": "baseline: the glacier's own mean",
}


def glacier_labels(table: xr.Dataset) -> np.ndarray:
    """Identifier of the glacier of each row, as text: `rgi_id`, else `glacier_index`.

    Raises
    ------
    InputError
        if the table has neither.
    """
    for name in ("rgi_id", "glacier_index"):
        if name in table.coords:
            return np.asarray(texts(table[name]), dtype=str)
    raise InputError(f"table: no coordinate of glaciers in {list(table.coords)}; allowed: rgi_id or glacier_index")


def bootstrap_groups(predictions: xr.Dataset) -> np.ndarray:
    """(prediction,) what is resampled as a whole: glaciers (logo), years (loyo), else the folds."""
    scheme = predictions.attrs["scheme"]
    if scheme == "logo":
        return glacier_labels(predictions)
    return predictions["hydro_year" if scheme == "loyo" else "fold"].values


def _sums(observed: np.ndarray, predicted: np.ndarray, covered: np.ndarray, code: np.ndarray) -> np.ndarray:
    """(group, 8): all that the scores of any union of groups follow from."""
    error, known = predicted - observed, np.isfinite(covered)
    rows = [
        np.ones_like(error),
        observed,
        observed**2,
        error,
        error**2,
        np.abs(error),
        np.where(known, covered, 0),
        known,
    ]
    return np.stack([np.bincount(code, weights=row) for row in rows], axis=-1)


def _scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Scores (...) of sums (..., 8)."""
    n, observed, observed2, error, error2, size, covered, known = np.moveaxis(sums, -1, 0)
    variation = observed2 - observed**2 / n
    # the rounding of a difference of sums is no variation
    variation = np.where(variation > 1e-12 * np.maximum(observed2, 1e-300), variation, np.nan)
    return {
        "r2": 1 - error2 / variation,
        "rmse": np.sqrt(error2 / n),
        "mae": size / n,
        "bias": error / n,
        "coverage_90": covered / np.where(known > 0, known, np.nan),
    }


def bootstrap_scores(
    observed: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    covered: np.ndarray | None = None,
    *,
    n_bootstrap: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Scores of predictions, each with the interval that resampling whole groups with replacement gives.

    Percentile intervals of the cluster bootstrap (Davison and Hinkley 1997, Bootstrap Methods and their Application,
    Sect. 3.8, doi:10.1017/CBO9780511802843). A draw is scored from sums by group, so its cost does not grow with rows.

    Parameters
    ----------
    observed, predicted
        (row,) m w.e. per year.
    groups
        (row,) labels of what is drawn as a whole.
    covered
        (row,) 1 where the 90 % interval holds the observation, else 0, NaN where there is none; None: none anywhere.
    n_bootstrap, level, seed
        number of draws, coverage of the intervals, seed of the drawing.

    Returns
    -------
    n, groups, and of each of SCORES its value, `<name>_low` and `<name>_high`: NaN where it is not defined (r2 of a
    constant target, intervals of a single group).

    Raises
    ------
    InputError
        for no rows.
    """
    if not len(observed):
        raise InputError("scores: no predictions; allowed: at least one")
    covered = np.full(len(observed), np.nan) if covered is None else np.asarray(covered, dtype="float64")
    names, code = np.unique(groups, return_inverse=True)
    centre = observed.mean()  # sums of squares about 0 would lose digits
    sums = _sums(observed - centre, predicted - centre, covered, code.ravel())
    out: dict[str, float] = {"n": len(observed), "groups": len(names)}
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), n_bootstrap)
    with np.errstate(divide="ignore", invalid="ignore"):
        best, resampled = _scores(sums.sum(axis=0)), _scores(drawn @ sums)
    for name, value in best.items():
        out[name] = float(value)
        some = resampled[name][np.isfinite(resampled[name])]
        known = len(names) > 1 and some.size > 0 and np.isfinite(value)
        ends = np.quantile(some, [(1 - level) / 2, (1 + level) / 2]) if known else (np.nan, np.nan)
        out[f"{name}_low"], out[f"{name}_high"] = map(float, ends)
    return out


def covered_by(predictions: xr.Dataset, level: float = 0.9) -> np.ndarray:
    """(prediction,) 1 where the interval of this level holds the observation, 0 where not, NaN where there is none."""
    low, high = (predictions[f"{end}_{100 * level:.0f}"].values for end in ("lower", "upper"))
    observed = predictions["observed"].values
    return np.where(np.isfinite(low), ((low <= observed) & (observed <= high)).astype("float64"), np.nan)


def has_intervals(predictions: xr.Dataset) -> bool:
    """Whether the model gave intervals: it does not where it was fitted without held-out rows."""
    return bool(np.isfinite(predictions["lower_90"].values).any())


def score_table(predictions: xr.Dataset, *, seed: int = 0, n_bootstrap: int = 2000) -> pd.DataFrame:
    """Pooled scores of the model, of its rows inside and outside of the training range, and of both baselines.

    Columns: scheme, model, protocol, predictor, note, n, groups, then SCORES with their intervals. The note says where
    a baseline is not defined and the mean of the training rows stands in, and what scores of "published" are not.
    """
    groups, outside = bootstrap_groups(predictions), predictions["outside"].values > 0
    everywhere, name = np.ones(outside.size, dtype=bool), predictions.attrs["model"]
    parts = [(name, "predicted", everywhere)]
    if outside.any() and not outside.all():
        parts += [(f"{name}, all features within the training range", "predicted", ~outside)]
        parts += [(f"{name}, some feature outside of it", "predicted", outside)]
    parts += [(text, variable, everywhere) for variable, text in BASELINES.items()]
    options = {"seed": seed, "n_bootstrap": n_bootstrap}
    return pd.DataFrame([_row(predictions, text, variable, keep, groups, **options) for text, variable, keep in parts])


def scores_by(predictions: xr.Dataset, by: str, *, seed: int = 0, n_bootstrap: int = 1000) -> pd.DataFrame:
    """Scores of each glacier (its years are resampled) or each year (glaciers are), of the model and both baselines.

    Columns as :func:`score_table`, and first `by`.

    Parameters
    ----------
    predictions
        out-of-fold.
    by
        "glacier" or "year".

    Raises
    ------
    InputError
        for another `by`.
    """
    if by not in ("glacier", "year"):
        raise InputError(f"by: {by!r}; allowed: glacier, year")
    labels = {"glacier": glacier_labels(predictions), "year": predictions["hydro_year"].values}
    groups, units, rows = labels[by], labels["year" if by == "glacier" else "glacier"], []
    for label in np.unique(groups):
        for variable, text in {"predicted": predictions.attrs["model"], **BASELINES}.items():
            row = _row(predictions, text, variable, groups == label, units, seed=seed, n_bootstrap=n_bootstrap)
            rows.append({by: label, **row})
    return pd.DataFrame(rows)


def _row(
    predictions: xr.Dataset, text: str, variable: str, keep: np.ndarray, groups: np.ndarray, **options: int
) -> dict[str, object]:
    """One line of a table: what predicts, what has to be said of it, and its scores over the rows to keep."""
    attrs, some = predictions.attrs, predictions.isel(prediction=keep)
    of_model = variable == "predicted"
    note = attrs["note"] if of_model else ""
    if not of_model and not some[f"{variable}_defined"].values.all():
        share = 1 - some[f"{variable}_defined"].values.mean()
        note = f"not defined for {100 * share:.3g} % of the rows: mean of the training rows"
    covered = covered_by(some) if of_model else None
    found = bootstrap_scores(some["observed"].values, some[variable].values, groups[keep], covered, **options)
    return {**{name: attrs[name] for name in ("scheme", "model", "protocol")}, "predictor": text, "note": note, **found}


def reliability(predictions: xr.Dataset, *, seed: int = 0, n_bootstrap: int = 2000) -> pd.DataFrame:
    """Share of held-out observations inside the intervals, for each nominal level: calibrated where both agree.

    Returns
    -------
    DataFrame, index level: coverage, coverage_low, coverage_high (95 %, whole groups resampled), and width, the mean
    width of the intervals (m w.e. per year).

    Raises
    ------
    InputError
        if the predictions have no intervals.
    """
    if not has_intervals(predictions):
        raise InputError(
            f"{predictions.attrs['model']}: no intervals; allowed: a model that is fitted with held-out rows, nested"
        )
    groups, rows = bootstrap_groups(predictions), []
    pair = [predictions[v].values for v in ("observed", "predicted")]
    for level in LEVELS:
        found = bootstrap_scores(*pair, groups, covered_by(predictions, level), seed=seed, n_bootstrap=n_bootstrap)
        end = f"{100 * level:.0f}"
        row = {name: found[f"coverage_90{name.removeprefix('coverage')}"] for name in _COVERAGE}
        width = float(np.nanmean(predictions[f"upper_{end}"].values - predictions[f"lower_{end}"].values))
        rows.append(row | {"width": width})
    return pd.DataFrame(rows, index=pd.Index(LEVELS, name="level"))


_COVERAGE = ("coverage", "coverage_low", "coverage_high")


def error_components(error: np.ndarray, glacier: np.ndarray) -> tuple[float, float]:
    """Standard deviations of the errors' part that stays with a glacier and of the part that changes every year.

    Analysis of variance of a one-way random model with unequal groups (Searle et al. 1992, Variance Components,
    Sect. 3.6, doi:10.1002/9780470316856); what is left of the mean error counts to the part that stays.

    >>> error_components(np.array([1.0, 1.0, -1.0, -1.0]), np.array([0, 0, 1, 1]))
    (1.0, 0.0)
    """
    _, code, count = np.unique(glacier, return_inverse=True, return_counts=True)
    code = code.ravel()
    mean = np.bincount(code, weights=error) / count
    within = np.sum((error - mean[code]) ** 2) / max(error.size - count.size, 1)
    # mean squares of glacier means about 0, not about their mean: a common bias is an error too
    stays = np.mean(mean**2 - within / count)
    return float(np.sqrt(max(stays, 0.0))), float(np.sqrt(within))


def as_text(scores: pd.DataFrame) -> str:
    """A :func:`score_table`, or several, as people read it: each score with its interval, and what a number is not."""
    shown = scores[["scheme", "predictor", "n"]].copy()
    for name in SCORES:
        ends = zip(scores[name], scores[f"{name}_low"], scores[f"{name}_high"], strict=True)
        shown[name.replace("_90", " 90 %")] = [
            "-" if np.isnan(v) else f"{v:.3f} [{a:.2f}, {b:.2f}]" for v, a, b in ends
        ]
    shown["note"] = scores["note"].fillna("")
    for name in ("scheme", "predictor", "note"):
        shown[name] = shown[name].str.ljust(shown[name].str.len().max())
    return "\n".join(line.rstrip() for line in shown.to_string(index=False, justify="left").splitlines())
