"""What each dimension of an ensemble contributes to the spread of the region's ice volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.constants import KM3
from alpgm_dask.plots.common import COLOURS, cycle, figure, groups_of
from alpgm_dask.plots.regional import draw_legend
from alpgm_dask.results import contributions, ensemble_series, name_of_variant
from alpgm_dask.schema import texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_ensemble(results: xr.Dataset) -> Figure:
    """Regional ice volume through time, one panel for each dimension of an ensemble that has several values.

    Lines are means over all other dimensions, one for each value; the shade behind them is the range of all runs, the
    same in every panel. Titles say what share of the last year's variance the dimension explains. Glaciers count that
    failed in no run.

    Parameters
    ----------
    results
        results of an ensemble (``member``, ``thickness_factor`` and ``delta_h_shift``, as far as they were varied).
    """
    series = ensemble_series(results)[["volume", "area"]].compute()
    volume, table = series["volume"] / KM3, contributions(series)
    runs = [str(dim) for dim in volume.dims if dim != "hydro_year"]
    panels = [dim for dim in runs if volume.sizes[dim] > 1] or runs[:1]
    years, low, high = volume["hydro_year"].values, volume.min(runs), volume.max(runs)
    fig = figure(1.0 + 4.6 * len(panels), 4.2)
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, dim in zip(axes, panels, strict=True):
        ax.fill_between(years, low, high, color="0.6", alpha=0.25, linewidth=0, label="range of all runs")
        means = volume.mean([other for other in runs if other != dim]).transpose(dim, "hydro_year")
        _draw_means(ax, years, means, dim)
        ax.set(xlabel="hydrological year", xlim=(years[0], years[-1]))
        ax.set_ylim(0.0, max(float(high.max()) * 1.05, 1e-9))
        ax.set_title(_title(dim, means.values[:, -1], table, int(years[-1])), fontsize=9, wrap=True)
        ax.grid(alpha=0.25)
        draw_legend(ax)
    axes[0].set_ylabel("ice volume (km³)")
    return fig


def _draw_means(ax: Axes, years: np.ndarray, means: xr.DataArray, dim: str) -> None:
    """A line for each value of a dimension; members in the colours of their scenarios, which the legend names."""
    if dim != "member":
        names = [name_of_variant(dim, value) for value in means[dim].values]
        colours = cycle(len(names))
    elif means.sizes[dim] <= len(COLOURS):
        names, colours = texts(means[dim]).tolist(), cycle(means.sizes[dim])
    else:
        names, colours = [None] * means.sizes[dim], [""] * means.sizes[dim]
        groups = groups_of(means.to_dataset(name="volume"))
        for colour, (name, rows) in zip(cycle(len(groups)), groups.items(), strict=True):
            names[rows[0]] = name or None
            for row in rows:
                colours[row] = colour
    for values, name, colour in zip(means.values, names, colours, strict=True):
        ax.plot(years, values, color=colour, linewidth=1.2, label=name)


def _title(dim: str, last: np.ndarray, table: pd.DataFrame, year: int) -> str:
    words = dim.replace("delta_h", "delta-h").replace("_", " ")
    share = float(table["volume_share"].get(dim, np.nan))
    explained = f", {share:.0%} of the variance" if np.isfinite(share) else ""
    return f"{words}: {last.min():.3g} to {last.max():.3g} km³ in {year}{explained}"
