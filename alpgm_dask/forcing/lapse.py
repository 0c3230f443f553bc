"""The decrease of temperature with elevation, month by month, as the climate at hand has it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.forcing.calendar import hydro_month
from alpgm_dask.forcing.checks import check_climate
from alpgm_dask.forcing.pieces import lazy_array

#: K m-1: what an estimate is cut to; no inversion all month long, no more than dry air.
BOUNDS = (0.0, 9.8e-3)

#: m, least standard deviation of elevation that is left where the horizontal gradient and the massifs are removed.
LEAST_SPREAD = 100.0

#: Points that there must be beyond those that the horizontal gradient and the massifs' means take.
LEAST_POINTS = 2


def estimate_lapse_rate(climate: xr.Dataset, *, where: str = "climate") -> xr.DataArray:
    """Lapse rate of each month: least squares of the points' mean temperature on their elevation. Lazy.

    ``T = a_massif + b lon + c lat - lapse_rate * z`` over all points, for every month of the year by itself, with T its
    mean over all years (and members). Where points have no massif, all have the same a. So neither the climate's
    horizontal gradient nor what massifs differ by is taken for an effect of elevation. Least squares is linear in T:
    the estimate is one weighted sum over the points. It is cut to :data:`BOUNDS`.

    Parameters
    ----------
    climate
        ([member,] time, point): tas; (point) elevation (m), lon, lat (degree), optional massif_safran or massif.
        Positions are loaded; values are not.
    where
        file or store, for messages.

    Returns
    -------
    DataArray (month), K m-1, October first: what ``Downscaling(lapse_rate=tuple(...))`` takes.

    Raises
    ------
    InputError
        as :func:`annual_predictors`, for positions that are missing, and where the elevations of the points do not
        spread: then give a lapse rate.
    """
    check_climate(climate, where)
    weight = _weights(climate, where)
    tas = climate["tas"].variable
    tas = tas if tas._in_memory else xr.Variable(tas.dims, lazy_array(tas), tas.attrs)
    time = climate["time"].drop_vars([c for c in climate["time"].coords if c != "time"])
    values = xr.DataArray(tas.astype("float64"), coords={"time": time})
    slope = (values * xr.DataArray(weight, dims="point")).sum("point", skipna=False)
    slope = slope.mean("member") if "member" in slope.dims else slope
    monthly = slope.groupby(hydro_month(time)).mean()
    attrs = {"long_name": "decrease of air temperature with elevation", "units": "K m-1"}
    return (-monthly).clip(*BOUNDS).rename("lapse_rate").assign_attrs(attrs)


def _weights(climate: xr.Dataset, where: str) -> np.ndarray:
    """(point,) weights whose sum with temperatures is their least-squares slope on elevation."""
    height, lon, lat = (_position(climate, name, where) for name in ("elevation", "lon", "lat"))
    columns = [lon - lon.mean(), lat - lat.mean()]
    columns += [group.astype("float64") for group in _groups(climate)]
    design = np.stack([column for column in columns if np.abs(column).max() > 0], axis=1)
    known, _, rank, _ = np.linalg.lstsq(design, height, rcond=None)
    left = height - design @ known
    spread = float(np.sqrt(np.mean(left**2)))
    if height.size - rank < LEAST_POINTS or spread < LEAST_SPREAD:
        raise schema.InputError(
            f"{where}: variable 'elevation' of {height.size} points spreads by {spread:.0f} m (standard deviation, "
            f"massifs and horizontal gradient removed); allowed: {LEAST_SPREAD:g} m or more, of {rank + LEAST_POINTS} "
            "points or more, for a lapse rate from the data; give a value instead"
        )
    return left / np.sum(left**2)


def _position(climate: xr.Dataset, name: str, where: str) -> np.ndarray:
    if name not in climate.variables:
        raise schema.InputError(f"{where}: variable '{name}' is missing; needed for a lapse rate from the data")
    values = climate[name].values.astype("float64")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise schema.InputError(f"{where}: variable '{name}' is missing at point {bad[0]}; allowed: a value everywhere")
    return values


def _groups(climate: xr.Dataset) -> list[np.ndarray]:
    """(point,) bool for each massif; one group where no massif is named."""
    if "massif_safran" in climate.variables:
        label = climate["massif_safran"].values
    elif "massif" in climate.variables:
        label = schema.texts(climate["massif"])
    else:
        label = np.zeros(climate.sizes["point"])
    return [label == one for one in np.unique(label)]
