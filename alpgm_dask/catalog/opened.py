"""A catalog that was opened: its entries as lazy data.

A catalog is Intake 2 YAML, held against :mod:`.rules` before Intake sees it. Entries are read with
``catalog(**parameters)[name].read()``, the one way that applies parameters (doing it through the entry silently keeps
the defaults).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import yaml

from alpgm_dask.catalog import rules
from alpgm_dask.schema import InputError

_SECTIONS = ("entries", "data", "user_parameters", "aliases", "metadata")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
#: What an entry needs that is not always installed, by the name of the package.
_EXTRA_PACKAGES = {"icechunk": "icechunk", "gcsfs": "gs://", "s3fs": "s3://", "aiohttp": "http://", "adlfs": "abfs://"}


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

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> Any:
        return self.read(name)

    def __repr__(self) -> str:
        return f"<Catalog {self.path}: {', '.join(self.names)}>"

    def _require(self, name: str) -> None:
        if name not in self.names:
            raise InputError(f"{self.path}: entry {name!r} is missing; the catalog has: {', '.join(self.names)}")

    def metadata(self, name: str) -> dict[str, Any]:
        """What the catalog says of the entry: description, licence, whether it is remote, and the like."""
        self._require(name)
        return dict(self.content["entries"][name].get("metadata") or {})

    def describe(self, name: str) -> str:
        """The entry's description."""
        return str(self.metadata(name).get("description", ""))

    def kind(self, name: str) -> str:
        """The kind of the entry: zarr, icechunk, raster, netcdf or geoparquet."""
        datatype = self._source(name).get("datatype")
        return next(kind for kind, (found, *_) in rules.KINDS.items() if found == datatype)

    def _source(self, name: str) -> Mapping[str, Any]:
        """The data source that the entry reads, as the file has it."""
        self._require(name)
        arguments = self.content["entries"][name]["kwargs"]
        reference = arguments["args"][0] if arguments.get("args") else arguments["data"]
        return self.content["data"][str(reference).removeprefix("{data(").removesuffix(")}")]

    def parameters_of(self, name: str) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Name -> (default, options) of the catalog's parameters that this entry takes; no options: any text."""
        used = dict.fromkeys(_placeholders(self._source(name)["kwargs"]))
        declared = self.content["user_parameters"]
        return {key: _default_and_options(declared[key]) for key in used if key in declared}

    def count_choices(self, name: str) -> int:
        """The number of combinations that :meth:`choices` gives."""
        return prod(len(values) for _, values in self.parameters_of(name).values() if values)

    def choices(self, name: str) -> Iterator[dict[str, str]]:
        """Every combination of the options that the entry's parameters have; those without options are left alone."""
        options = {key: values for key, (_, values) in self.parameters_of(name).items() if values}
        for values in product(*options.values()):
            yield dict(zip(options, values, strict=True))

    def with_parameters(self, **parameters: str) -> Catalog:
        """The same catalog with other values of its parameters (InputError as in :func:`open_catalog`)."""
        return Catalog(self.path, _checked(self.path, self.content, {**self.parameters, **parameters}), self.content)

    def _reader(self, name: str) -> tuple[Any, Any]:
        """Intake's reader of the entry and its data source, with parameters filled in and the place checked."""
        self._require(name)
        reader = self._intake[name]
        data = reader.kwargs["args"][0] if reader.kwargs.get("args") else reader.kwargs["data"]
        where = f"{self.path}: entry {name!r}"
        rules.refuse_url(where, str(data.url))
        unfilled = list(_placeholders({"url": data.url, "storage_options": data.storage_options}))
        if unfilled:
            raise InputError(f"{where}: {{{unfilled[0]}}} is no parameter; allowed: CATALOG_DIR, {self._declared}")
        return reader, data

    @property
    def _declared(self) -> str:
        return ", ".join(self.content["user_parameters"]) or "none declared"

    def url(self, name: str) -> str:
        """Where the entry's data are, with parameters filled in."""
        data = self._reader(name)[1]
        options = data.storage_options or {}
        if self.kind(name) != "icechunk":
            return str(data.url)
        if data.url == "local_filesystem":
            return str(options.get("path", ""))
        return f"{data.url}://{options.get('bucket', '')}/{options.get('prefix') or ''}"

    def is_remote(self, name: str) -> bool:
        """Whether the entry's data are not on this machine."""
        return rules.protocol_of(self.url(name)) not in rules.LOCAL_PROTOCOLS

    def is_beside(self, name: str) -> bool:
        """Whether the entry's data lie beside the catalog, wherever that is: in one's own bucket, say."""
        return str(self._source(name)["kwargs"].get("url", "")).startswith("{CATALOG_DIR}")

    def _by_gdal(self, name: str, url: str) -> bool:
        return self.kind(name) == "raster" and rules.protocol_of(url) in ("", "file", "http", "https")

    def read(self, name: str) -> Any:
        """A lazy Dataset, or a GeoDataFrame (kind geoparquet).

        Raises
        ------
        InputError
            if the entry is missing, what it points to is missing or unfinished, or a package that it needs is not
            installed.
        """
        reader, data = self._reader(name)
        if data.url == "local_filesystem" and data.storage_options:
            data.storage_options["path"] = str(data.storage_options.get("path", "")).removeprefix("file://")
        where = f"{self.path}: entry {name!r}"
        try:
            found = _read_raster(str(data.url)) if self._by_gdal(name, data.url) else reader.read()
        except FileNotFoundError as error:
            raise InputError(f"{where}: nothing at {self.url(name)}") from error
        except ImportError as error:
            raise InputError(f"{where}: {_package_of(error)}; install the extra 'cloud'") from error
        except Exception as error:
            if not _is_foreign_failure(error):
                raise
            raise InputError(f"{where}: {self.url(name)} does not open: {error}") from error
        if not getattr(found, "attrs", {}).get("complete", True):
            raise InputError(f"{where}: the store {self.url(name)} was not finished")
        return found


