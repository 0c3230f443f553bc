"""One way to any cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from alpgm_dask.cluster.asking import (
    MEMORY,
    WORKERS,
    Workers,
    check_asked,
    check_kind,
    check_memory,
    check_workers,
)
from alpgm_dask.cluster.gateway import gateway_client
from alpgm_dask.cluster.local import local_client
from alpgm_dask.cluster.slurm import slurm_client
from alpgm_dask.cluster.workers import prepared

#: Seconds to wait for a worker of a scheduler that runs already.
ADDRESSED_WORKER = 60.0


@contextmanager
def connect(
    kind: str = "local",
    *,
    workers: Workers | None = None,
    memory: str | None = None,
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> Iterator[Any]:
    """A client of a cluster; one that was started here is stopped at the end, also on errors.

    Workers that are not processes of this machine must have the same code as this process, and are held to one thread
    for BLAS, OpenMP, Numba and TensorFlow.

    Parameters
    ----------
    kind
        ``local``: one process per worker on this machine; ``gateway``: a new cluster of the Dask Gateway that the
        configuration of Dask names; ``slurm``: jobs; or a scheduler's address (``tcp://host:port``), which is only
        disconnected from.
    workers
        number of workers (2), or the least and the most, ``[2, 20]``, of a cluster that grows and shrinks with its
        work (``gateway``, ``slurm``).
    memory
        limit of each worker (1.5GB); of ``local`` and ``slurm``.
    options
        of ``gateway``: values for what its server offers, such as ``worker_memory`` or ``image``; of ``slurm``: those
        in :data:`alpgm_dask.cluster.slurm.OPTIONS`.
    say
        is told when workers are waited for.

    Yields
    ------
    distributed.Client

    Raises
    ------
    InputError
        if the kind or what was asked of it is not allowed, a package that it needs is not installed, the cluster does
        not come about, or its workers have other code.

    Notes
    -----
    Local workers are new processes that import the main module: a script (not a notebook) must call this, and all that
    calls it, under ``if __name__ == "__main__":``.
    """
    check_kind(kind)
    check_asked(kind, workers, memory, options)
    check_workers(WORKERS if workers is None else workers)
    check_memory(MEMORY if memory is None else memory)
    if kind == "local":
        made = local_client(WORKERS if workers is None else int(workers), memory or MEMORY)
    elif kind == "gateway":
        made = gateway_client(workers, options or {}, say)
    elif kind == "slurm":
        made = slurm_client(workers, memory, options or {}, say)
    else:
        made = _addressed_client(kind)
    with made as client:
        yield client


@contextmanager
def _addressed_client(address: str) -> Iterator[Any]:
    from distributed import Client

    with Client(address) as client, prepared(client, address, seconds=ADDRESSED_WORKER):
        yield client
