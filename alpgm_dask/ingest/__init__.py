"""From raw archives, or out of nothing (the demo region), to stores and the catalog that lists them."""

from alpgm_dask.ingest.climate import save_climate
from alpgm_dask.ingest.delta_h import make_delta_h
from alpgm_dask.ingest.elevation import convert_elevation
from alpgm_dask.ingest.predictors import glacier_places, make_predictors
from alpgm_dask.ingest.stores import (
    build_demo,
    convert_alpgm,
    convert_predictors,
    convert_rasters,
    demo_entries,
    save_conversion,
)

__all__ = [
    "build_demo",
    "convert_alpgm",
    "convert_elevation",
    "convert_predictors",
    "convert_rasters",
    "demo_entries",
    "glacier_places",
    "make_delta_h",
    "make_predictors",
    "save_climate",
    "save_conversion",
]
