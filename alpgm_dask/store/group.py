"""A store as a place: whether it is there, finished, and what its attributes say."""

from __future__ import annotations

import fsspec
import zarr


def open_group(url: str, mode: str) -> zarr.Group:
    # what is consolidated is old while a store is being made longer
    return zarr.open_group(url, mode=mode, zarr_format=3, use_consolidated=False)


def is_local(fs: fsspec.AbstractFileSystem) -> bool:
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def exists(url: str) -> bool:
    """Whether there is a Zarr store at `url`, finished or not."""
    fs, path = fsspec.url_to_fs(str(url))
    return fs.exists(f"{path}/zarr.json")


def is_ours(url: str) -> bool:
    """Whether a store at `url` was begun by this package: what it did not write, it does not delete."""
    return exists(url) and "complete" in open_group(str(url), "r").attrs


def is_complete(url: str) -> bool:
    """Whether there is a finished store at `url`."""
    return exists(url) and bool(open_group(str(url), "r").attrs.get("complete", False))


def attributes(url: str) -> dict[str, object]:
    """Attributes of a store, finished or not; one whose priming was cut short lacks ``primed``."""
    return dict(open_group(str(url), "r").attrs)


def remove(url: str) -> None:
    """Delete a store and all that is in it; nothing happens if there is none."""
    fs, path = fsspec.url_to_fs(str(url))
    if fs.exists(path):
        fs.rm(path, recursive=True)
