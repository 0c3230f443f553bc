"""``alpgm delta-h``: delta-h functions of all glaciers of a catalog from two surveys, kept as an entry of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(verbs: Any) -> None:
    """Register ``delta-h``."""
    text = "delta-h functions of all glaciers of a catalog from two elevation models, kept; with pictures"
    parser = verbs.add_parser("delta-h", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="YAML file with glaciers and elevation models")
    parser.add_argument("--elevation-models", default="elevation_models", help="entry (default: %(default)s)")
    parser.add_argument("--glaciers", help="entry (default: glaciers, or those surveyed where there is none)")
    parser.add_argument("--name", default="delta_h_fitted", help="entry that is made (default: %(default)s)")
    parser.add_argument(
        "--method", choices=("monotone", "published"), default="monotone", help="published: as ALPGM made its functions"
    )
    parser.add_argument(
        "--plausible",
        type=float,
        nargs=2,
        metavar=("LOWEST", "HIGHEST"),
        help="m, changes that are believed (default: -160 20)",
    )
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="draw a map, and a page for every massif")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was made from something else")
    parser.set_defaults(call=_delta_h)


def _delta_h(arguments: argparse.Namespace) -> None:
    from alpgm_dask import ingest
    from alpgm_dask.cluster import connect

    believed = {"plausible": tuple(arguments.plausible)} if arguments.plausible else {}
    with connect(workers=arguments.workers, memory="2GB"):
        path = ingest.make_delta_h(
            arguments.catalog,
            arguments.name,
            elevation_models=arguments.elevation_models,
            glaciers=arguments.glaciers,
            method=arguments.method,
            figures=arguments.figures,
            overwrite=arguments.overwrite,
            **believed,
        )
    print(f"catalog: {path}")