def _read_raster(url: str) -> Any:
    """A raster, lazily, as GDAL reads it: on the web range by range, which suits cloud-optimised GeoTIFFs.

    Intake opens a file object instead, which neither reads ranges nor can be sent to a worker.
    """
    import xarray as xr

    path = f"/vsicurl/{url}" if rules.protocol_of(url) in ("http", "https") else url.removeprefix("file://")
    return xr.open_dataset(path, engine="rasterio", chunks={})


def _package_of(error: ImportError) -> str:
    """Which package is not installed, in words."""
    text = f"{error.name or ''} {error}"
    package = next((name for name in _EXTRA_PACKAGES if name in text), None)
    return f"it needs the package {package}, which is not installed" if package else str(error)


def _is_foreign_failure(error: Exception) -> bool:
    """Whether an error comes from a library that reads a repository, a raster or a bucket, and not from here."""
    module = type(error).__module__.split(".")[0]
    return module in ("icechunk", "rasterio", "botocore", "gcsfs") or isinstance(error, PermissionError)


def _placeholders(content: Any) -> Iterator[str]:
    """Names in braces, wherever in the arguments of a data source they stand."""
    if isinstance(content, Mapping):
        for value in content.values():
            yield from _placeholders(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _placeholders(value)
    elif isinstance(content, str):
        yield from _PLACEHOLDER.findall(content)


def _default_and_options(declared: Any) -> tuple[str, tuple[str, ...]]:
    if not isinstance(declared, dict):
        return str(declared), ()
    return str(declared.get("default", "")), tuple(map(str, declared.get("options") or ()))


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
        if the file is missing or no catalog, names a class, an argument or an option that is not allowed, holds
        credentials, or a parameter or its value is not one of those that it declares.
    """
    path = str(path)
    content = load_content(path)
    rules.refuse_foreign(path, content)
    rules.refuse_arguments(path, content)
    return Catalog(path, _checked(path, content, parameters), content)


def _checked(path: str, content: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, str]:
    """Values for the catalog's parameters, each as its option has it."""
    declared, out = content["user_parameters"], {}
    for name, value in parameters.items():
        if name not in declared:
            raise InputError(f"{path}: unknown parameter {name!r}; allowed: {', '.join(declared) or 'none'}")
        options = _default_and_options(declared[name])[1]
        if options and str(value) not in options:
            raise InputError(f"{path}: parameter {name!r} is {value!r}; allowed: {', '.join(options)}")
        if rules.asks_for_code(value) or "{" in str(value):
            raise InputError(f"{path}: parameter {name!r} is {value!r}, which asks for code; allowed: plain text")
        out[name] = str(value)
    return out


def load_content(path: str) -> dict[str, Any]:
    """The content of a catalog file, of which only the form was checked (InputError)."""
    import fsspec

    try:
        with fsspec.open(path, "rt") as file:
            content = yaml.safe_load(file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such catalog") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    except Exception as error:
        if not _is_foreign_failure(error):
            raise
        raise InputError(
            f"{path}: does not open: {error}; needed: credentials in the environment that allow it"
        ) from error
    if not isinstance(content, dict) or content.get("version") != 2:
        raise InputError(f"{path}: not an Intake 2 catalog (needs 'version: 2' and {', '.join(_SECTIONS)})")
    missing = [section for section in _SECTIONS if not isinstance(content.get(section), dict)]
    if missing:
        raise InputError(f"{path}: section {missing[0]!r} is missing or no mapping; needed: {', '.join(_SECTIONS)}")
    return content
