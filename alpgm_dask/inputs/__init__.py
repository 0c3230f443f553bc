"""What a run reads: the entries of its catalog, opened lazily, and refused before work starts if they cannot serve."""

from alpgm_dask.inputs.climate import check_climate, last_year
from alpgm_dask.inputs.opened import Inputs, directly, open_inputs
from alpgm_dask.inputs.selection import positions

__all__ = ["Inputs", "check_climate", "directly", "last_year", "open_inputs", "positions"]
