"""Functions of all glaciers of a packed store of two surveys: one task per block, which reads, fits and returns it."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import xarray as xr

from alpgm_dask import packing
from alpgm_dask.delta_h.curve import UnfitError
from alpgm_dask.delta_h.fitting import METHODS, QUALITY, Fit, Pixels, fit_pixels
from alpgm_dask.delta_h.folds import tiles
from alpgm_dask.delta_h.monotone import NODES
from alpgm_dask.delta_h.screening import PLAUSIBLE, check_plausible
from alpgm_dask.schema import DELTA_H_REASON, InputError, annotate, check

_PIXELS = ("surface_elevation", "elevation_change", "x", "y")
_NEEDED = {
    **dict.fromkeys(("rgi_id", "area", "row_start", "row_size"), ("glacier",)),
    **dict.fromkeys(_PIXELS, ("pixel",)),
}
_CURVES = ("delta_h", "delta_h_spread")

#: Attributes of a glacier that its function carries.
CARRIED = ("rgi_id", "glims_id", "name", "massif", "subregion", "lon", "lat", "area")


def fit_region(
    surveys: xr.Dataset,
    *,
    method: str = "monotone",
    plausible: tuple[float, float] = PLAUSIBLE,
    where: str = "surveys",
) -> xr.Dataset:
    """A function for every glacier that two surveys show well enough; lazy, nothing is computed.

    Parameters
    ----------
    surveys
        packed: surface_elevation and elevation_change (``pixel``, m), x, y; rgi_id and area (``glacier``).
    method, plausible
        as for :func:`alpgm_dask.delta_h.fit`.
    where
        what the surveys are called in messages.

    Returns
    -------
    Dataset (``glacier``, ``normalized_elevation``): delta_h and delta_h_spread, NaN where there is no function; over
    ``glacier``: delta_h_reason ("fitted", or why there is none), the figures of :func:`alpgm_dask.delta_h.fit`, and the
    glacier's attributes. Chunks are the blocks.

    Raises
    ------
    InputError
        if the method or `plausible` cannot serve, or a variable is missing or has other units.
    """
    if method not in METHODS:
        raise InputError(f"delta_h: method {method!r} is unknown; allowed: {', '.join(METHODS)}")
    plausible = check_plausible(plausible)
    check(surveys, _NEEDED, where)
    parts: dict[str, list[da.Array]] = {}
    run = dask.delayed(_fit_block, pure=True)
    for block in packing.blocks(surveys):
        n = block.glaciers.stop - block.glaciers.start
        made = run(surveys[list(_NEEDED)].isel(block.region), method, plausible)
        for name in (*_CURVES, *QUALITY, "delta_h_reason"):
            shape = (n, NODES.size) if name in _CURVES else (n,)
            dtype = "int8" if name == "delta_h_reason" else "float64"
            parts.setdefault(name, []).append(da.from_delayed(made[name], shape, dtype))
    dims = ("glacier", "normalized_elevation")
    out = xr.Dataset(
        {name: (dims[: arrays[0].ndim], da.concatenate(arrays)) for name, arrays in parts.items()},
        coords={"normalized_elevation": NODES},
        attrs={"method": method} | {k: v for k, v in surveys.attrs.items() if str(k).endswith("_survey")},
    )
    carried = surveys[[name for name in CARRIED if name in surveys.variables]].drop_vars("x", errors="ignore")
    return annotate(out.assign(carried.variables).set_coords("rgi_id"))


def _fit_block(block: xr.Dataset, method: str, plausible: tuple[float, float]) -> dict[str, np.ndarray]:
    block = block.compute(scheduler="synchronous")
    n = block.sizes["glacier"]
    out = {name: np.full((n, NODES.size), np.nan) for name in _CURVES}
    out |= {name: np.full(n, np.nan) for name in QUALITY}
    out["delta_h_reason"] = np.full(n, DELTA_H_REASON.index("fitted"), dtype="int8")
    first = int(block["row_start"].values[0])
    values = {name: block[name].values.astype("float64") for name in _PIXELS}
    rows = zip(block["row_start"].values - first, block["row_size"].values, block["area"].values, strict=True)
    for g, (start, size, area) in enumerate(rows):
        one = {name: pixels[start : start + size] for name, pixels in values.items()}
        found = _fit_one(one, method, plausible, float(area))
        if isinstance(found, Fit):
            _enter(out, g, found)
        else:
            out["delta_h_reason"][g] = DELTA_H_REASON.index(found)
            out["pixels"][g] = size
    return out


def _fit_one(one: dict[str, np.ndarray], method: str, plausible: tuple[float, float], area: float) -> Fit | str:
    """The fit of one glacier, or the reason why there is none."""
    change = one["elevation_change"]
    if not np.isfinite(change).any():
        return "not_surveyed"
    try:
        pixels = Pixels(one["surface_elevation"], change, tiles(one["x"], one["y"], change.size))
        return fit_pixels(pixels, method, plausible, area)
    except UnfitError as error:
        return error.reason


def _enter(out: dict[str, np.ndarray], g: int, found: Fit) -> None:
    nodes, values = found.curve.rising()
    order = np.argsort(found.curve.nodes, kind="stable")
    out["delta_h"][g] = np.interp(NODES, nodes, values)
    out["delta_h_spread"][g] = np.interp(NODES, nodes, found.spread[order])
    for name, value in found.quality.items():
        out[name][g] = value
