"""Finished stores, opened lazily."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from alpgm_dask.schema import InputError
from alpgm_dask.store.group import exists, is_complete


def open_store(url: str, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """Open a finished store lazily, one Dask chunk for each Zarr chunk.

    Raises
    ------
    InputError
        if there is no store, or it was not finished.
    """
    if not exists(url):
        raise InputError(f"{url}: there is no Zarr store")
    if not is_complete(url):
        raise InputError(f"{url}: the store was not finished; run again with --resume or --overwrite")
    return xr.open_zarr(str(url), chunks=chunks or {})


def open_unfinished(url: str) -> xr.Dataset:
    """Open a store as it is right now, finished or not, without Dask: for who is writing it."""
    return xr.open_zarr(str(url), consolidated=False, chunks=None)


def open_direct(url: str) -> xr.Dataset:
    """Open a finished store without Dask: small when it is sent to a worker, and read there when it is loaded.

    What a task is handed, so that it reads its own block: a Dask graph would make a task of each chunk of each
    variable, and move the chunks between workers.
    """
    if not is_complete(url):
        raise InputError(f"{url}: the store was not finished, or there is none")
    return xr.open_dataset(str(url), engine="zarr", chunks=None, cache=False)
