"""Predictors of the glaciers of a run: every glacier's own row, history and projection as one series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from alpgm_dask.constants import REFERENCE_PERIOD
from alpgm_dask.forcing.calendar import select_years
from alpgm_dask.forcing.matching import match_predictors
from alpgm_dask.forcing.predictors import predictor_array, reference_climatology
from alpgm_dask.forcing.sensitivity import elevation_sensitivity
from alpgm_dask.schema import InputError


def align_predictors(
    glaciers: xr.Dataset,
    history: xr.Dataset,
    projection: xr.Dataset | None = None,
    *,
    years: Sequence[int],
    reference_period: tuple[int, int] = REFERENCE_PERIOD,
    max_distance: float = 20e3,
) -> xr.Dataset:
    """Predictors of the glaciers of a run, ready for the year loop; lazy.

    Every glacier takes its own row, or that of a neighbour moved to its own mean elevation. The projection follows in
    the year after the history's last one. All of it is moved, by the sensitivity of its year, to one elevation: what
    the history's reference elevation was in the year before the run, when the simulated surface was what it is at the
    start. Anomalies are taken from the history's own climatology, each of its years at the elevation that it was made
    for (ALPGM).

    Parameters
    ----------
    glaciers
        rgi_id, massif, lon, lat, mean_elevation (``glacier``).
    history, projection
        predictors ([``member``,] ``glacier``, ``hydro_year``[, ``month``]) with reference_elevation (``glacier``[,
        ``hydro_year``]), rgi_id, massif, lon, lat (``glacier``); only the projection may have members.
    years
        hydrological years of the run.
    reference_period
        first and last year of the climatology.
    max_distance
        m from a glacier without predictors to the glacier whose predictors it takes.

    Returns
    -------
    Dataset: predictors, sensitivity ([``member``,] ``hydro_year``, ``glacier``, ``predictor``), reference
    (``glacier``, ``predictor``), start_elevation, forcing_distance (``glacier``; m to the farther of the rows taken
    from history and projection, 0 for its own); with a projection also handover_step (``glacier``, ``predictor``): by
    how much its first ten years differ from the history's last ten.

    Notes
    -----
    Anomalies of a projection are taken from the history's climatology: where the two sources disagree at a glacier,
    the disagreement counts as climate change. `handover_step` shows it; nothing here corrects it.

    Raises
    ------
    InputError
        for a glacier without predictors nearby, years that history and projection do not cover, or monthly predictors
        in one of the two only.
    """
    matched = match_predictors(glaciers, history, max_distance, where="history")
    own = history.isel(glacier=matched["row"].values)
    made_for = _elevation_before(own, years[0])
    start = np.where(matched["own_row"], made_for, glaciers["mean_elevation"])
    distance = matched["forcing_distance"].values
    parts = [_moved(history, matched["row"].values, start, "history")]
    if projection is not None:
        later = projection.isel(hydro_year=projection["hydro_year"].values > history["hydro_year"].values[-1])
        rows = match_predictors(glaciers, later, max_distance, where="projection")
        distance = np.maximum(distance, rows["forcing_distance"].values)
        parts.append(_moved(later, rows["row"].values, start, "projection"))
        if "member" in later.dims:
            parts[0] = parts[0].expand_dims(member=later["member"])
    if len({part.sizes["predictor"] for part in parts}) > 1:
        raise InputError("projection: monthly predictors must be in history and projection, or in neither")
    steps = {"handover_step": _handover(*parts)} if len(parts) > 1 else {}
    series = xr.concat(parts, "hydro_year", coords="minimal", compat="override", join="exact")
    out = series.isel(hydro_year=select_years(series["hydro_year"].values, list(years), "forcing"))
    out["reference"] = _climatology(history, matched["row"].values, start - made_for, reference_period)
    out = out.assign(steps)
    out["start_elevation"] = ("glacier", start)
    out["forcing_distance"] = ("glacier", distance)
    return out.transpose("member", "hydro_year", "glacier", "predictor", missing_dims="ignore")


def _climatology(history: xr.Dataset, row: np.ndarray, rise: np.ndarray, period: tuple[int, int]) -> xr.DataArray:
    """(``glacier``, ``predictor``) mean over a period; a row taken from a neighbour is moved by `rise` (glacier,) m."""
    mean = predictor_array(reference_climatology(history, period, where="history")).isel(glacier=row)
    slope = predictor_array(reference_climatology(elevation_sensitivity(history), period)).isel(glacier=row)
    out = mean + slope * xr.DataArray(rise, dims="glacier")
    return out.drop_vars([name for name, c in out.coords.items() if c.dims == ("glacier",)])


def _handover(history: xr.Dataset, projection: xr.Dataset, years: int = 10) -> xr.DataArray:
    """(``glacier``, ``predictor``) mean of the projection's first years less that of the history's last ones.

    At one elevation: what is left is climate change in a decade, and whatever the two sources disagree about.
    """
    before = history["predictors"].isel(hydro_year=slice(-years, None)).mean("hydro_year")
    step = projection["predictors"].isel(hydro_year=slice(0, years)).mean("hydro_year") - before
    return step.mean("member") if "member" in step.dims else step


def _elevation_before(predictors: xr.Dataset, year: int) -> np.ndarray:
    """(glacier,) m that the predictors are valid at in the year before `year`, or the first one that they have."""
    elevation = predictors["reference_elevation"]
    if "hydro_year" in elevation.dims:
        at = np.clip(np.searchsorted(elevation["hydro_year"].values, year - 1), 0, elevation.sizes["hydro_year"] - 1)
        elevation = elevation.isel(hydro_year=int(at))
    return elevation.values.astype("float64")


def _moved(predictors: xr.Dataset, row: np.ndarray, elevation: np.ndarray, where: str) -> xr.Dataset:
    """Rows of the predictors moved to an elevation (glacier,) in m, with their sensitivity."""
    sensitivity = predictor_array(elevation_sensitivity(predictors, where=where), where).isel(glacier=row)
    base = predictor_array(predictors, where).isel(glacier=row)
    rise = xr.DataArray(elevation, dims="glacier") - predictors["reference_elevation"].isel(glacier=row).variable
    out = xr.Dataset({"predictors": base + sensitivity * rise, "sensitivity": sensitivity})
    return out.drop_vars([name for name, c in out.coords.items() if c.dims == ("glacier",)])
