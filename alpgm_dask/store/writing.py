"""Stores written whole, or primed and then filled block by block, with a ledger of the blocks that are done."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import fsspec
import numpy as np
import xarray as xr
import zarr

from alpgm_dask.schema import InputError
from alpgm_dask.store.encoding import encoding_of, plain
from alpgm_dask.store.group import is_local, is_ours, open_group, remove

LEDGER = "block_done"

#: Attribute that says along which dimension and from which position a finished store is being made longer.
APPENDING = "appending"


def _refuse_existing(url: str, overwrite: bool) -> None:
    """Make room for a store: what is there is deleted if that is asked for, and if it is one of this package."""
    fs, path = fsspec.url_to_fs(str(url))
    if not fs.exists(path) or (fs.isdir(path) and not fs.ls(path)):
        return
    if not is_ours(url):
        raise InputError(f"{url}: something is there that alpgm_dask did not write; allowed: another path")
    if not overwrite:
        raise InputError(f"{url}: the store exists already; allowed: another path, or --overwrite, or --resume")
    remove(url)


def prime(
    template: xr.Dataset,
    url: str,
    *,
    overwrite: bool = False,
    ledger: Mapping[str, int] | None = None,
    chunks: Mapping[str, int] | None = None,
) -> None:
    """Write a store's metadata and its in-memory variables; lazy variables stay empty until blocks are written.

    Parameters
    ----------
    template
        dataset whose Dask-backed variables (one Dask chunk is one Zarr chunk) are filled later.
    url
        where to.
    overwrite
        delete what is there.
    ledger
        dimensions and sizes of the ledger of finished blocks, such as ``{"member": 4, "block": 16}``.
    chunks
        size of the Zarr chunks of lazy variables along each dimension, where it is not that of the Dask chunks: it may
        be longer than the dimension, so that a store can grow.

    Raises
    ------
    InputError
        if the store exists and `overwrite` is false.
    """
    _refuse_existing(url, overwrite)
    ds = plain(template).assign_attrs(complete=0)
    encoding = encoding_of(ds)
    if chunks:
        lazy = {str(name): v.dims for name, v in ds.variables.items() if v.chunks is not None}
        encoding |= {n: encoding[n] | {"chunks": tuple(chunks[str(d)] for d in dims)} for n, dims in lazy.items()}
    if ledger:
        ds[LEDGER] = (tuple(ledger), np.zeros(tuple(ledger.values()), dtype="int8"), {"long_name": "1: block written"})
        encoding[LEDGER] = {"chunks": (1,) * len(ledger)}
    ds.to_zarr(str(url), mode="w", zarr_format=3, consolidated=False, compute=False, encoding=encoding)
    open_group(str(url), "r+").attrs["primed"] = 1


def write_block(
    ds: xr.Dataset, url: str, region: Mapping[str, slice], entry: tuple[int, ...] | None = None
) -> dict[str, object]:
    """Fill one region of a primed store, then enter the block in the ledger. Called on the worker that made it.

    Parameters
    ----------
    ds
        the block, in memory; variables of the store that it lacks are left alone.
    url
        a primed store.
    region
        slice along each dimension that is cut into blocks, whole chunks of the store; other dimensions are whole.
    entry
        position of the block in the ledger.

    Returns
    -------
    A receipt: the entry and the number of bytes written.
    """
    group = open_group(str(url), "r+")
    for name, variable in ds.variables.items():
        if any(dim in region for dim in variable.dims):
            where = tuple(region.get(str(dim), slice(None)) for dim in variable.dims)
            group[str(name)][where] = variable.values
    if entry is not None:
        group[LEDGER][entry] = 1
    return {"entry": entry, "bytes": int(ds.nbytes)}


def pending(url: str) -> list[tuple[int, ...]]:
    """Blocks that the ledger of a store does not have yet."""
    done = open_group(str(url), "r")[LEDGER][...]
    return [tuple(map(int, entry)) for entry in np.argwhere(np.asarray(done) == 0)]


def finish(url: str, attrs: Mapping[str, object] | None = None, *, keep_ledger: bool = True) -> None:
    """Declare a store finished, after all of its blocks are written; its ledger may go, if nobody asks it again."""
    _sweep(url)
    group = open_group(str(url), "r+")
    if not keep_ledger and LEDGER in group:
        del group[LEDGER]
    # one write: killed between two, a store would be neither finished nor being made longer
    kept = {name: value for name, value in group.attrs.items() if name != APPENDING}
    group.attrs.put({**kept, **(attrs or {}), "complete": 1})
    with warnings.catch_warnings():
        # zarr says that consolidated metadata are not in the v3 specification; Xarray reads them, one request for all
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(str(url), zarr_format=3)


def _sweep(url: str) -> None:
    """Remove what a writer that was killed left of a chunk: Zarr writes beside the chunk, then renames."""
    fs, path = fsspec.url_to_fs(str(url))
    if is_local(fs):
        for leftover in Path(path).rglob("*.partial"):
            leftover.unlink()


def write(ds: xr.Dataset, url: str, *, overwrite: bool = False, attrs: Mapping[str, object] | None = None) -> None:
    """Compute a dataset and write it as a finished store (InputError if it exists and `overwrite` is false)."""
    _refuse_existing(url, overwrite)
    ds = plain(ds).assign_attrs(complete=0)
    ds.to_zarr(str(url), mode="w", zarr_format=3, consolidated=False, encoding=encoding_of(ds))
    finish(url, attrs)
