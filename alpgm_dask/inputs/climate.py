"""Climate and observations that cannot serve a run, refused from their times and positions alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.config import Config
from alpgm_dask.features import needs_regional
from alpgm_dask.forcing import (
    amounts,
    check_adjustable,
    climate_points,
    elevation_sensitivity,
    match_predictors,
    nearest_points,
    refuse_implausible,
    refuse_range,
    time_step,
    value_extremes,
)
from alpgm_dask.forcing.calendar import complete_years, days_of, select_years
from alpgm_dask.inputs.selection import refuse_twice
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    from alpgm_dask.inputs.opened import Inputs


def where_of(config: Config, entry: str | None) -> str:
    """An entry, as messages name it."""
    return f"{config.catalog}: entry {entry!r}"


def check_climate(config: Config, inputs: Inputs) -> None:
    """Refuse climate that cannot serve a run: steps, calendars, years, distances, values that cannot be.

    Reads times and positions; values only of stores that do not say themselves what theirs are.

    Raises
    ------
    InputError
        if the climate does not cover the run or the reference period, no observation falls into its years, a glacier
        is farther from it than ``max_distance``, or its values cannot be.
    """
    asked = config.forcing
    if asked is None:
        return
    where = where_of(config, asked.history)
    at_points = asked.kind == "climate"
    years = _check_at_points(config, inputs) if at_points else _check_predictors(config, inputs)
    select_years(years, range(asked.reference_period[0], asked.reference_period[1] + 1), f"{where}: reference period")
    if inputs.observations is not None:
        needed = np.arange(asked.reference_period[0], asked.reference_period[1] + 1) if at_points else None
        _check_observations(inputs.observations, years, needed, where_of(config, config.smb.observations))


def _check_at_points(config: Config, inputs: Inputs) -> np.ndarray:
    """Complete years of the history, after checking climate at points and who takes it from which."""
    asked, history, projection = config.forcing, inputs.history, inputs.projection
    where = where_of(config, asked.history)
    choose_points(config, inputs.glaciers, history, where)
    if inputs.observations is not None:
        choose_points(config, at_last_elevation(inputs.observations), history, where)
    of_history = complete_years(history["time"], where)
    years = of_history
    check_values(history, where)
    _check_gaps(config, inputs, history, where)
    if projection is not None:
        later = where_of(config, asked.projection)
        same_places(config, history, projection)
        _check_same_step(history, projection, later)
        of_projection = complete_years(projection["time"], later)
        if asked.adjustment != "none":
            check_adjustable(asked.common_period, f"{config.catalog}: forcing.adjustment_period")
            common = range(asked.common_period[0], asked.common_period[1] + 1)
            select_years(of_history, common, f"{where}: adjustment period")
            select_years(of_projection, common, f"{later}: adjustment period")
        years = np.append(years, of_projection[of_projection > years[-1]])
        where = f"{where} and then {asked.projection!r}"
        check_values(projection, later)
        _check_gaps(config, inputs, projection, later)
    select_years(years, config.years, where)
    _check_projection_used(config, of_history)
    return of_history


def _check_projection_used(config: Config, of_history: np.ndarray) -> None:
    """Refuse a projection that no year of the run takes: it follows when the history ends."""
    if config.forcing.projection is not None and of_history[-1] >= config.period.end:
        raise InputError(
            f"{where_of(config, config.forcing.projection)}: no year of the run takes it: the history has all years to "
            f"{of_history[-1]}, and the run ends in {config.period.end}; allowed: a later end, or no projection"
        )


def last_year(history: xr.Dataset) -> int:
    """The last hydrological year of a history, of predictors or of climate at points."""
    years = history["hydro_year"].values if "hydro_year" in history.dims else complete_years(history["time"], "history")
    return int(years[-1])


def choose_points(config: Config, glaciers: xr.Dataset, climate: xr.Dataset, where: str = "climate") -> xr.Dataset:
    """Which points glaciers take their climate from, as the run file has it."""
    asked = config.forcing
    return climate_points(glaciers, climate, asked.max_distance * 1e3, asked.interpolation, where=where)


def check_values(climate: xr.Dataset, where: str) -> None:
    """Refuse climate with values that cannot be (InputError): as its store says, or else after reading it once."""
    known, step = climate.attrs.get("value_ranges"), time_step(climate)
    if known is None:
        refuse_implausible(value_extremes(climate).compute(), where, step)
        return
    for name, found in json.loads(known).items():
        refuse_range(name, found, where, step)


def _check_gaps(config: Config, inputs: Inputs, climate: xr.Dataset, where: str) -> None:
    """Refuse missing values at points of observed glaciers: the model is fitted to them, or takes the mean of all."""
    if inputs.observations is None or climate.attrs.get("missing_values") == 0:
        return
    taken = choose_points(config, at_last_elevation(inputs.observations), climate, where)["point"].values
    first = min(config.period.start, config.forcing.reference_period[0])
    days = days_of(climate, range(first, config.period.end + 1)).isel(point=np.unique(taken))
    if not days.sizes["time"]:
        return
    names = ("tas", *amounts(climate))
    gaps = xr.Dataset({n: days[n].isnull().any([d for d in days[n].dims if d != "time"]) for n in names}).compute()
    for name in names:
        dates = days["time"].values[gaps[name].values]
        if dates.size:
            raise InputError(
                f"{where}: variable '{name}' is missing on {str(dates[0])[:10]} ({dates.size} such steps) at a point "
                "that an observed glacier takes; the model is made of all of these; allowed: climate without gaps there"
            )


def at_last_elevation(observed: xr.Dataset) -> xr.Dataset:
    """Observed glaciers with the mean elevation (``glacier``) of their last year, that of the last inventory."""
    return observed.assign(mean_elevation=observed["mean_elevation"].isel(hydro_year=-1, drop=True))


def _check_same_step(history: xr.Dataset, projection: xr.Dataset, where: str) -> None:
    """Refuse a projection of months after a history of days, or the other way round."""
    steps = time_step(history), time_step(projection, where)
    if steps[0] != steps[1]:
        raise InputError(f"{where}: variable 'time' is {steps[1]}; allowed: {steps[0]}, as that of the history")


def same_places(config: Config, history: xr.Dataset, projection: xr.Dataset) -> np.ndarray:
    """(point,) the point of the projection that stands for each point of the history.

    The same one, or, where archives have other points, that of the same massif which is nearest in elevation and
    aspect, or the nearest place. Each keeps its own elevation, from which it is brought to the glaciers.

    Raises
    ------
    InputError
        if there is none within ``max_distance``.
    """
    places = history.drop_vars(["tas", *amounts(history)]).rename(elevation="mean_elevation")
    places = places.rename(point="glacier").drop_vars(["time", "grid_row", "grid_column"], errors="ignore")
    limit, where = config.forcing.max_distance * 1e3, where_of(config, config.forcing.projection)
    return nearest_points(places.reset_coords(), projection, limit, where=where)["point"].values


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
    _check_projection_used(config, of_history)
    return of_history


def _check_observations(observed: xr.Dataset, years: np.ndarray, needed: np.ndarray | None, where: str) -> None:
    """Refuse observations without a value in the climate's years, or without topography in years that need it."""
    refuse_twice(schema.texts(observed["rgi_id"]), where)
    given, span = observed["hydro_year"].values, f"{years[0]} to {years[-1]}"
    absent = np.setdiff1d([] if needed is None else needed, given)
    if absent.size:
        given = f"{given.min()} to {given.max()}" if given.size else "none"
        raise InputError(
            f"{where}: variable 'mean_elevation' has no hydrological year {absent[0]:.0f} (given: {given}); "
            f"allowed: every year of the reference period, {needed[0]} to {needed[-1]}"
        )
    if not np.isfinite(observed["smb"].isel(hydro_year=np.isin(given, years)).values).any():
        raise InputError(
            f"{where}: variable 'smb' has no value from {span}, the years of the climate; allowed: one or more"
        )
