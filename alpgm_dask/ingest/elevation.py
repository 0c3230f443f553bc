"""Two elevation models, or their difference -> one more store of a converted catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alpgm_dask import store
from alpgm_dask.catalog import Catalog, open_catalog
from alpgm_dask.ingest.listing import check_name
from alpgm_dask.ingest.stores import mapper, save_conversion
from alpgm_dask.schema import InputError, texts

Say = Callable[[str], None]

#: What a catalog's glaciers know better than a file of outlines.
_KNOWN = ("glims_id", "name", "massif", "subregion", "lon", "lat", "massif_safran", "inventory_year")


def convert_elevation(
    catalog: Path,
    name: str,
    client: Any,
    *,
    dates: tuple[str, str],
    outlines: Path | None = None,
    overwrite: bool = False,
    say: Say = print,
    **options: Any,
) -> Path:
    """Elevation change of glaciers, from two surveys or from a map of differences.

    Parameters
    ----------
    catalog
        YAML file; made if there is none. Its entry ``glaciers`` gives names and massifs, its entry ``outlines`` the
        outlines where no file does.
    name
        entry, and name of the store beside the catalog.
    client
        Dask client whose workers read and write.
    dates
        of both surveys: YYYY-MM-DD, YYYY-MM or YYYY.
    outlines
        vector file with identifiers; None: those of the catalog.
    overwrite
        replace an entry of elevation models.
    say
        where progress goes.
    options
        `first` and `second`, or `difference` and `surface`, `id_column`, `coregister`: as for
        :func:`alpgm_dask.convert.elevation.convert`.

    Returns
    -------
    The catalog's path.

    Raises
    ------
    InputError
        if there are no outlines, the name stands for something else, or the rasters are refused.
    """
    from alpgm_dask.convert import elevation

    catalog = Path(catalog)
    url = str(catalog.parent / f"{name}.zarr")
    check_name(catalog, name, marks={"first_survey"})
    _refuse_other(url, overwrite)
    listed = open_catalog(catalog) if catalog.exists() else None
    given = outlines or _entry(listed, "outlines")
    if given is None:
        raise InputError(
            f"{catalog}: there is no entry 'outlines'; allowed: --outlines FILE, or a catalog that has them"
        )
    catalog.parent.mkdir(parents=True, exist_ok=True)
    with store.lock(url):
        conversion = elevation.convert(given, dates, known=_known(listed), mapper=mapper(client), **options)
        names = {"elevation_models": name}
        save_conversion(conversion, catalog.parent, client, names=names, catalog=catalog)
    say(str(conversion.report))
    return catalog


def _entry(listed: Catalog | None, name: str) -> Any:
    return listed.read(name) if listed is not None and name in listed.names else None


def _known(listed: Catalog | None) -> dict[str, dict[str, object]]:
    """rgi_id -> what the glaciers of a catalog are called and where they lie."""
    glaciers = _entry(listed, "glaciers")
    if glaciers is None:
        return {}
    found = [name for name in _KNOWN if name in glaciers.variables]
    columns = {name: _plain(glaciers[name]) for name in found}
    ids = texts(glaciers["rgi_id"].values).tolist()
    return {rgi_id: {name: columns[name][g] for name in found} for g, rgi_id in enumerate(ids)}


def _plain(values: Any) -> list[Any]:
    return texts(values.values).tolist() if values.dtype.kind in "OTU" else values.values.tolist()


def _refuse_other(url: str, overwrite: bool) -> None:
    """Refuse to replace a store of something else, or a finished one unless told to."""
    if not store.exists(url):
        return
    if store.is_ours(url) and "first_survey" not in store.attributes(url):
        raise InputError(f"{url}: a store of something else is there; allowed: another --name")
    if store.is_complete(url) and not overwrite:
        raise InputError(f"{url}: the store exists already; allowed: another --name, or --overwrite")
