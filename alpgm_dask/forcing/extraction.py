"""Climate at the place of every glacier: one vectorised selection, lazy."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask.forcing.checks import check_climate, check_points, over_glaciers
from alpgm_dask.forcing.pieces import lazy_array
from alpgm_dask.forcing.places import at_places


def climate_at(
    climate: xr.Dataset,
    point: xr.DataArray | np.ndarray,
    weight: xr.DataArray | np.ndarray | None = None,
    *,
    where: str = "climate",
) -> xr.Dataset:
    """Climate at each glacier's point, or the weighted mean of its corners, at the elevation of the climate. Lazy.

    One selection over all glaciers: a task for each chunk of time. Climate in memory gives climate in memory.

    Parameters
    ----------
    climate
        ([member,] time, point), daily or monthly; (point) elevation.
    point
        (glacier) int, or (glacier, corner), see :func:`nearest_points` and :func:`bilinear_points`.
    weight
        (glacier, corner).

    Returns
    -------
    Dataset ([member,] time, glacier) with tas and the amounts of `climate`, and elevation (glacier) in m.

    Raises
    ------
    InputError
        as :func:`annual_predictors`.
    """
    _, _, wet = check_climate(climate, where)
    point, weight = (over_glaciers(given) for given in (point, weight))
    check_points(point, weight, climate.sizes["point"])
    place = point.values, None if weight is None else weight.values
    out = xr.Dataset(coords={"time": climate["time"]})
    for name in ("tas", *wet):
        array = climate[name].variable.transpose("member", "time", "point", missing_dims="ignore")
        data = _selected(array.values, *place) if array._in_memory else _lazily_selected(lazy_array(array), *place)
        out[name] = ((*array.dims[:-1], "glacier"), data, array.attrs)
    height = climate["elevation"].values.astype("float64")[:, None]
    out = out.assign_coords(elevation=("glacier", at_places(height, *place)[:, 0], climate["elevation"].attrs))
    out = out.assign_coords({n: c.variable for n, c in climate.coords.items() if c.dims == ("member",)})
    return out.assign_coords({n: c for n, c in point.coords.items() if c.dims == ("glacier",)})


def _selected(values: np.ndarray, point: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """(..., glacier) of (..., point)."""
    if weight is None:
        return values[..., point]
    rows = values.reshape(-1, values.shape[-1]).T
    return at_places(rows, point, weight).T.reshape(*values.shape[:-1], -1)


def _lazily_selected(array, point: np.ndarray, weight: np.ndarray | None):
    """The same of a Dask array; its points are brought together in the task of each chunk of time."""
    import dask.array as da

    rest = "mt"[2 - (array.ndim - 1) :]
    corners = "gc"[: point.ndim]
    return da.blockwise(
        _selected,
        rest + "g",
        *(array, rest + "p", da.from_array(point, chunks=-1), corners),
        *(weight if weight is None else da.from_array(weight, chunks=-1), None if weight is None else corners),
        concatenate=True,
        align_arrays=False,
        token="climate-at",
        dtype=array.dtype,
        meta=np.empty((0,) * array.ndim, dtype=array.dtype),
    )
