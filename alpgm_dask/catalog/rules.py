"""What a catalog may ask for: classes, arguments, places and options. Anything else is refused before Intake sees it.

A catalog names Python classes to import and options of file systems. Opening one must neither run somebody's code nor
carry somebody's credentials: those come from the environment of who runs.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from alpgm_dask.schema import InputError

ZARR = "intake.readers.datatypes:Zarr"
ICECHUNK = "intake.readers.datatypes:IcechunkRepo"
TIFF = "intake.readers.datatypes:TIFF"
NETCDF = "intake.readers.datatypes:HDF5"
PARQUET = "intake.readers.datatypes:Parquet"
XARRAY = "intake.readers.readers:XArrayDatasetReader"
GEOPANDAS = "intake.readers.readers:GeoPandasTabular"
OPTIONS = "intake.readers.user_parameters:OptionsUserParameter"
SIMPLE = "intake.readers.user_parameters:SimpleUserParameter"

#: kind of entry -> (data type, reader, what comes out, arguments of the reader)
KINDS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "zarr": (ZARR, XARRAY, "xarray:Dataset", {"chunks": {}}),
    "icechunk": (ICECHUNK, XARRAY, "xarray:Dataset", {"chunks": {}}),
    "raster": (TIFF, XARRAY, "xarray:Dataset", {"engine": "rasterio", "chunks": {}}),
    "netcdf": (NETCDF, XARRAY, "xarray:Dataset", {"engine": "netcdf4", "chunks": {}, "open_local": True}),
    "geoparquet": (PARQUET, GEOPANDAS, "geopandas:GeoDataFrame", {}),
}

#: Classes that a catalog may name.
ALLOWED_CLASSES = frozenset(
    {ZARR, ICECHUNK, TIFF, NETCDF, PARQUET, XARRAY, GEOPANDAS, OPTIONS, SIMPLE}
    | {"xarray:Dataset", "geopandas:GeoDataFrame"}
)
_CLASS_KEYS = ("cls", "datatype", "reader", "output_instance")

#: Arguments of a data source and of a reader, and what some of them may be.
_SOURCE_KEYS = ("url", "storage_options", "root", "ref", "path")
_READER_KEYS = ("data", "args", "chunks", "engine", "open_local", "group", "consolidated", "decode_times")
_ENGINES = ("zarr", "netcdf4", "h5netcdf", "rasterio")

#: Where data may be: protocols of files here, and of files elsewhere.
LOCAL_PROTOCOLS = ("", "file", "local", "memory")
REMOTE_PROTOCOLS = ("s3", "gs", "gcs", "az", "abfs", "http", "https")
#: Icechunk takes the name of a storage and no URL.
ICECHUNK_STORAGES = ("local_filesystem", "s3", "gcs")

#: Options of file systems, none of which is a secret, and the values that some of them must have.
_ANY = ("anon", "endpoint_url", "client_kwargs", "bucket", "prefix", "region", "anonymous", "from_env", "path")
_STORAGE_OPTIONS: dict[str, tuple[Any, ...] | None] = {
    **dict.fromkeys((*_ANY, "allow_http", "force_path_style")),
    "token": ("anon",),
    "requester_pays": (False,),
}
_CLIENT_OPTIONS: dict[str, tuple[Any, ...] | None] = {"region_name": None, "endpoint_url": None}
_SECRET = re.compile(r"key|secret|token|sig|password|credential", re.IGNORECASE)

#: Intake fills in ``{func(module:name)}`` and its like: anything but a reference to the catalog's own data is code. As
#: the default or the value of a parameter, it needs no braces.
_CALL = re.compile(r"\{(?!data\()\w+\(")
_BARE_CALL = re.compile(r"\{?\w+\(")


def asks_for_code(value: object) -> bool:
    """Whether Intake would run something to make this value of a parameter.

    >>> asks_for_code("func(os:system)"), asks_for_code("rcp85")
    (True, False)
    """
    return bool(_BARE_CALL.match(str(value)))


def refuse_foreign(path: str, content: Any) -> None:
    """Refuse classes outside of the allow-list and calls, wherever in the file they are named (InputError)."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in _CLASS_KEYS and value is not None and not (isinstance(value, str) and value in ALLOWED_CLASSES):
                allowed = ", ".join(sorted(ALLOWED_CLASSES))
                raise InputError(f"{path}: {key} {value!r} is a foreign driver; allowed: {allowed}")
            if key == "default" and isinstance(value, str) and asks_for_code(value):
                raise InputError(f"{path}: default {value!r} asks for code; allowed: plain text")
            refuse_foreign(path, value)
    elif isinstance(content, list):
        for value in content:
            refuse_foreign(path, value)
    elif isinstance(content, str) and _CALL.search(content):
        raise InputError(f"{path}: {content!r} asks for code or the environment; allowed: parameters and {{data(...)}}")


