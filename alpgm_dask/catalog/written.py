"""Writing a catalog: entries and parameters, as Intake reads them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alpgm_dask.catalog import rules
from alpgm_dask.catalog.opened import load_content
from alpgm_dask.schema import InputError


@dataclass(frozen=True)
class Entry:
    """One entry to write.

    Attributes
    ----------
    kind
        "zarr", "icechunk", "raster", "netcdf" or "geoparquet".
    url
        where the data are; ``{CATALOG_DIR}`` is the catalog's folder, ``{name}`` a parameter's value.
    description
        one line.
    storage_options
        options of the file system, such as ``{"anon": True}``; never a credential.
    group
        group within a store (kinds zarr and icechunk).
    metadata
        what else is to be known of it: licence, source, remarks.
    """

    kind: str
    url: str
    description: str = ""
    storage_options: Mapping[str, Any] | None = None
    group: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a catalog: its default and what it may be."""

    default: str
    options: tuple[str, ...] = ()
    description: str = ""


def write_catalog(
    path: str | Path, entries: Mapping[str, Entry], parameters: Mapping[str, Parameter] | None = None
) -> None:
    """Write a catalog, or add entries and parameters to the one that is there.

    Written by hand and not with Intake's own writer, which leaves aliases out and makes paths absolute.

    Raises
    ------
    InputError
        for a kind, a place or an option that a catalog may not have; the file is left as it was.
    """
    path = Path(path)
    content: dict[str, Any] = {"version": 2, "metadata": {}, "aliases": {}, "user_parameters": {}, "data": {}}
    content["entries"] = {}
    if path.exists():
        content = load_content(str(path))
    for name, parameter in (parameters or {}).items():
        content["user_parameters"][name] = _parameter(parameter)
    for name, entry in entries.items():
        if entry.kind not in rules.KINDS:
            raise InputError(f"{path}: entry {name!r} is of kind {entry.kind!r}; allowed: {', '.join(rules.KINDS)}")
        datatype, reader, output, extra = rules.KINDS[entry.kind]
        content["aliases"][name] = name
        content["data"][f"{name}_data"] = {
            "datatype": datatype,
            "kwargs": _source(entry),
            "metadata": {},
            "user_parameters": {},
        }
        content["entries"][name] = {
            "reader": reader,
            "output_instance": output,
            "kwargs": {"data": f"{{data({name}_data)}}", **deepcopy(extra)},
            "metadata": {"description": entry.description, **entry.metadata},
            "user_parameters": {},
        }
    rules.refuse_arguments(str(path), content)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    temporary.replace(path)


def _source(entry: Entry) -> dict[str, Any]:
    """Arguments of Intake's data type."""
    options = dict(entry.storage_options) if entry.storage_options else None
    if entry.kind == "icechunk":
        return _icechunk_source(entry, options or {})
    source = {"url": entry.url, "storage_options": options}
    return source | {"root": entry.group} if entry.kind == "zarr" else source


def _icechunk_source(entry: Entry, options: dict[str, Any]) -> dict[str, Any]:
    """Icechunk takes the name of a storage and where in it the repository is; a branch must be named."""
    protocol = rules.protocol_of(entry.url)
    if protocol in ("s3", "gs", "gcs"):
        bucket, _, prefix = entry.url.split("://", 1)[1].partition("/")
        options, name = {"bucket": bucket, "prefix": prefix, **options}, "s3" if protocol == "s3" else "gcs"
    else:
        options, name = {"path": entry.url, **options}, "local_filesystem"
    return {"url": name, "storage_options": options, "root": entry.group, "ref": "main"}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    out = {"cls": rules.SIMPLE, "dtype": "str", "default": parameter.default, "description": parameter.description}
    if parameter.options:
        out |= {"cls": rules.OPTIONS, "options": list(parameter.options)}
    return out
