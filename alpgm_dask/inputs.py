"""What a run reads: the entries of its catalog, opened lazily, and refused before work starts if they cannot serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask import packing, schema
from alpgm_dask.catalog import open_catalog
from alpgm_dask.config import Config, Glaciers
from alpgm_dask.delta_h import check_functions
from alpgm_dask.features import needs_monthly
from alpgm_dask.forcing import elevation_sensitivity, match_predictors, nearest_points
from alpgm_dask.forcing.calendar import check_days, complete_years, select_years
from alpgm_dask.schema import InputError

#: Name of each needed variable and the dimensions that it must have.
Needs = dict[str, tuple[str, ...]]

_GLACIER = ("glacier",)
_GLACIERS_NEED: Needs = {
    **dict.fromkeys(
        ("rgi_id", "lon", "lat", "aspect", "area", "epsg", "pixel_area", "row_start", "row_size"), _GLACIER
    ),
    **dict.fromkeys(packing.PIXEL_VARIABLES, ("pixel",)),
}
_PREDICTORS_NEED: Needs = {
    **dict.fromkeys(("rgi_id", "lon", "lat", "massif"), _GLACIER),
    **dict.fromkeys(("cpdd", "winter_snowfall", "summer_snowfall"), ("glacier", "hydro_year")),
    "hydro_year": ("hydro_year",),
}
_DAILY_NEED: Needs = {
    **dict.fromkeys(("elevation", "lon", "lat"), ("point",)),
    **dict.fromkeys(("tas", "snowfall", "rainfall"), ("time", "point")),
}
_OBSERVATIONS_NEED: Needs = {
    **dict.fromkeys(("rgi_id", "lon", "lat", "aspect", "max_elevation", "tongue_slope"), _GLACIER),
    **dict.fromkeys(("smb", "mean_elevation", "area"), ("glacier", "hydro_year")),
    "hydro_year": ("hydro_year",),
}
_DELTA_H_NEED: Needs = {
    "rgi_id": _GLACIER,
    **dict.fromkeys(("normalized_elevation", "delta_h"), ("glacier", "node")),
}
#: Variables of a projection that have its members.
_WITH_MEMBERS = (
    *("tas", "snowfall", "rainfall"),
    *("cpdd", "winter_snowfall", "summer_snowfall", "tas_monthly", "snowfall_monthly"),
)


@dataclass(frozen=True)
class Inputs:
    """Opened inputs of a run; None where the run does not use one.

    Attributes
    ----------
    glaciers
        packed, only those of the run.
    delta_h, observations, history, projection
        datasets of the entries that the run file names.
    urls
        where each entry is.
    """

    glaciers: xr.Dataset
    delta_h: xr.Dataset | None
    observations: xr.Dataset | None
    history: xr.Dataset | None
    projection: xr.Dataset | None
    urls: dict[str, str]


def open_inputs(config: Config) -> Inputs:
    """Open and check everything that a run reads; nothing but small per-glacier variables is loaded.

    Raises
    ------
    InputError
        naming entry, variable, value and what is allowed.
    """
    catalog = open_catalog(config.catalog, **config.catalog_parameters)
    urls: dict[str, str] = {}

    def read(entry: str, needs: Callable[[xr.Dataset], Needs]) -> xr.Dataset:
        urls[entry] = catalog.url(entry)
        found = catalog.read(entry)
        if not isinstance(found, xr.Dataset):
            raise InputError(f"{_where(config, entry)}: it is a table ({type(found).__name__}); allowed: a Zarr store")
        schema.check(found, needs(found), _where(config, entry))
        return found

    asked, where = config.forcing, _where(config, config.glaciers.entry)
    glaciers = read(config.glaciers.entry, lambda ds: _GLACIERS_NEED | ({"mean_elevation": _GLACIER} if asked else {}))
    packing.blocks(glaciers)
    glaciers = packing.select(glaciers, positions(glaciers, config.glaciers, where))
    delta_h = observations = history = projection = None
    if config.delta_h.entry is not None:
        delta_h = read(config.delta_h.entry, lambda ds: _DELTA_H_NEED)
        check_functions(delta_h, _where(config, config.delta_h.entry))
    if asked is not None:
        observations = read(config.smb.observations, lambda ds: _OBSERVATIONS_NEED)
        history = read(asked.history, lambda ds: _climate_needs(ds, config, members=False))
        if asked.projection is not None:
            projection = read(asked.projection, lambda ds: _climate_needs(ds, config, members=True))
            projection = _members(projection, asked.members, _where(config, asked.projection))
    inputs = Inputs(glaciers, delta_h, observations, history, projection, urls)
    check_climate(config, inputs)
    return inputs


def _climate_needs(ds: xr.Dataset, config: Config, *, members: bool) -> Needs:
    """What climate must have, by its kind and the features of the mass-balance model."""
    if config.forcing.kind == "daily":
        needs = _DAILY_NEED
    else:
        yearly = "reference_elevation" in ds.variables and "hydro_year" in ds["reference_elevation"].dims
        needs = _PREDICTORS_NEED | {"reference_elevation": ("glacier", "hydro_year") if yearly else _GLACIER}
        if needs_monthly(config.smb.recipe):
            needs |= dict.fromkeys(("tas_monthly", "snowfall_monthly"), ("glacier", "hydro_year", "month"))
    if members and "member" in ds.dims:
        needs = {k: ("member", *dims) if k in _WITH_MEMBERS else dims for k, dims in needs.items()}
    return needs


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
    where = _where(config, asked.history)
    years = _check_daily(config, inputs) if asked.kind == "daily" else _check_predictors(config, inputs)
    select_years(years, range(asked.reference_period[0], asked.reference_period[1] + 1), f"{where}: reference period")
    _check_observations(inputs.observations, years, asked.kind == "daily", _where(config, config.smb.observations))


def _check_daily(config: Config, inputs: Inputs) -> np.ndarray:
    """Complete years of the history, after checking daily climate and who takes it from which point."""
    asked, history, projection = config.forcing, inputs.history, inputs.projection
    where, limit = _where(config, asked.history), asked.max_distance * 1e3
    _check_dates(history, where)
    nearest_points(inputs.glaciers, history, limit, where=where)
    observed = inputs.observations
    nearest_points(
        observed.assign(mean_elevation=observed["mean_elevation"].isel(hydro_year=-1)), history, limit, where=where
    )
    of_history = complete_years(history["time"], where)
    years = of_history
    if projection is not None:
        later = _where(config, asked.projection)
        _check_dates(projection, later)
        _check_same_points(history, projection, later)
        after = complete_years(projection["time"], later)
        years, where = np.append(years, after[after > years[-1]]), f"{where} and then {asked.projection!r}"
    select_years(years, config.years, where)
    return of_history


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
    where, limit = _where(config, asked.history), asked.max_distance * 1e3
    elevation_sensitivity(history, where=where)
    match_predictors(inputs.glaciers, history, limit, where=where)
    match_predictors(inputs.observations, history, limit, where=where)
    years = of_history = history["hydro_year"].values
    if inputs.projection is not None:
        later = _where(config, asked.projection)
        elevation_sensitivity(inputs.projection, where=later)
        match_predictors(inputs.glaciers, inputs.projection, limit, where=later)
        after = inputs.projection["hydro_year"].values
        years, where = np.append(years, after[after > years[-1]]), f"{where} and then {asked.projection!r}"
    select_years(years, config.years, where)
    return of_history


def _check_observations(observed: xr.Dataset, years: np.ndarray, every_year: bool, where: str) -> None:
    """Refuse observations without a value in the climate's years, and, of daily climate, years without topography."""
    _refuse_twice(schema.texts(observed["rgi_id"]), where)
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


