"""``alpgm convert KIND``: raw archives -> stores and a catalog."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add(verbs: Any) -> None:
    """Register ``convert`` and its kinds."""
    kinds = verbs.add_parser("convert", help="raw archives -> stores and a catalog").add_subparsers(
        dest="kind", required=True, metavar="KIND"
    )
    for add_kind in (_add_alpgm, _add_rasters, _add_predictors, _add_safran, _add_adamont, _add_gridded):
        parser, work = add_kind(kinds)
        parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
        parser.add_argument("--overwrite", action="store_true", help="replace what is there")
        parser.set_defaults(call=_on_a_cluster, work=work)


Work = Callable[[argparse.Namespace, Any], Path]


def _on_a_cluster(arguments: argparse.Namespace) -> None:
    from alpgm_dask.cluster import connect

    with connect(workers=arguments.workers, memory="4GB") as client:
        path = arguments.work(arguments, client)
    print(f"catalog: {path}")


def _add_alpgm(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    parser = kinds.add_parser("alpgm", help="a checkout of ALPGM")
    parser.add_argument("source", type=Path, metavar="SRC", help="the checkout: the folder that holds glacier_data")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stores")
    return parser, _alpgm


def _alpgm(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest

    return ingest.convert_alpgm(arguments.source, arguments.out, client, overwrite=arguments.overwrite)


def _add_rasters(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    parser = kinds.add_parser("rasters", help="outlines + thickness + surface GeoTIFFs of any region")
    parser.add_argument("--outlines", type=Path, required=True, help="vector file with identifiers")
    parser.add_argument("--thickness", required=True, help="folder, or pattern with {id}")
    parser.add_argument("--surface", required=True, help="folder, pattern with {id}, or one mosaic")
    parser.add_argument("--id-column", help="column of the identifiers (default: as in RGI)")
    parser.add_argument("--flowlines", type=Path, help="vector file of flowlines")
    parser.add_argument("--resample", action="store_true", help="resample a surface on another grid")
    parser.add_argument("--skip-missing", action="store_true", help="leave out glaciers without rasters")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stores")
    return parser, _rasters


def _rasters(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest
    from alpgm_dask.convert.cleaning import Rules

    return ingest.convert_rasters(
        arguments.out,
        client,
        overwrite=arguments.overwrite,
        outlines=arguments.outlines,
        thickness=arguments.thickness,
        surface=arguments.surface,
        id_column=arguments.id_column,
        flowlines=arguments.flowlines,
        rules=Rules(resample=True) if arguments.resample else None,
        skip_missing=arguments.skip_missing,
    )


def _add_predictors(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    parser = kinds.add_parser("predictors", help="a NetCDF of yearly predictors at glaciers, into a catalog")
    parser.add_argument(
        "file", type=Path, metavar="FILE.nc", help="with cpdd, winter_snowfall and summer_snowfall by glacier and year"
    )
    parser.add_argument("--catalog", type=Path, required=True, help="converted catalog to add to")
    parser.add_argument("--name", default="predictors", help="entry (default: %(default)s)")
    parser.add_argument("--inventory-year", type=int, default=2003, help="inventory that the rows come from")
    parser.add_argument(
        "--elevation-years", type=int, nargs="+", default=[], help="inventories that the elevation follows through time"
    )
    parser.add_argument("--monthly", type=Path, help="NetCDF of monthly predictors of the observed glaciers")
    return parser, _predictors


def _predictors(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest

    return ingest.convert_predictors(
        arguments.file,
        arguments.catalog,
        arguments.name,
        client,
        inventory_year=arguments.inventory_year,
        elevation_years=tuple(arguments.elevation_years),
        monthly=arguments.monthly,
        overwrite=arguments.overwrite,
    )


def _add_climate(kinds: Any, kind: str, text: str, default: str) -> argparse.ArgumentParser:
    parser = kinds.add_parser(
        kind,
        help=text,
        description=f"{text[0].upper()}{text[1:]}. Done again with more files, "
        "it adds what is new and leaves what is there.",
    )
    parser.add_argument("sources", nargs="+", metavar="SRC", help="folder or files")
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to add to; made if there is none")
    parser.add_argument("--name", default=default, help="entry (default: %(default)s)")
    return parser


def _add_safran(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    text = "SAFRAN / S2M forcing files (hourly, massif x elevation x aspect) -> daily climate"
    return _add_climate(kinds, "safran", text, "safran"), _safran


def _safran(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest
    from alpgm_dask.convert.climate import safran

    return ingest.save_climate(safran.read(_sources(arguments)), *_where(arguments, client))


def _add_adamont(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    text = "ADAMONT projections, pairs of daily means and sums for each GCM, RCM and RCP -> members of daily climate"
    return _add_climate(kinds, "adamont", text, "adamont"), _adamont


def _adamont(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest
    from alpgm_dask.convert.climate import adamont

    return ingest.save_climate(adamont.read(_sources(arguments)), *_where(arguments, client))


def _add_gridded(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    text = "any CF grid (ERA5, E-OBS, W5E5, HISTALP, CMIP6, CORDEX ...), NetCDF or Zarr -> daily or monthly climate"
    parser = _add_climate(kinds, "gridded", text, "climate")
    parser.add_argument("--orography", help="file with the elevation of the cells, if the others lack it")
    parser.add_argument(
        "--bounding-box",
        type=float,
        nargs=4,
        metavar=("WEST", "SOUTH", "EAST", "NORTH"),
        help="degrees",
    )
    parser.add_argument(
        "--around-glaciers", action="store_true", help="only cells around the glaciers of the catalog (entry glaciers)"
    )
    parser.add_argument("--margin", type=float, default=0.0, help="km around the glaciers (default: %(default)g)")
    parser.add_argument(
        "--variable", action="append", default=[], metavar="WORD=NAME", help="a variable's name, such as tas=t2m"
    )
    parser.add_argument("--accumulated", choices=("step", "day"), help="what amounts are sums of, if files do not say")
    parser.add_argument("--from-catalog", metavar="FILE", help="sources are entries of this catalog, local or not")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="parameter of that catalog")
    parser.add_argument(
        "--members", action="store_true", help="sources are members of an ensemble: name=PATH, one for each"
    )
    return parser, _gridded


def _gridded(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest
    from alpgm_dask.convert.climate import gridded

    sources = dict(_pairs(arguments.sources, "SRC")) if arguments.members else arguments.sources
    if arguments.from_catalog:
        sources = _from_catalog(arguments.from_catalog, sources, dict(_pairs(arguments.param, "--param")))
    around = ingest.glacier_places(arguments.catalog) if arguments.around_glaciers else None
    archive = gridded.read(
        sources,
        orography=arguments.orography,
        bounding_box=arguments.bounding_box,
        around=around,
        margin=arguments.margin,
        names=dict(_pairs(arguments.variable, "--variable")) or None,
        accumulated=arguments.accumulated,
    )
    return ingest.save_climate(archive, *_where(arguments, client))


def _from_catalog(path: str, entries: Any, parameters: dict[str, str]) -> Any:
    """Entries of a catalog in place of their names."""
    from alpgm_dask.catalog import open_catalog

    listed = open_catalog(path, **parameters)
    if isinstance(entries, dict):
        return {member: listed.read(entry) for member, entry in entries.items()}
    return [listed.read(entry) for entry in entries]


def _pairs(texts: list[str], option: str) -> list[tuple[str, str]]:
    from alpgm_dask.schema import InputError

    wrong = [text for text in texts if not all(text.partition("=")[::2])]
    if wrong:
        raise InputError(f"{option} {wrong[0]!r}; allowed: name=value")
    return [(name, value) for name, _, value in (text.partition("=") for text in texts)]


def _sources(arguments: argparse.Namespace) -> Any:
    """One folder as it is, several files as a list."""
    return arguments.sources[0] if len(arguments.sources) == 1 else arguments.sources


def _where(arguments: argparse.Namespace, client: Any) -> tuple[Path, str, Any, bool]:
    return arguments.catalog, arguments.name, client, arguments.overwrite
