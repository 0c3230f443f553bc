"""Hashes of data and of settings: what a result was made from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fsspec

from alpgm_dask.store.group import is_local


def fingerprint(url: str) -> str:
    """Hash of all bytes under `url` (local) or of names, sizes and entity tags (remote); blank where nothing is."""
    fs, path = fsspec.url_to_fs(str(url))
    digest = hashlib.blake2b(digest_size=16)
    local = is_local(fs)
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
