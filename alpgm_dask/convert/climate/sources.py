"""The files of a gridded archive: found and opened without reading."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xarray as xr

from alpgm_dask.schema import InputError

_NETCDF = (".nc", ".nc4", ".cdf", ".netcdf")
_ZARR_DOCUMENTS = ("zarr.json", ".zgroup", ".zmetadata")

#: What may be given as a source: path, glob pattern, folder, Zarr store or URL, dataset, or a sequence of these.
Sources = str | Path | xr.Dataset | Sequence[Any]


@dataclass(frozen=True)
class Source:
    """One opened file or store; `where` tells it from all others; `path` is empty for a dataset handed over."""

    where: str
    ds: xr.Dataset
    path: str = ""


def open_sources(sources: Sources) -> list[Source]:
    """Every file or store of `sources`, opened; values are not read.

    Each has a name of its own for messages: datasets, and files given twice, are numbered.

    Raises
    ------
    InputError
        for what does not exist, holds no NetCDF or Zarr, or cannot be opened.
    """
    found = _found(sources)
    if not found:
        raise InputError("sources: nothing is given; allowed: NetCDF files, folders, Zarr stores, datasets")
    times_met: Counter[str] = Counter()
    for at, source in enumerate(found):
        times_met[source.where] += 1
        if times_met[source.where] > 1:
            found[at] = replace(source, where=f"{source.where} ({times_met[source.where]})")
    return found


def _found(sources: Sources) -> list[Source]:
    if isinstance(sources, xr.Dataset):
        return [Source(str(sources.encoding.get("source", "dataset given")), sources)]
    if isinstance(sources, str | Path):
        return [_opened(path) for path in _paths(str(sources))]
    return [source for one in sources for source in _found(one)]


def _paths(text: str) -> list[str]:
    if "://" in text:
        return [text]
    if glob.has_magic(text) and not Path(text).exists():
        found = sorted(glob.glob(text, recursive=True))
        if not found:
            raise InputError(f"{text}: no file has such a name")
        return [path for one in found for path in _paths(one)]
    path = Path(text).expanduser()
    if not path.exists():
        raise InputError(f"{text}: no such file or folder")
    if path.is_file() or _is_zarr(path):
        return [str(path)]
    found = sorted(_below(path))
    if not found:
        raise InputError(f"{text}: no NetCDF file ({', '.join(_NETCDF)}) and no Zarr store is in this folder")
    return found


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _ZARR_DOCUMENTS)


def _below(folder: Path) -> list[str]:
    """Files and stores of a folder and its folders, but not what is inside of a store."""
    found = []
    for path in folder.iterdir():
        if path.is_dir():
            found += [str(path)] if _is_zarr(path) else _below(path)
        elif path.suffix.lower() in _NETCDF:
            found.append(str(path))
    return found


def _opened(path: str) -> Source:
    """Without Dask: what is selected of a file is cut out before it becomes blocks."""
    zarr = "://" in path or Path(path).is_dir()
    try:
        if zarr:
            ds = xr.open_zarr(path, chunks=None, decode_timedelta=False)
        else:
            ds = xr.open_dataset(path, chunks=None, cache=False, decode_timedelta=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        kind = "Zarr store" if zarr else "NetCDF file"
        raise InputError(f"{path}: cannot be opened as {kind}: {error}") from error
    return Source(path, ds, path)
