"""Names in a catalog file -> lazy xarray. The only module that knows Intake.

A catalog is Intake 2 YAML. Such a file names Python classes to import, so every class that it names is held against
an allow-list before Intake sees the file. Entries are read with ``catalog(**parameters)[name].read()``, the one
way that applies parameters (doing it through the entry silently keeps the defaults).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from alpgm_dask.schema import InputError

_ZARR = "intake.readers.datatypes:Zarr"
_PARQUET = "intake.readers.datatypes:Parquet"
_XARRAY = "intake.readers.readers:XArrayDatasetReader"
_GEOPANDAS = "intake.readers.readers:GeoPandasTabular"
_OPTIONS = "intake.readers.user_parameters:OptionsUserParameter"
_SIMPLE = "intake.readers.user_parameters:SimpleUserParameter"

#: What a catalog may ask for. Anything else is refused: opening a catalog must not run somebody's code.
ALLOWED_CLASSES = frozenset(
    {_ZARR, _PARQUET, _XARRAY, _GEOPANDAS, _OPTIONS, _SIMPLE, "xarray:Dataset", "geopandas:GeoDataFrame"}
)
_CLASS_KEYS = ("cls", "datatype", "reader", "output_instance")
#: Intake fills in ``{func(module:name)}`` and its like: anything but a reference to the catalog's own data is code. As
#: the default or the value of a parameter, it needs no braces.
_CALL = re.compile(r"\{(?!data\()\w+\(")
_BARE_CALL = re.compile(r"\{?\w+\(")
_SECTIONS = ("entries", "data", "user_parameters", "aliases", "metadata")

#: kind of entry -> (data type, reader, what comes out, extra arguments)
_KINDS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "zarr": (_ZARR, _XARRAY, "xarray:Dataset", {"chunks": {}}),
    "geoparquet": (_PARQUET, _GEOPANDAS, "geopandas:GeoDataFrame", {}),
}


@dataclass(frozen=True)
class Entry:
    """One entry to write: ``{CATALOG_DIR}`` in the url is the catalog's folder, ``{name}`` a parameter's value."""

    kind: str
    url: str
    description: str = ""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a catalog: its default and what it may be."""

    default: str
    options: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class Catalog:
    """An opened and checked catalog with its parameters applied; made by :func:`open_catalog`."""

    path: str
    parameters: Mapping[str, str]
    content: Mapping[str, Any]

    @cached_property
    def _intake(self) -> Any:
        """Intake's catalog, made of what was checked and not of the file, which may have changed since."""
        import fsspec
        from intake.readers.entry import Catalog as IntakeCatalog

        fs, location = fsspec.url_to_fs(self.path)
        made = IntakeCatalog.from_dict(deepcopy(dict(self.content)))
        made.user_parameters["CATALOG_DIR"] = fs.unstrip_protocol(fs._parent(location))
        return made(**self.parameters)

    @property
    def names(self) -> list[str]:
        """The entries, sorted."""
        return sorted(self.content["entries"])

    def _require(self, name: str) -> None:
        if name not in self.names:
            raise InputError(f"{self.path}: entry {name!r} is missing; the catalog has: {', '.join(self.names)}")

    def describe(self, name: str) -> str:
        """The entry's description."""
        self._require(name)
        return str(self.content["entries"][name].get("metadata", {}).get("description", ""))

    def url(self, name: str) -> str:
        """Where the entry's data are, with parameters filled in."""
        self._require(name)
        reader = self._intake[name]
        data = reader.kwargs["args"][0] if reader.kwargs.get("args") else reader.kwargs["data"]
        return str(data.url)

    def read(self, name: str) -> Any:
        """A lazy Dataset (kind zarr) or a GeoDataFrame (kind geoparquet).

        Raises
        ------
        InputError
            if the entry is missing, or what it points to is missing or unfinished.
        """
        self._require(name)
        reader = self._intake[name]
        try:
            found = reader.read()
        except FileNotFoundError as error:
            raise InputError(f"{self.path}: entry {name!r}: nothing at {self.url(name)}") from error
        if not getattr(found, "attrs", {}).get("complete", True):
            raise InputError(f"{self.path}: entry {name!r}: the store {self.url(name)} was not finished")
        return found


