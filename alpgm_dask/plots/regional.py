"""Regional volume, area and mass balance through time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from alpgm_dask.constants import KM2, KM3
from alpgm_dask.plots.common import cycle, figure, for_each, groups_of, lived_through, mean_of, with_members
from alpgm_dask.results import totals_from_start

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: quantity -> what one unit of it is in SI, its unit, its name.
_QUANTITIES = {"volume": (KM3, "km³", "Ice volume"), "area": (KM2, "km²", "Glacier area")}


def regional_series(results: xr.Dataset) -> xr.Dataset:
    """Regional area (m2) and volume (m3) by ``member`` and ``hydro_year``, the start included; computed, small.

    Parameters
    ----------
    results
        results of a run (``member``, ``glacier``, ``hydro_year``).

    Returns
    -------
    Dataset (``member``, ``hydro_year``): the year before the first holds the initial state. Glaciers that
    failed or were not run are left out.
    """
    results = with_members(results)
    return totals_from_start(results, lived_through(results)).transpose("member", "hydro_year").compute()


def regional_balance(results: xr.Dataset) -> xr.Dataset:
    """Area-weighted regional smb and its spread over the SMB models (m w.e. per year); computed, small.

    Weights are the areas at the start of each year. The spread is the mean of the glaciers' spreads, that is as if
    the models erred alike everywhere: an upper bound.

    Returns
    -------
    Dataset (``member``, ``hydro_year``): smb, smb_spread (where the results have it); NaN where no ice is left.
    """
    results = with_members(results)
    lived = lived_through(results)
    start = results["initial_area"].expand_dims(hydro_year=[int(results["hydro_year"][0])], axis=-1)
    ends = results["area"].isel(hydro_year=slice(None, -1)).assign_coords(hydro_year=results["hydro_year"].values[1:])
    before = xr.concat([start, ends], "hydro_year", coords="minimal", compat="override")
    weight = before.where(lived & results["smb"].notnull(), 0.0)
    total = weight.sum("glacier")
    names = [name for name in ("smb", "smb_spread") if name in results]
    sums = (results[names].fillna(0.0) * weight).sum("glacier")
    return (sums / total.where(total > 0)).transpose("member", "hydro_year").compute()


def draw_lines(ax: Axes, years: np.ndarray, values: np.ndarray, groups: dict[str, np.ndarray]) -> None:
    """One line per member, thin, their mean, thick, and the range between them, for each group."""
    for colour, (name, rows) in zip(cycle(len(groups)), groups.items(), strict=True):
        some = values[rows]
        mean = mean_of(some)
        if len(rows) > 1:
            ax.fill_between(years, some.min(axis=0), some.max(axis=0), color=colour, alpha=0.18, linewidth=0)
            ax.plot(years, some.T, color=colour, linewidth=0.6, alpha=0.6)
        ax.plot(years, mean, color=colour, linewidth=2.0, label=_label(name, len(rows)))


def _label(name: str, n: int) -> str | None:
    """What the legend says of a group of n members; nothing of a single one without a name."""
    if n == 1:
        return name or None
    return f"{name} (mean and range of {n})" if name else f"mean and range of {n} members"


def draw_legend(ax: Axes) -> None:
    """A legend, if any line has a name."""
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=8)


def plot_region(results: xr.Dataset) -> Figure:
    """Regional ice volume and area over time: absolute on the left axis, share of the start on the right.

    Parameters
    ----------
    results
        results of a run; coordinate scenario (``member``) groups the lines where it is known.
    """
    results = with_members(results)
    series, groups = regional_series(results), groups_of(results)
    years = series["hydro_year"].values
    fig = figure(10.5, 4.4)
    axes = fig.subplots(1, 2)
    for ax, (name, (unit, symbol, title)) in zip(axes, _QUANTITIES.items(), strict=True):
        values = series[name].values / unit
        draw_lines(ax, years, values, groups)
        start = float(values[:, 0].mean())
        ax.set(xlabel="hydrological year", ylabel=f"{title.lower()} ({symbol})", xlim=(years[0], years[-1]))
        ax.set_ylim(0.0, max(float(np.nanmax(values)) * 1.05, 1e-9))
        if start > 0:
            share = ax.secondary_yaxis(
                "right", functions=(lambda v, s=start: v / s * 100, lambda p, s=start: p * s / 100)
            )
            share.set_ylabel(f"share of {years[0]} (%)")
        left = for_each({group: _share(values[rows, -1].mean(), start) for group, rows in groups.items()})
        ax.set_title(f"{title}: {start:.3g} {symbol} in {years[0]}, left in {years[-1]}: {left}", fontsize=9, wrap=True)
        ax.grid(alpha=0.25)
    draw_legend(axes[0])
    return fig


def _share(value: float, start: float) -> str:
    return f"{value / start:.0%}" if start > 0 else "none"


def plot_smb(results: xr.Dataset) -> Figure:
    """Regional annual mass balance through time, weighted by area.

    Lines are means over the members of a scenario, shades their range, or, for a single member, the spread of the SMB
    models around it.
    """
    results = with_members(results)
    balance, groups = regional_balance(results), groups_of(results)
    years, values = balance["hydro_year"].values, balance["smb"].values
    fig = figure(8.0, 4.2)
    ax = fig.subplots()
    draw_lines(ax, years, values, groups)
    if "smb_spread" in balance:
        for colour, rows in zip(cycle(len(groups)), groups.values(), strict=True):
            if len(rows) == 1:
                middle, spread = values[rows[0]], balance["smb_spread"].values[rows[0]]
                ax.fill_between(years, middle - spread, middle + spread, color=colour, alpha=0.18, linewidth=0)
    ax.axhline(0.0, color="0.4", linewidth=0.8)
    ax.set(xlabel="hydrological year", ylabel="regional mass balance (m w.e. year⁻¹)", xlim=(years[0], years[-1]))
    means = for_each({name: _mean_text(values[rows]) for name, rows in groups.items()})
    ax.set_title(f"Mean mass balance {years[0]}-{years[-1]} in m w.e. year⁻¹: {means}", fontsize=9)
    draw_legend(ax)
    ax.grid(alpha=0.25)
    return fig


def _mean_text(values: np.ndarray) -> str:
    return f"{np.nanmean(values):+.2f}" if np.isfinite(values).any() else "none"
