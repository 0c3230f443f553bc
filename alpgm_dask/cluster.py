"""A Dask client as a context manager: processes on this machine, or a scheduler that runs elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
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
def _interrupts_kept_from_children() -> Iterator[None]:
    """Processes and threads started inside never see Ctrl-C, which a terminal sends to all of a program's processes.

    Workers would each print how they were interrupted. The program itself gets a Ctrl-C of that time at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # starting it lifts the block, so it has to run before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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

    Notes
    -----
    Workers are new processes that import the main module: a script (not a notebook) must call this, and all that
    calls it, under ``if __name__ == "__main__":``.
    """
    import dask
    from distributed import Client, LocalCluster

    if kind != "local":
        with Client(kind) as client:
            yield client
        return
    environment = {"distributed.nanny.pre-spawn-environ": {**THREADS, "MALLOC_TRIM_THRESHOLD_": "65536"}}
    with dask.config.set(environment), ExitStack() as stack:
        with _interrupts_kept_from_children():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=memory,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                )
            )
            client = stack.enter_context(Client(cluster))
        yield client
