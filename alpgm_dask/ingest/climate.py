"""Climate archives -> stores: written block by block on the workers, made longer when more comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import store
from alpgm_dask.catalog import Entry, write_catalog
from alpgm_dask.convert.climate import ClimateArchive
from alpgm_dask.forcing import amounts, refuse_implausible, time_step, value_extremes, without_noise
from alpgm_dask.schema import InputError

Say = Callable[[str], None]

#: Points of one chunk.
POINTS = 64
#: Points that one task writes.
POINTS_OF_A_TASK = 64 * POINTS
#: Days of four years in the calendars that have years of one length.
_FOUR_YEARS = {"noleap": 1460, "365_day": 1460, "360_day": 1440, "all_leap": 1464, "366_day": 1464}


def save_climate(
    archive: ClimateArchive,
    catalog: Path,
    name: str,
    client: Any,
    overwrite: bool = False,
    say: Say = print,
) -> Path:
    """Write an archive as a store beside a catalog, and list it; only what the store does not have yet.

    Parameters
    ----------
    archive
        from a reader in :mod:`alpgm_dask.convert.climate`.
    catalog
        YAML file; made if there is none.
    name
        entry, and name of the store.
    client
        Dask client whose workers read and write.
    overwrite
        replace a store that was made from other files.
    say
        where progress goes.

    Returns
    -------
    The catalog's path.

    Raises
    ------
    InputError
        if the store was made from other files than the archive begins with, or values cannot be.
    """
    catalog = Path(catalog)
    url = str(catalog.parent / f"{name}.zarr")
    with store.lock(url):
        if _saved(archive, url, name, client, overwrite, say):
            kind = f"{archive.report.title} ({time_step(archive.climate)})"
            list_entries(catalog, {name: Entry("zarr", f"{{CATALOG_DIR}}/{name}.zarr", kind)})
            (catalog.parent / f"{name}_report.json").write_text(archive.report.to_json())
    return catalog


def _saved(archive: ClimateArchive, url: str, name: str, client: Any, overwrite: bool, say: Say) -> bool:
    """Write what the store lacks; False if it lacks nothing."""
    if store.exists(url) and store.unfinished_append(url):
        store.undo_append(url)
        say(f"{name}: what was being added, and not finished, is taken back")
    known = pieces_of(url)
    archive = _known_first(archive, known)
    if known is not None and known == list(archive.pieces) and store.is_complete(url):
        say(f"{name}: unchanged, skipped ({len(known)} pieces, {known[0][0]} to {known[-1][0]})")
        return False
    start: dict[str, int] = {}
    if known is not None and not overwrite and _has_more(archive, known, url):
        _check_old_part(archive, url)
        say(f"{name}: {archive.pieces[len(known)][0]} to {archive.pieces[-1][0]} are new")
        start = _extended(archive, url)
    else:
        _refuse_other(url, known, archive, overwrite)
        _prime(archive, url)
    try:
        found = _write_blocks(archive, url, start, client)
        _finish(archive, url, name, found, bool(start))
    except InputError:
        if not start:
            store.remove(url)  # so that another try reads the source again
        raise
    finally:
        if start and not store.is_complete(url):
            store.undo_append(url)
    say(str(archive.report))
    return True


def _finish(archive: ClimateArchive, url: str, name: str, found: list[xr.Dataset], longer: bool) -> None:
    """Check the values that were written, and declare the store finished."""
    before = store.attributes(url) if longer else {}
    ranges = _ranges(found, url, time_step(archive.climate), before.get("value_ranges"))
    negative = sum(int(part.attrs.get("negative", 0)) for part in found)
    missing = sum(int(part[n].sum()) for part in found for n in part.data_vars if str(n).endswith("_missing"))
    archive.report.add("negative amounts of precipitation", negative, "set to 0: noise of an interpolation")
    archive.report.add("missing values", missing, "kept as missing")
    attrs = store.provenance(f"climate {name}: {archive.report.title}") | {
        "pieces": json.dumps(archive.pieces),
        "grows": archive.grows,
        "value_ranges": json.dumps(ranges),
        "missing_values": missing + int(before.get("missing_values", 0)),
    }
    if longer:  # CF: the newest line first
        attrs["history"] = f"{attrs['history']}\n{before.get('history', '')}"
    store.finish(url, attrs, keep_ledger=False)


def list_entries(catalog: Path, entries: dict[str, Entry]) -> None:
    """Add entries to a catalog, one process after the other."""
    with store.lock(catalog, wait=30.0):
        write_catalog(catalog, entries)


def _known_first(archive: ClimateArchive, known: list[tuple[str, str]] | None) -> ClimateArchive:
    """An archive of members with those that the store has before the others, in the store's order."""
    if archive.grows != "member" or known is None:
        return archive
    given = dict(archive.pieces)
    order = [label for label, _ in known if label in given]
    order += [label for label in given if label not in set(order)]
    place = [list(given).index(label) for label in order]
    climate = archive.climate.isel(member=place)
    return replace(archive, climate=climate, pieces=tuple((label, given[label]) for label in order))


