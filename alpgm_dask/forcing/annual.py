"""Climate at points, brought to glaciers and reduced to the predictors of each hydrological year. Lazy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.forcing.calendar import complete_years, month_codes
from alpgm_dask.forcing.checks import check_climate, check_points, over_glaciers
from alpgm_dask.forcing.contract import step_days
from alpgm_dask.forcing.downscaling import Downscaling
from alpgm_dask.forcing.pieces import Pieces, lazily, now
from alpgm_dask.forcing.places import at_places
from alpgm_dask.forcing.reduction import COLUMNS, MONTHLY_COLUMNS, Reduction


def annual_predictors(
    climate: xr.Dataset,
    point: xr.DataArray | xr.Dataset | np.ndarray,
    elevation: xr.DataArray | np.ndarray,
    *,
    weight: xr.DataArray | np.ndarray | None = None,
    phase: str | None = None,
    downscaling: Downscaling | None = None,
    where: str = "climate",
) -> xr.Dataset:
    """Predictors of every complete hydrological year at glaciers, from daily or monthly climate at points. Lazy.

    ``T = T_p + (z_p - z) * lapse_rate`` per step, snow and rain as :class:`Downscaling` says; ``cpdd = sum(max(T, 0))``
    over the days of the hydrological year; snowfall and rainfall over October to March and April to September; monthly
    mean temperature and snowfall, October first (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020). Degree-days of
    months are the normal integral of Calov and Greve (2005, doi:10.3189/172756505781829601).

    One task takes some years of all points that the glaciers use, and groups them with flox; its memory is bounded by
    the number of years. Climate in memory gives predictors in memory; a store that was opened without chunks is read
    inside the tasks. No number depends on how climate, years, members or glaciers are cut.

    Parameters
    ----------
    climate
        ([member,] time, point): tas (K or degC, as its units say); snowfall and rainfall, or pr alone, which is then
        rain where it is given (kg m-2 per step); (point) elevation (m). Consecutive days, or months stamped with their
        first day; any calendar.
    point
        (glacier) int, position along `point` of each glacier's climate (see :func:`nearest_points`); or (glacier,
        corner), with weights (see :func:`bilinear_points`). Or what these two give, as it is.
    elevation
        (glacier) or (glacier, hydro_year), m: mean elevation of the glacier's surface. With years, as ALPGM does for
        its references: each year at the elevation that the inventories give for it.
    weight
        (glacier, corner): a glacier's climate and its elevation are the mean of its corners, weighted with this.
    phase
        "conserving" or "alpgm-1.2"; None: that of `downscaling`. It changes rainfall only.
    downscaling
        settings; None: ALPGM's.

    Returns
    -------
    Dataset ([member,] glacier, hydro_year[, month]): cpdd (K day), winter_snowfall, summer_snowfall, winter_rainfall,
    summer_rainfall (kg m-2), tas_monthly (degC), snowfall_monthly (kg m-2), and the reference_elevation (m) that they
    are valid at.

    Raises
    ------
    InputError
        A missing variable, other units, a gap or a duplicate in time (named), no complete hydrological year, a point
        that does not exist, a year without elevation.
    """
    if isinstance(point, xr.Dataset):
        point, weight = point["point"], point.get("weight", weight)
    zero, step, wet = check_climate(climate, where)
    settings = downscaling or Downscaling()
    how = Reduction(zero, step, replace(settings, phase=phase) if phase else settings)
    point, elevation, weight = (over_glaciers(given) for given in (point, elevation, weight))
    check_points(point, weight, climate.sizes["point"])
    years = complete_years(climate["time"], where)
    code = month_codes(climate["time"])
    inside = slice(*np.searchsorted(code, [years[0] * 12, (years[-1] + 1) * 12]))
    height = _height(elevation, years, where)
    arrays = [climate[name].variable.isel(time=inside) for name in ("tas", *wet)]
    pieces = Pieces(
        arrays=tuple(array.transpose("member", "time", "point", missing_dims="ignore") for array in arrays),
        code=code[inside],
        days=_lengths(climate["time"][inside], step),
        point=point.values,
        weight=None if weight is None else weight.transpose("glacier", "corner").values,
        drop=(_place_elevation(climate, point, weight) - height).variable,
    )
    values = lazily(pieces, how) if pieces.is_lazy else now(pieces, how)
    return _dataset(values, climate, years, point, elevation)


def _place_elevation(climate: xr.Dataset, point: xr.DataArray, weight: xr.DataArray | None) -> xr.DataArray:
    """(glacier,) m that each glacier's climate stands for."""
    elevation = climate["elevation"].astype("float64").drop_vars(list(climate["elevation"].coords))
    # all glaciers in one task: picking from a Dask array makes as many as the points' chunks fit into the glaciers
    return xr.apply_ufunc(
        lambda z: at_places(z[:, None], point.values, None if weight is None else weight.values)[:, 0],
        elevation if elevation.chunks is None else elevation.chunk(-1),
        input_core_dims=[["point"]],
        output_core_dims=[["glacier"]],
        dask="parallelized",
        output_dtypes=["float64"],
        dask_gufunc_kwargs={"output_sizes": {"glacier": point.sizes["glacier"]}},
    )


