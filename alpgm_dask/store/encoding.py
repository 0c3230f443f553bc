"""How a dataset lies in a Zarr store: chunks, fill values, strings."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask.schema import texts


def encoding_of(ds: xr.Dataset) -> dict[str, dict[str, object]]:
    """Chunks as the Dask chunks are (the first along each dimension); in-memory variables follow the blocks."""
    out: dict[str, dict[str, object]] = {}
    per_block = int(ds.attrs.get("block_glaciers", 0))
    for name, variable in ds.variables.items():
        entry: dict[str, object] = {}
        if variable.chunks is not None:
            entry["chunks"] = tuple(sizes[0] for sizes in variable.chunks)
        elif per_block and variable.dims == ("glacier",):
            entry["chunks"] = (min(per_block, variable.size),)
        if variable.dtype.kind == "f":
            entry["_FillValue"] = np.array(np.nan, dtype=variable.dtype)
        out[str(name)] = entry
    return out


def plain(ds: xr.Dataset) -> xr.Dataset:
    """Drop what another store's encoding would force on this one; strings are loaded, and written as Zarr strings."""
    ds = ds.drop_encoding()
    strings = {
        name: (v.dims, texts(v.values).astype(object), v.attrs) for name, v in ds.variables.items() if _is_text(v)
    }
    return ds.assign(strings) if strings else ds


def _is_text(variable: xr.Variable) -> bool:
    if variable.dtype.kind not in "OTU":
        return False
    first = variable[(slice(1),) * variable.ndim]
    return all(isinstance(value, str) for value in first.values.ravel())
