"""Opening the inputs of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import evolution, forcing, packing, schema, store
from alpgm_dask.catalog import open_catalog
from alpgm_dask.config import Config
from alpgm_dask.delta_h import check_functions
from alpgm_dask.features import recipe_features
from alpgm_dask.inputs import needs
from alpgm_dask.inputs.climate import at_last_elevation, check_climate, choose_points, same_places, where_of
from alpgm_dask.inputs.selection import positions
from alpgm_dask.schema import InputError
from alpgm_dask.smb.geodetic import geodetic_factors
from alpgm_dask.smb.model_store import CARD, load_model


@dataclass(frozen=True)
class Inputs:
    """Opened inputs of a run; None where the run does not use one.

    Attributes
    ----------
    glaciers
        packed, only those of the run.
    delta_h, observations, history, projection, geodetic
        datasets of the entries that the run file names.
    model
        a stored mass-balance model; None where one is fitted, or none is used.
    recipe
        the features of the mass-balance model.
    urls
        where each entry is, and the files of a stored model.
    points
        "history", "projection" -> positions in their stores of the points that they have here: those that glaciers
        take, the same number in the same order in both; empty where climate is not at points.
    lapse_rate
        K m-1 of each month, October first, estimated from all points of the history; None if that was not asked for.
    surveys
        packed elevation and elevation change that delta-h functions are fitted to; None if none are.
    """

    glaciers: xr.Dataset
    delta_h: xr.Dataset | None
    observations: xr.Dataset | None
    history: xr.Dataset | None
    projection: xr.Dataset | None
    geodetic: xr.Dataset | None
    model: Any | None
    recipe: str | None
    urls: dict[str, str]
    points: dict[str, np.ndarray] = field(default_factory=dict)
    lapse_rate: tuple[float, ...] | None = None
    surveys: xr.Dataset | None = None


def open_inputs(config: Config) -> Inputs:
    """Open and check everything that a run reads; nothing but small per-glacier variables and models is loaded.

    Raises
    ------
    InputError
        naming entry, variable, value and what is allowed.
    """
    read = _Reader(config)
    asked, entry = config.forcing, config.glaciers.entry
    glaciers = read(entry, lambda ds: needs.GLACIERS_NEED | ({"mean_elevation": ("glacier",)} if asked else {}))
    packing.blocks(glaciers)
    glaciers = packing.select(glaciers, positions(glaciers, config.glaciers, where_of(config, entry)))
    if asked is not None and config.glaciers.clip_to_outline:
        clipped = evolution.clipped_elevation(glaciers).compute()
        glaciers = glaciers.assign(mean_elevation=clipped.fillna(glaciers["mean_elevation"]))
    delta_h = surveys = observations = history = projection = geodetic = model = recipe = None
    if config.delta_h.entry is not None:
        delta_h = read(config.delta_h.entry, needs.delta_h_need)
        check_functions(delta_h, where_of(config, config.delta_h.entry))
    if config.delta_h.elevation_models is not None:
        surveys = read(config.delta_h.elevation_models, lambda ds: needs.SURVEYS_NEED)
        _check_surveys(surveys, glaciers, where_of(config, config.delta_h.elevation_models))
    if config.smb.geodetic is not None:
        geodetic = read(config.smb.geodetic, lambda ds: needs.GEODETIC_NEED)
        geodetic_factors(geodetic, where_of(config, config.smb.geodetic))
    if asked is not None:
        model = stored_model(config, read.urls)
        recipe = config.smb.recipe if model is None else model.recipe
        if model is None or read.has_region(config.smb.observations, recipe):
            observations = read(config.smb.observations, lambda ds: needs.OBSERVATIONS_NEED)
        history = read.climate(asked.history, recipe, members=False)
        if asked.projection is not None:
            projection = read.climate(asked.projection, recipe, members=True)
            projection = _members(projection, asked.members, where_of(config, asked.projection))
    inputs = Inputs(
        glaciers, delta_h, observations, history, projection, geodetic, model, recipe, read.urls, surveys=surveys
    )
    check_climate(config, inputs)
    return _at_points_taken(config, inputs) if asked is not None and asked.kind == "climate" else inputs


def _check_surveys(surveys: xr.Dataset, glaciers: xr.Dataset, where: str) -> None:
    """Refuse surveys that are not packed, or show no glacier of the run (InputError)."""
    packing.blocks(surveys)
    ids = schema.texts(surveys["rgi_id"])
    if not np.isin(schema.texts(glaciers["rgi_id"]), ids).any():
        raise InputError(f"{where}: none of the run's glaciers is among the {ids.size} surveyed, such as {ids[0]!r}")


def _at_points_taken(config: Config, inputs: Inputs) -> Inputs:
    """Climate at the points alone that a glacier of the run, or an observed one, takes."""
    takers = [inputs.glaciers.drop_dims("pixel")]
    if inputs.observations is not None:
        takers.append(at_last_elevation(inputs.observations))
    where = where_of(config, config.forcing.history)
    taken = [choose_points(config, glaciers, inputs.history, where)["point"].values.ravel() for glaciers in takers]
    points = {"history": np.unique(np.concatenate(taken))}
    rate, projection = None, inputs.projection
    if config.downscaling.lapse_rate == "from_data":  # of all points, so that it does not depend on who takes them
        rate = tuple(forcing.estimate_lapse_rate(inputs.history, where=where).compute().values.tolist())
    history = inputs.history.isel(point=points["history"])
    if projection is not None:
        points["projection"] = same_places(config, history, projection)
        projection = projection.isel(point=points["projection"])
    return replace(inputs, history=history, projection=projection, points=points, lapse_rate=rate)


class _Reader:
    """Reads entries of a run's catalog, checks what they have, and remembers where they are."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.catalog = open_catalog(config.catalog, **config.catalog_parameters)
        self.urls: dict[str, str] = {}

    def __call__(self, entry: str, needs_of: Callable[[xr.Dataset], needs.Needs]) -> xr.Dataset:
        where = where_of(self.config, entry)
        self.urls[entry] = self.catalog.url(entry)
        found = self.catalog.read(entry)
        if not isinstance(found, xr.Dataset):
            raise InputError(f"{where}: it is a table ({type(found).__name__}); allowed: a Zarr store")
        schema.check(found, needs_of(found), where)
        return found

    def has_region(self, entry: str, recipe: str) -> bool:
        """Whether a recipe takes the region's climate, which is made at the observed glaciers: refused without them."""
        regional = [feature.name for feature in recipe_features(recipe) if feature.regional]
        if regional and entry not in self.catalog.names:
            raise InputError(
                f"{where_of(self.config, entry)} is missing; feature {regional[0]!r} of recipe {recipe!r} is made of "
                "the climate at its glaciers; allowed: a model without regional features, or observations"
            )
        return bool(regional)

    def climate(self, entry: str, recipe: str, *, members: bool) -> xr.Dataset:
        """Predictors as they are, or climate at points in the one form that it has here."""
        where = where_of(self.config, entry)
        if self.config.forcing.kind == "predictors":
            return self(entry, lambda ds: needs.predictors_need(ds, recipe, where, members=members))
        climate = forcing.as_climate(self(entry, lambda ds: {}), where)
        if "member" in climate.dims and not members:
            raise InputError(f"{where}: it has {climate.sizes['member']} members; allowed: a history has none")
        return climate


