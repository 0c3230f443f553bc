"""Many glaciers in one array: pixels end to end, dealt into blocks that are one chunk each.

The median alpine glacier has 121 ice pixels; a store, a group or a chunk for each would drown in metadata. Here the
pixels of all glaciers lie along one ``pixel`` dimension (a CF ragged array with ``row_size`` and ``row_start``), and
glaciers are dealt into blocks of about equal pixel count. A block is exactly one chunk of every variable: one task
reads it whole and writes its results to chunks that no other task touches. Only the tail of a block's pixels is
padded; the ``glacier`` dimension has no holes.

:mod:`alpgm_dask.raster` goes from (y, x) rasters to pixels and back.
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from dask.delayed import Delayed

from alpgm_dask.schema import InputError, annotate, texts

#: Pixels of a block when nothing else is asked for: some 30 MB of state, a task of about a second.
TARGET_PIXELS = 200_000

#: Variables along ``pixel`` and their type in a store; what padding holds is 0 for integers and NaN for floats.
PIXEL_VARIABLES = {
    "ice_thickness": "float32",
    "surface_elevation": "float32",
    "x": "float64",
    "y": "float64",
    "surface_slope": "float32",
    "flowline_distance": "float32",
    "inside_outline": "int8",
}
#: The same of a store of two surveys of the surface.
ELEVATION_VARIABLES = {"surface_elevation": "float32", "elevation_change": "float32", "x": "float64", "y": "float64"}


@dataclass(frozen=True)
class BlockPlan:
    """Which glacier goes where.

    Attributes
    ----------
    order
        (glacier,) position of each packed glacier in the unpacked list.
    row_size, row_start
        (glacier,) pixels of each packed glacier, and its first position along ``pixel``.
    block_glaciers, block_pixels
        glaciers of every block but the last, and pixels of every block, padding included.
    """

    order: np.ndarray
    row_size: np.ndarray
    row_start: np.ndarray
    block_glaciers: int
    block_pixels: int

    @property
    def n_blocks(self) -> int:
        return -(-self.order.size // self.block_glaciers)

    def members(self, block: int) -> np.ndarray:
        """Positions in the unpacked list of the glaciers of a block, in packed order."""
        return self.order[block * self.block_glaciers : (block + 1) * self.block_glaciers]


@dataclass(frozen=True)
class Block:
    """One block of a packed dataset: its number and its slices."""

    index: int
    glaciers: slice
    pixels: slice

    @property
    def region(self) -> dict[str, slice]:
        return {"glacier": self.glaciers, "pixel": self.pixels}


def plan_blocks(row_size: np.ndarray, target_pixels: int = TARGET_PIXELS) -> BlockPlan:
    """Deal glaciers into blocks of equal glacier count and about equal pixel count.

    Largest first, each to the block with the fewest pixels that still has room. Inside a block glaciers keep the
    order of the list.

    Parameters
    ----------
    row_size, target_pixels
        (glacier,) number of pixels of each glacier; pixels that a block should about have.

    Raises
    ------
    InputError
        if there is no glacier, or one without pixels.

    >>> plan = plan_blocks(np.array([1, 5, 2, 4]), target_pixels=6)
    >>> plan.order.tolist(), plan.row_start.tolist(), plan.block_pixels
    ([0, 1, 2, 3], [0, 1, 6, 8], 6)
    """
    row_size = np.asarray(row_size, dtype=np.int64)
    if row_size.size == 0 or row_size.min() < 1:
        raise InputError(f"row_size: every glacier needs at least one pixel, given {row_size.tolist()[:10]}")
    n = row_size.size
    capacity = -(-n // min(n, max(1, -(-int(row_size.sum()) // target_pixels))))
    n_blocks = -(-n // capacity)
    room = np.full(n_blocks, capacity)
    room[-1] = n - capacity * (n_blocks - 1)
    load = [(0, b) for b in range(n_blocks)]
    block_of = np.empty(n, dtype=np.int64)
    for g in np.argsort(-row_size, kind="stable"):
        pixels, b = heapq.heappop(load)
        block_of[g] = b
        room[b] -= 1
        if room[b]:
            heapq.heappush(load, (pixels + int(row_size[g]), b))
    order = np.argsort(block_of, kind="stable")
    sizes, block = row_size[order], block_of[order]
    block_pixels = int(np.bincount(block, weights=sizes).max())
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    start = first - first[np.searchsorted(block, np.arange(n_blocks))][block] + block * block_pixels
    return BlockPlan(order, sizes, start, int(capacity), block_pixels)


def _padding(dtype: str | np.dtype) -> float:
    return np.nan if np.dtype(dtype).kind == "f" else 0


def template(attributes: xr.Dataset, plan: BlockPlan, variables: Mapping[str, str] = PIXEL_VARIABLES) -> xr.Dataset:
    """The dataset that a packed store is primed with: attributes in packed order, empty lazy pixels.

    Parameters
    ----------
    attributes, plan, variables
        per-glacier variables (``glacier``), in the order that the plan was made for; what lies along ``pixel``, and
        its type.
    """
    import dask.array as da

    size = plan.n_blocks * plan.block_pixels
    out = attributes.isel(glacier=plan.order)
    out["row_size"] = ("glacier", plan.row_size.astype("int32"))
    out["row_start"] = ("glacier", plan.row_start)
    for name, dtype in variables.items():
        out[name] = ("pixel", da.full(size, _padding(dtype), dtype=dtype, chunks=plan.block_pixels))
    out = annotate(out)
    out["row_size"].attrs["sample_dimension"] = "pixel"
    out.attrs |= {"block_glaciers": plan.block_glaciers, "block_pixels": plan.block_pixels}
    return out


def pack_block(
    pixels: list[xr.Dataset], plan: BlockPlan, block: int, variables: Mapping[str, str] = PIXEL_VARIABLES
) -> xr.Dataset:
    """The pixels of one block, padded at the tail.

    Parameters
    ----------
    pixels
        :func:`alpgm_dask.raster.glacier_pixels` of the block's glaciers, in the order of ``plan.members(block)``.
    plan, block, variables
        the plan, the number of the block, what lies along ``pixel``, and its type.
    """
    out = {}
    for name, dtype in variables.items():
        values = np.full(plan.block_pixels, _padding(dtype), dtype=dtype)
        packed = np.concatenate([p[name].values for p in pixels])
        values[: packed.size] = packed
        out[name] = ("pixel", values)
    return xr.Dataset(out)


def pack(
    attributes: xr.Dataset,
    pixels: list[xr.Dataset],
    target_pixels: int = TARGET_PIXELS,
    variables: Mapping[str, str] = PIXEL_VARIABLES,
) -> xr.Dataset:
    """Pack glaciers that fit in memory: attributes and pixels in the same order, out comes a packed dataset."""
    plan = plan_blocks(np.array([p.sizes["pixel"] for p in pixels]), target_pixels)
    parts = [pack_block([pixels[g] for g in plan.members(b)], plan, b, variables) for b in range(plan.n_blocks)]
    out = template(attributes, plan, variables)
    for name in variables:
        out[name] = ("pixel", np.concatenate([part[name].values for part in parts]), out[name].attrs)
    return out.chunk(glacier=plan.block_glaciers, pixel=plan.block_pixels)


def blocks(ds: xr.Dataset) -> list[Block]:
    """The blocks of a packed dataset, first to last.

    Raises
    ------
    InputError
        if `ds` is not packed (its attributes block_glaciers and block_pixels are missing).
    """
    missing = [key for key in ("block_glaciers", "block_pixels") if key not in ds.attrs]
    if missing:
        raise InputError(f"glaciers: attribute {missing[0]!r} is missing: not a packed store of alpgm_dask")
    per_block, n_pixels, n = int(ds.attrs["block_glaciers"]), int(ds.attrs["block_pixels"]), ds.sizes["glacier"]
    return [
        Block(b, slice(b * per_block, min((b + 1) * per_block, n)), slice(b * n_pixels, (b + 1) * n_pixels))
        for b in range(-(-n // per_block))
    ]


def select(ds: xr.Dataset, positions: np.ndarray, target_pixels: int = TARGET_PIXELS) -> xr.Dataset:
    """Some glaciers of a packed dataset, packed anew: attributes are read, pixels stay lazy.

    Parameters
    ----------
    ds
        a packed dataset (``glacier``, ``pixel``).
    positions, target_pixels
        (selected,) positions along ``glacier``; pixels that a new block should about have.
    """
    import dask.array as da

    positions = np.asarray(positions)
    if np.array_equal(positions, np.arange(ds.sizes["glacier"])):
        return ds
    sizes, starts = ds["row_size"].values[positions], ds["row_start"].values[positions]
    plan = plan_blocks(sizes, target_pixels)
    variables = {str(name): str(v.dtype) for name, v in ds.data_vars.items() if v.dims == ("pixel",)}
    out = template(ds.drop_dims("pixel").isel(glacier=positions).compute(), plan, variables)
    n_pixels = int(ds.attrs["block_pixels"])
    for name, dtype in variables.items():
        source = ds[name].chunk(pixel=n_pixels).data.to_delayed()
        chunks = [
            _gather(source, starts[plan.members(b)], sizes[plan.members(b)], n_pixels, plan)
            for b in range(plan.n_blocks)
        ]
        parts = [da.from_delayed(chunk, (plan.block_pixels,), dtype) for chunk in chunks]
        out[name] = ("pixel", da.concatenate(parts), out[name].attrs)
    return out


def _gather(source: np.ndarray, starts: np.ndarray, sizes: np.ndarray, n_pixels: int, plan: BlockPlan) -> Delayed:
    """One new block of a variable, lazily: rows cut out of each old block, then put end to end.

    Cut first, so that a worker never holds more than one old block at a time.
    """
    import dask

    cut, join = dask.delayed(_cut, pure=True), dask.delayed(_join, pure=True)
    first = starts - starts % n_pixels
    old = np.unique(first // n_pixels)
    rows = [np.flatnonzero(first // n_pixels == b) for b in old]
    parts = [cut(source[b], starts[r] - b * n_pixels, sizes[r]) for b, r in zip(old, rows, strict=True)]
    return join(parts, rows, plan.block_pixels)


def _cut(values: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def _join(parts: list[list[np.ndarray]], rows: list[np.ndarray], n_pixels: int) -> np.ndarray:
    """Rows in their order, padded at the tail."""
    ordered = {
        int(row): values
        for where, part in zip(rows, parts, strict=True)
        for row, values in zip(where, part, strict=True)
    }
    packed = np.concatenate([ordered[row] for row in sorted(ordered)])
    out = np.full(n_pixels, _padding(packed.dtype), dtype=packed.dtype)
    out[: packed.size] = packed
    return out


def position(ds: xr.Dataset, rgi_id: str) -> int:
    """Where a glacier stands along ``glacier``.

    Raises
    ------
    InputError
        naming the nearest identifiers, if there is no such glacier.
    """
    ids = texts(ds["rgi_id"])
    found = np.flatnonzero(ids == rgi_id)
    if found.size != 1:
        raise InputError(
            unknown_glacier(ids, rgi_id) if found.size == 0 else f"rgi_id: {rgi_id!r} stands {found.size} times"
        )
    return int(found[0])


def unknown_glacier(ids: np.ndarray, rgi_id: str) -> str:
    """What to say of an identifier that is not among `ids` (glacier,): those nearest to it, or the first few."""
    near = difflib.get_close_matches(rgi_id, ids.tolist(), n=3)
    allowed = f"the nearest identifiers are: {', '.join(near)}" if near else f"they are like: {', '.join(ids[:3])}"
    return f"rgi_id: unknown glacier {rgi_id!r}; {allowed}"


def glacier(ds: xr.Dataset, rgi_id: str) -> xr.Dataset:
    """One glacier of a packed dataset: scalars and its own pixels, lazily (InputError if unknown)."""
    i = position(ds, rgi_id)
    start, size = int(ds["row_start"][i]), int(ds["row_size"][i])
    return ds.isel(glacier=i, pixel=slice(start, start + size))
