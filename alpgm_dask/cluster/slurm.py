"""Workers as SLURM jobs, through dask-jobqueue: the scheduler runs in this process, on a node that jobs can reach."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from shutil import which
from typing import Any

from alpgm_dask.cluster.asking import MEMORY, Workers, needed, scale
from alpgm_dask.cluster.workers import THREADS, prepared
from alpgm_dask.schema import InputError

#: Options of a job that may be asked for, and what they are; all but the first are those of dask-jobqueue.
OPTIONS = {
    "workers_per_job": "workers that share a job, one core each (1)",
    "queue": "partition",
    "account": "who pays",
    "walltime": "of a job, such as 04:00:00",
    "interface": "network that nodes reach each other by, such as ib0",
    "local_directory": "folder on a node for what does not fit into memory",
    "log_directory": "folder of the jobs' logs",
    "job_script_prologue": "lines before the worker starts, such as module load",
    "job_extra_directives": "further lines after #SBATCH",
    "worker_extra_args": "further arguments of dask worker, such as --lifetime 3h",
    "python": "interpreter on the nodes",
}


def job_arguments(memory: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``dask_jobqueue.SLURMCluster``: processes of one thread, `memory` for each.

    >>> asked = job_arguments("2GB", {"workers_per_job": 4, "walltime": "01:00:00"})
    >>> asked["cores"], asked["processes"], asked["memory"], asked["walltime"]
    (4, 4, '8000000000B', '01:00:00')

    Raises
    ------
    InputError
        if an option is unknown, or there is not one worker in a job.
    """
    from dask.utils import parse_bytes

    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise InputError(f"options: a SLURM job has no option {unknown[0]!r}; allowed: {', '.join(OPTIONS)}")
    given = dict(options)
    n = given.pop("workers_per_job", 1)
    if not isinstance(n, int) or n < 1:
        raise InputError(f"options: workers_per_job: allowed: a number from 1 on; given {n!r}")
    threads = [f"export {name}={value}" for name, value in THREADS.items()]
    given["job_script_prologue"] = [*threads, *given.get("job_script_prologue", [])]
    return {"cores": n, "processes": n, "memory": f"{n * parse_bytes(memory)}B", **given}


@contextmanager
def slurm_client(
    workers: Workers | None, memory: str | None, options: Mapping[str, Any], say: Callable[[str], None]
) -> Iterator[Any]:
    """A client of workers in jobs that are submitted here and cancelled at the end; jobs may queue as long as they do.

    Raises
    ------
    InputError
        if an option is unknown, SLURM's commands are not here, or SLURM refuses such a job.
    """
    jobqueue = needed("dask_jobqueue", "slurm")
    arguments = job_arguments(memory or MEMORY, options)
    if which("sbatch") is None:
        raise InputError("SLURM: there is no command sbatch here; needed: a node that jobs are submitted from")
    with jobqueue.SLURMCluster(**arguments) as cluster:
        refuse_job(cluster.job_script())
        scale(cluster, workers)
        with cluster.get_client() as client, prepared(client, "SLURM", seconds=None, say=say):
            yield client


def refuse_job(script: str) -> None:
    """Ask SLURM whether it would take a job (InputError): one that it refuses later would be waited for in vain."""
    asked = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True, check=False)
    if asked.returncode:
        raise InputError(
            f"SLURM: refuses a job of these options: {asked.stderr.strip()}; see its partitions and accounts"
        )
