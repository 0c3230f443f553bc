"""``alpgm <verb>``: parse, start the cluster, call the pipeline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alpgm_dask.cli import catalog, convert, delta_h, predictors
from alpgm_dask.schema import InputError


class WorkFailedError(RuntimeError):
    """The input was good and the work was not: the message says what to do."""


_EXAMPLES = """\
from nothing:          alpgm demo, then alpgm run catalogs/demo.toml
your own mountains:    alpgm convert ..., alpgm check RUN.toml, alpgm run RUN.toml, alpgm show FOLDER
how good is it, why:   alpgm validate RUN.toml, alpgm explain RUN.toml

"alpgm VERB --help" says what a verb takes. Exit status: 0 done, 1 the work failed, 2 the input was refused.
"""

_CLUSTER = "local, gateway, slurm or an address, as it comes, instead of all that the run file says of a cluster"


def _parser() -> argparse.ArgumentParser:
    from alpgm_dask import __version__

    parser = argparse.ArgumentParser(
        prog="alpgm",
        description="Regional glacier evolution on Dask, Xarray and Zarr.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_run(verbs)
    _add_validate(verbs)
    _add_explain(verbs)
    convert.add(verbs)
    predictors.add(verbs)
    delta_h.add(verbs)
    catalog.add(verbs)
    show = verbs.add_parser("show", help="table and pictures of a run")
    show.add_argument("run", type=Path, metavar="FOLDER", help="the run's folder: output in its run file")
    show.add_argument("--inventories", type=Path, metavar="CATALOG", help="compare with inventories of the run's years")
    show.set_defaults(call=_show)
    demo = verbs.add_parser("demo", help="build the demo region: stores and a catalog")
    demo.add_argument("--out", type=Path, default=Path("demo/data"), help="folder (default: %(default)s)")
    demo.add_argument("--overwrite", action="store_true", help="build it again")
    demo.set_defaults(call=_demo)
    words = verbs.add_parser("words", help="every variable with its units and meaning")
    words.set_defaults(call=_words)
    return parser


def _add_run(verbs: Any) -> None:
    force = "do a stage again (may be repeated): training, smb, adjustment, forcing, delta_h, evolution or figures"
    for verb, call, text in (
        ("run", _run, "do what a run file says; stages whose inputs and settings are unchanged are skipped"),
        ("check", _check, "check a run file and its inputs, without doing any work"),
    ):
        parser = verbs.add_parser(verb, help=text, description=f"{text[0].upper()}{text[1:]}.")
        parser.add_argument("file", type=Path, metavar="RUN.toml", help="run file")
        parser.add_argument("--catalog", help="catalog instead of the run file's")
        parser.add_argument("--output", help="folder of the run instead of the run file's")
        parser.add_argument("--cluster", metavar="KIND", help=_CLUSTER)
        parser.set_defaults(call=call)
        if verb == "run":
            parser.add_argument("--resume", action="store_true", help="finish results that were cut short")
            parser.add_argument("--overwrite", action="store_true", help="replace other or unfinished results")
            parser.add_argument("--force", action="append", default=[], metavar="STAGE", help=force)


def _add_validate(verbs: Any) -> None:
    text = "cross-validate the SMB model of a run: predictions, scores and figures; finished folds are kept"
    parser = verbs.add_parser("validate", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("file", type=Path, metavar="RUN.toml", help="run file")
    parser.add_argument(
        "--scheme",
        action="append",
        default=[],
        help="logo, loyo, lsygo, years-N, massif (may be given more than once; default: those of the run file)",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help="name (may be given more than once; default: those of the run file)",
    )
    parser.add_argument(
        "--protocol",
        choices=("nested", "published"),
        default="nested",
        help="published: the epoch is chosen on the test fold, as in ALPGM 1.2, which is no measure of skill",
    )
    parser.add_argument("--catalog", help="catalog instead of the run file's")
    parser.add_argument("--output", help="folder of the run instead of the run file's")
    parser.add_argument("--cluster", metavar="KIND", help=_CLUSTER)
    parser.add_argument("--overwrite", action="store_true", help="replace validations of other inputs or settings")
    parser.set_defaults(call=_validate)


def _add_explain(verbs: Any) -> None:
    text = "what the SMB model of a run goes by: importance of features, response to climate beside a Lasso"
    parser = verbs.add_parser("explain", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("file", type=Path, metavar="RUN.toml", help="run file")
    parser.add_argument("--scheme", default="logo", help="what is held out for the importance (default: %(default)s)")
    parser.add_argument("--catalog", help="catalog instead of the run file's")
    parser.add_argument("--output", help="folder of the run instead of the run file's")
    parser.add_argument("--cluster", metavar="KIND", help=_CLUSTER)
    parser.set_defaults(call=_explain)


def _config(arguments: argparse.Namespace) -> Any:
    from alpgm_dask.config import load_config

    return load_config(arguments.file, catalog=arguments.catalog, output=arguments.output, cluster=arguments.cluster)


def _run(arguments: argparse.Namespace) -> None:
    from alpgm_dask import outputs, pipeline, report

    config = _config(arguments)
    try:
        folder = pipeline.run(config, resume=arguments.resume, overwrite=arguments.overwrite, force=arguments.force)
    except outputs.BlocksFailedError as error:
        raise WorkFailedError(str(error)) from error
    print(report.describe(folder))


def _validate(arguments: argparse.Namespace) -> None:
    from alpgm_dask import validate

    options = {"schemes": arguments.scheme, "models": arguments.model, "protocol": arguments.protocol}
    try:
        folder = validate.validate(_config(arguments), **options, overwrite=arguments.overwrite)
    except validate.FoldsFailedError as error:
        raise WorkFailedError(str(error)) from error
    print(f"\nvalidation: {folder}")


def _explain(arguments: argparse.Namespace) -> None:
    from alpgm_dask.explain import explain

    explain(_config(arguments), scheme=arguments.scheme)


def _check(arguments: argparse.Namespace) -> None:
    from alpgm_dask.inputs import last_year, open_inputs

    config = _config(arguments)
    inputs = open_inputs(config)
    years = f"{config.period.start}-{config.period.end}"
    print(f"{arguments.file}: ready, {inputs.glaciers.sizes['glacier']} glaciers, {years}")
    for name, url in inputs.urls.items():
        print(f"  {name:<20} {url}")
    if inputs.projection is not None:
        end = last_year(inputs.history)
        print(f"  history to {end}, projection from {end + 1}")


def _show(arguments: argparse.Namespace) -> None:
    from alpgm_dask import report

    print(report.describe(arguments.run, draw=True))
    if arguments.inventories:
        print(f"\n{report.compare(arguments.run, arguments.inventories)}")


def _demo(arguments: argparse.Namespace) -> None:
    from alpgm_dask.ingest import build_demo

    print(f"catalog: {build_demo(arguments.out, overwrite=arguments.overwrite)}")


def _words(arguments: argparse.Namespace) -> None:
    from alpgm_dask.schema import describe

    print(describe())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if the work failed, 2 if the input was refused."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.call(arguments)
    except InputError as error:
        print(f"alpgm: {error}", file=sys.stderr)
        return 2
    except WorkFailedError as error:
        print(f"alpgm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        hint = {"run": "; run again with --resume", "validate": "; run again, finished folds are kept"}.get(
            arguments.verb, ""
        )
        print(f"alpgm: interrupted{hint}", file=sys.stderr)
        return 130
    return 0
