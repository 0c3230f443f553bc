"""Delta-h functions: each over the pixels that it was fitted to, and which glacier uses what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from alpgm_dask.constants import KM2
from alpgm_dask.delta_h import screen
from alpgm_dask.packing import glacier
from alpgm_dask.plots.common import COLOURS, figure
from alpgm_dask.schema import DELTA_H_REASON, DELTA_H_SOURCE, texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Panels of a page, and of a row; pixels that are drawn of one glacier.
MOST_PANELS, COLUMNS, MOST_PIXELS = 30, 5, 1500

_WORDS = {"own": "own function", "massif": "mean of the massif", "huss2010": "size class", "flat": "flat"}


def plot_delta_h(surveys: xr.Dataset, functions: xr.Dataset, title: str = "") -> Figure:
    """A page of glaciers: elevation change of their pixels over normalized elevation, and the function they use.

    Parameters
    ----------
    surveys
        packed: surface_elevation and elevation_change (``pixel``, m); one glacier at a time is read.
    functions
        of :func:`alpgm_dask.delta_h.choose` (``glacier``), each of a surveyed glacier; the largest 30 are drawn.
    title
        name of the massif.
    """
    functions = functions.compute()
    order = np.argsort(-functions["area"].values, kind="stable")[:MOST_PANELS]
    rows = -(-order.size // COLUMNS)
    columns = min(COLUMNS, order.size)
    width, height = 1.0 + 2.6 * columns, 1.1 + 2.1 * rows
    fig = figure(width, height, layout=None)  # a constrained one takes longer than all else, with thirty panels
    axes = fig.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    sides = {"left": 0.8 / width, "right": 1 - 0.1 / width, "bottom": 0.55 / height, "top": 1 - 0.75 / height}
    fig.subplots_adjust(**sides, wspace=0.22, hspace=0.38)
    for ax, position in zip(axes, order, strict=False):
        _panel(ax, surveys, functions.isel(glacier=int(position)))
    for ax in axes[order.size :]:
        ax.set_axis_off()
    n = functions.sizes["glacier"]
    of = f", the largest {order.size} of {n} glaciers" if order.size < n else ""
    name = f"{title or 'elsewhere'}{of}: elevation change from {_dates(surveys)}"
    fig.suptitle(name, fontsize=10, y=1 - 0.2 / height)
    fig.supxlabel("normalized elevation: 0 at the top, 1 at the terminus", fontsize=9, y=0.1 / height)
    fig.supylabel("elevation change (m)", fontsize=9, x=0.1 / width)
    return fig


def _dates(surveys: xr.Dataset) -> str:
    return f"{surveys.attrs.get('first_survey', '?')} to {surveys.attrs.get('second_survey', '?')}"


def _panel(ax: Axes, surveys: xr.Dataset, one: xr.Dataset) -> None:
    rgi_id = str(texts(one["rgi_id"]))
    pixels = glacier(surveys[["rgi_id", "row_start", "row_size", "surface_elevation", "elevation_change"]], rgi_id)
    z, change = (pixels[name].values.astype("float64") for name in ("surface_elevation", "elevation_change"))
    low, high = float(one["lowest_elevation"]), float(one["highest_elevation"])
    if not np.isfinite([low, high]).all():
        low, high = (np.nanmin(z), np.nanmax(z)) if np.isfinite(z).any() else (0.0, 1.0)
    step = max(1, z.size // MOST_PIXELS)
    place = (high - z[::step]) / max(high - low, 1e-9)
    ax.plot(place, change[::step], ".", color="0.5", markersize=2.0, markeredgewidth=0, alpha=0.6, rasterized=True)
    nodes, greatest = one["normalized_elevation"].values, float(one["greatest_change"])
    source = DELTA_H_SOURCE[int(one["delta_h_source"])]
    if not np.isfinite(greatest):  # the scale of a function that was not fitted is that of what is believed
        believed = change[screen(z, change)]
        greatest = min(2.0 * float(np.median(believed)), -1.0) if believed.size else -1.0
    curve, spread = one["delta_h"].values, one["delta_h_spread"].values
    colour = COLOURS[DELTA_H_SOURCE.index(source)]
    ax.fill_between(
        nodes, greatest * (curve - spread).clip(0), greatest * (curve + spread).clip(max=1), color=colour, alpha=0.25
    )
    ax.plot(nodes, greatest * curve, color=colour, linewidth=1.4)
    ax.axhline(0.0, color="k", linewidth=0.5)
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(2.0 * min(greatest, -5.0), -0.8 * min(greatest, -5.0))
    ax.tick_params(labelsize=6)
    reason = DELTA_H_REASON[int(one["delta_h_reason"])]
    why = f"error {float(one['held_out_error']):.0f} m" if reason == "fitted" else reason.replace("_", " ")
    name = str(texts(one["name"])) if "name" in one.variables else ""
    ax.set_title(f"{name or rgi_id}\n{_WORDS[source]}: {why}", fontsize=6)


def plot_delta_h_sources(functions: xr.Dataset) -> Figure:
    """Map of which function every glacier uses: size is area, colour where the function comes from.

    Parameters
    ----------
    functions
        of :func:`alpgm_dask.delta_h.choose`: lon, lat, area, delta_h_source (``glacier``).
    """
    place = functions[["lon", "lat", "area", "delta_h_source"]].compute()
    lon, lat, area = place["lon"].values, place["lat"].values, place["area"].values / KM2
    fig = figure(7.6, 5.4)
    ax = fig.subplots()
    for k in reversed(range(len(DELTA_H_SOURCE))):
        here = place["delta_h_source"].values == k
        if here.any():
            label = f"{_WORDS[DELTA_H_SOURCE[k]]} ({here.sum()}, {np.nansum(area[here]):.0f} km²)"
            size = 6.0 + 12.0 * np.sqrt(np.nan_to_num(area[here]))
            ax.scatter(lon[here], lat[here], s=size, color=COLOURS[k], alpha=0.7, linewidths=0, label=label)
    ax.set_aspect(1.0 / np.cos(np.radians(np.nanmean(lat))))
    ax.set(xlabel="longitude (°E)", ylabel="latitude (°N)", title="delta-h function that each glacier uses")
    ax.grid(alpha=0.25)
    ax.legend(*(list(reversed(part)) for part in ax.get_legend_handles_labels()), fontsize=8)
    return fig