def open_catalog(path: str | Path, **parameters: str) -> Catalog:
    """Open a catalog after checking what it would import.

    Parameters
    ----------
    path
        the YAML file (any fsspec URL).
    **parameters
        values for the catalog's parameters.

    Raises
    ------
    InputError
        if the file is missing or no catalog, names a class that is not allowed, or a parameter or its value is not
        one of those that it declares.
    """
    path = str(path)
    content = _load(path)
    _refuse_foreign(path, content)
    declared = content.get("user_parameters", {})
    for name, value in parameters.items():
        if name not in declared:
            raise InputError(f"{path}: unknown parameter {name!r}; allowed: {', '.join(declared) or 'none'}")
        options = declared[name].get("options") if isinstance(declared[name], dict) else None
        if options and value not in options:
            raise InputError(f"{path}: parameter {name!r} is {value!r}; allowed: {', '.join(map(str, options))}")
        if _BARE_CALL.match(str(value)):
            raise InputError(f"{path}: parameter {name!r} is {value!r}, which asks for code; allowed: plain text")
    return Catalog(path, parameters, content)


def _load(path: str) -> dict[str, Any]:
    import fsspec

    try:
        with fsspec.open(path, "rt") as file:
            content = yaml.safe_load(file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such catalog") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict) or content.get("version") != 2:
        raise InputError(f"{path}: not an Intake 2 catalog (needs 'version: 2' and {', '.join(_SECTIONS)})")
    missing = [section for section in _SECTIONS if not isinstance(content.get(section), dict)]
    if missing:
        raise InputError(f"{path}: section {missing[0]!r} is missing or no mapping; needed: {', '.join(_SECTIONS)}")
    return content


def _refuse_foreign(path: str, content: Any) -> None:
    """Refuse classes outside of the allow-list, wherever in the file they are named."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in _CLASS_KEYS and value is not None and not (isinstance(value, str) and value in ALLOWED_CLASSES):
                allowed = ", ".join(sorted(ALLOWED_CLASSES))
                raise InputError(f"{path}: {key} {value!r} is a foreign driver; allowed: {allowed}")
            if key == "default" and isinstance(value, str) and _BARE_CALL.match(value):
                raise InputError(f"{path}: default {value!r} asks for code; allowed: plain text")
            _refuse_foreign(path, value)
    elif isinstance(content, list):
        for value in content:
            _refuse_foreign(path, value)
    elif isinstance(content, str) and _CALL.search(content):
        raise InputError(f"{path}: {content!r} asks for code or the environment; allowed: parameters and {{data(...)}}")


def write_catalog(
    path: str | Path, entries: Mapping[str, Entry], parameters: Mapping[str, Parameter] | None = None
) -> None:
    """Write a catalog, or add entries and parameters to the one that is there.

    Written by hand and not with Intake's own writer, which leaves aliases out and makes paths absolute.
    """
    path = Path(path)
    content: dict[str, Any] = {"version": 2, "metadata": {}, "aliases": {}, "user_parameters": {}, "data": {}}
    content["entries"] = {}
    if path.exists():
        content = _load(str(path))
    for name, parameter in (parameters or {}).items():
        content["user_parameters"][name] = _parameter(parameter)
    for name, entry in entries.items():
        if entry.kind not in _KINDS:
            raise InputError(f"{path}: entry {name!r} is of kind {entry.kind!r}; allowed: {', '.join(_KINDS)}")
        datatype, reader, output, extra = _KINDS[entry.kind]
        source = {"url": entry.url, "storage_options": None}
        if entry.kind == "zarr":
            source["root"] = ""
        content["aliases"][name] = name
        content["data"][f"{name}_data"] = {
            "datatype": datatype,
            "kwargs": source,
            "metadata": {},
            "user_parameters": {},
        }
        content["entries"][name] = {
            "reader": reader,
            "output_instance": output,
            "kwargs": {"data": f"{{data({name}_data)}}", **extra},
            "metadata": {"description": entry.description},
            "user_parameters": {},
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    temporary.replace(path)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    out = {"cls": _SIMPLE, "dtype": "str", "default": parameter.default, "description": parameter.description}
    if parameter.options:
        out |= {"cls": _OPTIONS, "options": list(parameter.options)}
    return out
