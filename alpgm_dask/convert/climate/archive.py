"""What a reader of a climate archive gives back, and how it knows that a file is still the same.

A piece is known by its source and by what was asked of the reader, not by the code that made it: where a newer version
of a converter would make other values of the same files, nothing notices. ``--overwrite`` makes the store anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import fsspec
import numpy as np
import xarray as xr

from alpgm_dask.convert.report import ConversionReport

#: Bytes of a file, or of all files of a store, up to which its fingerprint is of every byte.
WHOLE_BELOW = 256 << 20
#: Bytes at the head and at the tail of a larger file that its fingerprint looks at.
ENDS = 1 << 20
#: Places between them that it looks at, and bytes there; of a larger store: files, and bytes at either end of each.
SAMPLES, SAMPLE = 64, 64 << 10

_DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


@dataclass(frozen=True)
class ClimateArchive:
    """A climate archive as a lazy graph, and what it consists of.

    Attributes
    ----------
    climate
        canonical (:func:`alpgm_dask.forcing.as_climate`), whole hydrological years, lazy.
    grows
        the dimension that the archive is longer along when more of it comes: "time" or "member".
    pieces
        (label, fingerprint) of every piece, in order along `grows`: a hydrological year such as "1959", or the name of
        a member; the fingerprint is that of what the piece is made of, and of every option that changes its values.
    report
        what was met and done.
    """

    climate: xr.Dataset
    grows: Literal["time", "member"]
    pieces: tuple[tuple[str, str], ...]
    report: ConversionReport


def file_fingerprint(path: str | Path) -> str:
    """Hash of a file's bytes; of a large one of its size, head, tail and some places between, not of all of them.

    A folder (a Zarr store) is known by its names, sizes and metadata documents, and by the bytes of its chunk files:
    all of them below :data:`WHOLE_BELOW` in total, else both ends of files that lie evenly among all.
    """
    fs, where = fsspec.url_to_fs(str(path))
    digest = hashlib.blake2b(digest_size=16)
    if fs.isdir(where):
        _look_at_folder(fs, where, digest)
    else:
        _look_at_file(fs, where, int(fs.info(where)["size"]), digest)
    return digest.hexdigest()


def _look_at_file(fs: Any, where: str, size: int, digest: Any) -> None:
    digest.update(f"{size} ".encode())
    if size <= WHOLE_BELOW:
        _look_at_all(fs, where, digest)
        return
    for start in (0, *np.linspace(ENDS, size - ENDS - SAMPLE, SAMPLES).astype("int64").tolist(), size - ENDS):
        length = ENDS if start in (0, size - ENDS) else SAMPLE
        digest.update(fs.cat_file(where, start=start, end=start + length))


def _look_at_folder(fs: Any, where: str, digest: Any) -> None:
    files = sorted((name, int(info.get("size") or 0)) for name, info in fs.find(where, detail=True).items())
    for name, size in files:
        digest.update(f"{name.removeprefix(where)} {size} ".encode())
    documents = [(name, size) for name, size in files if name.rsplit("/", 1)[-1] in _DOCUMENTS]
    chunks = [pair for pair in files if pair not in set(documents)]
    whole = sum(size for _, size in files) <= WHOLE_BELOW
    for name, _ in files if whole else documents:
        _look_at_all(fs, name, digest)
    if chunks and not whole:
        for at in np.unique(np.linspace(0, len(chunks) - 1, SAMPLES).astype("int64")).tolist():
            name, size = chunks[at]
            digest.update(fs.cat_file(name, start=0, end=min(size, SAMPLE)))
            digest.update(fs.cat_file(name, start=max(0, size - SAMPLE), end=size))


def _look_at_all(fs: Any, where: str, digest: Any) -> None:
    with fs.open(where, "rb") as file:
        while block := file.read(ENDS):
            digest.update(block)


def joint_fingerprint(parts: Iterable[str]) -> str:
    """One hash of the fingerprints of the files that a piece is made of, in the order given.

    >>> joint_fingerprint(["a", "b"]) != joint_fingerprint(["b", "a"])
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(f"{len(part)} {part} ".encode())
    return digest.hexdigest()
