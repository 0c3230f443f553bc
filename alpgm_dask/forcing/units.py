"""Units of climate data, read and converted by Pint with the CF notation of cf-xarray."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.constants import WATER_DENSITY
from alpgm_dask.schema import InputError

#: Spellings that archives use and that the library does not know, in lower case; upper and lower case are the same.
ALIASES = {
    "kelvin": "K",
    "kelvins": "K",
    "m of water equivalent": "m",
    "m of water equivalent per day": "m day-1",
    "mm of water equivalent": "mm",
    "mm w.e.": "mm",
    "mm water": "mm",
    "meter": "m",
    "meters": "m",
    "metre": "m",
    "metres": "m",
    "geopotential meter": "m",
}

_SECONDS_PER_DAY = 86400.0


@cache
def _parse(text: str) -> Any:
    """The unit that a text names, or None.

    The library goes before the aliases: to it, case matters (mm and Mm).
    """
    import pint
    from cf_xarray.units import units

    for spelling in (text, ALIASES.get(text.lower())):
        try:
            return units.Unit(spelling) if spelling else None
        except (pint.errors.PintError, ValueError, TypeError, AttributeError):
            continue
    return None


def convert_units(
    values: xr.DataArray, to: str, where: str, *, step_days: xr.DataArray | float | None = None
) -> xr.DataArray:
    """Values in other units; lazy, of the same dtype; integers become floating-point numbers that hold them.

    Water may be given as mass per area or as its depth (1 m is 1000 kg m-2), and as an amount per time step or as a
    rate, which is multiplied by the length of the step.

    Parameters
    ----------
    values
        any shape, with the attribute ``units``.
    to
        "K", "m", or "kg m-2" per time step.
    where
        file or store, for messages.
    step_days
        days of each step (``time``), needed for rates.

    Raises
    ------
    InputError
        for units that are missing, unknown or of something else, and for a rate without a step.

    >>> rain = xr.DataArray(np.array([1.0]), dims="time", attrs={"units": "kg m-2 s-1"}, name="pr")
    >>> convert_units(rain, "kg m-2", "here", step_days=1.0).values.tolist()
    [86400.0]
    """
    name, given = values.name, values.attrs.get("units")
    if not isinstance(given, str) or not given.strip():
        raise InputError(f"{where}: variable '{name}' has no units; allowed: units that convert to {to!r}")
    unit, target = _parse(given.strip()), _parse(to)
    if unit is None:
        raise InputError(f"{where}: variable '{name}' has units {given!r}, which are none; allowed: such as {to!r}")
    attrs, values = values.attrs | {"units": to}, _floating(values)
    if unit == target:
        return values.assign_attrs(attrs)
    per_month = _is_per_month(given)
    if unit.is_compatible_with(target):
        return _mapped(values, unit, target).assign_attrs(attrs)
    depth, rate = _parse("m"), _parse("kg m-2 s-1")
    if to == "kg m-2" and unit.is_compatible_with(depth):
        return (_mapped(values, unit, depth) * values.dtype.type(WATER_DENSITY)).assign_attrs(attrs)
    is_rate = to == "kg m-2" and (unit.is_compatible_with(rate) or unit.is_compatible_with(_parse("m s-1")))
    if not is_rate:
        raise InputError(f"{where}: variable '{name}' has units {given!r}; allowed: units that convert to {to!r}")
    if step_days is None:
        raise InputError(f"{where}: variable '{name}' is a rate ({given!r}) without a time step; allowed: amounts")
    mass = unit.is_compatible_with(rate)
    per_second = _mapped(values, unit, rate if mass else _parse("m s-1"))
    # a rate per month is the amount of that month, however long it is
    seconds = _parse_seconds("month") if per_month else step_days * _SECONDS_PER_DAY
    amount = per_second * (seconds if mass else seconds * WATER_DENSITY)
    return amount.astype(values.dtype).assign_attrs(attrs)


def _floating(values: xr.DataArray) -> xr.DataArray:
    """Integers as float32, or as float64 where that does not hold them: what follows is no integer any more."""
    if values.dtype.kind == "f":
        return values
    return values.astype("float32" if values.dtype.itemsize < 4 else "float64")


def _is_per_month(text: str) -> bool:
    return any(part in text for part in ("/month", "month-1", "month^-1", "month**-1", "/mon", "mon-1"))


def _parse_seconds(text: str) -> float:
    from cf_xarray.units import units

    return float(units.Quantity(1.0, text).to("s").magnitude)


def _mapped(values: xr.DataArray, unit: Any, target: Any) -> xr.DataArray:
    """Values of one unit in another one of the same dimension, block by block."""
    given, wanted = f"{unit}", f"{target}"

    def kernel(block: np.ndarray) -> np.ndarray:
        from cf_xarray.units import units

        return units.Quantity(block, given).to(wanted).magnitude.astype(block.dtype)

    return xr.apply_ufunc(kernel, values, dask="parallelized", output_dtypes=[values.dtype], keep_attrs=True)
