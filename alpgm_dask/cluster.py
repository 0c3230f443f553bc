"""A Dask client as a context manager: processes on this machine, or a scheduler that runs elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Every worker is one thread: the kernels and small matrix products are slower, not faster, when threads of BLAS or
#: TensorFlow compete for its core.
THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


@contextmanager
def connect(kind: str = "local", *, workers: int = 2, memory: str = "1.5GB") -> Iterator[Any]:
    """A client of a cluster; a local one is stopped at the end, another only disconnected.

    Parameters
    ----------
    kind
        ``local``: one process per worker on this machine, or a scheduler's address (``tcp://host:port``).
    workers, memory
        number of local workers and memory limit of each.

    Yields
    ------
    distributed.Client
    """
    import dask
    from distributed import Client, LocalCluster

    if kind != "local":
        with Client(kind) as client:
            yield client
        return
    environment = {"distributed.nanny.pre-spawn-environ": {**THREADS, "MALLOC_TRIM_THRESHOLD_": "65536"}}
    with (
        dask.config.set(environment),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=memory,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
