"""``alpgm predictors``: yearly predictors at glaciers from climate at points, kept as an entry of the catalog."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(verbs: Any) -> None:
    """Register ``predictors``."""
    text = "yearly predictors at every glacier of a catalog from its climate, kept; done again, it adds what is new"
    parser = verbs.add_parser("predictors", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="YAML file with glaciers and climate")
    parser.add_argument("--climate", default="climate", help="entry (default: %(default)s)")
    parser.add_argument("--glaciers", default="glaciers", help="entry (default: %(default)s)")
    parser.add_argument("--name", default="predictors", help="entry that is made (default: %(default)s)")
    parser.add_argument("--interpolation", choices=("nearest", "bilinear"), default="nearest", help="in a grid")
    parser.add_argument("--max-distance", type=float, default=20.0, help="km to the climate (default: %(default)g)")
    parser.add_argument("--lapse-rate", type=float, nargs="+", help="K m-1: one, or twelve with October first")
    parser.add_argument("--precipitation-gradient", type=float, help="relative increase with elevation, 1 per m")
    parser.add_argument("--all-snow-below", type=float, help="degC")
    parser.add_argument("--all-rain-above", type=float, help="degC")
    parser.add_argument("--daily-spread", type=float, help="K, of days within a month; for monthly climate")
    parser.add_argument(
        "--phase", choices=("conserving", "alpgm-1.2"), help="what becomes of snow where it is too warm"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was made from something else")
    parser.set_defaults(call=_predictors)


def _predictors(arguments: argparse.Namespace) -> None:
    from alpgm_dask import ingest
    from alpgm_dask.cluster import connect

    with connect(workers=arguments.workers, memory="2GB"):
        path = ingest.make_predictors(
            arguments.catalog,
            arguments.climate,
            arguments.name,
            glaciers=arguments.glaciers,
            interpolation=arguments.interpolation,
            max_distance=arguments.max_distance * 1e3,
            downscaling=_downscaling(arguments),
            overwrite=arguments.overwrite,
        )
    print(f"catalog: {path}")


def _downscaling(arguments: argparse.Namespace) -> Any:
    from alpgm_dask.forcing import Downscaling

    names = ("precipitation_gradient", "all_snow_below", "all_rain_above", "daily_spread", "phase")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.lapse_rate:
        rates = arguments.lapse_rate
        given["lapse_rate"] = rates[0] if len(rates) == 1 else tuple(rates)
    return Downscaling(**given)
