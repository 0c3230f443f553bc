"""Which delta-h function each glacier of a run uses: its own, or a stated fallback, shifted within its spread."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask.kernels.delta_h import huss2010
from alpgm_dask.schema import DELTA_H_SOURCE, InputError, annotate, texts

#: What may stand in where a glacier has no function of its own.
FALLBACKS = ("huss2010", "flat")

#: Nodes of the fallback curves.
FALLBACK_NODES = 201

#: Spread of a function that comes without one: the 10 % by which Bolibar et al. (2020) varied theirs.
DEFAULT_SPREAD = 0.1


def fallback(area: np.ndarray, kind: str = "huss2010") -> tuple[np.ndarray, np.ndarray]:
    """Nodes (node,) and values (glacier, node) of the stand-in for glaciers of an area in m2.

    ``huss2010``: the curve of the size class (Huss et al. 2010, doi:10.5194/hess-14-815-2010). ``flat``: ones.

    Raises
    ------
    InputError
        if there is no such kind.
    """
    nodes = np.linspace(0.0, 1.0, FALLBACK_NODES)
    if kind == "huss2010":
        return nodes, huss2010(nodes, area)
    if kind == "flat":
        return nodes, np.ones((np.size(area), nodes.size))
    raise InputError(f"delta_h: fallback {kind!r} is unknown; allowed: {', '.join(FALLBACKS)}")


def functions_for(
    glaciers: xr.Dataset, own: xr.Dataset | None = None, kind: str = "huss2010", shift: float = 0.0
) -> xr.Dataset:
    """The delta-h function that each glacier uses.

    Parameters
    ----------
    glaciers
        rgi_id and area (``glacier``); small per-glacier variables, read here.
    own
        functions of some glaciers and their rgi_id; where known, delta_h_spread and delta_h_source. On a common grid:
        delta_h (``glacier``, ``normalized_elevation``); on nodes of their own: delta_h and normalized_elevation
        (``glacier``, ``node``), NaN after the last node. None: there are none.
    kind
        what stands in elsewhere, see :func:`fallback`.
    shift
        in spreads, what is added to every function, see :func:`shifted`.

    Returns
    -------
    Dataset: delta_h, normalized_elevation (``glacier``, ``node``), n_nodes and delta_h_source (``glacier``).

    Raises
    ------
    InputError
        if a function has values outside of [0, 1], nodes that neither rise nor fall, or an identifier twice.
    """
    ids = texts(glaciers["rgi_id"])
    nodes, values = fallback(glaciers["area"].values, kind)
    width = max(nodes.size, _last_size(own)) if own is not None else nodes.size
    at, curve = np.full((2, ids.size, width), np.nan)
    spread = np.full((ids.size, width), DEFAULT_SPREAD)
    at[:, : nodes.size], curve[:, : nodes.size] = nodes, values
    if own is not None:
        rows, found = _rows(ids, own)
        own = own.isel(glacier=found)
        check_functions(own)
        own_at, own_curve = on_nodes(own)
        n = own_curve.shape[1]
        at[rows], curve[rows] = np.nan, np.nan
        at[rows, :n], curve[rows, :n] = own_at, own_curve
        if "delta_h_spread" in own:
            spread[rows, :n] = np.where(np.isfinite(own["delta_h_spread"]), own["delta_h_spread"], DEFAULT_SPREAD)
    out = xr.Dataset(
        {
            "delta_h": (("glacier", "node"), shifted(curve, spread, shift)),
            "normalized_elevation": (("glacier", "node"), at),
            "n_nodes": ("glacier", np.isfinite(curve).sum(axis=1).astype("int32")),
            "delta_h_source": ("glacier", sources(ids, own, kind)),
        },
        coords={"rgi_id": ("glacier", ids)},
    )
    return annotate(out)


def on_nodes(own: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(glacier, node) normalized elevation and value of functions in either form, see :func:`functions_for`."""
    if "normalized_elevation" not in own.dims:
        return own["normalized_elevation"].values, own["delta_h"].values
    curve = own["delta_h"].transpose("glacier", "normalized_elevation").values
    return np.where(np.isfinite(curve), own["normalized_elevation"].values, np.nan), curve


