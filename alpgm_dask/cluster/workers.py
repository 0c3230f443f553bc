"""Workers elsewhere: one thread for each task, and the code of this process."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alpgm_dask.schema import InputError

#: Every task is one thread: the kernels and small matrix products are slower, not faster, when threads of BLAS or
#: TensorFlow compete for its core.
THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


def limit_threads() -> None:
    """One thread for the libraries of this process: those that are loaded, and those that will be."""
    from threadpoolctl import threadpool_limits

    # Numba reads its variable again at every compilation, and refuses another number once its threads have started
    started = "numba" in sys.modules
    os.environ.update({name: value for name, value in THREADS.items() if not (started and name.startswith("NUMBA"))})
    threadpool_limits(1)


def identity() -> dict[str, str]:
    """What a client and its workers must have in common.

    Of Python the minor version: a newer one reads and makes other bytecode.
    """
    import alpgm_dask
    from alpgm_dask.source_code import code_fingerprint

    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "alpgm_dask": alpgm_dask.__version__,
        "its source": code_fingerprint()[:12],
    }


def refuse_other_code(client: Any, where: str) -> None:
    """Refuse workers that would not compute what this process means (InputError, naming one and what differs)."""
    own = identity()
    try:
        found = client.run(identity)
    except ImportError as error:
        raise InputError(
            f"{where}: a worker cannot import the package ({error}); allowed: workers of an image or environment that "
            f"has alpgm_dask {own['alpgm_dask']}"
        ) from error
    for worker, theirs in found.items():
        differs = [f"{name} {theirs.get(name)} and not {own[name]}" for name in own if theirs.get(name) != own[name]]
        if differs:
            raise InputError(
                f"{where}: worker {worker} has {', '.join(differs)} as this process; allowed: the same on both sides, "
                "from one image or environment"
            )


def wait_for_worker(client: Any, where: str, seconds: float | None) -> None:
    """Wait for the first worker, `seconds` at most (InputError; None: for ever, as in the queue of a batch system)."""
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as error:
        raise InputError(
            f"{where}: no worker has come within {seconds:g} s; needed: one at least, see its logs and quotas"
        ) from error


@contextmanager
def prepared(
    client: Any, where: str, *, seconds: float | None, say: Callable[[str], None] | None = None
) -> Iterator[Any]:
    """The client, once a worker is there that has the same code; every worker, also one that comes later, gets limits.

    Parameters
    ----------
    client
        of a cluster whose workers are not processes of this one.
    where
        what the cluster is called in messages.
    seconds
        to wait for the first worker; None: for ever.
    say
        is told what is waited for, if there is no worker yet.
    """
    from distributed import WorkerPlugin

    class OneThread(WorkerPlugin):
        """Limits the threads of a worker as it starts."""

        name = f"alpgm-one-thread-{client.id}"  # of this client: another's ends with the other

        def setup(self, worker: Any) -> None:
            limit_threads()

    if say is not None and not client.scheduler_info(n_workers=1)["workers"]:
        say(f"{where}: waiting for the first worker; Dask dashboard: {client.dashboard_link}")
    wait_for_worker(client, where, seconds)
    refuse_other_code(client, where)
    client.register_plugin(OneThread())
    try:
        yield client
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(OneThread.name)
