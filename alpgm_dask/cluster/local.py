"""Processes of one thread on this machine, which a terminal's Ctrl-C leaves alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any

from alpgm_dask.cluster.workers import THREADS


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
def local_client(workers: int, memory: str) -> Iterator[Any]:
    """A client of that many new processes on this machine, each of one thread and with a limit of memory."""
    import dask
    from distributed import Client, LocalCluster

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