def refuse_arguments(path: str, content: dict[str, Any]) -> None:
    """Refuse what a data source or a reader is given that is not on the lists above (InputError).

    A value that may be a secret is not repeated in the message.
    """
    for name, source in content["data"].items():
        _refuse_keys(f"{path}: {name}", _arguments(path, name, source), _SOURCE_KEYS)
    for name, entry in content["entries"].items():
        arguments = _arguments(path, name, entry)
        _refuse_keys(f"{path}: entry {name!r}", arguments, _READER_KEYS)
        reference = arguments["args"] if arguments.get("args") else [arguments.get("data")]
        if len(reference) != 1 or not _known(reference[0], content["data"]):
            raise InputError(f"{path}: entry {name!r} reads {reference}; allowed: one {{data(...)}} of the catalog")
        if arguments.get("engine", "zarr") not in _ENGINES:
            given = arguments["engine"]
            raise InputError(f"{path}: entry {name!r}: engine {given!r}; allowed: {', '.join(_ENGINES)}")
    _refuse_nested(path, content)


def _arguments(path: str, name: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("kwargs"), dict):
        raise InputError(f"{path}: {name!r} has no 'kwargs'; needed: a mapping of arguments")
    return item["kwargs"]


def _known(reference: Any, sources: dict[str, Any]) -> bool:
    """Whether a reader is given a data source of the catalog itself."""
    found = re.fullmatch(r"\{data\((\w+)\)\}", reference) if isinstance(reference, str) else None
    return bool(found) and found[1] in sources


def _refuse_nested(path: str, content: Any) -> None:
    """Options of file systems and URLs, wherever they stand."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "storage_options" and value is not None:
                _refuse_options(path, key, value, _STORAGE_OPTIONS)
            elif key in ("url", "endpoint_url") and isinstance(value, str):
                refuse_url(path, value, templated=True)
            _refuse_nested(path, value)
    elif isinstance(content, list):
        for value in content:
            _refuse_nested(path, value)


def _refuse_keys(where: str, given: Any, allowed: tuple[str, ...]) -> None:
    foreign = [key for key in given if key not in allowed] if isinstance(given, dict) else ["kwargs"]
    if foreign:
        raise InputError(f"{where}: argument {foreign[0]!r} is foreign; allowed: {', '.join(allowed)}")


def _refuse_options(path: str, name: str, given: Any, allowed: dict[str, tuple[Any, ...] | None]) -> None:
    if not isinstance(given, dict):
        raise InputError(f"{path}: {name} is no mapping; allowed: {', '.join(allowed)}")
    for key, value in given.items():
        if key not in allowed:
            raise InputError(
                f"{path}: {name} holds {key!r}; allowed: {', '.join(allowed)}. Credentials come from the environment, "
                "never from a catalog"
            )
        values = allowed[key]
        if values is not None and value not in values:
            raise InputError(
                f"{path}: {name}: {key!r} may only be {values[0]!r}; credentials come from the environment"
            )
        if key == "client_kwargs":
            _refuse_options(path, f"{name}: {key}", value, _CLIENT_OPTIONS)


def refuse_url(where: str, url: str, *, templated: bool = False) -> None:
    """Refuse a URL that carries a password or a signature, chains file systems, or is of an unknown protocol.

    Parameters
    ----------
    where
        file and entry, for the message.
    url
        with parameters filled in, or still to be (`templated`: the protocol may be one of them).
    """
    if url in ICECHUNK_STORAGES:
        return
    parts = urlsplit(url)
    if "@" in parts.netloc or any(_SECRET.search(key) for key in parse_qs(parts.query, keep_blank_values=True)):
        raise InputError(f"{where}: the url of {parts.hostname} carries credentials; they come from the environment")
    if "::" in url:
        raise InputError(f"{where}: url {url!r} chains file systems; allowed: one of {_protocols()}")
    unfilled = templated and url.startswith("{")
    if not unfilled and protocol_of(url) not in LOCAL_PROTOCOLS + REMOTE_PROTOCOLS:
        raise InputError(f"{where}: url {url!r} is of protocol {protocol_of(url)!r}; allowed: {_protocols()}")


def _protocols() -> str:
    return ", ".join(name for name in LOCAL_PROTOCOLS + REMOTE_PROTOCOLS if name)


def protocol_of(url: str) -> str:
    """The protocol of a URL, empty for a path.

    >>> protocol_of("s3://bucket/store.zarr"), protocol_of("data/store.zarr")
    ('s3', '')
    """
    return url.split("://", 1)[0] if "://" in url else ""
