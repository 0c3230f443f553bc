"""Looking at every entry of a catalog: what it lists, what an entry holds, and whether all of it is in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import xarray as xr

from alpgm_dask.catalog.opened import Catalog, open_catalog
from alpgm_dask.schema import DIMENSIONS, InputError

#: Combinations of options that are tried of one entry.
MAX_CHOICES = 64
#: What the catalog must say of an entry whose data are elsewhere.
_REMOTE_METADATA = ("description", "licence", "source", "checked", "layout")

OK, FAILED, NOT_REACHED = "ok", "failed", "not reached"


@dataclass(frozen=True)
class Listed:
    """A line of :func:`list_entries`; `parameters` is name -> (default, options)."""

    name: str
    kind: str
    where: str
    description: str
    parameters: dict[str, tuple[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Checked:
    """A line of :func:`check_catalog`; `status` is "ok", "failed" or "not reached"."""

    name: str
    status: str
    where: str
    remark: str


def list_entries(catalog: Catalog) -> list[Listed]:
    """The entries of a catalog, without opening any of them."""
    return [
        Listed(name, catalog.kind(name), catalog.url(name), catalog.describe(name), catalog.parameters_of(name))
        for name in catalog.names
    ]


# -- one entry ----------------------------------------------------------------------------------------------


def show_entry(catalog: Catalog, name: str) -> str:
    """What an entry holds, as text: dimensions, variables with units and chunks, and its standing as climate.

    Nothing but metadata and coordinates is read (a table of outlines is read whole).

    Raises
    ------
    InputError
        if the entry does not open.
    """
    lines = [f"{name} ({catalog.kind(name)}): {catalog.url(name)}"]
    lines += [f"  {key}: {' '.join(str(value).split())}" for key, value in catalog.metadata(name).items() if value]
    for key, (default, options) in catalog.parameters_of(name).items():
        given = catalog.parameters.get(key, default)
        lines.append(f"  parameter {key} = {given}" + (f" (of {', '.join(options)})" if options else ""))
    found = catalog.read(name)
    lines += _dataset_lines(found) if isinstance(found, xr.Dataset) else _table_lines(found)
    if isinstance(found, xr.Dataset):
        lines.append(f"climate contract: {_standing(found, f'entry {name!r}')}")
    return "\n".join(lines)


def _dataset_lines(ds: xr.Dataset) -> Iterator[str]:
    yield f"dimensions: {_sizes(ds)}"
    width = max((len(str(name)) for name in ds.variables), default=0)
    for group, names in (("variables", ds.data_vars), ("coordinates", ds.coords)):
        yield f"{group}:"
        for name in names:
            variable = ds[name].variable
            dims = ", ".join(map(str, variable.dims))
            units = variable.attrs.get("units", variable.encoding.get("units", ""))
            yield f"  {name!s:<{width}}  ({dims})  {variable.dtype}  {units or '-'}  {_chunks_of(variable)}"


def _sizes(ds: xr.Dataset) -> str:
    """Dimensions in the order of the project; a store does not say in which order it was written."""
    order = {name: place for place, name in enumerate(DIMENSIONS)}
    dims = sorted(map(str, ds.sizes), key=lambda name: (order.get(name, len(order)), name))
    return ", ".join(f"{name} {ds.sizes[name]}" for name in dims) or "no dimensions"


def _chunks_of(variable: xr.Variable) -> str:
    if variable.chunks is None:
        return "in memory"
    return "chunks " + " x ".join(str(sizes[0]) for sizes in variable.chunks)


def _table_lines(table: Any) -> Iterator[str]:
    yield f"rows: {len(table)}"
    yield f"columns: {', '.join(map(str, table.columns))}"
    yield f"crs: {table.crs}"


def _is_climate(ds: xr.Dataset) -> bool:
    return "tas" in ds.variables and "time" in ds["tas"].dims


def _standing(ds: xr.Dataset, where: str) -> str:
    """What of the climate contract a dataset has, in one line."""
    from alpgm_dask.forcing import as_climate, time_step

    if not _is_climate(ds):
        return "no climate (a climate has 'tas' along 'time')"
    try:
        climate = as_climate(ds, where)
    except InputError as error:
        return f"not held. {error}"
    first, last = (str(value)[:10] for value in climate["time"].values[[0, -1]])
    members = f", {climate.sizes['member']} members" if "member" in climate.dims else ""
    return f"held. {time_step(climate)}, {first} to {last}, {climate.sizes['point']} points{members}"


# -- all of them --------------------------------------------------------------------------------------------


def check_catalog(path: str | Path, *, reach: bool = False, timeout: float = 30.0) -> list[Checked]:
    """Check every entry of a catalog, and go on after one that fails.

    Entries here, or beside the catalog in a bucket, are opened with every combination of their parameters' options (the
    first 64): the data are there and finished, and what has temperature along time is climate as the contract wants it.
    Entries elsewhere are checked for form (place, options, what must be said of them) and, if asked for, opened with
    their default parameters.

    Parameters
    ----------
    path
        the catalog.
    reach
        open what is elsewhere.
    timeout
        seconds that each of these may take.

    Raises
    ------
    InputError
        if the catalog as a whole is refused (as :func:`open_catalog`).
    """
    catalog = open_catalog(path)
    return [_check_entry(catalog, name, reach, timeout) for name in catalog.names]


def _check_entry(catalog: Catalog, name: str, reach: bool, timeout: float) -> Checked:
    count = catalog.count_choices(name)
    where, failures, remarks = _place(catalog, name), [], []
    for choice in islice(catalog.choices(name), MAX_CHOICES):
        try:
            chosen = catalog.with_parameters(**choice)
            remarks.append(_form(chosen, name) if _elsewhere(chosen, name) else _opened(chosen, name))
        except Exception as error:
            said = ", ".join(f"{key}={value}" for key, value in choice.items())
            failures.append(f"{said}: " * bool(said) + _words(error).removeprefix(f"{catalog.path}: entry {name!r}: "))
    if failures:
        more = f" (and {len(failures) - 1} more combinations of parameters)" if len(failures) > 1 else ""
        return Checked(name, FAILED, where, failures[0] + more)
    if reach and _elsewhere(catalog, name):
        return _reach(catalog, name, timeout)
    tried = f"{count} combinations of parameters" if count <= MAX_CHOICES else f"{MAX_CHOICES} of {count} combinations"
    remark = f"{tried}; {remarks[0]}" if count > 1 else remarks[0]
    return Checked(name, NOT_REACHED if _elsewhere(catalog, name) else OK, where, remark)


def _elsewhere(catalog: Catalog, name: str) -> bool:
    """Whether data are somebody else's: neither on this machine nor beside the catalog in a bucket."""
    return catalog.is_remote(name) and not catalog.is_beside(name)