def _height(elevation: xr.DataArray, years: np.ndarray, where: str) -> xr.DataArray:
    """(glacier) or (glacier, hydro_year) m in each of the years."""
    if "hydro_year" in elevation.dims:
        absent = np.setdiff1d(years, elevation["hydro_year"].values)
        if absent.size:
            raise schema.InputError(
                f"{where}: elevation has no value for hydrological year {absent[0]}; allowed: one for every year"
            )
        elevation = elevation.sel(hydro_year=years).transpose("glacier", "hydro_year")
    return elevation.astype("float64").drop_vars(list(elevation.coords))


def _lengths(time: xr.DataArray, step: str) -> np.ndarray:
    """(time,) days of each step."""
    return step_days(time).values if step == "monthly" else np.ones(time.size)


def _dataset(
    values: xr.Variable, climate: xr.Dataset, years: np.ndarray, point: xr.DataArray, elevation: xr.DataArray
) -> xr.Dataset:
    """Columns (..., glacier, hydro_year, column) as the variables that they are."""
    out = xr.Dataset(coords={"hydro_year": years})
    for number, name in enumerate(COLUMNS):
        out[name] = values[..., number]
    for number, name in enumerate(MONTHLY_COLUMNS):
        first = len(COLUMNS) + 12 * number
        out[name] = xr.Variable((*values.dims[:-1], "month"), values[..., first : first + 12].data)
    out = out.assign_coords(month=np.arange(1, 13))
    out = out.assign_coords({n: c.variable for n, c in climate.coords.items() if c.dims == ("member",)})
    out = out.assign_coords({n: c for n, c in point.coords.items() if c.dims == ("glacier",)})
    out["reference_elevation"] = elevation.drop_vars([c for c in elevation.coords if c != "hydro_year"])
    return schema.annotate(out)


def anomalies(predictors: xr.Dataset, reference: xr.Dataset) -> xr.Dataset:
    """Predictors as anomalies from each glacier's own climatology. Lazy.

    Parameters
    ----------
    predictors
        ([member,] glacier, hydro_year[, month]), such as those of projections.
    reference
        (glacier[, month]) of the same glaciers, from :func:`reference_climatology`; of the history, so that a
        projection's change counts.

    Returns
    -------
    Dataset: ``<name>_anomaly`` for every variable of `reference`, with its attribute ``reference_period``.

    Raises
    ------
    InputError
        for a variable that `predictors` lack, or other glaciers.

    >>> one = xr.DataArray([[1.0, 4.0]], dims=("glacier", "hydro_year"))
    >>> mean = xr.DataArray([3.0], dims="glacier", attrs={"reference_period": "1967-2015"})
    >>> made = anomalies(xr.Dataset({"cpdd": one}), xr.Dataset({"cpdd": mean}))["cpdd_anomaly"]
    >>> made.values.tolist(), made.attrs["reference_period"]
    ([[-2.0, 1.0]], '1967-2015')
    """
    out = xr.Dataset()
    for name in reference.data_vars:
        if name not in predictors:
            raise schema.InputError(f"predictors: variable '{name}' is missing; the climatology has it")
        _check_same_glaciers(predictors, reference)
        climatology = reference[name].variable
        change = predictors[name] - xr.DataArray(climatology).drop_attrs()
        units = schema.VARIABLES[str(name)].units.replace("degC", "K")
        attrs = {"long_name": f"anomaly of {schema.VARIABLES[str(name)].long_name}", "units": units}
        period = reference[name].attrs.get("reference_period")
        attrs |= {"reference_period": period} if period else {}
        out[f"{name}_anomaly"] = change.transpose(*predictors[name].dims).assign_attrs(attrs)
    return out


def _check_same_glaciers(predictors: xr.Dataset, reference: xr.Dataset) -> None:
    sizes: Sequence[int] = (predictors.sizes["glacier"], reference.sizes["glacier"])
    if sizes[0] != sizes[1]:
        raise schema.InputError(f"predictors have {sizes[0]} glaciers, their climatology {sizes[1]}; allowed: the same")
    if "rgi_id" in predictors.variables and "rgi_id" in reference.variables:
        given, wanted = schema.texts(reference["rgi_id"]), schema.texts(predictors["rgi_id"])
        other = np.flatnonzero(given != wanted)
        if other.size:
            at = other[0]
            raise schema.InputError(
                f"climatology: glacier {at} is {given[at]!r}; allowed: {wanted[at]!r}, as in the predictors"
            )
