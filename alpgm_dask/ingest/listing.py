"""Entries of a catalog that stores are listed under, and what a store says it was made of."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

from alpgm_dask import store
from alpgm_dask.catalog import Entry, open_catalog, write_catalog
from alpgm_dask.schema import InputError


def check_name(catalog: Path, name: str, marks: Collection[str] = ("pieces", "made_from")) -> None:
    """Refuse the name of an entry that cannot be one, or that stands for something else in a catalog (InputError).

    A store of the kind that is to be written has one of the attributes `marks`.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise InputError(f"--name {name!r}; allowed: letters, digits and _, beginning with a letter")
    if not Path(catalog).exists():
        return
    listed = open_catalog(catalog)
    if name in listed.names:
        url = listed.url(name)
        is_store = listed.kind(name) == "zarr"
        if is_store and not store.exists(url):
            return
        if not is_store or not set(marks) & set(store.attributes(url)):
            raise InputError(f"{catalog}: entry {name!r} is {listed.describe(name) or url!r}; allowed: another --name")


def is_listed(catalog: Path, name: str) -> bool:
    """Whether a catalog, if it is there, has an entry."""
    return Path(catalog).exists() and name in open_catalog(catalog).names


def list_entries(catalog: Path, entries: dict[str, Entry]) -> None:
    """Add entries to a catalog, one process after the other."""
    with store.lock(catalog, wait=30.0):
        write_catalog(catalog, entries)


def pieces_of(url: str) -> list[tuple[str, str]] | None:
    """(label, fingerprint) of the pieces that a climate store was made of; None if there is no such store."""
    if not store.exists(url):
        return None
    found = store.attributes(url).get("pieces")
    return None if found is None else [tuple(piece) for piece in json.loads(str(found))]