def _place(catalog: Catalog, name: str) -> str:
    """Where an entry's data are with the default parameters, as far as it can be said."""
    try:
        return catalog.url(name)
    except InputError:
        return "nowhere"


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def _form(catalog: Catalog, name: str) -> str:
    """What can be said of an entry elsewhere without going there."""
    said = catalog.metadata(name)
    missing = [key for key in _REMOTE_METADATA if not said.get(key)]
    if missing:
        raise InputError(
            f"entry {name!r} says nothing of {missing[0]!r}; needed of remote data: {', '.join(_REMOTE_METADATA)}"
        )
    if not said.get("remote"):
        raise InputError(f"entry {name!r} is at {catalog.url(name)} and not marked; needed: 'remote: true'")
    return f"form only; facts of {said['checked']}"


def _opened(catalog: Catalog, name: str) -> str:
    from alpgm_dask.forcing import as_climate

    found = catalog.read(name)
    if not isinstance(found, xr.Dataset):
        return f"{len(found)} rows"
    if _is_climate(found):
        as_climate(found, catalog.url(name))
        return f"climate; {_sizes(found)}"
    return _sizes(found)


def _reach(catalog: Catalog, name: str, timeout: float) -> Checked:
    """Open what is elsewhere, in a thread that is left behind if it takes too long."""
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["remark"] = _opened_elsewhere(catalog, name)
        except Exception as error:
            outcome["failure"] = _words(error)

    started, thread = time.monotonic(), threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    where = catalog.url(name)
    if thread.is_alive():
        return Checked(name, FAILED, where, f"no answer within {timeout:g} s")
    if "failure" in outcome:
        return Checked(name, FAILED, where, outcome["failure"])
    return Checked(name, OK, where, f"opened in {time.monotonic() - started:.1f} s; {outcome['remark']}")


def _opened_elsewhere(catalog: Catalog, name: str) -> str:
    """Archives elsewhere have their own variables, and become climate by conversion: they are only opened."""
    found = catalog.read(name)
    return _sizes(found) if isinstance(found, xr.Dataset) else f"{len(found)} rows"