def pieces_of(url: str) -> list[tuple[str, str]] | None:
    """(label, fingerprint) of the pieces that a climate store was made of; None if there is no such store."""
    if not store.exists(url):
        return None
    found = store.attributes(url).get("pieces")
    return None if found is None else [tuple(piece) for piece in json.loads(str(found))]


def _has_more(archive: ClimateArchive, known: list[tuple[str, str]], url: str) -> bool:
    """Whether the archive begins with what a finished store was made of, and goes on."""
    begins = list(archive.pieces[: len(known)]) == known
    return store.is_complete(url) and len(archive.pieces) > len(known) and begins


def _refuse_other(url: str, known: list[tuple[str, str]] | None, archive: ClimateArchive, overwrite: bool) -> None:
    """Refuse to write over a finished store that was made of something else."""
    if overwrite or known is None or not store.is_complete(url):
        return  # nothing is lost: what is no store of ours is not written over anyway
    given = dict(archive.pieces)
    changed = [label for label, fingerprint in known if given.get(label) != fingerprint]
    what = f"{changed[0]!r} is missing in the source or has changed" if changed else "has pieces in another order"
    raise InputError(f"{url}: the store exists already, and {what}; allowed: another --name, or --overwrite")


def _chunks(climate: xr.Dataset) -> dict[str, int]:
    """Chunks of a climate store: four hydrological years, some points, one member."""
    days = _FOUR_YEARS.get(climate["time"].dt.calendar, 1461)
    span = 48 if time_step(climate) == "monthly" else days
    chunks = {"time": span, "point": POINTS, "member": 1}
    return {dim: min(size, climate.sizes[dim]) if dim == "point" else size for dim, size in chunks.items()}


def _template(climate: xr.Dataset) -> xr.Dataset:
    """The climate as its store has it, with values that nobody computes."""
    import dask.array as da

    chunks = _chunks(climate)
    names = ("tas", *amounts(climate))
    dims = tuple(dim for dim in ("member", "time", "point") if dim in climate["tas"].dims)
    empty = da.zeros(tuple(climate.sizes[dim] for dim in dims), chunks=tuple(chunks[d] for d in dims), dtype="float32")
    out = climate.drop_vars(list(climate.data_vars)).assign_coords(
        {name: coord.load() for name, coord in climate.coords.items() if name not in climate.dims}
    )
    return out.assign({name: (dims, empty, climate[name].attrs) for name in names})


def _prime(archive: ClimateArchive, url: str) -> None:
    """A new store without values, and a ledger of its blocks; one of the same pieces that was cut short is kept."""
    pieces = json.dumps(archive.pieces)
    if store.exists(url):
        state = store.attributes(url)
        if state.get("pieces") == pieces and state.get("primed") and store.unfinished_append(url) is None:
            return
    climate, ledger = archive.climate, {"block": len(list(_blocks(archive.climate, {})))}
    template = _template(climate).assign_attrs(pieces=pieces)
    store.prime(template, url, overwrite=True, ledger=ledger, chunks=_chunks(climate))


