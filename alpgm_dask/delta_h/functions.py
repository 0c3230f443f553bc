"""One delta-h function per glacier, with a stated fallback where a glacier has none of its own."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask.kernels.delta_h import huss2010
from alpgm_dask.schema import InputError, annotate, texts

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
        functions of some glaciers: delta_h and normalized_elevation (``glacier``, ``node``), NaN after the last node,
        and rgi_id; where known, delta_h_spread. None: there are none.
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
    width = max(nodes.size, own.sizes["node"] if own is not None else 0)
    at = np.full((ids.size, width), np.nan)
    curve = np.full((ids.size, width), np.nan)
    spread = np.full((ids.size, width), DEFAULT_SPREAD)
    at[:, : nodes.size], curve[:, : nodes.size] = nodes, values
    if own is not None:
        check_functions(own)
        where = {rgi_id: i for i, rgi_id in enumerate(texts(own["rgi_id"]))}
        own_at, own_curve = own["normalized_elevation"].values, own["delta_h"].values
        own_spread = own["delta_h_spread"].values if "delta_h_spread" in own else np.full_like(own_curve, np.nan)
        for i, rgi_id in enumerate(ids):
            if rgi_id in where:
                j, n = where[rgi_id], own.sizes["node"]
                at[i], curve[i] = np.nan, np.nan
                at[i, :n], curve[i, :n] = own_at[j], own_curve[j]
                spread[i, :n] = np.where(np.isfinite(own_spread[j]), own_spread[j], DEFAULT_SPREAD)
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
    """(glacier,) "own" where a glacier has a function, else the name of what stands in."""
    known = set(texts(own["rgi_id"])) if own is not None else set()
    return np.array(["own" if rgi_id in known else kind for rgi_id in texts(ids)], dtype=object)


def check_functions(own: xr.Dataset, where: str = "delta_h") -> None:
    """Refuse functions of which :func:`check_function` refuses one, or with an identifier twice (InputError)."""
    ids = texts(own["rgi_id"])
    unique, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{where}: rgi_id {str(unique[count > 1][0])!r} stands {count.max()} times; allowed: once")
    for rgi_id, at, curve in zip(ids, own["normalized_elevation"].values, own["delta_h"].values, strict=True):
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
