"""What a run reads: the entries of its catalog, opened lazily, and refused before work starts if they cannot serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import packing, schema
from alpgm_dask.catalog import Catalog, open_catalog
from alpgm_dask.config import Config, Glaciers
from alpgm_dask.schema import InputError

_GLACIER = ("glacier",)
_GLACIERS_NEED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("rgi_id", "lon", "lat", "aspect", "area", "epsg", "pixel_area", "row_start", "row_size"), _GLACIER
    ),
    **dict.fromkeys(packing.PIXEL_VARIABLES, ("pixel",)),
}
_PREDICTORS_NEED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("rgi_id", "lon", "lat", "massif"), _GLACIER),
    **dict.fromkeys(("cpdd", "winter_snowfall", "summer_snowfall"), ("glacier", "hydro_year")),
}
_DAILY_NEED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("elevation", "lon", "lat"), ("point",)),
    **dict.fromkeys(("tas", "snowfall", "rainfall"), ("time", "point")),
}
_OBSERVATIONS_NEED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("rgi_id", "lon", "lat", "aspect", "max_elevation", "tongue_slope"), _GLACIER),
    **dict.fromkeys(("smb", "mean_elevation", "area"), ("glacier", "hydro_year")),
}


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

    def read(entry: str | None) -> Any:
        if entry is None:
            return None
        urls[entry] = catalog.url(entry)
        return catalog.read(entry)

    glaciers = read(config.glaciers.entry)
    schema.check(glaciers, _GLACIERS_NEED, _where(catalog, config.glaciers.entry))
    glaciers = packing.select(glaciers, positions(glaciers, config.glaciers, _where(catalog, config.glaciers.entry)))
    observations = history = projection = None
    if config.forcing is not None:
        need = _DAILY_NEED if config.forcing.kind == "daily" else _PREDICTORS_NEED
        observations = read(config.smb.observations)
        schema.check(observations, _OBSERVATIONS_NEED, _where(catalog, config.smb.observations))
        history = read(config.forcing.history)
        schema.check(history, need, _where(catalog, config.forcing.history))
        projection = read(config.forcing.projection)
        if projection is not None:
            where = _where(catalog, config.forcing.projection)
            extra = ("member",) if "member" in projection.dims else ()
            schema.check(projection, {k: (*extra, *d) if len(d) == 2 else d for k, d in need.items()}, where)
            projection = _members(projection, config.forcing.members, where)
    return Inputs(glaciers, read(config.delta_h.entry), observations, history, projection, urls)


def _where(catalog: Catalog, entry: str | None) -> str:
    return f"{catalog.path}: entry {entry!r}"


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
    unique, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{where}: rgi_id {unique[count > 1][0]!r} stands {count.max()} times; allowed: once")
    keep = np.ones(ids.size, dtype=bool)
    if wanted.ids:
        keep &= np.isin(ids, wanted.ids)
        for rgi_id in wanted.ids:
            packing.position(glaciers, rgi_id)
    for field, name in (("massifs", "massif"), ("subregions", "subregion")):
        keep &= _named(glaciers, name, getattr(wanted, field), f"{where}: glaciers.{field}")
    if wanted.bounding_box is not None:
        west, south, east, north = wanted.bounding_box
        lon, lat = glaciers["lon"].values, glaciers["lat"].values
        keep &= (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
    if not keep.any():
        raise InputError(f"{where}: no glacier meets the conditions {wanted.model_dump(exclude_defaults=True)}")
    return np.flatnonzero(keep)


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
