"""Maps: what remains of each glacier, and the ice of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from alpgm_dask.constants import KM2
from alpgm_dask.plots.common import COLOURS, figure, groups_of, lived_through, mean_of, rings_of, with_members
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    import geopandas
    import shapely
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def remaining_share(results: xr.Dataset, year: int | None = None) -> xr.DataArray:
    """(``member``, ``glacier``) volume at the end of a year as a share of the initial volume; computed.

    NaN where the glacier failed or was not run. `year` None: the last one.

    Raises
    ------
    InputError
        if the results do not hold the year.
    """
    years = results["hydro_year"].values
    year = int(years[-1]) if year is None else year
    if year not in years:
        raise InputError(f"year is {year}; allowed: {years[0]} to {years[-1]}")
    results = with_members(results)
    lived = lived_through(results)
    share = results["volume"].sel(hydro_year=year).fillna(0.0) / results["initial_volume"]
    return share.where(lived).transpose("member", "glacier").compute()


def plot_remaining_ice(
    results: xr.Dataset, year: int | None = None, outlines: geopandas.GeoDataFrame | None = None
) -> Figure:
    """Map of the glaciers, one panel per scenario: size is initial area, colour the share of ice volume that remains.

    Parameters
    ----------
    results
        results of a run.
    year
        hydrological year at whose end to look; None: the last.
    outlines
        drawn below, if given; any CRS.

    Raises
    ------
    InputError
        if the results do not hold the year.
    """
    results = with_members(results)
    share, groups = remaining_share(results, year), groups_of(results)
    year = int(results["hydro_year"][-1]) if year is None else year
    place = _first_member(results[["lon", "lat", "initial_area"]]).compute()
    lon, lat, area = place["lon"].values, place["lat"].values, place["initial_area"].values / KM2
    width, height = _panel(lon, lat)
    scale = _marker_scale(area, width * height)
    fig = figure(1.6 + width * len(groups), 0.9 + height)
    axes = fig.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (name, rows) in zip(axes, groups.items(), strict=True):
        mean = mean_of(share.values[rows])
        points = _map(ax, lon, lat, _marker_size(area, scale), mean, outlines)
        gone, known = int((mean == 0).sum()), int(np.isfinite(mean).sum())
        start = f"{name}, {year}" if name else f"{year}"
        ax.set_title(f"{start}: {gone} of {known} glaciers gone, median share {_median(mean)}", fontsize=9)
    axes[0].set_ylabel("latitude (°N)")
    extend = "max" if (share > 1).any() else "neither"
    fig.colorbar(points, ax=list(axes), label=f"share of initial ice volume in {year}", extend=extend, shrink=0.85)
    _size_legend(axes[0], area, scale)
    return fig


def _panel(lon: np.ndarray, lat: np.ndarray) -> tuple[float, float]:
    """Width and height in inches of a map of these places, such that it fills its panel."""
    ratio = np.ptp(lon) * np.cos(np.radians(np.mean(lat))) / max(float(np.ptp(lat)), 1e-3)
    height = float(np.clip(np.sqrt(24.0 / max(ratio, 1e-3)), 3.0, 6.4))
    return float(np.clip(height * ratio, 4.4, 10.0)), height


def _first_member(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(member=0) if "member" in ds.dims else ds


def _median(values: np.ndarray) -> str:
    return f"{np.nanmedian(values):.0%}" if np.isfinite(values).any() else "unknown"


def _marker_size(area: np.ndarray, scale: float) -> np.ndarray:
    """Points squared of a marker, by area in km2."""
    return scale * (12.0 + 22.0 * np.asarray(area))


def _marker_scale(area: np.ndarray, panel: float) -> float:
    """What keeps all markers together under a sixth of a panel (square inches): thousands must not be one blot."""
    return min(1.0, panel * 72.0**2 / 6.0 / float(np.nansum(_marker_size(area, 1.0))))


def _map(ax: Axes, lon: np.ndarray, lat: np.ndarray, size: np.ndarray, share: np.ndarray, outlines: Any) -> Any:
    """Glaciers as circles, largest first, so that small ones stay seen; gone or failed ones are hollow or crossed."""
    if outlines is not None:
        _draw_outlines(ax, outlines)
    order = np.argsort(-size, kind="stable")
    there, gone, failed = (order[test[order]] for test in (share > 0, share == 0, ~np.isfinite(share)))
    width = float(np.clip(np.sqrt(size.min() / 12.0), 0.3, 1.0))
    ax.scatter(lon[gone], lat[gone], s=size[gone], facecolors="none", edgecolors=COLOURS[1], linewidths=0.9 * width)
    style = {"edgecolors": "0.25", "linewidths": 0.5 * width, "alpha": 0.9}
    points = ax.scatter(
        lon[there], lat[there], s=size[there], c=share[there], cmap="cividis_r", vmin=0, vmax=1, **style
    )
    ax.scatter(lon[failed], lat[failed], s=24, marker="x", color="0.3", linewidths=0.9)
    ax.set_aspect(1.0 / np.cos(np.radians(np.nanmean(lat))))
    ax.set_xlabel("longitude (°E)")
    ax.grid(alpha=0.25)
    return points


def _draw_outlines(ax: Axes, outlines: geopandas.GeoDataFrame) -> None:
    from matplotlib.collections import LineCollection

    ax.add_collection(LineCollection(rings_of(outlines.to_crs(4326).geometry.values), colors="0.55", linewidths=0.5))


def _size_legend(ax: Axes, area: np.ndarray, scale: float) -> None:
    sizes = [v for v in (0.1, 1.0, 5.0, 20.0, 50.0) if v <= max(float(np.nanmax(area)), 0.1)]
    shown = [ax.scatter([], [], s=_marker_size(v, scale), color="0.7", label=f"{v:g} km²") for v in sizes]
    shown.append(ax.scatter([], [], s=30, facecolors="none", edgecolors=COLOURS[1], label="gone"))
    room = np.sqrt(_marker_size(sizes[-1], scale)) / 8.0  # of the largest marker, in the legend's font sizes
    ax.legend(
        handles=shown,
        frameon=False,
        fontsize=8,
        loc="best",
        title="initial area",
        title_fontsize=8,
        handlelength=max(1.2, room),
        labelspacing=max(0.5, 0.45 * room),
    )


def plot_glacier(
    ice_thickness: xr.DataArray,
    surface_elevation: xr.DataArray | None = None,
    outline: shapely.Geometry | None = None,
    title: str = "",
) -> Figure:
    """Map of one glacier's ice thickness, with contours of its surface.

    Parameters
    ----------
    ice_thickness
        (``y``, ``x``) m, NaN or 0 where there is no ice, as :func:`alpgm_dask.raster.to_raster` gives it;
        coordinates in m.
    surface_elevation
        (``y``, ``x``) m on the same grid; None: no contours.
    outline
        polygon in the same coordinates; None: the margin of the ice.
    title
        put before what is seen, for instance the glacier's name.
    """
    h = ice_thickness.transpose("y", "x").where(ice_thickness > 0).compute()
    x, y = h["x"].values / 1000.0, h["y"].values / 1000.0
    fig = figure(6.4, 5.6)
    ax = fig.subplots()
    image = ax.pcolormesh(x, y, h.values, cmap="viridis_r", shading="nearest", vmin=0.0)
    fig.colorbar(image, ax=ax, label="ice thickness (m)", shrink=0.85)
    if surface_elevation is not None:
        _contours(ax, x, y, surface_elevation.transpose("y", "x").values)
    _margin(ax, x, y, h.values, outline)
    ax.set_aspect("equal")
    ax.set(xlabel="x (km)", ylabel="y (km)", title=f"{title + ': ' if title else ''}{_thickness_text(h)}")
    ax.title.set_fontsize(9)
    return fig


def _contours(ax: Axes, x: np.ndarray, y: np.ndarray, surface: np.ndarray) -> None:
    """Contours of the surface, labelled, 6 to 20 of them; none where the surface is flat or one pixel wide."""
    if min(surface.shape) < 2 or not np.isfinite(surface).any() or np.nanmax(surface) - np.nanmin(surface) < 20.0:
        return
    low, high = np.nanmin(surface), np.nanmax(surface)
    step = next((s for s in (20.0, 50.0, 100.0, 200.0) if (high - low) / s <= 20), 500.0)
    lines = ax.contour(
        x, y, surface, levels=np.arange(np.ceil(low / step), high / step) * step, colors="k", linewidths=0.5
    )
    ax.clabel(lines, fontsize=6, fmt="%d m")


def _margin(ax: Axes, x: np.ndarray, y: np.ndarray, h: np.ndarray, outline: shapely.Geometry | None) -> None:
    """The given outline, or the line between ice and no ice."""
    if outline is not None:
        for ring in rings_of([outline]):
            ax.plot(ring[:, 0] / 1000.0, ring[:, 1] / 1000.0, color=COLOURS[1], linewidth=1.2)
    elif min(h.shape) > 1:
        ax.contour(x, y, np.isfinite(h).astype(float), levels=[0.5], colors=COLOURS[1], linewidths=1.2)


def _thickness_text(h: xr.DataArray) -> str:
    ice = np.isfinite(h.values)
    if not ice.any():
        return "no ice"
    steps = [abs(float(np.diff(h[d].values[:2])[0])) if h.sizes[d] > 1 else 0.0 for d in ("y", "x")]
    cover = ice.sum() * (max(steps) if min(steps) == 0 else steps[0]) * max(steps) / KM2
    return (
        f"{cover:.3g} km² of ice, {np.nanmean(h.values):.0f} m thick on the mean, {np.nanmax(h.values):.0f} m at most"
    )
