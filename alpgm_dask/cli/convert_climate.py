"""``alpgm convert safran | adamont | gridded``: archives of climate -> a store, and its entry in a catalog."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alpgm_dask.schema import InputError

Work = Callable[[argparse.Namespace, Any], Path]


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


def _add_positions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--massif-positions",
        metavar="FILE.csv",
        help="columns number, lon, lat (degrees): where massifs are whose points the files give no position",
    )


def _positions(arguments: argparse.Namespace) -> Any:
    from alpgm_dask.convert.climate.station_points import read_positions

    return read_positions(arguments.massif_positions) if arguments.massif_positions else None


def _add_safran(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    text = "SAFRAN / S2M forcing files (hourly, massif x elevation x aspect) -> daily climate"
    parser = _add_climate(kinds, "safran", text, "safran")
    _add_positions(parser)
    parser.add_argument(
        "--amounts-before-stamp",
        action="store_true",
        help="snowfall and rainfall are of the step that ends at the stamp, as SURFEX has it (default: as ALPGM)",
    )
    return parser, _safran


def _safran(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest
    from alpgm_dask.convert.climate import safran

    archive = safran.read(
        _sources(arguments),
        massif_positions=_positions(arguments),
        amounts_before_stamp=arguments.amounts_before_stamp,
    )
    return ingest.save_climate(archive, *_where(arguments, client))


def _add_adamont(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    text = "ADAMONT projections, pairs of daily means and sums for each GCM, RCM and RCP -> members of daily climate"
    parser = _add_climate(kinds, "adamont", text, "adamont")
    _add_positions(parser)
    parser.add_argument(
        "--pattern", metavar="REGEX", help="of file names, with groups gcm, rcm, scenario and kind, for unusual ones"
    )
    parser.add_argument(
        "--hours-of-rates",
        type=float,
        default=1.0,
        metavar="H",
        help="hours of the steps that sums of rates are made of (default: %(default)g)",
    )
    return parser, _adamont


def _adamont(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest
    from alpgm_dask.convert.climate import adamont

    archive = adamont.read(
        _sources(arguments),
        pattern=arguments.pattern,
        massif_positions=_positions(arguments),
        hours_of_rates=arguments.hours_of_rates,
    )
    return ingest.save_climate(archive, *_where(arguments, client))


def _add_gridded(kinds: Any) -> tuple[argparse.ArgumentParser, Work]:
    text = "any CF grid (ERA5, E-OBS, W5E5, HISTALP, CMIP6, CORDEX ...), NetCDF or Zarr -> daily or monthly climate"
    parser = _add_climate(kinds, "gridded", text, "climate")
    parser.add_argument("--orography", help="file (or entry) with the elevation of the cells, if others lack it")
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
    parser.add_argument(
        "--from-catalog",
        metavar="FILE",
        help="sources are entries of this catalog, local or not; one with parameters of its own: "
        "'ENTRY?variable=tas&table=day'",
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="parameter of that catalog, for all entries"
    )
    parser.add_argument(
        "--members",
        action="store_true",
        help="sources are members of an ensemble: name=PATH; several of one name are files of one member",
    )
    parser.add_argument("--member", metavar="NAME", help="name of the run, for an archive of one")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="LABEL=TEXT",
        help="gcm, rcm or scenario, if files do not say, such as gcm=MPI-ESM1-2-HR; with --members NAME:gcm=...",
    )
    return parser, _gridded


def _gridded(arguments: argparse.Namespace, client: Any) -> Path:
    from alpgm_dask import ingest
    from alpgm_dask.convert.climate import gridded

    sources, orography = arguments.sources, arguments.orography
    if arguments.members:
        sources = _grouped(arguments.sources)
    if arguments.from_catalog:
        read = _reader(arguments.from_catalog, _mapping(arguments.param, "--param"))
        sources = {m: [*map(read, s)] for m, s in sources.items()} if arguments.members else [*map(read, sources)]
        orography = read(orography, or_file=True) if orography else None
    archive = gridded.read(
        sources,
        orography=orography,
        bounding_box=arguments.bounding_box,
        around=ingest.glacier_places(arguments.catalog) if arguments.around_glaciers else None,
        margin=arguments.margin,
        names=_mapping(arguments.variable, "--variable") or None,
        member=arguments.member,
        labels=_labels(arguments.label, arguments.members),
        accumulated=arguments.accumulated,
    )
    return ingest.save_climate(archive, *_where(arguments, client))


def _grouped(texts: list[str]) -> dict[str, list[str]]:
    """Member -> its sources, in the order given."""
    out: dict[str, list[str]] = {}
    for member, source in _pairs(texts, "SRC"):
        out.setdefault(member, []).append(source)
    return out


def _labels(texts: list[str], members: bool) -> dict[str, Any] | None:
    """Label -> text; of several members, member -> label -> text."""
    if not members:
        return _mapping(texts, "--label") or None
    out: dict[str, dict[str, str]] = {}
    for name, text in _mapping(texts, "--label").items():
        member, colon, label = name.rpartition(":")
        if not colon:
            raise InputError(f"--label {name}={text}; allowed with --members: NAME:{name}={text}")
        out.setdefault(member, {})[label] = text
    return out or None


def _reader(path: str, common: dict[str, str]) -> Callable[..., Any]:
    """A function from "ENTRY" or "ENTRY?name=value&..." to the data of that entry of a catalog.

    With `or_file`, what is no entry comes back as it is: the path of a file.
    """
    from urllib.parse import parse_qsl

    from alpgm_dask.catalog import open_catalog

    names = open_catalog(path, **common).names

    def read(text: str, or_file: bool = False) -> Any:
        entry, _, query = text.partition("?")
        if or_file and entry not in names:
            return text
        try:
            own = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise InputError(f"{text!r}: {query!r} are no parameters; allowed: ENTRY?name=value&name=value") from error
        if len(dict(own)) < len(own):
            raise InputError(f"{text!r}: a parameter is there twice; allowed: every parameter once")
        return open_catalog(path, **common | dict(own)).read(entry)

    return read


def _mapping(texts: list[str], option: str) -> dict[str, str]:
    pairs = _pairs(texts, option)
    twice = [name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at])]
    if twice:
        raise InputError(f"{option} {twice[0]}=...: given twice; allowed: once")
    return dict(pairs)


def _pairs(texts: list[str], option: str) -> list[tuple[str, str]]:
    wrong = [text for text in texts if not all(text.partition("=")[::2])]
    if wrong:
        raise InputError(f"{option} {wrong[0]!r}; allowed: name=value")
    return [(name, value) for name, _, value in (text.partition("=") for text in texts)]


def _sources(arguments: argparse.Namespace) -> Any:
    """One folder as it is, several files as a list."""
    return arguments.sources[0] if len(arguments.sources) == 1 else arguments.sources


def _where(arguments: argparse.Namespace, client: Any) -> tuple[Path, str, Any, bool]:
    return arguments.catalog, arguments.name, client, arguments.overwrite


#: What registers each kind.
KINDS = (_add_safran, _add_adamont, _add_gridded)
