"""A finished store made longer along one dimension: what is there stays, but for the last, partly filled chunk."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
import zarr

from alpgm_dask.schema import InputError
from alpgm_dask.store.encoding import plain
from alpgm_dask.store.group import attributes, open_group
from alpgm_dask.store.writing import APPENDING, finish


def unfinished_append(url: str) -> dict[str, object] | None:
    """What an append that was cut short was about: ``{"dim": ..., "start": ...}``; None where there is none."""
    found = attributes(url).get(APPENDING)
    return dict(found) if found else None


def extend(template: xr.Dataset, url: str, dim: str) -> int:
    """Make room after the end of a finished store, and write the variables of `template` that are in memory there.

    The store counts as unfinished until :func:`alpgm_dask.store.finish`, after the lazy variables were written too.
    The same call again, after one that was cut short, begins where the first one began.

    Parameters
    ----------
    template
        the variables of the store that have `dim`, from the old end on; others are left alone.
    url
        where the store is.
    dim
        which dimension grows.

    Returns
    -------
    Position of the first new element along `dim`.

    Raises
    ------
    InputError
        if the store lacks `dim`, is unfinished for another reason, or `template` lacks a variable or differs in shape.
    """
    group, state = open_group(str(url), "r+"), attributes(url)
    arrays = _arrays(group, dim)
    under_way = unfinished_append(url)
    _check(template, url, dim, arrays, bool(state.get("complete")), under_way)
    start, more = int(under_way["start"]) if under_way else arrays[dim].shape[0], template.sizes[dim]
    group.attrs.update({"complete": 0, APPENDING: {"dim": dim, "start": start}})
    for array in arrays.values():
        names = array.metadata.dimension_names
        array.resize(tuple(start + more if n == dim else s for n, s in zip(names, array.shape, strict=True)))
    for name, variable in plain(template[list(arrays)]).variables.items():
        if variable.chunks is None and name in arrays:
            where = tuple(slice(start, None) if d == dim else slice(None) for d in variable.dims)
            arrays[str(name)][where] = _encoded(variable, arrays[str(name)])
    return start


def undo_append(url: str) -> None:
    """Take back what :func:`extend` has begun: the store is finished again, and as long as it was."""
    group, under_way = open_group(str(url), "r+"), unfinished_append(url)
    if under_way is None:
        return
    dim, size = str(under_way["dim"]), int(under_way["start"])
    for array in _arrays(group, dim).values():
        names = array.metadata.dimension_names
        array.resize(tuple(size if n == dim else s for n, s in zip(names, array.shape, strict=True)))
    finish(url)


def append(ds: xr.Dataset, url: str, dim: str, attrs: Mapping[str, object] | None = None) -> None:
    """Compute what comes after the end of a finished store along `dim`, and write it there.

    Killed in between, the store counts as unfinished, and the same call again brings it to the same bytes. Only the
    last chunk along `dim` is written anew, if it was not full.

    Parameters
    ----------
    ds
        the variables of the store that have `dim`, from the old end on; others of it are left alone.
    url
        where the store is.
    dim
        which dimension grows.
    attrs
        global attributes to set in the end.

    Raises
    ------
    InputError
        as :func:`extend`.
    """
    start = extend(ds, url, dim)
    chunks = {name: array.chunks for name, array in _arrays(open_group(str(url), "r"), dim).items()}
    lazy = [name for name in chunks if ds[name].chunks is not None]
    if lazy:
        part = plain(ds[lazy].drop_vars([name for name in ds.coords if name not in lazy]))
        _aligned(part, dim, start, chunks).to_zarr(
            str(url),
            mode="r+",
            region={dim: slice(start, start + ds.sizes[dim])},
            zarr_format=3,
            consolidated=False,
            safe_chunks=False,  # aligned with the store's, which Xarray cannot see
        )
    finish(url, attrs)


def _encoded(variable: xr.Variable, array: zarr.Array) -> np.ndarray:
    """Values as the store has them: dates as numbers in the units that were chosen for its beginning."""
    if "calendar" not in array.attrs:
        return variable.values
    encoding = {"units": array.attrs["units"], "calendar": array.attrs["calendar"], "dtype": array.dtype}
    dated = xr.Variable(variable.dims, variable.values, encoding=encoding)
    return np.asarray(xr.conventions.encode_cf_variable(dated, name="time").values)


def _arrays(group: zarr.Group, dim: str) -> dict[str, zarr.Array]:
    return {name: array for name, array in group.arrays() if dim in (array.metadata.dimension_names or ())}


def _check(
    ds: xr.Dataset,
    url: str,
    dim: str,
    arrays: Mapping[str, zarr.Array],
    complete: bool,
    under_way: Mapping[str, object] | None,
) -> None:
    if dim not in arrays:
        raise InputError(f"{url}: the store has no dimension {dim!r} with a coordinate; allowed: to append along one")
    if not complete and not under_way:
        raise InputError(f"{url}: the store was not finished; allowed: to append to a finished one")
    if under_way and under_way["dim"] != dim:
        raise InputError(f"{url}: an append along {under_way['dim']!r} was cut short; allowed: to finish that first")
    for name, array in arrays.items():
        if name not in ds.variables:
            raise InputError(f"{url}: variable {name!r} is missing in what is appended; allowed: all of {[*arrays]}")
        given = {str(d): n for d, n in ds[name].sizes.items() if d != dim}
        stored = dict(zip(array.metadata.dimension_names, array.shape, strict=True))
        stored.pop(dim)
        if given != stored:
            raise InputError(f"{url}: variable {name!r} to append has sizes {given}; allowed: those stored, {stored}")


def _aligned(ds: xr.Dataset, dim: str, start: int, chunks: Mapping[str, tuple[int, ...]]) -> xr.Dataset:
    """Dask chunks that end where the store's do, so that no two tasks write to one chunk of it."""
    out = {}
    for name, variable in ds.variables.items():
        stored = dict(zip(variable.dims, chunks[str(name)], strict=True))
        out[name] = variable.chunk(
            {d: aligned_sizes(n, stored[d], start if d == dim else 0) for d, n in variable.sizes.items()}
        )
    return ds.assign(out)


def aligned_sizes(size: int, chunk: int, start: int = 0) -> tuple[int, ...]:
    """Lengths of the parts of `size` elements, from position `start` on, that end where chunks of a store end.

    >>> aligned_sizes(10, 4), aligned_sizes(10, 4, start=6), aligned_sizes(1, 4, start=5)
    ((4, 4, 2), (2, 4, 4), (1,))
    """
    first = min(size, -start % chunk)
    whole, rest = divmod(size - first, chunk)
    return (first,) * bool(first) + (chunk,) * whole + (rest,) * bool(rest)
