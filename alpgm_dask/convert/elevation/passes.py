"""Glaciers in two surveys: scanned (first pass), and read block by block (second pass).

Everything here is a plain function of picklable arguments, as in :mod:`alpgm_dask.convert.readers`. Memory is bounded
by the largest glacier (scan) or by a block (:class:`SurveyReader`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import rasterio
import xarray as xr

from alpgm_dask import packing
from alpgm_dask.convert.elevation.opened import open_raster
from alpgm_dask.convert.elevation.surveys import GlacierSurveys, LeftOutError, Method, Open, read_surveys
from alpgm_dask.convert.readers import Record
from alpgm_dask.schema import InputError


def _scan_one(job: GlacierSurveys, method: Method, open_: Open) -> Record:
    try:
        pixels, faults = read_surveys(job, method, open_)
    except LeftOutError as error:
        return Record(job.rgi_id, skipped=str(error))
    except (InputError, rasterio.RasterioIOError) as error:
        return Record(job.rgi_id, refused=str(error))
    attributes = {str(name): pixels[name].item() for name in pixels.variables if pixels[name].ndim == 0}
    change = pixels["elevation_change"].values
    attributes |= {
        "row_size": change.size,
        "valid": int(np.isfinite(change).sum()),
        "change": float(np.nansum(change, dtype="float64")) * attributes["pixel_area"],
    }
    return Record(job.rgi_id, attributes, dict(faults))


def scan(jobs: Sequence[GlacierSurveys], method: Method) -> list[Record]:
    """First pass over some glaciers: attributes and counts, no pixels kept. One Dask task.

    A glacier that must be refused gives a record that says why; the caller decides after all are seen.
    """
    opened = lru_cache(maxsize=2)(open_raster)  # a mosaic is opened once for all of them
    return [_scan_one(job, method, opened) for job in jobs]


@dataclass(frozen=True)
class SurveyReader:
    """Second pass: ``reader(b)`` reads the pixels of block `b`. Picklable: it holds paths and outlines, no pixels.

    Attributes
    ----------
    jobs
        rasters of every glacier, unpacked order (the order that `plan` was made for).
    plan
        which glacier goes where.
    method
        as in the first pass.
    """

    jobs: tuple[GlacierSurveys, ...]
    plan: packing.BlockPlan
    method: Method

    def __call__(self, block: int) -> xr.Dataset:
        opened = lru_cache(maxsize=2)(open_raster)
        pixels = [read_surveys(self.jobs[i], self.method, opened)[0] for i in self.plan.members(block)]
        return packing.pack_block(pixels, self.plan, block, packing.ELEVATION_VARIABLES)

    def part(self, block: int) -> SurveyReader:
        """A reader that carries only the glaciers of one block, so that a task is sent no more than it needs."""
        members = set(self.plan.members(block).tolist())
        blank = GlacierSurveys("", "", "")
        kept = tuple(job if i in members else blank for i, job in enumerate(self.jobs))
        return SurveyReader(kept, self.plan, self.method)
