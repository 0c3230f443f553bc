"""Climate at points -> a kept store of yearly predictors at glaciers, which grows as the climate does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import forcing, store
from alpgm_dask.catalog import Catalog, Entry, open_catalog
from alpgm_dask.ingest.listing import check_name, list_entries, pieces_of
from alpgm_dask.schema import InputError, annotate, texts
from alpgm_dask.source_code import code_fingerprint

Say = Callable[[str], None]

#: Glaciers of one chunk.
_BLOCK = 512


def make_predictors(
    catalog: Path,
    climate: str,
    name: str,
    *,
    glaciers: str = "glaciers",
    interpolation: str = "nearest",
    max_distance: float = 20e3,
    downscaling: forcing.Downscaling | None = None,
    overwrite: bool = False,
    say: Say = print,
) -> Path:
    """Yearly and monthly predictors of every glacier of a catalog, kept as one more entry of it.

    Done again, it does nothing if nothing has changed, and only what is new if the climate has got longer or has more
    members.

    Parameters
    ----------
    catalog
        YAML file with the glaciers and the climate; the store is written beside it.
    climate, glaciers, name
        entries: climate at points, glaciers, and what is made.
    interpolation
        "nearest" point or "bilinear" between the cells of a grid.
    max_distance
        m from a glacier to where its climate comes from.
    downscaling
        how climate of a point is brought to a glacier; None: ALPGM's way.
    overwrite
        replace a store that was made from other climate, glaciers or settings.
    say
        where progress goes.

    Returns
    -------
    The catalog's path.

    Raises
    ------
    InputError
        as :func:`alpgm_dask.forcing.as_climate` and :func:`alpgm_dask.forcing.nearest_points`; or if the entry exists
        and was made from something else.
    """
    if name in (climate, glaciers):
        raise InputError(f"--name {name!r} is what they are made of; allowed: another name")
    check_name(Path(catalog), name)
    with store.lock(Path(catalog).parent / f"{name}.zarr"):
        return _made(Path(catalog), climate, name, glaciers, interpolation, max_distance, downscaling, overwrite, say)


def _made(
    catalog: Path,
    climate: str,
    name: str,
    glaciers: str,
    interpolation: str,
    max_distance: float,
    downscaling: forcing.Downscaling | None,
    overwrite: bool,
    say: Say,
) -> Path:
    how, opened, url = downscaling or forcing.Downscaling(), open_catalog(catalog), str(catalog.parent / f"{name}.zarr")
    given = forcing.as_climate(opened.read(climate), f"{catalog}: entry {climate!r}")
    places = _places(opened, glaciers)
    pieces = pieces_of(opened.url(climate)) or [("all", store.fingerprint(opened.url(climate)))]
    settings = store.digest([_described(places), asdict(how), interpolation, *_code()])
    known = _known(url, settings, pieces, overwrite)
    if known == len(pieces):
        say(f"{name}: unchanged, skipped")
        return catalog
    points = forcing.climate_points(places, given, max_distance, interpolation, where=f"{catalog}: entry {climate!r}")
    grows = opened.read(climate).attrs.get("grows", "time")
    part = _new_part(given, pieces, known, str(grows))
    out = forcing.annual_predictors(part, points, places["mean_elevation"], downscaling=how)
    # one chunk of years for each block of glaciers, however the climate's chunks cut them
    out = out.chunk({"glacier": _BLOCK, "hydro_year": -1})
    attrs = {"made_from": json.dumps(pieces), "settings": settings}
    attrs |= {"downscaling": json.dumps(asdict(how)), "interpolation": interpolation}
    if known:
        dim = "hydro_year" if grows == "time" else "member"
        store.append(out, url, dim, attrs)
        say(f"{name}: {pieces[known][0]} to {pieces[-1][0]} are new")
    else:
        about = store.provenance(f"predictors of {climate} at {glaciers}", climate=opened.url(climate))
        store.write(_whole(out, places, points), url, overwrite=True, attrs={**about, **attrs})
        say(f"{name}: {out.sizes['glacier']} glaciers, {out.sizes['hydro_year']} years")
    list_entries(catalog, {name: Entry("zarr", f"{{CATALOG_DIR}}/{name}.zarr", f"predictors at glaciers, {climate}")})
    return catalog


def glacier_places(catalog: Path) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude (degree) of the glaciers of a catalog.

    Raises
    ------
    InputError
        if the catalog has no glaciers.
    """
    places = _places(open_catalog(catalog), "glaciers")
    return places["lon"].values, places["lat"].values


def _places(opened: Catalog, entry: str) -> xr.Dataset:
    """What matching needs of the glaciers, in memory."""
    names = ("rgi_id", "lon", "lat", "mean_elevation", "aspect", "massif", "massif_safran")
    found = opened.read(entry)
    return found[[n for n in names if n in found.variables]].drop_dims("pixel", errors="ignore").load()


def _described(places: xr.Dataset) -> dict[str, Any]:
    """The glaciers as something to hash."""
    return {str(n): texts(v).tolist() if v.dtype.kind in "OUT" else v.values.tolist() for n, v in places.items()}


def _code() -> list[str]:
    return [code_fingerprint(part) for part in ("forcing", "kernels", "constants.py")]


def _known(url: str, settings: str, pieces: list[tuple[str, str]], overwrite: bool) -> int:
    """How many pieces of the climate the store has already; 0: it is to be made."""
    if not store.exists(url):
        return 0
    if not store.is_ours(url):
        raise InputError(f"{url}: something is there that alpgm_dask did not write; allowed: another --name")
    if store.unfinished_append(url):
        store.undo_append(url)
    state = store.attributes(url)
    before = [tuple(piece) for piece in json.loads(str(state.get("made_from", "[]")))]
    if store.is_complete(url) and before and state.get("settings") == settings and pieces[: len(before)] == before:
        return len(before)
    if not overwrite and store.is_complete(url):
        raise InputError(
            f"{url}: made from other climate, glaciers, settings or code; allowed: another --name, or --overwrite"
        )
    return 0


def _new_part(climate: xr.Dataset, pieces: list[tuple[str, str]], known: int, grows: str) -> xr.Dataset:
    """The climate of the pieces that are not in the store yet."""
    if not known:
        return climate
    if grows == "member":
        return climate.isel(member=slice(known, None))
    return forcing.days_of(climate, [int(label) for label, _ in pieces[known:]])


def _whole(predictors: xr.Dataset, places: xr.Dataset, points: xr.Dataset) -> xr.Dataset:
    """Predictors with what a run must know of their glaciers."""
    out = predictors.assign(reference_elevation=("glacier", places["mean_elevation"].values.astype("float64")))
    out = out.assign(forcing_distance=("glacier", points["forcing_distance"].values))
    massif = texts(places["massif"]) if "massif" in places else np.full(places.sizes["glacier"], "")
    kept = {name: ("glacier", places[name].values) for name in ("lon", "lat")}
    out = out.assign_coords(rgi_id=("glacier", texts(places["rgi_id"]).astype(object)), **kept)
    return annotate(out.assign(massif=("glacier", massif.astype(object))))
