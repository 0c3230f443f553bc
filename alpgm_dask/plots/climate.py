"""The climate that drove a run, at its glaciers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from alpgm_dask.plots.common import figure, for_each, groups_of, with_members
from alpgm_dask.plots.regional import draw_legend, draw_lines
from alpgm_dask.schema import VARIABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: variable -> its title.
_DRAWN = {"cpdd": "Degree-days", "winter_snowfall": "Winter snowfall", "summer_snowfall": "Summer snowfall"}
#: Years at the start that changes are counted from, and at the end that the title speaks of.
_SPAN = 10


def climate_change(results: xr.Dataset) -> xr.Dataset:
    """Change of degree-days and snowfall against each glacier's own first ten years, mean over glaciers; computed.

    Parameters
    ----------
    results
        results of a run (``member``, ``glacier``, ``hydro_year``).

    Returns
    -------
    Dataset (``member``, ``hydro_year``) of cpdd (K day), winter_snowfall and summer_snowfall (kg m-2). A glacier that
    is there for these ten years counts until it vanishes; its own thinning is part of the change.
    """
    driven = with_members(results[list(_DRAWN)])
    start = driven.isel(hydro_year=slice(0, _SPAN)).mean("hydro_year", skipna=False)
    return (driven - start).mean("glacier").transpose("member", "hydro_year").compute()


def has_climate(results: xr.Dataset) -> bool:
    """Whether a run was driven by climate; one of prescribed mass balance is not."""
    return all(name in results for name in _DRAWN) and bool(results["cpdd"].notnull().any())


def plot_climate(results: xr.Dataset) -> Figure:
    """Degree-days, winter and summer snowfall at the glaciers through time, as changes against their first ten years.

    Lines are means over the members of a scenario, shades their range.
    """
    results = with_members(results)
    change, groups = climate_change(results), groups_of(results)
    years = change["hydro_year"].values
    fig = figure(11.5, 3.8)
    for ax, (name, word) in zip(fig.subplots(1, len(_DRAWN)), _DRAWN.items(), strict=True):
        values = change[name].values
        draw_lines(ax, years, values, groups)
        ax.axhline(0.0, color="0.4", linewidth=0.8)
        units = VARIABLES[name].units.replace("kg m-2", "kg m⁻²")
        last = for_each({group: f"{values[rows, -_SPAN:].mean():+.0f}" for group, rows in groups.items()})
        ax.set_title(f"{word}: {last} {units} in the last ten years", fontsize=9, wrap=True)
        ax.set(xlabel="hydrological year", ylabel=f"change ({units})", xlim=(years[0] - 0.5, years[-1] + 0.5))
        ax.grid(alpha=0.25)
        if name == "cpdd":
            draw_legend(ax)
    return fig
