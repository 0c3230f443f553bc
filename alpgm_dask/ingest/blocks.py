"""A climate store in blocks: what one task writes, and what is known of the values afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import store
from alpgm_dask.convert.climate import ClimateArchive
from alpgm_dask.forcing import amounts, refuse_implausible, time_step, value_extremes, without_noise

#: Points of one chunk.
POINTS = 64
#: Points that one task writes.
POINTS_OF_A_TASK = 64 * POINTS
#: Days of four years in the calendars that have years of one length.
_FOUR_YEARS = {"noleap": 1460, "365_day": 1460, "360_day": 1440, "all_leap": 1464, "366_day": 1464}


def chunks_of(climate: xr.Dataset) -> dict[str, int]:
    """Chunks of a climate store: four hydrological years, some points, one member."""
    days = _FOUR_YEARS.get(climate["time"].dt.calendar, 1461)
    span = 48 if time_step(climate) == "monthly" else days
    chunks = {"time": span, "point": POINTS, "member": 1}
    return {dim: min(size, climate.sizes[dim]) if dim == "point" else size for dim, size in chunks.items()}


def template_of(climate: xr.Dataset) -> xr.Dataset:
    """The climate as its store has it, with values that nobody computes."""
    import dask.array as da

    chunks = chunks_of(climate)
    names = ("tas", *amounts(climate))
    dims = tuple(dim for dim in ("member", "time", "point") if dim in climate["tas"].dims)
    empty = da.zeros(tuple(climate.sizes[dim] for dim in dims), chunks=tuple(chunks[d] for d in dims), dtype="float32")
    out = climate.drop_vars(list(climate.data_vars)).assign_coords(
        {name: coord.load() for name, coord in climate.coords.items() if name not in climate.dims}
    )
    return out.assign({name: (dims, empty, climate[name].attrs) for name in names})


def blocks_of(climate: xr.Dataset, start: dict[str, int]) -> Iterator[dict[str, slice]]:
    """Regions that one task writes: whole chunks of the store, but for the first after an old end."""
    chunks = chunks_of(climate) | {"point": POINTS_OF_A_TASK}
    spans = []
    for dim in (dim for dim in ("member", "time", "point") if dim in climate["tas"].dims):
        first = start.get(dim, 0)
        ends = first + np.cumsum(store.aligned_sizes(climate.sizes[dim] - first, chunks[dim], first))
        spans.append([(dim, slice(a, b)) for a, b in zip((first, *ends[:-1].tolist()), ends.tolist(), strict=True)])
    for where in np.ndindex(*(len(span) for span in spans)):
        yield dict(span[i] for span, i in zip(spans, where, strict=True))


def write_blocks(archive: ClimateArchive, url: str, start: dict[str, int], client: Any) -> list[xr.Dataset]:
    """Lowest and highest values of all blocks, after the workers wrote them; those in the ledger are only read."""
    from dask import delayed
    from distributed import as_completed
    from tqdm import tqdm

    names, step = ["tas", *amounts(archive.climate)], time_step(archive.climate)
    left = None if start else {entry[0] for entry in store.pending(url)}
    tasks = []
    for number, region in enumerate(blocks_of(archive.climate, start)):
        if left is not None and number not in left:
            tasks.append(delayed(_extremes_of_written)(url, names, region))
            continue
        part = archive.climate[names].isel(region).astype("float32").drop_vars(list(archive.climate.coords))
        part = part.assign_coords(time=archive.climate["time"].isel(time=region["time"]))
        entry = None if start else (number,)
        tasks.append(delayed(write_block)(part, url, region, entry, step))
    # all at once: the graph of the archive is gone through once, not once for each block
    futures = client.compute(tasks, retries=1)
    for future in tqdm(as_completed(futures), total=len(futures), unit="block", desc="climate", mininterval=0.5):
        future.result()
    return client.gather(futures)


def write_block(
    part: xr.Dataset, url: str, region: dict[str, slice], entry: tuple[int, ...] | None, step: str
) -> xr.Dataset:
    dims = [dim for dim in ("member", "time", "point") if dim in region]
    part, negative = without_noise(part, step)
    store.write_block(part.drop_vars("time").transpose(*dims), url, region, entry)
    return value_extremes(part).assign_attrs(negative=negative, **_sums(part))


def _sums(part: xr.Dataset) -> dict[str, float]:
    """What means are made of: temperature and its count, precipitation and how many steps of points have it."""
    wet = sum(part[name] for name in amounts(part))
    known = {"tas": part["tas"], "wet": wet}
    sums = {f"{name}_sum": float(values.sum(dtype="float64")) for name, values in known.items()}
    return sums | {f"{name}_count": float(values.notnull().sum()) for name, values in known.items()}


def _extremes_of_written(url: str, names: list[str], region: dict[str, slice]) -> xr.Dataset:
    part = store.open_unfinished(url)[names].isel(region).load()
    return value_extremes(part).compute().assign_attrs(_sums(part))


def ranges_of(found: list[xr.Dataset], url: str, step: str, before: object) -> dict[str, list[float]]:
    """Lowest and highest value of every variable, checked; together with those of the part that was there before."""
    by_time: dict[str, list[xr.Dataset]] = {}
    for part in found:
        by_time.setdefault(str(part["time"].values[0]), []).append(part)
    merged = []
    for parts in by_time.values():
        over = xr.concat(parts, "part", coords="minimal", compat="override", join="override")
        kinds = {"_min": over.min, "_max": over.max, "_missing": over.sum}
        reduced = {suffix: reduce("part") for suffix, reduce in kinds.items()}
        merged.append(xr.Dataset({n: reduced[f"_{str(n).rsplit('_', 1)[1]}"][n] for n in over.data_vars}))
    whole = xr.concat(merged, "time").sortby("time")
    ranges = refuse_implausible(whole, url, step)
    for name, (low, high) in json.loads(str(before)).items() if before else ():
        ranges[name] = [min(low, ranges[name][0]), max(high, ranges[name][1])]
    return ranges


def means_of(found: list[xr.Dataset], step: str) -> dict[str, float]:
    """The first thing that one looks at: mean temperature and precipitation of all that was written."""
    totals = {key: sum(part.attrs[key] for part in found) for key in found[0].attrs if key.endswith(("_sum", "_count"))}
    per_year = 12.0 if step == "monthly" else 365.25
    return {
        "mean temperature (degC)": round(totals["tas_sum"] / max(totals["tas_count"], 1.0) - 273.15, 2),
        "mean precipitation (mm per year)": round(totals["wet_sum"] / max(totals["wet_count"], 1.0) * per_year, 1),
    }
