"""Climate cut into whole years, so many at once that a task's memory is bounded; reduced now, or as a Dask graph."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from uuid import uuid4

import numpy as np
import xarray as xr

from alpgm_dask.forcing.reduction import N_COLUMNS, Reduction

#: What one task may hold of climate, and how many values it makes of it: some 100 MB in all, some tenths of a second.
MAX_BYTES = 64_000_000
MAX_STEPS = 8_000_000


@dataclass(frozen=True)
class Pieces:
    """Whole hydrological years of climate, and the glaciers that they are brought to.

    Attributes
    ----------
    arrays
        tas, then snowfall and rainfall, or precipitation alone: ([member,] time, point).
    code, days
        (time,) months since October of hydrological year 0; length of each step.
    point, weight
        (glacier[, corner]).
    drop
        (glacier[, hydro_year]) m: elevation of the climate - elevation of the glacier.
    """

    arrays: tuple[xr.Variable, ...]
    code: np.ndarray
    days: np.ndarray
    point: np.ndarray
    weight: np.ndarray | None
    drop: xr.Variable

    @property
    def is_lazy(self) -> bool:
        return not all(array._in_memory for array in (*self.arrays, self.drop))

    @property
    def has_member(self) -> bool:
        return "member" in self.arrays[0].dims

    @property
    def dims(self) -> tuple[str, ...]:
        return (*(["member"] if self.has_member else []), "glacier", "hydro_year", "column")

    def first_steps(self) -> np.ndarray:
        """(year + 1,) position of the first step of each year, and one behind the last."""
        return np.searchsorted(self.code, np.arange(self.code[0], self.code[-1] + 2, 12))

    def years_at_once(self, n_points: int) -> int:
        """How many years of `n_points` points a task may take."""
        steps = self.code.size / (self.first_steps().size - 1)
        held = steps * n_points * sum(array.dtype.itemsize for array in self.arrays)
        made = steps * self.point.shape[0]
        return max(1, int(min(MAX_BYTES // max(held, 1), MAX_STEPS // max(made, 1))))

    def cuts(self, n_points: int, edges: np.ndarray) -> np.ndarray:
        """Years (positions) at which tasks begin, and one behind the last: as few as their memory allows.

        Where chunks begin (`edges`, positions of steps) if that is the beginning of a year; between those only where a
        piece would be too long.
        """
        first, limit = self.first_steps(), self.years_at_once(n_points)
        out, last = [0], 0
        for edge in [*np.flatnonzero(np.isin(first[:-1], edges)), first.size - 1]:
            if edge - out[-1] > limit and last > out[-1]:
                out.append(last)
            last = int(edge)
        parts = [np.arange(a, b, limit) for a, b in pairwise([*out, last])]
        return np.append(np.concatenate(parts).astype(int), last)


def now(pieces: Pieces, how: Reduction) -> xr.Variable:
    """Predictors (..., glacier, hydro_year, column) of climate in memory, some years at a time."""
    first, arrays = pieces.first_steps(), [x.values if x.ndim == 3 else x.values[None] for x in pieces.arrays]
    cuts = pieces.cuts(np.unique(pieces.point).size, np.array([0]))
    drop = pieces.drop.values.reshape(pieces.point.shape[0], -1)
    out = []
    for a, b in pairwise(cuts):
        part = slice(first[a], first[b])
        of_years = drop if drop.shape[1] == 1 else drop[:, a:b]
        some = _ordered([x[:, part] for x in arrays])
        out.append(how(*some, pieces.code[part], pieces.days[part], pieces.point, pieces.weight, of_years))
    values = np.concatenate(out, axis=2)
    return xr.Variable(pieces.dims, values if pieces.has_member else values[0])


def lazily(pieces: Pieces, how: Reduction) -> xr.Variable:
    """The same as a Dask array: one task for each piece of years and each member."""
    import dask.array as da

    arrays, place = _used(pieces)
    cuts = pieces.cuts(arrays[0].sizes["point"], _edges(pieces.arrays[0]))
    steps, years = (tuple(int(n) for n in np.diff(x)) for x in (pieces.first_steps()[cuts], cuts))
    tas, rain, snow = _ordered([_dask_array(x, steps) for x in arrays])
    drop = pieces.drop.data if pieces.drop.ndim == 2 else pieces.drop.data[:, None]
    drop = da.asarray(drop).rechunk({0: -1, 1: years if drop.shape[1] > 1 else 1})
    corners, weight = "gc"[: place.ndim], pieces.weight
    made = da.blockwise(
        how,
        "mgtq",
        *(tas, "mtp", rain, "mtp", snow, None if snow is None else "mtp"),
        *(da.from_array(pieces.code, chunks=(steps,)), "t", da.from_array(pieces.days, chunks=(steps,)), "t"),
        *(da.from_array(place, chunks=-1), corners),
        *(weight if weight is None else da.from_array(weight, chunks=-1), None if weight is None else corners),
        *(drop, "gt" if drop.shape[1] > 1 else "gz"),
        new_axes={"q": N_COLUMNS},
        adjust_chunks={"t": years},
        concatenate=True,
        align_arrays=False,
        token="predictors",
        dtype="float64",
        meta=np.empty((0, 0, 0, 0)),
    )
    return xr.Variable(pieces.dims, made if pieces.has_member else made[0])


def _ordered(arrays: list) -> tuple:
    """Temperature, rain, and snow if it is given: precipitation without phases counts as rain."""
    return (arrays[0], arrays[-1], arrays[1] if len(arrays) == 3 else None)


def _edges(array: xr.Variable) -> np.ndarray:
    """Positions along time at which chunks begin, of Dask or of the store."""
    if array.chunks is not None:
        return np.concatenate([[0], np.cumsum(array.chunksizes["time"])])
    stored = array.encoding.get("preferred_chunks", {}).get("time")
    return np.arange(0, array.sizes["time"], stored) if stored else np.array([0])


def _used(pieces: Pieces) -> tuple[list[xr.Variable], np.ndarray]:
    """Arrays ([member,] time, point) that hold the points that are used, and where in them each glacier's are.

    Of Dask arrays whole chunks are taken: picking points out of them would be a task for each chunk.
    """
    used, column = np.unique(pieces.point, return_inverse=True)
    chunked = next((x for x in pieces.arrays if x.chunks is not None), None)
    if chunked is None:
        return [x.isel(point=used) for x in pieces.arrays], column.reshape(pieces.point.shape)
    of_points = chunked.chunksizes["point"]
    edges = np.concatenate([[0], np.cumsum(of_points)])
    touched = np.unique(np.searchsorted(edges, used, side="right") - 1).tolist()
    held = np.concatenate([np.arange(edges[chunk], edges[chunk + 1]) for chunk in touched])
    arrays = [x.chunk(point=of_points) for x in pieces.arrays]
    some = [xr.Variable(x.dims, x.data.blocks[..., touched]) for x in arrays]
    return some, np.searchsorted(held, pieces.point)


def _dask_array(array: xr.Variable, steps: tuple[int, ...]):
    """(member, time, point) in chunks of one member and of so many steps."""
    chunks = {"time": steps} | ({"member": 1} if "member" in array.dims else {})
    data = array.chunk(chunks).data if array.chunks is not None else _opened(array, chunks)
    return data if data.ndim == 3 else data[None]


def lazy_array(array: xr.Variable):
    """A Dask array of climate; a store that was opened without chunks is read by tasks of bounded size."""
    if array.chunks is not None:
        return array.data
    step = max(1, MAX_BYTES // max(1, array.dtype.itemsize * array.sizes["point"]))
    stored = array.encoding.get("preferred_chunks", {}).get("time", 1)
    chunks = {"time": max(1, step // stored) * stored} | ({"member": 1} if "member" in array.dims else {})
    return _opened(array, chunks)


def _opened(array: xr.Variable, chunks: dict):
    # the name is given, because Dask would read all values of a store to make one up
    return array.chunk(chunks, name=f"climate-{uuid4().hex}").data
