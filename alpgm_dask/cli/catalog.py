"""``alpgm catalog list|show|check``: what a catalog has, and whether it is in order."""

from __future__ import annotations

import argparse
from typing import Any

from alpgm_dask.schema import InputError


def add(verbs: Any) -> None:
    """Register ``catalog`` and its verbs."""
    kinds = verbs.add_parser("catalog", help="list, show and check the entries of a catalog").add_subparsers(
        dest="kind", required=True, metavar="list|show|check"
    )
    listing = kinds.add_parser("list", help="entries, where they are, and their parameters")
    show = kinds.add_parser("show", help="what an entry holds: dimensions, variables, units, chunks; nothing is loaded")
    check = kinds.add_parser("check", help="open every local entry, with every option; remote ones for form only")
    for parser, call in ((listing, _list), (show, _show), (check, _check)):
        parser.add_argument("catalog", metavar="CATALOG", help="the YAML file, here or at a URL")
        parser.set_defaults(call=call)
    show.add_argument("entry", metavar="ENTRY", help="name of the entry")
    for parser in (listing, show):
        parser.add_argument(
            "--param", action="append", default=[], metavar="NAME=VALUE", help="parameter (may be given more than once)"
        )
    check.add_argument("--reach", action="store_true", help="try to open remote entries, with their defaults")
    check.add_argument("--timeout", type=float, default=30.0, help="seconds for each of them (default: %(default)g)")


def _parameters(arguments: argparse.Namespace) -> dict[str, str]:
    wrong = [text for text in arguments.param if not text.partition("=")[1] or not text.partition("=")[0]]
    if wrong:
        raise InputError(f"--param {wrong[0]!r}; allowed: name=value")
    return dict(text.split("=", 1) for text in arguments.param)


def _list(arguments: argparse.Namespace) -> None:
    from alpgm_dask.catalog import list_entries, open_catalog

    catalog = open_catalog(arguments.catalog, **_parameters(arguments))
    for entry in list_entries(catalog):
        print(f"{entry.name} ({entry.kind})  {entry.where}")
        if entry.description:
            print(f"    {' '.join(entry.description.split())}")
        for name, (default, options) in entry.parameters.items():
            print(f"    {name} = {default}" + (f" (of {', '.join(options)})" if options else " (free)"))


def _show(arguments: argparse.Namespace) -> None:
    from alpgm_dask.catalog import open_catalog, show_entry

    print(show_entry(open_catalog(arguments.catalog, **_parameters(arguments)), arguments.entry))


def _check(arguments: argparse.Namespace) -> None:
    from alpgm_dask.catalog import check_catalog

    checked = check_catalog(arguments.catalog, reach=arguments.reach, timeout=arguments.timeout)
    width = max((len(entry.name) for entry in checked), default=0)
    for entry in checked:
        print(f"{entry.name:<{width}}  {entry.status:<11}  {entry.where}\n{'':<{width}}  {entry.remark}")
    failed = [entry.name for entry in checked if entry.status == "failed"]
    if failed:
        raise InputError(f"{arguments.catalog}: {len(failed)} of {len(checked)} entries failed: {', '.join(failed)}")
