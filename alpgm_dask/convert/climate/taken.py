"""A variable of one file, and where in it the cells are that an archive takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from alpgm_dask.convert.climate.cells import take_cells
from alpgm_dask.convert.climate.sources import Source
from alpgm_dask.convert.climate.stamps import Stamps


@dataclass(frozen=True)
class Taken:
    """What an archive takes of a file; nothing is read.

    Attributes
    ----------
    source
        the file.
    field
        (``time``, ...) the variable as it is in the file.
    stamps
        its dates.
    dims, positions
        dimensions of the grid in the file, and where along each of them the cells are.
    """

    source: Source
    field: xr.DataArray
    stamps: Stamps
    dims: tuple[str, ...]
    positions: tuple[np.ndarray, ...]

    @property
    def step_bytes(self) -> int:
        """Bytes of the cells that are taken, at one step."""
        return self.field.dtype.itemsize * int(np.prod([len(at) for at in self.positions]))

    def cut(self, field: xr.DataArray) -> xr.DataArray:
        """The cells that are taken of a field of the file; lazy."""
        return take_cells(field, self.dims, self.positions)

    def values_at(self, steps: np.ndarray | int, scheduler: str = "synchronous") -> np.ndarray:
        """The cells' values at some steps of the file, or at one; read now."""
        return self.cut(self.field.isel(time=steps)).compute(scheduler=scheduler).values
