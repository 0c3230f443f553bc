"""The mean climate of a region: what its glaciers have in common in a year, at the glaciers that were observed.

The mass balance of a year goes with the climate of the whole region. A model that is told that climate does not have
to find it out from every glacier's own, noisier one. The glaciers are always the same, those with observations, so
that a run's result does not depend on which glaciers it takes; their elevation stays that of the last inventory year.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from alpgm_dask.constants import REFERENCE_PERIOD
from alpgm_dask.forcing.aligned import align_predictors
from alpgm_dask.forcing.annual import annual_predictors
from alpgm_dask.forcing.calendar import days_of, select_years
from alpgm_dask.forcing.downscaling import Downscaling
from alpgm_dask.forcing.predictors import predictor_array
from alpgm_dask.schema import InputError


def regional_anomaly(predictors: xr.Dataset, reference: xr.Dataset) -> xr.DataArray:
    """Anomalies of the predictors, each glacier's from its own climatology, averaged over the glaciers. Lazy.

    Parameters
    ----------
    predictors
        ([member,] glacier, hydro_year[, month]).
    reference
        (glacier[, month]), from :func:`alpgm_dask.forcing.reference_climatology`, of the same glaciers.

    Returns
    -------
    DataArray ([member,] hydro_year, predictor): plain mean, every glacier with the same weight, missing where one is.

    >>> one = xr.DataArray([[1.0], [3.0]], dims=("glacier", "hydro_year"), coords={"hydro_year": [2001]})
    >>> given = xr.Dataset(dict.fromkeys(("cpdd", "winter_snowfall", "summer_snowfall"), one))
    >>> regional_anomaly(given, given.isel(hydro_year=0) * 0.0).values.tolist()
    [[2.0, 2.0, 2.0]]
    """
    climatology = predictor_array(reference)
    climatology = climatology.drop_vars([c for c in climatology.coords if c != "predictor"])
    return _mean(predictor_array(predictors) - climatology)


def _mean(anomalies: xr.DataArray) -> xr.DataArray:
    """Mean over ``glacier``, added up in the order of the glaciers, whatever the chunks or the order of dimensions."""

    def kernel(values: np.ndarray) -> np.ndarray:
        total = np.zeros(values.shape[:-1])
        for glacier in range(values.shape[-1]):
            total += values[..., glacier]
        return total / values.shape[-1]

    out = xr.apply_ufunc(
        kernel,
        anomalies.chunk(glacier=-1) if anomalies.chunks else anomalies,
        input_core_dims=[["glacier"]],
        dask="parallelized",
        output_dtypes=["float64"],
    )
    out = out.drop_vars([c for c in out.coords if c not in out.dims]).rename("regional_anomaly")
    return out.transpose("member", "hydro_year", "predictor", missing_dims="ignore")


def regional_from_climate(
    parts: Sequence[xr.Dataset],
    point: xr.DataArray,
    elevation: xr.DataArray,
    reference: xr.Dataset,
    years: Sequence[int],
    *,
    weight: xr.DataArray | None = None,
    downscaling: Downscaling | None = None,
) -> xr.DataArray:
    """Regional anomalies of a run's years from climates that follow one another; lazy.

    Parameters
    ----------
    parts
        ([``member``,] ``time``, ``point``): the history, and a projection if there is one. Each gives the years that
        none before it has; calendars may differ.
    point, elevation
        (``glacier``) of the observed glaciers: position along ``point``; m, the same in every year.
    reference
        (``glacier``[, ``month``]) their climatology; without its monthly variables the result has none.
    years
        consecutive hydrological years.
    weight, downscaling
        as for :func:`annual_predictors`.

    Returns
    -------
    DataArray ([``member``,] ``hydro_year``, ``predictor``).

    Raises
    ------
    InputError
        as :func:`annual_predictors`, and for years that no part covers.
    """
    found, left = [], list(years)
    for part in parts:
        days = days_of(part, left)
        if days.sizes["time"]:
            predictors = annual_predictors(days, point, elevation, weight=weight, downscaling=downscaling)
            predictors = predictors[list(reference.data_vars)]
            found.append(regional_anomaly(predictors, reference))
            left = [year for year in left if year > predictors["hydro_year"].values[-1]]
        if not left:
            break
    return _one_series(found, years)


def regional_from_predictors(
    observed: xr.Dataset,
    history: xr.Dataset,
    projection: xr.Dataset | None = None,
    *,
    years: Sequence[int],
    reference_period: tuple[int, int] = REFERENCE_PERIOD,
    max_distance: float = 20e3,
) -> xr.DataArray:
    """Regional anomalies of a run's years from predictors made elsewhere; lazy.

    The rows of the observed glaciers, history then projection, brought to one elevation as those of the glaciers of
    the run are: see :func:`align_predictors`, also for the parameters.

    Returns
    -------
    DataArray ([``member``,] ``hydro_year``, ``predictor``).
    """
    aligned = align_predictors(
        observed,
        history,
        projection,
        years=years,
        reference_period=reference_period,
        max_distance=max_distance,
    )
    return _mean(aligned["predictors"] - aligned["reference"])


def _one_series(parts: Sequence[xr.DataArray], years: Sequence[int]) -> xr.DataArray:
    """Parts one after the other; one without members is the same under all members of the others."""
    if not parts:
        raise InputError(f"regional climate: hydrological years {years[0]} to {years[-1]} are in no part")
    members = next((part["member"] for part in parts if "member" in part.dims), None)
    if members is not None:
        parts = [part if "member" in part.dims else part.expand_dims(member=members) for part in parts]
    series = xr.concat(parts, "hydro_year", coords="minimal", compat="override", join="exact")
    return series.isel(hydro_year=select_years(series["hydro_year"].values, list(years), "regional climate"))
