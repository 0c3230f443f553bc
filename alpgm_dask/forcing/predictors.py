"""The predictors as an ordered table, and the climatology that their anomalies are taken from."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.constants import REFERENCE_PERIOD
from alpgm_dask.forcing.calendar import select_years

#: Months in the order of a hydrological year.
MONTHS = ("oct", "nov", "dec", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep")

#: The predictors of a year and a glacier that have no month.
SEASONAL_PREDICTORS = ("cpdd", "winter_snowfall", "summer_snowfall")

#: The predictors that have a month.
MONTHLY_PREDICTORS = ("tas_monthly", "snowfall_monthly")

#: Every predictor, in the one order that arrays of them have.
PREDICTORS = SEASONAL_PREDICTORS + tuple(f"{name}_{month}" for name in MONTHLY_PREDICTORS for month in MONTHS)


def predictor_names(ds: xr.Dataset, where: str = "predictors") -> tuple[str, ...]:
    """Variables of `ds` that are predictors: the three seasonal ones, and the two monthly ones where both are there.

    Raises
    ------
    InputError
        If a seasonal predictor is missing, or if just one of the monthly ones is.
    """
    monthly = [name for name in MONTHLY_PREDICTORS if name in ds]
    wanted = SEASONAL_PREDICTORS + (MONTHLY_PREDICTORS if monthly else ())
    missing = [name for name in wanted if name not in ds]
    if missing:
        given = ", ".join(map(str, ds.data_vars))
        raise schema.InputError(f"{where}: variable '{missing[0]}' is missing; given: {given}; allowed: {wanted}")
    if monthly and ds.sizes["month"] != 12:
        raise schema.InputError(f"{where}: dimension 'month' has {ds.sizes['month']} values; allowed: 12")
    return wanted


def predictor_array(ds: xr.Dataset, where: str = "predictors") -> xr.DataArray:
    """The predictors of `ds` along one last dimension `predictor`, in the order of PREDICTORS. Lazy.

    3 predictors where `ds` has no monthly ones, else 27. Works on predictors, on a climatology, on a sensitivity.
    """
    names = predictor_names(ds, where)
    seasonal = [ds[n].expand_dims(predictor=[n], axis=-1) for n in SEASONAL_PREDICTORS]
    monthly = []
    for name in names[3:]:
        array = ds[name].transpose(..., "month").drop_vars("month", errors="ignore")
        labels = [f"{name}_{month}" for month in MONTHS]
        monthly.append(array.rename(month="predictor").assign_coords(predictor=labels))
    parts = [part.drop_attrs() for part in (*seasonal, *monthly)]
    return xr.concat(parts, "predictor", coords="minimal", compat="override").transpose(..., "predictor")


def reference_climatology(
    predictors: xr.Dataset, period: tuple[int, int] = REFERENCE_PERIOD, *, where: str = "predictors"
) -> xr.Dataset:
    """Mean of each predictor over the reference period, first and last year included. Lazy.

    ALPGM's references (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020) are over 1967 to 2015 with each year at the
    mean elevation interpolated between the inventories: give :func:`annual_predictors` an elevation per year.
    (Its published training matrix is relative to 1984 to 2015 instead.)

    Parameters
    ----------
    predictors
        ([member,] glacier, hydro_year[, month]).
    period
        First and last hydrological year, stored as attribute `reference_period` of every variable.

    Returns
    -------
    Dataset ([member,] glacier[, month]).

    Raises
    ------
    InputError
        If `predictors` do not cover the period.
    """
    names = predictor_names(predictors, where)
    years = np.arange(period[0], period[1] + 1)
    chosen = select_years(predictors["hydro_year"].values, years, where)
    # years in one chunk: a mean of means of chunks would depend on how they are cut, in its last bit
    some = {name: predictors[name].isel(hydro_year=chosen) for name in names}
    some = {name: values if values.chunks is None else values.chunk(hydro_year=-1) for name, values in some.items()}
    out = predictors[[]].assign(some).mean("hydro_year", skipna=False, keep_attrs=True)
    for name in names:
        out[name].attrs["reference_period"] = f"{period[0]}-{period[1]}"
    return out
