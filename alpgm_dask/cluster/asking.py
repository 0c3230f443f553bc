"""What may be asked of which kind of cluster; the same rules for a run file and for a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from alpgm_dask.schema import InputError

#: Number of workers, or the least and the most of them where a cluster grows and shrinks with its work.
Workers = int | Sequence[int]

#: Kind of cluster -> what can be asked of it; an address is that of a cluster that has its workers already.
TAKES = {
    "local": ("workers", "memory"),
    "gateway": ("workers", "options"),
    "slurm": ("workers", "memory", "options"),
    "address": (),
}

#: What is taken where nothing was asked for.
WORKERS, MEMORY = 2, "1.5GB"


def form_of(kind: str) -> str:
    """``kind`` as :data:`TAKES` has it.

    >>> form_of("gateway"), form_of("tcp://10.0.0.1:8786")
    ('gateway', 'address')
    """
    return "address" if "://" in kind else kind


def check_kind(kind: str) -> None:
    """Refuse a kind of cluster that there is not (InputError)."""
    if form_of(kind) not in TAKES or kind == "address":
        raise InputError(
            f'allowed: "local", "gateway", "slurm", or an address such as "tcp://host:8786"; given {kind!r}'
        )


def check_memory(memory: str) -> None:
    """Refuse what is no amount of memory (InputError)."""
    from dask.utils import parse_bytes

    try:
        parse_bytes(memory)
    except (ValueError, AttributeError) as error:
        raise InputError(f'allowed: a number and its unit, such as "1.5GB"; given {memory!r}') from error


def check_workers(workers: Workers) -> None:
    """Refuse what is neither a number of workers nor the least and the most of them (InputError)."""
    given = [workers] if isinstance(workers, int) else list(workers)
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in given)
    if not (whole and len(given) in (1, 2) and given[0] >= 1 and given[0] <= given[-1]):
        allowed = "a number from 1 on, or the least and the most such as [2, 20]"
        raise InputError(f"allowed: {allowed}; given {workers!r}")


def check_asked(
    kind: str, workers: Workers | None = None, memory: str | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Refuse what this kind of cluster does not take (InputError); None and empty stand for nothing asked.

    >>> check_asked("tcp://10.0.0.1:8786", workers=4)
    Traceback (most recent call last):
    alpgm_dask.schema.InputError: workers: kind = "tcp://10.0.0.1:8786" takes nothing else; leave it out
    """
    asked = {"workers": workers, "memory": memory, "options": options or None}
    for name, value in asked.items():
        if value is not None and name not in TAKES[form_of(kind)]:
            allowed = " and ".join(TAKES[form_of(kind)]) or "nothing else"
            hint = "; memory of its workers is one of the options" if (kind, name) == ("gateway", "memory") else ""
            raise InputError(f'{name}: kind = "{kind}" takes {allowed}{hint}; leave it out')
    if kind == "local" and not isinstance(workers, int | None):
        raise InputError("workers: a local cluster does not grow and shrink; allowed: a number")


def needed(package: str, extra: str) -> Any:
    """A package that only some clusters need (InputError names the extra that installs it)."""
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(
            f'kind = "{extra}" needs the package {package.replace("_", "-")}, which is not installed; '
            f'install the extra: pip install "alpgm_dask[{extra}]"'
        ) from error


def scale(cluster: Any, workers: Workers | None) -> None:
    """Let a cluster have so many workers, or grow and shrink between the least and the most."""
    asked = WORKERS if workers is None else workers
    if isinstance(asked, int):
        cluster.scale(asked)
    else:
        cluster.adapt(minimum=asked[0], maximum=asked[-1])
