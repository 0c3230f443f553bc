"""What daily climate must have before anything is built on it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.constants import MELTING_POINT
from alpgm_dask.forcing.calendar import check_days

#: What `tas` says at 0 degC, by the units it may have.
ZERO_CELSIUS = {"K": MELTING_POINT, "degC": 0.0}


def check_climate(climate: xr.Dataset, where: str = "climate") -> float:
    """Refuse daily climate that lacks a variable, a unit or a day; return what its `tas` says at 0 degC.

    Raises
    ------
    InputError
        Naming `where` and the variable, or the first date at which the days are not one apart.
    """
    for name in ("time", "tas"):
        if name not in climate.variables:
            given = ", ".join(map(str, climate.variables))
            raise schema.InputError(f"{where}: variable '{name}' is missing; the variables given are: {given}")
    member = tuple(d for d in climate["tas"].dims if d == "member")
    dims = (*member, "time", "point")
    if set(climate["tas"].dims) != set(dims):
        raise schema.InputError(f"{where}: variable 'tas' has dimensions {climate['tas'].dims}, allowed: {dims}")
    schema.check(climate, {"snowfall": dims, "rainfall": dims, "elevation": ("point",)}, where)
    units = climate["tas"].attrs.get("units")
    if units not in ZERO_CELSIUS:
        raise schema.InputError(f"{where}: variable 'tas' has units {units!r}, allowed: {', '.join(ZERO_CELSIUS)}")
    check_days(climate["time"], where)
    return ZERO_CELSIUS[units]


def check_points(point: xr.DataArray, n_points: int, where: str) -> None:
    if point.dims != ("glacier",) or not np.issubdtype(point.dtype, np.integer):
        raise schema.InputError(f"point has dimensions {point.dims}, {point.dtype}; allowed: ('glacier',), integer")
    bad = np.flatnonzero((point.values < 0) | (point.values >= n_points))
    if bad.size:
        value = point.values[bad[0]]
        raise schema.InputError(
            f"{where}: point {value} of glacier {bad[0]} does not exist; allowed: 0..{n_points - 1}"
        )
