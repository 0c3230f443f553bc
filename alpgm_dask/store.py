"""The only module that writes Zarr: prime, region writes, encoding, provenance, ledger of blocks.

A store is primed (metadata, coordinates, the attribute ``complete = 0``), filled block by block by whoever made
the block, and finished (``complete = 1``). A store that is not finished is refused by :func:`open_store`, so a
half-written one never looks like a result. The ledger is a variable of the store itself, ``block_done``; a block's
entry is written after its data, each in a chunk of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import numpy as np
import xarray as xr
import zarr

from alpgm_dask.schema import InputError, texts

LEDGER = "block_done"


def _open_group(url: str, mode: str) -> zarr.Group:
    return zarr.open_group(url, mode=mode, zarr_format=3)


def _is_local(fs: fsspec.AbstractFileSystem) -> bool:
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def exists(url: str) -> bool:
    """Whether there is a Zarr store at `url`, finished or not."""
    fs, path = fsspec.url_to_fs(str(url))
    return fs.exists(f"{path}/zarr.json")


def is_complete(url: str) -> bool:
    """Whether there is a finished store at `url`."""
    return exists(url) and bool(_open_group(str(url), "r").attrs.get("complete", False))


def attributes(url: str) -> dict[str, object]:
    """Attributes of a store, finished or not; one whose priming was cut short lacks ``primed``."""
    return dict(_open_group(str(url), "r").attrs)


def remove(url: str) -> None:
    """Delete a store and all that is in it; nothing happens if there is none."""
    fs, path = fsspec.url_to_fs(str(url))
    if fs.exists(path):
        fs.rm(path, recursive=True)


def _encoding(ds: xr.Dataset) -> dict[str, dict[str, object]]:
    """Chunks as the Dask chunks are (the first along each dimension); in-memory variables follow the blocks."""
    out: dict[str, dict[str, object]] = {}
    per_block = int(ds.attrs.get("block_glaciers", 0))
    for name, variable in ds.variables.items():
        entry: dict[str, object] = {}
        if variable.chunks is not None:
            entry["chunks"] = tuple(sizes[0] for sizes in variable.chunks)
        elif per_block and variable.dims == ("glacier",):
            entry["chunks"] = (min(per_block, variable.size),)
        if variable.dtype.kind == "f":
            entry["_FillValue"] = np.array(np.nan, dtype=variable.dtype)
        out[str(name)] = entry
    return out


def _plain(ds: xr.Dataset) -> xr.Dataset:
    """Drop what another store's encoding would force on this one; strings are loaded, and written as Zarr strings."""
    ds = ds.drop_encoding()
    strings = {
        name: (v.dims, texts(v.values).astype(object), v.attrs) for name, v in ds.variables.items() if _is_text(v)
    }
    return ds.assign(strings) if strings else ds


def _is_text(variable: xr.Variable) -> bool:
    if variable.dtype.kind not in "OTU":
        return False
    first = variable[(slice(1),) * variable.ndim]
    return all(isinstance(value, str) for value in first.values.ravel())


def _refuse_existing(url: str, overwrite: bool) -> None:
    if exists(url):
        if not overwrite:
            raise InputError(f"{url}: the store exists already; allowed: another path, or --overwrite, or --resume")
        remove(url)


