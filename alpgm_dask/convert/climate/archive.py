"""What a reader of a climate archive gives back, and how it knows that a file is still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fsspec
import xarray as xr

from alpgm_dask.convert.report import ConversionReport

#: Bytes at the head and at the tail of a file that its fingerprint looks at.
_LOOKED_AT = 1 << 20


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
        a member; the fingerprint is that of the files that the piece is made of.
    report
        what was met and done.
    """

    climate: xr.Dataset
    grows: Literal["time", "member"]
    pieces: tuple[tuple[str, str], ...]
    report: ConversionReport


def file_fingerprint(path: str | Path) -> str:
    """Hash of a file's size, head and tail: tells another file, without reading all of an archive.

    A folder (a Zarr store) is known by its names, sizes and metadata documents.
    """
    fs, where = fsspec.url_to_fs(str(path))
    digest = hashlib.blake2b(digest_size=16)
    if fs.isdir(where):
        for name, info in sorted(fs.find(where, detail=True).items()):
            digest.update(f"{name.removeprefix(where)} {info.get('size')} ".encode())
            if name.rsplit("/", 1)[-1] in ("zarr.json", ".zarray", ".zattrs", ".zmetadata"):
                digest.update(fs.cat_file(name))
        return digest.hexdigest()
    size = int(fs.info(where)["size"])
    digest.update(f"{size} ".encode())
    digest.update(fs.cat_file(where, start=0, end=min(size, _LOOKED_AT)))
    digest.update(fs.cat_file(where, start=max(0, size - _LOOKED_AT), end=size))
    return digest.hexdigest()


def joint_fingerprint(parts: Iterable[str]) -> str:
    """One hash of the fingerprints of the files that a piece is made of, in the order given.

    >>> joint_fingerprint(["a", "b"]) != joint_fingerprint(["b", "a"])
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(f"{len(part)} {part} ".encode())
    return digest.hexdigest()