def directly(inputs: Inputs, config: Config) -> Inputs:
    """The inputs with climate at points as tasks read it: each its own part, straight from the store.

    A Dask graph would have a task for every chunk of it. Climate that is not in the one form as it lies, or no store of
    ours, stays a graph.
    """
    asked = config.forcing
    if asked is None or asked.kind == "predictors":
        return inputs

    def part(role: str) -> xr.Dataset | None:
        opened, entry = getattr(inputs, role), getattr(asked, role)
        if opened is None or opened["tas"].chunks is None or not store.is_complete(inputs.urls[entry]):
            return opened
        found = store.open_direct(inputs.urls[entry])
        if not forcing.is_canonical(found):
            return opened
        found = found.isel(point=inputs.points[role])
        found = found.sel(member=opened["member"].values) if "member" in opened.dims else found
        return found.assign_coords(opened.coords)

    return replace(inputs, history=part("history"), projection=part("projection"))


def stored_model(config: Config, urls: dict[str, str]) -> Any | None:
    """The stored or published model that a run takes; its files are added to `urls`. None if it takes none.

    Raises
    ------
    InputError
        if the files are missing or damaged, or the model does not say which features it takes.
    """
    if config.smb.model != "stored":
        return None
    from alpgm_dask.smb.published import load_published

    paths = config.smb.path
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise InputError(f"smb.path: {missing[0]}: there is no such file or folder")
    alone = paths[0] if len(paths) == 1 else None
    model = load_model(alone) if alone and (Path(alone) / CARD).is_file() else load_published(alone or paths)
    if model.recipe is None:
        raise InputError(
            f"smb.path: {paths[0]}: the model names no recipe; allowed: one that says what its features are"
        )
    names = ["smb.path"] if len(paths) == 1 else [f"smb.path[{k}]" for k in range(len(paths))]
    urls.update(zip(names, paths, strict=True))
    return model


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
