"""Fingerprints of the hydrological years of a gridded archive, which stay as they are when its files become longer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from alpgm_dask.convert.climate.archive import joint_fingerprint
from alpgm_dask.convert.climate.cells import BLOCK_BYTES
from alpgm_dask.convert.climate.taken import Taken
from alpgm_dask.forcing import hydro_year

#: Bytes of a variable in a year up to which all of its steps are looked at, and how many of a larger one.
YEAR_BELOW, STEPS = 16 << 20, 24

#: Attributes of a variable that decide how it is read; others, such as a range of values, change with its length.
_DECISIVE = ("units", "standard_name", "cell_methods", "GRIB_stepType", "GRIB_cfName")


def yearly_fingerprints(
    parts: Mapping[str, Sequence[Taken]], kept: np.ndarray, years: Sequence[int], same: str
) -> tuple[tuple[str, str], ...]:
    """(year, fingerprint) of every hydrological year, of what its values are made of.

    That is, of each file, store or dataset that has steps of the year: the variable's metadata, the year's dates, and
    values at the kept cells, read now, a few steps at a time. Of all steps of a year that takes no more than
    :data:`YEAR_BELOW` in the file; of :data:`STEPS`, the first and the last among them, of a larger one; of the first
    step only, if it is remote or a graph: of these, this reads and computes one step per year and variable.

    Not of the bytes or the size of the files: these change when a file becomes longer, the values of its years do not.

    Parameters
    ----------
    parts
        what tas and precipitation are taken from.
    kept
        (``y``, ``x``) or (``point``,) bool, cells of the archive.
    years
        the archive's.
    same
        fingerprint of what counts for every year.
    """
    marks: dict[int, list[str]] = {year: [same] for year in years}
    for role, several in sorted(parts.items()):
        for part in sorted(several, key=lambda part: part.stamps.index[0]):
            for year, mark in _of_values(part, kept, years).items():
                marks[year].append(f"{role} {mark}")
    return tuple((str(year), joint_fingerprint(marks[year])) for year in years)


def _of_values(part: Taken, kept: np.ndarray, years: Sequence[int]) -> dict[int, str]:
    """Of each year that the file has steps of: the variable's metadata, the year's dates, a sample of its values."""
    label = hydro_year(xr.DataArray(part.stamps.index, dims="time")).values
    digests, steps = {}, []
    for year in years:
        first, stop = (int(i) for i in np.searchsorted(label, [year, year + 1]))
        if first < stop:
            digests[year] = hashlib.blake2b(_described(part, first, stop).encode(), digest_size=16)
            steps += _sampled(part, kept, first, stop)
    for batch in _batches(part, steps):
        values = part.values_at(np.array(batch), scheduler="threads" if part.field.chunks else "synchronous")
        for at, step in zip(batch, values.reshape(len(batch), -1)[:, kept.ravel()], strict=True):
            digests[int(label[at])].update(np.ascontiguousarray(step, dtype="float64").tobytes())
    return {year: digest.hexdigest() for year, digest in digests.items()}


def _described(part: Taken, first: int, stop: int) -> str:
    field, index, bounds = part.field, part.stamps.index, part.stamps.bounds
    told = [str(field.attrs.get(name, "")) for name in _DECISIVE]
    begins = str(bounds[0][first]) if bounds is not None else ""
    return repr([str(field.name), *told, str(index[first]), str(index[stop - 1]), stop - first, begins])


def _sampled(part: Taken, kept: np.ndarray, first: int, stop: int) -> list[int]:
    """Positions of the steps of a year that are looked at."""
    if part.field.chunks or "://" in part.source.path:
        return [first]
    if part.field.nbytes // part.field.sizes["time"] * (stop - first) <= YEAR_BELOW:
        return list(range(first, stop))
    return np.unique(np.linspace(first, stop - 1, STEPS).astype("int64")).tolist()


def _batches(part: Taken, steps: list[int]) -> Iterator[list[int]]:
    """As many steps as a block may take; of a graph, whose blocks may be large, one."""
    n = 1 if part.field.chunks else max(1, BLOCK_BYTES // part.step_bytes)
    for at in range(0, len(steps), n):
        yield steps[at : at + n]