def _extended(archive: ClimateArchive, url: str) -> dict[str, int]:
    """Room in a store for the pieces that it lacks; where they begin."""
    dim = archive.grows
    start = int(_stored(url).sizes[dim])
    return {dim: store.extend(_template(archive.climate).isel({dim: slice(start, None)}), url, dim)}


def _stored(url: str) -> xr.Dataset:
    return xr.open_zarr(url, consolidated=False, chunks=None)


def _check_old_part(archive: ClimateArchive, url: str) -> None:
    """Refuse an archive whose points, or dates, are not those that the store has."""
    stored, climate = _stored(url), archive.climate
    for name in ("elevation", "lon", "lat"):
        if not np.array_equal(stored[name].values, climate[name].values):
            raise InputError(f"{url}: variable {name!r} of the points differs in the new files; allowed: --overwrite")
    dates = climate.indexes["time"]
    dates = dates[: stored.sizes["time"]] if archive.grows == "time" else dates
    if not dates.equals(stored.indexes["time"]):
        raise InputError(
            f"{url}: variable 'time' goes from {stored.indexes['time'][0]} to {stored.indexes['time'][-1]}, in the "
            f"archive from {dates[0]} to {dates[-1]}; allowed: the same dates, or --overwrite"
        )


def _blocks(climate: xr.Dataset, start: dict[str, int]) -> Iterator[dict[str, slice]]:
    """Regions that one task writes: whole chunks of the store, but for the first after an old end."""
    chunks = _chunks(climate) | {"point": POINTS_OF_A_TASK}
    spans = []
    for dim in (dim for dim in ("member", "time", "point") if dim in climate["tas"].dims):
        first = start.get(dim, 0)
        ends = first + np.cumsum(store.aligned_sizes(climate.sizes[dim] - first, chunks[dim], first))
        spans.append([(dim, slice(a, b)) for a, b in zip((first, *ends[:-1].tolist()), ends.tolist(), strict=True)])
    for where in np.ndindex(*(len(span) for span in spans)):
        yield dict(span[i] for span, i in zip(spans, where, strict=True))


def _write_blocks(archive: ClimateArchive, url: str, start: dict[str, int], client: Any) -> list[xr.Dataset]:
    """Lowest and highest values of all blocks, after the workers wrote them; those in the ledger are only read."""
    from dask import delayed
    from distributed import as_completed
    from tqdm import tqdm

    names, step = ["tas", *amounts(archive.climate)], time_step(archive.climate)
    left = None if start else {entry[0] for entry in store.pending(url)}
    tasks = []
    for number, region in enumerate(_blocks(archive.climate, start)):
        if left is not None and number not in left:
            tasks.append(delayed(_extremes_of_written)(url, names, region))
            continue
        part = archive.climate[names].isel(region).astype("float32").drop_vars(list(archive.climate.coords))
        part = part.assign_coords(time=archive.climate["time"].isel(time=region["time"]))
        entry = None if start else (number,)
        tasks.append(delayed(_write_block)(part, url, region, entry, step))
    # all at once: the graph of the archive is gone through once, not once for each block
    futures = client.compute(tasks, retries=1)
    for future in tqdm(as_completed(futures), total=len(futures), unit="block", desc="climate", mininterval=0.5):
        future.result()
    return client.gather(futures)


def _write_block(
    part: xr.Dataset, url: str, region: dict[str, slice], entry: tuple[int, ...] | None, step: str
) -> xr.Dataset:
    dims = [dim for dim in ("member", "time", "point") if dim in region]
    part, negative = without_noise(part, step)
    store.write_block(part.drop_vars("time").transpose(*dims), url, region, entry)
    return value_extremes(part).assign_attrs(negative=negative)


def _extremes_of_written(url: str, names: list[str], region: dict[str, slice]) -> xr.Dataset:
    return value_extremes(_stored(url)[names].isel(region).load()).compute()


def _ranges(found: list[xr.Dataset], url: str, step: str, before: object) -> dict[str, list[float]]:
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
