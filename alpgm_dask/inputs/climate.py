"""Climate and observations that cannot serve a run, refused from their times and positions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.config import Config
from alpgm_dask.features import needs_regional
from alpgm_dask.forcing import elevation_sensitivity, match_predictors, nearest_points
from alpgm_dask.forcing.calendar import check_days, complete_years, select_years
from alpgm_dask.inputs.selection import refuse_twice
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    from alpgm_dask.inputs.opened import Inputs


def where_of(config: Config, entry: str | None) -> str:
    """An entry, as messages name it."""
    return f"{config.catalog}: entry {entry!r}"


def check_climate(config: Config, inputs: Inputs) -> None:
    """Refuse climate that cannot serve a run: days, calendars, years, distances. Reads times and positions only.

    Raises
    ------
    InputError
        if the climate does not cover the run or the reference period, its dates are not consecutive days of one
        calendar, no observation falls into its years, or a glacier is farther from it than ``max_distance``.
    """
    asked = config.forcing
    if asked is None:
        return
    where = where_of(config, asked.history)
    years = _check_daily(config, inputs) if asked.kind == "daily" else _check_predictors(config, inputs)
    select_years(years, range(asked.reference_period[0], asked.reference_period[1] + 1), f"{where}: reference period")
    if inputs.observations is not None:
        _check_observations(
            inputs.observations, years, asked.kind == "daily", where_of(config, config.smb.observations)
        )


def _check_daily(config: Config, inputs: Inputs) -> np.ndarray:
    """Complete years of the history, after checking daily climate and who takes it from which point."""
    asked, history, projection = config.forcing, inputs.history, inputs.projection
    where, limit = where_of(config, asked.history), asked.max_distance * 1e3
    _check_dates(history, where)
    nearest_points(inputs.glaciers, history, limit, where=where)
    if inputs.observations is not None:
        nearest_points(at_last_elevation(inputs.observations), history, limit, where=where)
    of_history = complete_years(history["time"], where)
    years = of_history
    if projection is not None:
        later = where_of(config, asked.projection)
        _check_dates(projection, later)
        _check_same_points(history, projection, later)
        after = complete_years(projection["time"], later)
        years, where = np.append(years, after[after > years[-1]]), f"{where} and then {asked.projection!r}"
    select_years(years, config.years, where)
    return of_history


def at_last_elevation(observed: xr.Dataset) -> xr.Dataset:
    """Observed glaciers with the mean elevation (``glacier``) of their last year, that of the last inventory."""
    return observed.assign(mean_elevation=observed["mean_elevation"].isel(hydro_year=-1, drop=True))


def _check_dates(climate: xr.Dataset, where: str) -> None:
    """Refuse daily climate whose times are no dates of a calendar, or no consecutive days."""
    if "time" not in climate.indexes or not isinstance(climate.indexes["time"], pd.DatetimeIndex | xr.CFTimeIndex):
        given = climate["time"].dtype
        raise InputError(f"{where}: variable 'time' is of type {given}; allowed: dates, of any CF calendar")
    check_days(climate["time"], where)


def _check_same_points(history: xr.Dataset, projection: xr.Dataset, where: str) -> None:
    """Refuse a projection at other points than the history's."""
    for name in ("elevation", "lon", "lat"):
        if not np.array_equal(history[name].values, projection[name].values):
            raise InputError(f"{where}: variable {name!r} differs from the history's; allowed: the same points")


def _check_predictors(config: Config, inputs: Inputs) -> np.ndarray:
    """Years of the history, after checking ready-made predictors and who takes which row."""
    asked, history = config.forcing, inputs.history
    where, limit = where_of(config, asked.history), asked.max_distance * 1e3
    elevation_sensitivity(history, where=where)
    match_predictors(inputs.glaciers, history, limit, where=where)
    if inputs.observations is not None:
        match_predictors(inputs.observations, history, limit, where=where)
    years = of_history = history["hydro_year"].values
    if inputs.projection is not None:
        later = where_of(config, asked.projection)
        elevation_sensitivity(inputs.projection, where=later)
        match_predictors(inputs.glaciers, inputs.projection, limit, where=later)
        if needs_regional(inputs.recipe):
            match_predictors(inputs.observations, inputs.projection, limit, where=later)
        after = inputs.projection["hydro_year"].values
        years, where = np.append(years, after[after > years[-1]]), f"{where} and then {asked.projection!r}"
    select_years(years, config.years, where)
    return of_history


def _check_observations(observed: xr.Dataset, years: np.ndarray, every_year: bool, where: str) -> None:
    """Refuse observations without a value in the climate's years, and, of daily climate, years without topography."""
    refuse_twice(schema.texts(observed["rgi_id"]), where)
    given, span = observed["hydro_year"].values, f"{years[0]} to {years[-1]}"
    absent = np.setdiff1d(years, given)
    if every_year and absent.size:
        given = f"{given.min()} to {given.max()}" if given.size else "none"
        raise InputError(
            f"{where}: variable 'mean_elevation' has no hydrological year {absent[0]} (given: {given}); "
            f"allowed: every year of the climate, {span}"
        )
    if not np.isfinite(observed["smb"].isel(hydro_year=np.isin(given, years)).values).any():
        raise InputError(
            f"{where}: variable 'smb' has no value from {span}, the years of the climate; allowed: one or more"
        )
