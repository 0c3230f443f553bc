"""Glaciers year by year: topography -> climate at that topography -> mass balance -> thickness -> topography.

The year loop runs inside one task per block of glaciers, climate member and variant (:mod:`.block`); :mod:`.graph`
builds the lazy graph over them, :mod:`.settings` says how and which; :mod:`.balance` is the mass balance of a block in
a year, :mod:`.sources` where that of the region comes from; :mod:`.single` evolves one glacier given as arrays.
"""

from alpgm_dask.evolution.balance import Model
from alpgm_dask.evolution.block import evolve_block
from alpgm_dask.evolution.graph import assemble, clipped_elevation, evolve, tasks
from alpgm_dask.evolution.settings import Settings
from alpgm_dask.evolution.single import evolve_geometry
from alpgm_dask.evolution.sources import FromClimate, FromPredictors, Prescribed

__all__ = [
    "FromClimate",
    "FromPredictors",
    "Model",
    "Prescribed",
    "Settings",
    "assemble",
    "clipped_elevation",
    "evolve",
    "evolve_block",
    "evolve_geometry",
    "tasks",
]