def _last_size(own: xr.Dataset) -> int:
    return own.sizes["normalized_elevation" if "normalized_elevation" in own.dims else "node"]


def _rows(ids: np.ndarray, own: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Positions among `ids` (glacier,) of those that have a function, and positions of these functions."""
    where = {rgi_id: i for i, rgi_id in enumerate(texts(own["rgi_id"]))}
    rows = np.array([i for i, rgi_id in enumerate(ids) if rgi_id in where], dtype=int)
    return rows, np.array([where[rgi_id] for rgi_id in ids[rows]], dtype=int)


def shifted(delta_h: np.ndarray, spread: np.ndarray | float, shift: float) -> np.ndarray:
    """Functions moved by `shift` spreads, cut to [0, 1] and divided by their largest value.

    A positive shift thins the upper parts more, a negative one the tongue. A shift of 0 changes no bit, and a function
    that is zero everywhere stays: it stands for even thinning.

    Parameters
    ----------
    delta_h
        (..., node) values, NaN after the last node.
    spread
        (..., node) of the values, or one for all.
    shift
        how many spreads.

    >>> curve = np.array([0.0, 0.55, 1.0])
    >>> shifted(curve, 0.1, 1.0).round(9).tolist(), shifted(curve, 0.1, -1.0).round(9).tolist()
    ([0.1, 0.65, 1.0], [0.0, 0.5, 1.0])
    """
    if shift == 0:
        return delta_h
    moved = np.clip(delta_h + shift * spread, 0.0, 1.0)
    highest = np.nanmax(moved, axis=-1, keepdims=True)
    moved = np.divide(moved, highest, out=moved, where=highest > 0)
    return np.where(np.nanmax(delta_h, axis=-1, keepdims=True) > 0, moved, delta_h)


def sources(ids: np.ndarray, own: xr.Dataset | None, kind: str) -> np.ndarray:
    """(glacier,) where each function comes from: what `own` says of it or "own", else the name of what stands in."""
    out = np.full(len(ids), kind, dtype=object)
    if own is not None:
        rows, found = _rows(texts(ids), own)
        out[rows] = _source_words(own.isel(glacier=found))
    return out


def _source_words(own: xr.Dataset) -> np.ndarray:
    if "delta_h_source" not in own:
        return np.full(own.sizes["glacier"], "own", dtype=object)
    said = own["delta_h_source"]
    if said.dtype.kind not in "iu":
        return texts(said).astype(object)
    return np.array(DELTA_H_SOURCE, dtype=object)[said.values]


def check_functions(own: xr.Dataset, where: str = "delta_h") -> None:
    """Refuse functions of which :func:`check_function` refuses one, or with an identifier twice (InputError)."""
    ids = texts(own["rgi_id"])
    unique, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{where}: rgi_id {str(unique[count > 1][0])!r} stands {count.max()} times; allowed: once")
    for rgi_id, at, curve in zip(ids, *on_nodes(own), strict=True):
        check_function(at[np.isfinite(curve)], curve[np.isfinite(curve)], str(rgi_id), where)


def check_function(
    normalized_elevation: np.ndarray, delta_h: np.ndarray, rgi_id: str = "", where: str = "delta_h"
) -> None:
    """Refuse nodes that neither rise nor fall throughout and values outside of [0, 1] (InputError names which)."""
    steps = np.diff(normalized_elevation)
    if delta_h.size == 0 or not ((steps > 0).all() or (steps < 0).all() or delta_h.size == 1 or (steps == 0).all()):
        raise InputError(
            f"{where}: variable 'normalized_elevation': nodes of glacier {rgi_id!r} neither rise nor fall throughout"
        )
    if not np.isfinite(delta_h).all():
        raise InputError(f"delta_h: a value of glacier {rgi_id!r} is not finite; allowed: 0 to 1")
    if not ((delta_h >= 0) & (delta_h <= 1)).all():
        low, high = float(np.nanmin(delta_h)), float(np.nanmax(delta_h))
        raise InputError(
            f"{where}: variable 'delta_h': values of glacier {rgi_id!r} from {low:g} to {high:g}; allowed: 0 to 1"
        )
