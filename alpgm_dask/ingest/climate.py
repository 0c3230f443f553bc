"""Climate archives -> stores: written block by block on the workers, made longer when more comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import store
from alpgm_dask.catalog import Entry
from alpgm_dask.convert.climate import ClimateArchive
from alpgm_dask.forcing import time_step
from alpgm_dask.ingest.blocks import blocks_of, chunks_of, means_of, ranges_of, template_of, write_blocks
from alpgm_dask.ingest.listing import check_name, is_listed, list_entries, pieces_of
from alpgm_dask.schema import InputError

Say = Callable[[str], None]

#: mm per year. Drier than this, units are likely not what they say.
DRY = 100.0


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
    check_name(catalog, name)
    url = str(catalog.parent / f"{name}.zarr")
    with store.lock(url):
        new = _saved(archive, url, name, client, overwrite, say)
        if new:
            (catalog.parent / f"{name}_report.json").write_text(archive.report.to_json())
        if new or not is_listed(catalog, name):
            kind = f"{archive.report.title} ({time_step(archive.climate)})"
            list_entries(catalog, {name: Entry("zarr", f"{{CATALOG_DIR}}/{name}.zarr", kind)})
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
        found = write_blocks(archive, url, start, client)
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
    ranges = ranges_of(found, url, time_step(archive.climate), before.get("value_ranges"))
    negative = sum(int(part.attrs.get("negative", 0)) for part in found)
    missing = sum(int(part[n].sum()) for part in found for n in part.data_vars if str(n).endswith("_missing"))
    archive.report.add("negative amounts of precipitation", negative, "set to 0: noise of an interpolation")
    archive.report.add("missing values", missing, "kept as missing")
    means = means_of(found, time_step(archive.climate))
    archive.report.totals.update(means)
    if (fallen := means["mean precipitation (mm per year)"]) < DRY:
        archive.report.notes.append(
            f"precipitation is {fallen:.1f} mm per year in the mean, less than in most deserts: are its units right?"
        )
    attrs = store.provenance(f"climate {name}: {archive.report.title}") | {
        "pieces": json.dumps(archive.pieces),
        "grows": archive.grows,
        "value_ranges": json.dumps(ranges),
        "missing_values": missing + int(before.get("missing_values", 0)),
    }
    if longer:  # CF: the newest line first
        attrs["history"] = f"{attrs['history']}\n{before.get('history', '')}"
    store.finish(url, attrs, keep_ledger=False)


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


def _has_more(archive: ClimateArchive, known: list[tuple[str, str]], url: str) -> bool:
    """Whether the archive begins with what a finished store was made of, and goes on."""
    begins = list(archive.pieces[: len(known)]) == known
    return store.is_complete(url) and len(archive.pieces) > len(known) and begins


def _refuse_other(url: str, known: list[tuple[str, str]] | None, archive: ClimateArchive, overwrite: bool) -> None:
    """Refuse to write over a finished store that was made of something else."""
    if overwrite or not store.is_complete(url):
        return  # nothing is lost: what is no store of ours is not written over anyway
    if known is None:
        raise InputError(f"{url}: a store of something else is there; allowed: another --name, or --overwrite")
    given = dict(archive.pieces)
    changed = [label for label, fingerprint in known if given.get(label) != fingerprint]
    what = f"{changed[0]!r} is not in the files given (give all of them again) or has changed"
    what = what if changed else f"it begins with {known[0][0]!r}, the files with {archive.pieces[0][0]!r}"
    raise InputError(f"{url}: the store exists already, and {what}; allowed: another --name, or --overwrite")


def _prime(archive: ClimateArchive, url: str) -> None:
    """A new store without values, and a ledger of its blocks; one of the same pieces that was cut short is kept."""
    pieces = json.dumps(archive.pieces)
    if store.exists(url):
        state = store.attributes(url)
        if state.get("pieces") == pieces and state.get("primed") and store.unfinished_append(url) is None:
            return
    climate, ledger = archive.climate, {"block": len(list(blocks_of(archive.climate, {})))}
    template = template_of(climate).assign_attrs(pieces=pieces)
    store.prime(template, url, overwrite=True, ledger=ledger, chunks=chunks_of(climate))


def _extended(archive: ClimateArchive, url: str) -> dict[str, int]:
    """Room in a store for the pieces that it lacks; where they begin."""
    dim = archive.grows
    start = int(store.open_unfinished(url).sizes[dim])
    return {dim: store.extend(template_of(archive.climate).isel({dim: slice(start, None)}), url, dim)}


def _check_old_part(archive: ClimateArchive, url: str) -> None:
    """Refuse an archive whose points, or dates, are not those that the store has."""
    stored, climate = store.open_unfinished(url), archive.climate
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
