"""A synthetic region with a known mass-balance law, for first steps, notebooks and tests.

"Demo Alps" lies where the western Alps do (UTM 32N, around 45 N 7 E) and is made up: four massifs carved by rivers
(:mod:`.relief`), glaciers that flow from them (:mod:`.ice`, :mod:`.inventory`), daily weather of the past and of four
projections (:mod:`.climate`), measured mass balance (:mod:`.observations`) and two elevation models
(:mod:`.elevations`). All of it follows from one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from alpgm_dask.demo.observations import mass_balance, smb_law
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    import geopandas

__all__ = ["DEMO_ENTRIES", "SEED", "DemoRegion", "region", "smb_law"]

#: the seed of the region that the documentation shows.
SEED = 3

#: catalog entry, which is also the attribute of :class:`DemoRegion` -> kind of store, what it is.
DEMO_ENTRIES: dict[str, tuple[str, str]] = {
    "glaciers": ("zarr", "Synthetic glaciers of 2015: ice thickness and surface elevation at 25 m, packed"),
    "outlines": ("geoparquet", "Outlines of the synthetic glaciers, 2015"),
    "climate": ("zarr", "Synthetic daily climate at 20 points (massif x elevation), hydrological years 1959-2015"),
    "projections": ("zarr", "Synthetic daily climate of four members (two models, two scenarios), 2016-2100"),
    "smb_observations": ("zarr", "Annual mass balance of 25 glaciers from the demo's known law plus noise, 1959-2015"),
    "elevation_models": ("zarr", "Elevation change of every ice pixel from 2000 to 2015, with noise, clouds and voids"),
}


@dataclass(frozen=True)
class DemoRegion:
    """The tables of a synthetic region, in memory, ready to be written.

    Attributes
    ----------
    glaciers
        packed dataset (``glacier``, ``pixel``).
    outlines
        one row per glacier, EPSG:4326.
    climate, projections
        daily tas (K), snowfall, rainfall (kg m-2): (``time``, ``point``) and (``member``, ``time``, ``point``).
    smb_observations
        (``glacier``, ``hydro_year``) smb (m year-1) and the topography it belongs to.
    elevation_models
        elevation change between two surveys, packed as `glaciers` is.
    """

    glaciers: xr.Dataset
    outlines: geopandas.GeoDataFrame
    climate: xr.Dataset
    projections: xr.Dataset
    smb_observations: xr.Dataset
    elevation_models: xr.Dataset


def region(seed: int = SEED, n_glaciers: int = 120) -> DemoRegion:
    """Make the demo region: a few seconds, nothing read, nothing written.

    Parameters
    ----------
    seed
        the same seed gives the same bytes.
    n_glaciers
        at most so many glaciers, of all sizes; the relief holds some 250.

    Raises
    ------
    InputError
        if `n_glaciers` is less than 1.
    """
    if n_glaciers < 1:
        raise InputError(f"n_glaciers is {n_glaciers}; allowed: 1 and more")
    from alpgm_dask.demo import climate, elevations, ice, inventory, relief

    def stream(part: int) -> np.random.Generator:
        return np.random.default_rng([seed, part])

    land = relief.build(stream(1))
    glaciers, outlines = inventory.build(ice.build(land, n_glaciers, stream(2)), land.massif)
    place = climate.points(climate.ELEVATIONS, [m[0] for m in relief.MASSIFS], *inventory.massif_centres())
    history = climate.history(place, seed)
    return DemoRegion(
        glaciers=glaciers,
        outlines=outlines,
        climate=history,
        projections=climate.projections(place, seed),
        smb_observations=mass_balance(glaciers, history, stream(3)),
        elevation_models=elevations.build(glaciers, stream(4)),
    )