def _where(config: Config, entry: str | None) -> str:
    return f"{config.catalog}: entry {entry!r}"


def _members(projection: xr.Dataset, wanted: tuple[str, ...], where: str) -> xr.Dataset:
    if not wanted:
        return projection
    if "member" not in projection.dims:
        raise InputError(f"{where}: it has no members; forcing.members is {list(wanted)}, allowed: empty")
    given = [str(m) for m in projection["member"].values]
    unknown = [m for m in wanted if m not in given]
    if unknown:
        raise InputError(f"{where}: unknown member {unknown[0]!r}; allowed: {', '.join(given)}")
    return projection.isel(member=[given.index(m) for m in wanted])


def positions(glaciers: xr.Dataset, wanted: Glaciers, where: str) -> np.ndarray:
    """Positions of the glaciers that meet every condition of a run file.

    Raises
    ------
    InputError
        for identifiers that are unknown or stand twice, names that no glacier has, and if none is left.
    """
    ids = schema.texts(glaciers["rgi_id"])
    _refuse_twice(ids, where)
    keep = np.ones(ids.size, dtype=bool)
    if wanted.ids:
        keep &= np.isin(ids, wanted.ids)
        unknown = set(wanted.ids) - set(ids.tolist())
        if unknown:
            raise InputError(f"{where}: {packing.unknown_glacier(ids, min(unknown))}")
    for field, name in (("massifs", "massif"), ("subregions", "subregion")):
        keep &= _named(glaciers, name, getattr(wanted, field), f"{where}: glaciers.{field}")
    if wanted.bounding_box is not None:
        west, south, east, north = wanted.bounding_box
        lon, lat = glaciers["lon"].values, glaciers["lat"].values
        keep &= (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
    if not keep.any():
        raise InputError(f"{where}: no glacier meets the conditions {wanted.model_dump(exclude_defaults=True)}")
    return np.flatnonzero(keep)


def _refuse_twice(ids: np.ndarray, where: str) -> None:
    unique, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{where}: rgi_id {str(unique[count > 1][0])!r} stands {count.max()} times; allowed: once")


def _named(glaciers: xr.Dataset, name: str, wanted: tuple[str, ...], where: str) -> np.ndarray:
    """(glacier,) whether the glacier carries one of the wanted names; all do if none is wanted."""
    if not wanted:
        return np.ones(glaciers.sizes["glacier"], dtype=bool)
    if name not in glaciers:
        raise InputError(f"{where}: the glaciers have no variable {name!r}")
    values = schema.texts(glaciers[name])
    if wanted == ("any",):
        return values != ""
    known = sorted(set(values) - {""})
    unknown = [w for w in wanted if w not in known]
    if unknown:
        raise InputError(f"{where}: {unknown[0]!r} is no {name}; allowed: any, {', '.join(known)}")
    return np.isin(values, wanted)
