"""Two surveys of glaciers -> a kept store of the delta-h function that every glacier of a catalog uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alpgm_dask import delta_h, store, surveys
from alpgm_dask.catalog import Entry, open_catalog
from alpgm_dask.ingest.listing import check_name, list_entries
from alpgm_dask.schema import InputError, check
from alpgm_dask.source_code import code_fingerprint

Say = Callable[[str], None]


def make_delta_h(
    catalog: Path,
    name: str,
    *,
    elevation_models: str = "elevation_models",
    glaciers: str | None = None,
    method: str = "monotone",
    plausible: tuple[float, float] = delta_h.PLAUSIBLE,
    figures: Path | None = None,
    overwrite: bool = False,
    say: Say = print,
) -> Path:
    """The delta-h function of every glacier of a catalog, kept as one more entry of it.

    Done again, it does nothing if nothing has changed.

    Parameters
    ----------
    catalog
        YAML file with the glaciers and the surveys; the store is written beside it.
    name
        entry that is made.
    elevation_models, glaciers
        entries; glaciers are those that functions are chosen for, None: "glaciers", or those surveyed if there is no
        such entry.
    method, plausible
        as for :func:`alpgm_dask.delta_h.fit`.
    figures
        folder of a map and a page for every massif; None: none are drawn.
    overwrite
        replace a store that was made from other surveys, glaciers or settings.
    say
        where progress goes.

    Returns
    -------
    The catalog's path.

    Raises
    ------
    InputError
        if an entry is missing or cannot serve, or the entry to be made exists and was made from something else.
    """
    catalog = Path(catalog)
    opened, url = open_catalog(catalog), str(catalog.parent / f"{name}.zarr")
    if glaciers is None:
        glaciers = "glaciers" if "glaciers" in opened.names else elevation_models
    if name in (elevation_models, glaciers):
        raise InputError(f"--name {name!r} is what they are made of; allowed: another name")
    check_name(catalog, name, marks={"made_from"})
    surveyed = store.open_direct(opened.url(elevation_models))
    delta_h.fit_region(surveyed, method=method, plausible=plausible, where=f"{catalog}: entry {elevation_models!r}")
    known = opened.read(glaciers).drop_dims("pixel", errors="ignore")
    check(known, {"rgi_id": ("glacier",), "area": ("glacier",)}, f"{catalog}: entry {glaciers!r}")
    made_from = store.digest([
        *(store.fingerprint(opened.url(entry)) for entry in (elevation_models, glaciers)),
        *(method, plausible, code_fingerprint("delta_h"), code_fingerprint("kernels")),
    ])  # fmt: skip
    with store.lock(url):
        if _there(url, made_from, overwrite):
            say(f"{name}: unchanged, skipped")
            found = store.open_store(url)
        else:
            attrs = store.provenance(f"delta-h functions from {elevation_models}", surveys=opened.url(elevation_models))
            attrs |= {"made_from": made_from}
            found = surveys.save_functions(surveyed, known, url, method=method, plausible=plausible, attrs=attrs)
        say(f"{name}: {surveys.outcome(found)}")
    text = f"delta-h functions of all glaciers, fitted to {elevation_models} or a stated fallback"
    list_entries(catalog, {name: Entry("zarr", f"{{CATALOG_DIR}}/{name}.zarr", text)})
    if figures is not None:
        for path in surveys.draw_functions(surveyed, found, Path(figures)):
            say(f"picture: {path}")
    return catalog


def _there(url: str, made_from: str, overwrite: bool) -> bool:
    """Whether a finished store was made from the same (InputError if from something else, and it is not to go)."""
    if not store.exists(url) or not store.is_complete(url):
        return False
    if store.attributes(url).get("made_from") == made_from:
        return True
    if not overwrite:
        raise InputError(f"{url}: made from other surveys, glaciers, settings or code; allowed: --overwrite")
    return False
