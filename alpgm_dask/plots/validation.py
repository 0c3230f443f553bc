"""Out-of-fold predictions: against observations, summed over the years, by magnitude, and how wide intervals are.

All functions take the predictions of :func:`alpgm_dask.smb.validation.assemble`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.plots.common import COLOURS, figure
from alpgm_dask.schema import InputError
from alpgm_dask.smb.scoring import (
    bootstrap_groups,
    bootstrap_scores,
    error_components,
    glacier_labels,
    reliability,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UNITS = "m w.e. year⁻¹"

#: Half width of the interval that holds 90 % of a normal distribution, in standard deviations.
_NORMAL_90 = 1.645


_HELD_OUT = {"logo": "one glacier", "loyo": "one year", "lsygo": "some years and glaciers"}


def _title(predictions: xr.Dataset, text: str = "") -> str:
    scheme = predictions.attrs["scheme"]
    name = f"{predictions.attrs['model'].replace('_', ' ')}, {_HELD_OUT.get(scheme, scheme)} left out"
    return f"{name}: {text}" if text else name


def _warn(fig: Figure, predictions: xr.Dataset) -> None:
    """What the numbers are not, in red, where they are not out-of-fold in everything."""
    if predictions.attrs["note"]:
        fig.suptitle(predictions.attrs["note"], color="#B00000", fontsize=10, fontweight="bold")


def plot_scatter(predictions: xr.Dataset) -> Figure:
    """Predicted against observed annual mass balance by density, the line where both agree, and the scores."""
    observed, predicted = predictions["observed"].values, predictions["predicted"].values
    both = np.concatenate([observed, predicted])
    low, high = both.min() - 0.2, both.max() + 0.2
    fig = figure(6.2, 5.4)
    ax = fig.subplots()
    drawn = ax.hexbin(
        observed, predicted, gridsize=45, extent=(low, high, low, high), mincnt=1, bins="log", cmap="cividis_r"
    )
    drawn.set_linewidth(0.1)
    fig.colorbar(drawn, ax=ax, label="glacier-years", format="{x:g}")
    ax.plot([low, high], [low, high], color="0.25", linewidth=1.0, linestyle="--", label="1:1")
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    ax.set(xlabel=f"observed mass balance ({_UNITS})", ylabel=f"predicted out of fold ({_UNITS})")
    found = bootstrap_scores(observed, predicted, bootstrap_groups(predictions))
    lines = [
        f"{_SCORE_NAMES[n]} {found[n]:.2f} [{found[f'{n}_low']:.2f}, {found[f'{n}_high']:.2f}]" for n in _SCORE_NAMES
    ]
    ax.text(0.03, 0.97, "\n".join([*lines, f"n = {len(observed)}"]), transform=ax.transAxes, va="top", fontsize=9)
    ax.set_title(_title(predictions), fontsize=10)
    ax.legend(loc="lower right", frameon=False, fontsize=8)
    ax.grid(alpha=0.25)
    _warn(fig, predictions)
    return fig


_SCORE_NAMES = {"r2": "r²", "rmse": "RMSE", "mae": "MAE", "bias": "bias"}


def cumulative(predictions: xr.Dataset) -> pd.DataFrame:
    """Observed and predicted mass balance of each glacier summed over its tested years, with how far they may part.

    A row that was tested in several folds counts once, with its mean prediction. The band is that of 90 % of a normal
    distribution: after n years the variance is n² times that of the errors that stay with a glacier plus n times that
    of those that change every year (:func:`alpgm_dask.smb.scoring.error_components`), both from the errors of the
    *other* glaciers, so that the band of a glacier does not know its own.

    Returns
    -------
    DataFrame: glacier, year, observed, predicted, band (half width), all sums in m w.e., rows in rising years.
    """
    rows = pd.DataFrame(
        {"glacier": glacier_labels(predictions), "year": predictions["hydro_year"].values}
        | {name: predictions[name].values for name in ("observed", "predicted")}
    )
    yearly = rows.groupby(["glacier", "year"], as_index=False).mean()
    error, label = (yearly["predicted"] - yearly["observed"]).values, yearly["glacier"].values
    parts = []
    for glacier, own in yearly.groupby("glacier"):
        others = label != glacier
        stays, changes = error_components(error[others], label[others]) if others.any() else (np.nan, np.nan)
        n = np.arange(1, len(own) + 1)
        sums = own[["observed", "predicted"]].cumsum()
        parts.append(own.assign(**sums, band=_NORMAL_90 * np.sqrt((n * stays) ** 2 + n * changes**2)))
    return pd.concat(parts, ignore_index=True)


def plot_cumulative(predictions: xr.Dataset, most: int = 64) -> Figure:
    """Cumulative mass balance of each glacier, predicted out of fold and observed, with a 90 % band.

    Years without an observation add nothing to either sum; the lines are dotted across them.

    Parameters
    ----------
    predictions
        out-of-fold.
    most
        glaciers shown at most: those with the longest series.
    """
    table = cumulative(predictions)
    length = table.groupby("glacier").size().sort_values(ascending=False, kind="stable")
    shown = sorted(length.index[:most])
    last = table.groupby("glacier").tail(1)
    inside = np.abs(last["predicted"] - last["observed"]) <= last["band"]
    columns = min(8, max(1, int(np.ceil(np.sqrt(1.6 * len(shown))))))
    lines = -(-len(shown) // columns)
    fig = figure(max(1.75 * columns, 4.0), 1.45 * lines + 0.9)
    axes = fig.subplots(lines, columns, squeeze=False, sharex=True)
    for ax, glacier in zip(axes.flat, shown, strict=False):
        _sums_of_one(ax, table[table["glacier"] == glacier])
        ax.set_title(glacier, fontsize=7, pad=2)
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    handles, names = axes.flat[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8)
    fig.supylabel("cumulative mass balance since the first tested year (m w.e.)", fontsize=9)
    left_out = f"; {len(length) - len(shown)} shorter series not shown" if len(length) > len(shown) else ""
    text = f"final sum inside the 90 % band at {inside.sum()} of {len(inside)} glaciers{left_out}"
    note = f"{predictions.attrs['note']}\n" if predictions.attrs["note"] else ""
    fig.suptitle(f"{note}{_title(predictions, text)}", fontsize=10, color="#B00000" if note else "black")
    return fig


def _sums_of_one(ax: Axes, own: pd.DataFrame) -> None:
    """One glacier: both sums from 0 before the first year; solid where years follow on each other, dotted elsewhere."""
    years = np.append(own["year"].values[0] - 1, own["year"].values)
    sums = {name: np.append(0.0, own[name].values) for name in ("observed", "predicted", "band")}
    middle, half = sums["predicted"], sums["band"]
    ax.fill_between(years, middle - half, middle + half, color=COLOURS[0], alpha=0.2, linewidth=0, label="90 % band")
    for name, colour, width in (("predicted", COLOURS[0], 1.5), ("observed", COLOURS[1], 1.2)):
        every = np.arange(years[0], years[-1] + 1)
        solid = np.full(every.size, np.nan)
        solid[years - years[0]] = sums[name]
        ax.plot(years, sums[name], color=colour, linewidth=0.7, linestyle=":")
        ax.plot(every, solid, color=colour, linewidth=width, label=name)
    ax.axhline(0.0, color="0.6", linewidth=0.5)
    ax.tick_params(labelsize=6.5, length=2)
    ax.grid(alpha=0.2)


def plot_error_by_magnitude(predictions: xr.Dataset, width: float = 0.5) -> Figure:
    """Error (predicted - observed) by classes of observed mass balance: do extremes come out too tame?

    Boxes hold half of the errors, whiskers 90 %; the numbers are the glacier-years of each class.

    Parameters
    ----------
    predictions
        out-of-fold.
    width
        of the classes, m w.e. per year.

    Raises
    ------
    InputError
        for a width that is not positive.
    """
    if not width > 0:
        raise InputError(f"width: {width}; allowed: positive numbers")
    observed = predictions["observed"].values
    error = predictions["predicted"].values - observed
    code = np.floor(observed / width).astype(int)
    classes = np.unique(code)
    fig = figure(7.6, 4.4)
    ax = fig.subplots()
    boxes = ax.boxplot(
        [error[code == c] for c in classes],
        positions=(classes + 0.5) * width,
        widths=0.7 * width,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        medianprops={"color": "black"},
    )
    for box in boxes["boxes"]:
        box.set(facecolor=COLOURS[5], edgecolor=COLOURS[0], alpha=0.8)
    ax.axhline(0.0, color="0.3", linewidth=0.9)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.08 * (top - bottom))
    for c in classes:
        ax.text((c + 0.5) * width, top, str((code == c).sum()), ha="center", va="bottom", fontsize=7, color="0.3")
    slope = float(np.polyfit(observed, error, 1)[0]) if np.ptp(observed) > 0 else np.nan
    ax.set(xlabel=f"observed mass balance ({_UNITS})", ylabel=f"predicted - observed ({_UNITS})")
    ax.set_title(_title(predictions, f"error changes by {slope:+.2f} per m w.e. of observed balance"), fontsize=10)
    ax.grid(axis="y", alpha=0.25)
    _warn(fig, predictions)
    return fig


def plot_reliability(predictions: xr.Dataset) -> Figure:
    """Coverage of the intervals on held-out groups against their nominal level, and their mean width.

    Raises
    ------
    InputError
        if the predictions have no intervals.
    """
    table = reliability(predictions)
    level, found = 100 * table.index.values, 100 * table["coverage"].values
    fig = figure(5.4, 5.0)
    ax = fig.subplots()
    ax.plot([40, 100], [40, 100], color="0.25", linewidth=1.0, linestyle="--", label="calibrated")
    if table["coverage_low"].notna().all():
        spans = np.abs(100 * table[["coverage_low", "coverage_high"]].values.T - found)
        ax.errorbar(level, found, spans, color=COLOURS[0], fmt="o-", capsize=3, label="held-out groups, 95 % range")
    else:
        ax.plot(level, found, "o-", color=COLOURS[0], label="held-out groups")
    for x, y, wide in zip(level, found, table["width"], strict=True):
        ax.annotate(f"{wide:.2f} m w.e.", (x, y), xytext=(7, -12), textcoords="offset points", fontsize=8, color="0.3")
    ax.set(xlabel="nominal level (%)", ylabel="observations inside the interval (%)", xlim=(40, 106), ylim=(None, 101))
    ax.set_title(_title(predictions, "numbers are mean widths"), fontsize=10)
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    ax.grid(alpha=0.25)
    _warn(fig, predictions)
    return fig
