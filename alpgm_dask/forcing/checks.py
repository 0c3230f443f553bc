"""What climate must have before anything is built on it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.constants import MELTING_POINT
from alpgm_dask.forcing.contract import amounts, time_step

#: What `tas` says at 0 degC, by the units it may have.
ZERO_CELSIUS = {"K": MELTING_POINT, "degC": 0.0}


def check_climate(climate: xr.Dataset, where: str = "climate") -> tuple[float, str, tuple[str, ...]]:
    """Refuse climate that lacks a variable, a unit or a step.

    Returns
    -------
    What its `tas` says at 0 degC; "daily" or "monthly"; the variables that precipitation is given by.

    Raises
    ------
    InputError
        Naming `where` and the variable, or the first date at which the steps are not one apart.
    """
    for name in ("time", "tas"):
        if name not in climate.variables:
            given = ", ".join(map(str, climate.variables))
            raise schema.InputError(f"{where}: variable '{name}' is missing; the variables given are: {given}")
    member = tuple(d for d in climate["tas"].dims if d == "member")
    dims = (*member, "time", "point")
    if set(climate["tas"].dims) != set(dims):
        raise schema.InputError(f"{where}: variable 'tas' has dimensions {climate['tas'].dims}, allowed: {dims}")
    wet = amounts(climate, where)
    schema.check(climate, {**dict.fromkeys(wet, dims), "elevation": ("point",)}, where)
    units = climate["tas"].attrs.get("units")
    if units not in ZERO_CELSIUS:
        raise schema.InputError(f"{where}: variable 'tas' has units {units!r}, allowed: {', '.join(ZERO_CELSIUS)}")
    return ZERO_CELSIUS[units], time_step(climate, where), wet


def over_glaciers(values: xr.DataArray | np.ndarray | None) -> xr.DataArray | None:
    """Plain arrays over glaciers, or glaciers and corners, as such."""
    if values is None or isinstance(values, xr.DataArray):
        return values
    values = np.asarray(values)
    return xr.DataArray(values, dims=("glacier", "corner")[: values.ndim])


def check_points(point: xr.DataArray, weight: xr.DataArray | None, n_points: int) -> None:
    """Refuse points that do not exist, and weights that do not fit to them or are not 1 in sum."""
    dims = ("glacier",) if weight is None else ("glacier", "corner")
    if point.dims != dims or not np.issubdtype(point.dtype, np.integer):
        raise schema.InputError(f"point has dimensions {point.dims}, {point.dtype}; allowed: {dims}, integer")
    bad = np.argwhere((point.values < 0) | (point.values >= n_points))
    if bad.size:
        value = point.values[tuple(bad[0])]
        raise schema.InputError(f"point {value} of glacier {bad[0][0]} does not exist; allowed: 0..{n_points - 1}")
    if weight is None:
        return
    if weight.dims != dims or weight.shape != point.shape:
        raise schema.InputError(f"weight has dimensions {weight.dims}, shape {weight.shape}; allowed: as point has")
    total = weight.values.sum(axis=1)
    bad = np.flatnonzero(~(np.abs(total - 1.0) < 1e-6) | (weight.values < 0).any(axis=1))
    if bad.size:
        raise schema.InputError(
            f"weight of glacier {bad[0]} is {weight.values[bad[0]].tolist()}; allowed: 0 to 1, 1 in sum"
        )
