"""Regional glacier evolution as distributed dataflow on chunked arrays.

The science is ALPGM's (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020). The house, in the order the data flows:

- ``convert``, ``demo``: raw archives, or nothing at all, to Zarr stores that a catalog lists
- ``catalog``: names to lazy Xarray; ``inputs``: what a run reads, checked before work starts
- ``packing``, ``raster``: many glaciers in one array of blocks; one glacier as an ordinary raster
- ``forcing``: the one form of climate; climate at each glacier, as yearly and monthly predictors
- ``features``, ``smb``: the features of the mass-balance models, and the models; ``validate``, ``explain``: how good
  they are, and what they go by
- ``delta_h``: how the thinning of a glacier is spread over its elevations, fitted to two surveys, or a stated stand-in
- ``evolution``: how glaciers thin and retreat, block by block, member by member
- ``results``, ``plots``: regional totals, tables, pictures
- ``store``, ``cluster``, ``stages``, ``config``: Zarr, Dask, kept work, run files
- ``pipeline``, ``ingest``, ``cli``: what ``alpgm`` does; ``learning``: training, fit and climate of a run; ``surveys``:
  its delta-h functions; ``outputs``, ``report``: results on disk, and as text
- ``kernels``, ``schema``, ``constants``, ``source_code``: arrays in and out; words; numbers; which code this is
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("alpgm_dask")
except PackageNotFoundError:
    __version__ = "0+unknown"

#: Public names and the modules they live in, loaded when first used: importing the package stays light.
_PUBLIC = {
    "open_catalog": "catalog",
    "open_store": "store",
    "load_config": "config",
    "connect": "cluster",
    "glacier": "packing",
    "select": "packing",
    "to_raster": "raster",
    "mosaic": "raster",
    "as_climate": "forcing",
    "nearest_points": "forcing",
    "annual_predictors": "forcing",
    "Downscaling": "forcing",
    "feature_table": "features",
    "training_table": "features",
    "cross_validate": "smb",
    "load_model": "smb",
    "load_published": "smb",
    "functions_for": "delta_h",
    "fit_region": "delta_h",
    "evolve": "evolution",
    "evolve_geometry": "evolution",
    "regional_totals": "results",
    "summary": "results",
    "run": "pipeline",
    "InputError": "schema",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"alpgm_dask.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'alpgm_dask' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
