"""``alpgm convert KIND``: raw archives -> stores and a catalog."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alpgm_dask.cli import convert_climate
from alpgm_dask.cli.convert_climate import Work


def add(verbs: Any) -> None:
    """Register ``convert`` and its kinds."""
    kinds = verbs.add_parser("convert", help="raw archives -> stores and a catalog").add_subparsers(
        dest="kind", required=True, metavar="KIND"
    )
    for add_kind in (_add_alpgm, _add_rasters, _add_elevation, _add_predictors, *convert_climate.KINDS):
        parser, work = add_kind(kinds)
        parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
        parser.add_argument("--memory", default="4GB", help="of each process (default: %(default)s)")
        parser.add_argument("--overwrite", action="store_true", help="replace what is there")
        parser.set_defaults(call=_on_a_cluster, work=work)


def _on_a_cluster(arguments: argparse.Namespace) -> None:
    from alpgm_dask.cluster import connect

    with connect(workers=arguments.workers, memory=arguments.memory) as client:
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


_ELEVATION = """\
Elevation change of glaciers between two surveys, for delta-h functions: two elevation models (--first, --second), or
their difference and a surface (--difference, --surface). A raster is a mosaic (GeoTIFF, COG, NetCDF, Zarr), a folder of
clips whose names hold the identifier, or a pattern with {id}; of any CRS and resolution, heights in metres. The pixels
of a glacier are those whose centres lie inside its outline.
"""


def _add_elevation(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    text = "two elevation models, or their difference, and outlines -> elevation change, into a catalog"
    parser = kinds.add_parser(
        "elevation", help=text, description=_ELEVATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", metavar="DEM", help="the earlier survey")
    parser.add_argument("--second", metavar="DEM", help="the later survey")
    parser.add_argument("--difference", metavar="DH", help="later minus earlier, instead of two surveys")
    parser.add_argument("--surface", metavar="DEM", help="surface that goes with --difference, such as the mean")
    parser.add_argument(
        "--dates",
        nargs=2,
        required=True,
        metavar=("FIRST", "SECOND"),
        help="of the surveys: YYYY-MM-DD, YYYY-MM or YYYY",
    )
    parser.add_argument(
        "--outlines", type=Path, metavar="FILE", help="vector file with identifiers (default: the catalog's outlines)"
    )
    parser.add_argument("--id-column", help="column of the identifiers (default: as in RGI)")
    parser.add_argument(
        "--coregister",
        action="store_true",
        help="move the first survey by the offset found on the ground around the outlines, which must hold all the "
        "ice; needs xdem (pip install 'alpgm_dask[coregister]') and mosaics",
    )
    parser.add_argument(
        "--catalog", type=Path, required=True, help="converted catalog to add to; made if there is none"
    )
    parser.add_argument("--name", default="elevation_models", help="entry (default: %(default)s)")
    return parser, _elevation


def _elevation(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest

    names = ("first", "second", "difference", "surface", "outlines", "id_column", "coregister", "overwrite")
    options = {name: getattr(arguments, name) for name in names}
    return ingest.convert_elevation(arguments.catalog, arguments.name, client, dates=tuple(arguments.dates), **options)


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
