"""A Dask client as a context manager: processes here, Dask Gateway, SLURM, or a scheduler that runs elsewhere.

:mod:`.connection` has :func:`connect`; :mod:`.asking` what may be asked of which kind of cluster; :mod:`.local`,
:mod:`.gateway` and :mod:`.slurm` start one; :mod:`.workers` makes workers of one thread and of the same code.
"""

from alpgm_dask.cluster.asking import check_asked, check_kind, check_memory, check_workers
from alpgm_dask.cluster.connection import connect
from alpgm_dask.cluster.workers import THREADS

__all__ = ["THREADS", "check_asked", "check_kind", "check_memory", "check_workers", "connect"]