def prime(template: xr.Dataset, url: str, *, overwrite: bool = False, ledger: Mapping[str, int] | None = None) -> None:
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

    Raises
    ------
    InputError
        if the store exists and `overwrite` is false.
    """
    _refuse_existing(url, overwrite)
    ds = _plain(template).assign_attrs(complete=0)
    encoding = _encoding(ds)
    if ledger:
        ds[LEDGER] = (tuple(ledger), np.zeros(tuple(ledger.values()), dtype="int8"), {"long_name": "1: block written"})
        encoding[LEDGER] = {"chunks": (1,) * len(ledger)}
    ds.to_zarr(str(url), mode="w", zarr_format=3, consolidated=False, compute=False, encoding=encoding)
    _open_group(str(url), "r+").attrs["primed"] = 1


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
    group = _open_group(str(url), "r+")
    for name, variable in ds.variables.items():
        if any(dim in region for dim in variable.dims):
            where = tuple(region.get(str(dim), slice(None)) for dim in variable.dims)
            group[str(name)][where] = variable.values
    if entry is not None:
        group[LEDGER][entry] = 1
    return {"entry": entry, "bytes": int(ds.nbytes)}


def pending(url: str) -> list[tuple[int, ...]]:
    """Blocks that the ledger of a store does not have yet."""
    done = _open_group(str(url), "r")[LEDGER][...]
    return [tuple(map(int, entry)) for entry in np.argwhere(np.asarray(done) == 0)]


def finish(url: str, attrs: Mapping[str, object] | None = None) -> None:
    """Declare a store finished, after all of its blocks are written."""
    _sweep(url)
    _open_group(str(url), "r+").attrs.update({**(attrs or {}), "complete": 1})
    with warnings.catch_warnings():
        # zarr says that consolidated metadata are not in the v3 specification; Xarray reads them, one request for all
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(str(url), zarr_format=3)


def _sweep(url: str) -> None:
    """Remove what a writer that was killed left of a chunk: Zarr writes beside the chunk, then renames."""
    fs, path = fsspec.url_to_fs(str(url))
    if _is_local(fs):
        for leftover in Path(path).rglob("*.partial"):
            leftover.unlink()


def write(ds: xr.Dataset, url: str, *, overwrite: bool = False, attrs: Mapping[str, object] | None = None) -> None:
    """Compute a dataset and write it as a finished store (InputError if it exists and `overwrite` is false)."""
    _refuse_existing(url, overwrite)
    ds = _plain(ds).assign_attrs(complete=0)
    ds.to_zarr(str(url), mode="w", zarr_format=3, consolidated=False, encoding=_encoding(ds))
    finish(url, attrs)


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


def open_direct(url: str) -> xr.Dataset:
    """Open a finished store without Dask: small when it is sent to a worker, and read there when it is loaded.

    What a task is handed, so that it reads its own block: a Dask graph would make a task of each chunk of each
    variable, and move the chunks between workers.
    """
    if not is_complete(url):
        raise InputError(f"{url}: the store was not finished, or there is none")
    return xr.open_dataset(str(url), engine="zarr", chunks=None, cache=False)


def fingerprint(url: str) -> str:
    """Hash of all bytes under `url` (local) or of names, sizes and entity tags (remote); blank where nothing is."""
    fs, path = fsspec.url_to_fs(str(url))
    digest = hashlib.blake2b(digest_size=16)
    local = _is_local(fs)
    found = {path: fs.info(path)} if fs.isfile(path) else fs.find(path, detail=True)
    for name, info in sorted(found.items()):
        data = Path(name).read_bytes() if local else str(info.get("ETag", info.get("mtime", ""))).encode()
        # lengths first, so that a byte cannot move from one name or file to the next unseen
        name = name.removeprefix(path).encode()
        digest.update(f"{len(name)} {len(data)} {info.get('size')} ".encode())
        digest.update(name)
        digest.update(data)
    return digest.hexdigest() if found else ""


def digest(settings: object) -> str:
    """Hash of anything that JSON can say.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def code_revision() -> str:
    """The git revision of the package's checkout, or its version where there is no checkout."""
    from importlib.metadata import PackageNotFoundError, version

    here = Path(__file__).parent
    if (here.parent / ".git").exists():
        command = ["git", "-C", os.fspath(here), "describe", "--always", "--dirty", "--abbrev=12"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    try:
        return version("alpgm_dask")
    except PackageNotFoundError:
        return "unknown"


def provenance(title: str, **inputs: object) -> dict[str, object]:
    """Global attributes: CF conventions, what a store was made from, by what, with which versions, when.

    CF knows text and numbers only: what has structure is JSON.
    """
    import dask
    import numba

    return {
        "Conventions": "CF-1.11",
        "title": title,
        "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} alpgm_dask {code_revision()}",
        "source": "alpgm_dask",
        "code_revision": code_revision(),
        "versions": json.dumps({module.__name__: module.__version__ for module in (np, numba, xr, zarr, dask)}),
        "python": platform.python_version(),
        "inputs": json.dumps(inputs, default=str),
    }
