"""What an SMB model goes by: importance of features as bars, response to climate as curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from alpgm_dask.plots.common import cycle, figure
from alpgm_dask.schema import VARIABLES, InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Groups that hold other groups, drawn apart from those.
_TOGETHER = ("all climate", "regional climate", "all topography")

#: Score -> what its axis says.
_SCORES = {
    "rmse_increase": "increase of RMSE when shuffled (m w.e. year⁻¹)",
    "r2_decrease": "decrease of r² when shuffled",
}


def plot_importance(importance: xr.Dataset | Mapping[str, xr.Dataset], score: str = "rmse_increase") -> Figure:
    """Importance of groups of features on held-out rows: bars are means over the repeats, whiskers their range.

    Parameters
    ----------
    importance
        from :func:`alpgm_dask.smb.explain.permutation_importance`; several by name (models, schemes) stand side by
        side, in the order of the first one's importance.
    score
        "rmse_increase" or "r2_decrease".

    Raises
    ------
    InputError
        for another score.
    """
    if score not in _SCORES:
        raise InputError(f"score: {score!r}; allowed: {', '.join(_SCORES)}")
    several = {"": importance} if isinstance(importance, xr.Dataset) else dict(importance)
    order = _order(next(iter(several.values())), score)
    fig = figure(7.6, 1.5 + len(order) * max(0.3, 0.17 * len(several)))
    ax = fig.subplots()
    place, height = -np.arange(len(order), dtype=float), 0.8 / len(several)
    # totals stand apart, below a line
    apart = np.array([name in _TOGETHER for name in order])
    place[apart] -= 0.6
    for k, (colour, (name, one)) in enumerate(zip(cycle(len(several)), several.items(), strict=True)):
        at = place + 0.4 - (k + 0.5) * height
        _bars(ax, at, one[score].reindex(feature_group=order), 0.9 * height, colour, _name_and_score(name, one))
    if apart.any() and not apart.all():
        ax.axhline((place[~apart].min() + place[apart].max()) / 2, color="0.7", linewidth=0.8)
    ax.axvline(0.0, color="0.3", linewidth=0.8)
    ax.set_yticks(place, order)
    ax.set(xlabel=_SCORES[score], ylim=(place.min() - 0.6, 0.6))
    ax.grid(axis="x", alpha=0.25)
    ax.set_title(_title(several), fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="lower right" if apart.sum() < len(order) / 2 else "best")
    return fig


def _order(importance: xr.Dataset, score: str) -> list[str]:
    """Groups by falling importance, totals last."""
    mean = importance[score].mean("repeat").values
    names = [str(importance["feature_group"].values[k]) for k in np.argsort(-mean, kind="stable")]
    return [n for n in names if n not in _TOGETHER] + [n for n in names if n in _TOGETHER]


def _bars(ax: Axes, at: np.ndarray, values: xr.DataArray, height: float, colour: str, label: str) -> None:
    mean, low, high = (getattr(values, f)("repeat").values for f in ("mean", "min", "max"))
    ax.barh(at, mean, height, color=colour, label=label, alpha=0.85)
    ax.errorbar(mean, at, xerr=[mean - low, high - mean], fmt="none", ecolor="0.2", elinewidth=0.9, capsize=2)


def _name_and_score(name: str, one: xr.Dataset) -> str:
    unshuffled = f"r² {float(one['r2']):.2f}, RMSE {float(one['rmse']):.2f} m w.e."
    return f"{name}: {unshuffled}" if name else unshuffled


def _title(several: Mapping[str, xr.Dataset]) -> str:
    schemes = dict.fromkeys(str(one.attrs.get("scheme", "")).upper() for one in several.values())
    models = dict.fromkeys(str(one.attrs.get("model", "")).replace("_", " ") for one in several.values())
    return f"Permutation importance on held-out rows: {', '.join(schemes)}; {', '.join(models)}"


def plot_response(curves: xr.Dataset) -> Figure:
    """Response of the mass balance to one climate anomaly at a time: a panel for each predictor, a line for each model.

    Shades of a line are one standard deviation over the members of the model; the grey band is the range of training,
    outside of which lines are dashed.

    Parameters
    ----------
    curves
        from :func:`alpgm_dask.smb.explain.response`.
    """
    n = curves.sizes["predictor"]
    fig = figure(1.2 + 3.4 * n, 3.9)
    axes = np.atleast_1d(fig.subplots(1, n, sharey=True))
    for ax, predictor in zip(axes, curves["predictor"].values, strict=True):
        one = curves.sel(predictor=predictor)
        _training_band(ax, one)
        for colour, model in zip(cycle(curves.sizes["model"]), curves["model"].values, strict=True):
            _response_line(ax, one.sel(model=model), colour, str(model).replace("_", " "))
        _finish(ax, one, str(predictor))
    axes[0].set_ylabel("change of mass balance (m w.e. year⁻¹)")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), fontsize=8, frameon=False)
    return fig


def _training_band(ax: Axes, one: xr.Dataset) -> None:
    ax.axvspan(
        float(one["training_min"]), float(one["training_max"]), color="0.92", label="range of training", zorder=0
    )
    ax.axhline(0.0, color="0.4", linewidth=0.8)
    ax.axvline(0.0, color="0.4", linewidth=0.8)


def _response_line(ax: Axes, one: xr.Dataset, colour: str, label: str) -> None:
    anomaly, change, spread = (one[name].values for name in ("anomaly", "smb_change", "smb_change_member_sd"))
    inside = ~one["outside"].values
    ax.plot(anomaly, change, color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
    ax.plot(anomaly, np.where(inside, change, np.nan), color=colour, linewidth=2.0, label=label)
    ax.fill_between(anomaly, change - spread, change + spread, color=colour, alpha=0.18, linewidth=0)


def _finish(ax: Axes, one: xr.Dataset, predictor: str) -> None:
    known = VARIABLES.get(predictor)
    title = known.long_name if known else predictor.replace("_", " ")
    units = str(one["units"].values).replace("kg m-2", "kg m⁻²")
    ax.set_title(title, fontsize=9)
    ax.set(xlabel=f"anomaly ({units})", xlim=(float(one["anomaly"].min()), float(one["anomaly"].max())))
    ax.grid(alpha=0.25)
