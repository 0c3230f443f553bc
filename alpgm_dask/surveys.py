"""From two surveys of the surface to the delta-h functions of a region, on disk and as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from alpgm_dask import delta_h, store
from alpgm_dask.schema import DELTA_H_REASON, DELTA_H_SOURCE, texts

#: Glaciers of one chunk of a store of functions.
_CHUNK = 1024


def save_functions(
    surveys: xr.Dataset,
    glaciers: xr.Dataset,
    url: str,
    *,
    method: str = "monotone",
    plausible: tuple[float, float] = delta_h.PLAUSIBLE,
    attrs: Mapping[str, object] | None = None,
) -> xr.Dataset:
    """Fit a function to every surveyed glacier, decide what every glacier of a run uses, and write both.

    Workers fit and write block by block; beside the store stands one of all fits, ``<url without .zarr>_fits.zarr``.

    Parameters
    ----------
    surveys, method, plausible
        as for :func:`alpgm_dask.delta_h.fit_region`.
    glaciers
        those of the run (``glacier``): rgi_id, area, massif, subregion; small.
    url
        store of the functions; both are replaced if they are there.
    attrs
        global attributes.

    Returns
    -------
    The functions, from their store.
    """
    fits = delta_h.fit_region(surveys, method=method, plausible=plausible)
    store.write(fits, fits_of(url), overwrite=True, attrs=attrs)
    chosen = delta_h.choose(store.open_store(fits_of(url)), glaciers.compute())
    small = chosen.drop_dims("normalized_elevation").compute()
    curves = chosen.drop_vars(list(small.variables)).chunk(glacier=_CHUNK, normalized_elevation=-1)
    store.write(curves.assign(small.variables).set_coords("rgi_id"), url, overwrite=True, attrs=attrs)
    return store.open_store(url)


def fits_of(url: str) -> str:
    """Where the fits of all surveyed glaciers are that the functions of a store were chosen from."""
    return f"{url.removesuffix('.zarr')}_fits.zarr"


def outcome(functions: xr.Dataset) -> str:
    """How many glaciers use which function, and why the surveyed ones do not use their own, in words."""
    source, reason = functions["delta_h_source"].values, functions["delta_h_reason"].values
    used = [f"{(source == k).sum()} {name}" for k, name in enumerate(DELTA_H_SOURCE) if (source == k).any()]
    not_own = [
        f"{(reason == k).sum()} {name.replace('_', ' ')}"
        for k, name in enumerate(DELTA_H_REASON)
        if name not in ("fitted", "not_surveyed") and (reason == k).any()
    ]
    return ", ".join(used) + (f" (surveyed without their own: {', '.join(not_own)})" if not_own else "")


def draw_functions(surveys: xr.Dataset, functions: xr.Dataset, folder: Path) -> list[Path]:
    """A map of which glacier uses what, and for every massif a page of fits over pixels; their paths."""
    from alpgm_dask import plots

    folder.mkdir(parents=True, exist_ok=True)
    paths = [plots.save(plots.plot_delta_h_sources(functions), folder / "sources.png")]
    surveyed = np.isin(texts(functions["rgi_id"]), texts(surveys["rgi_id"]))
    names = delta_h.group_names(functions)
    taken = {"sources"}
    for name in np.unique(names[surveyed]):
        page = plots.plot_delta_h(surveys, functions.isel(glacier=np.flatnonzero(surveyed & (names == name))), name)
        paths.append(plots.save(page, folder / f"{_file_name(name, taken)}.png"))
    return paths


def _file_name(name: str, taken: set[str]) -> str:
    """A name for a massif's page that is not taken yet; it is, from now on."""
    kept = "".join(letter if letter.isalnum() else "_" for letter in name.lower()) or "elsewhere"
    free = next(k for k in (kept, *(f"{kept}_{i}" for i in range(2, len(taken) + 3))) if k not in taken)
    taken.add(free)
    return free
