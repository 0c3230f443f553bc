"""Values of climate that no thermometer or rain gauge has seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.schema import InputError

_CHECKED = ("tas", "pr", "snowfall", "rainfall")
_AMOUNTS = _CHECKED[1:]

#: kg m-2. Amounts down to this far below zero, in a day or a month, are noise of an interpolation (HISTALP has -52):
#: a converter sets them to zero.
NOISE = {"daily": -1.0, "monthly": -100.0}

#: How much more than in a day can fall in a month: the wettest month known has 9.3 m (Cherrapunji, July 1861).
_MONTH = 5.0


def without_noise(climate: xr.Dataset, step: str) -> tuple[xr.Dataset, int]:
    """Climate in memory with the small negative amounts set to zero, and how many there were; steps daily or monthly.

    >>> pr = xr.DataArray(np.array([-1.5, -900.0, 2.0]), dims="time")
    >>> cleaned, count = without_noise(xr.Dataset({"pr": pr}), "monthly")
    >>> cleaned["pr"].values.tolist(), count
    ([0.0, -900.0, 2.0], 1)
    """
    noisy = {name: (climate[name] < 0) & (climate[name] >= NOISE[step]) for name in _AMOUNTS if name in climate}
    cleaned = {name: climate[name].where(~where, 0.0) for name, where in noisy.items()}
    return climate.assign(cleaned), sum(int(where.sum()) for where in noisy.values())


def value_extremes(climate: xr.Dataset) -> xr.Dataset:
    """Lowest and highest value of each variable of climate at every step, and how many are missing. Lazy.

    Parameters
    ----------
    climate
        canonical: ([``member``,] ``time``, ``point``).

    Returns
    -------
    Dataset (``time``): ``<name>_min``, ``<name>_max`` (missing where no point has a value), ``<name>_missing``.
    """
    out = {}
    for name in _CHECKED:
        if name in climate:
            values = climate[name].drop_vars([c for c in climate[name].coords if c != "time"])
            over = [dim for dim in values.dims if dim != "time"]
            out[f"{name}_min"], out[f"{name}_max"] = values.min(over), values.max(over)
            out[f"{name}_missing"] = values.isnull().sum(over)
    return xr.Dataset(out)


def refuse_implausible(extremes: xr.Dataset, where: str, step: str = "daily") -> dict[str, list[float]]:
    """Refuse climate with values that cannot be; lowest and highest of each variable, for the record.

    Parameters
    ----------
    extremes
        from :func:`value_extremes`, computed.
    where
        file or store, for messages.
    step
        "daily" or "monthly".

    Raises
    ------
    InputError
        naming the variable, the first date, the value and what is allowed (:data:`alpgm_dask.schema.PLAUSIBLE`); or a
        variable that is missing everywhere.
    """
    found = {}
    for name in (name for name in _CHECKED if f"{name}_min" in extremes):
        low, high = extremes[f"{name}_min"].values, extremes[f"{name}_max"].values
        if not np.isfinite(low).any():
            raise InputError(f"{where}: variable '{name}' is missing at every point and step; allowed: values")
        found[name] = [float(np.nanmin(low)), float(np.nanmax(high))]
        dates = {"low": low, "high": high, "time": extremes["time"].values}
        refuse_range(name, found[name], where, step, at=dates)
    return found


def refuse_range(
    name: str, found: list[float], where: str, step: str = "daily", at: Mapping[str, np.ndarray] | None = None
) -> None:
    """Refuse the lowest and highest value of a variable if they cannot be (InputError); `at` finds the first date."""
    low, high = schema.PLAUSIBLE[name]
    allowed = (low, high * _MONTH if step == "monthly" and name in _AMOUNTS else high)
    if found[0] >= allowed[0] and found[1] <= allowed[1]:
        return
    value, when = found[0] if found[0] < allowed[0] else found[1], ""
    if at is not None:
        wrong = np.flatnonzero((at["low"] < allowed[0]) | (at["high"] > allowed[1]))
        step = wrong[0]
        value = at["low"][step] if at["low"][step] < allowed[0] else at["high"][step]
        when = f" on {str(at['time'][step])[:10]} ({wrong.size} such steps)"
    units = schema.VARIABLES[name].units
    raise InputError(
        f"{where}: variable '{name}' is {value:g} {units}{when}; allowed: {allowed[0]:g} to {allowed[1]:g} {units}; "
        "are its units what they say?"
    )
