"""Clusters: processes of one thread that Ctrl-C leaves alone; workers elsewhere, of the same code and one thread."""

from __future__ import annotations

import re
import signal
import sys

import pytest

import alpgm_dask
from alpgm_dask import cluster
from alpgm_dask.cluster import THREADS, connect, gateway, slurm, workers
from alpgm_dask.schema import InputError


def _blocked() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _environment() -> dict[str, str | None]:
    import os

    return {name: os.environ.get(name) for name in THREADS}


def _threads_of_blas() -> set[int]:
    import numpy as np
    import threadpoolctl

    np.ones((2, 2)) @ np.ones((2, 2))
    return {library["num_threads"] for library in threadpoolctl.threadpool_info()}


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks on this system")
def test_workers_do_not_see_interrupts_and_the_client_does():
    with connect(workers=2) as client:
        assert list(client.run(_blocked).values()) == [True, True]
        assert not _blocked()
        assert all(found == THREADS for found in client.run(_environment).values())
        address = client.scheduler.address
        with connect(address) as other:
            assert other.submit(sum, [1, 2]).result() == 3
        assert client.submit(sum, [1, 2]).result() == 3  # the other only disconnected


# -- a scheduler that runs already --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running():
    """A cluster that somebody else started, of two threads per worker; more workers come on request."""
    import dask
    from distributed import LocalCluster

    environment = {"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}}
    options = {"n_workers": 1, "threads_per_worker": 2, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(environment), LocalCluster(**options) as found:
        yield found


def test_workers_that_run_already_are_held_to_one_thread(running):
    with connect(running.scheduler_address) as client:
        assert all(found == THREADS for found in client.run(_environment).values())
        assert all(found == {1} for found in client.run(_threads_of_blas).values())
        running.scale(2)  # one that comes later is held to it too
        client.wait_for_workers(2, timeout=60)
        assert list(client.run(_threads_of_blas).values()) == [{1}, {1}]
        plugins = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins))
        assert any("one-thread" in name for name in plugins)
    from distributed import Client

    with Client(running.scheduler_address) as client:  # nothing is left for workers that come after us
        plugins = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins))
    assert not any("one-thread" in name for name in plugins)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpgm_dask": "9.9.9"}, r"has alpgm_dask \S+ and not 9\.9\.9 as this process; allowed: the same on both"),
        ({"Python": "3.99"}, r"worker tcp://127\.0\.0\.1:\d+ has Python 3\.\d+ and not 3\.99"),
        ({"its source": "abc", "Python": "2.7"}, r"has Python \S+ and not 2\.7, its source \w+ and not abc"),
    ],
)
def test_workers_of_other_code_are_refused(running, monkeypatch, change, message):
    own = workers.identity()
    from distributed import Client

    with Client(running.scheduler_address) as client:
        run = client.run
        monkeypatch.setattr(workers, "identity", lambda: {**own, **change})
        monkeypatch.setattr(client, "run", lambda function: run(_identity))
        with pytest.raises(InputError, match=f"^there: .*{message}"):
            workers.refuse_other_code(client, "there")


def _identity() -> dict[str, str]:
    from alpgm_dask.cluster.workers import identity

    return identity()


def test_a_version_that_differs_is_refused_on_connecting(running, monkeypatch):
    monkeypatch.setattr(alpgm_dask, "__version__", "0.0.1")
    with (
        pytest.raises(InputError, match=r"^tcp://127.*has alpgm_dask .* and not 0\.0\.1"),
        connect(running.scheduler_address),
    ):
        pass


def test_workers_without_the_package_are_refused(running):
    """What a worker that cannot import the function says."""
    from distributed import Client

    with Client(running.scheduler_address) as client:

        class Without:
            def run(self, function):
                return client.run(_import_nothing)

        with pytest.raises(InputError, match=r"a worker cannot import the package \(No module named 'alpgm_nowhere'\)"):
            workers.refuse_other_code(Without(), "there")


def _import_nothing() -> None:
    import alpgm_nowhere  # noqa: F401


def test_a_scheduler_without_workers_is_refused(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(cluster.connection, "ADDRESSED_WORKER", 0.2)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(InputError, match=r"^tcp://.*: no worker has come within 0\.2 s; needed: one at least"),
        connect(empty.scheduler_address),
    ):
        pass


# -- what may be asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kind": "pbs"}, 'allowed: "local", "gateway", "slurm", or an address .*; given \'pbs\''),
        ({"kind": "address"}, "given 'address'"),
        ({"workers": 0}, r"allowed: a number from 1 on, .* such as \[2, 20\]; given 0"),
        ({"workers": True}, "given True"),
        ({"workers": [3, 2], "kind": "gateway"}, r"given \[3, 2\]"),
        ({"workers": [0, 2], "kind": "gateway"}, r"given \[0, 2\]"),
        ({"workers": [1, 2, 3], "kind": "slurm"}, r"given \[1, 2, 3\]"),
        ({"workers": [1, 2]}, "workers: a local cluster does not grow and shrink; allowed: a number"),
        ({"memory": "much"}, "allowed: a number and its unit, such as \"1.5GB\"; given 'much'"),
        ({"options": {"image": "x"}}, 'options: kind = "local" takes workers and memory; leave it out'),
        ({"kind": "gateway", "memory": "2GB"}, "memory: .* takes workers and options; memory of its workers is one of"),
        ({"kind": "tcp://127.0.0.1:1", "workers": 2}, "workers: .* takes nothing else; leave it out"),
        ({"kind": "slurm", "options": {"queu": "x"}}, "options: a SLURM job has no option 'queu'; allowed: .*queue"),
        ({"kind": "slurm", "options": {"workers_per_job": 0}}, "workers_per_job: allowed: a number from 1 on; given 0"),
    ],
)
def test_what_a_kind_does_not_take_is_refused(asked, message):
    if asked.get("kind") == "slurm" and "options" in asked:
        with pytest.raises(InputError, match=message):
            slurm.job_arguments("1GB", asked["options"])
        return
    with pytest.raises(InputError, match=message), connect(**asked):
        pass


@pytest.mark.parametrize(("kind", "package"), [("gateway", "dask-gateway"), ("slurm", "dask-jobqueue")])
def test_a_missing_package_is_named_with_its_extra(kind, package, monkeypatch):
    module = package.replace("-", "_")
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(InputError, match=rf"{kind}\" needs the package {package}, .*alpgm_dask\[{kind}\]"),
        connect(kind),
    ):
        pass


# -- options of a Gateway, without one ----------------------------------------------------------------------


def test_only_what_a_gateway_offers_is_set():
    offered = {"worker_resource_allocation": "1CPU, 7.2Gi", "image": "a:1", "environment": {"A": "1"}}
    gateway.choose(offered, {"image": "b:2", "environment": {"B": "2", "OMP_NUM_THREADS": "4"}})
    assert offered["image"] == "b:2" and offered["worker_resource_allocation"] == "1CPU, 7.2Gi"
    # the server's own variables stay, threads are added, and what was asked for outright is kept
    assert offered["environment"] == {**THREADS, "A": "1", "B": "2", "OMP_NUM_THREADS": "4"}
    bare = {"worker_cores": 1}
    gateway.choose(bare, {})
    assert bare == {"worker_cores": 1}


def test_an_option_that_is_not_offered_is_refused_with_those_that_are():
    message = "this Gateway does not offer 'worker_memory'; it offers: image, worker_resource_allocation"
    with pytest.raises(InputError, match=re.escape(message)):
        gateway.choose({"worker_resource_allocation": "", "image": ""}, {"worker_memory": 4})
    with pytest.raises(InputError, match="it offers: none at all"):
        gateway.choose({}, {"image": "x"})


def test_a_value_that_is_refused_is_said():
    class Strict(dict):
        def __setitem__(self, key, value):
            raise ValueError("outside of 1 to 4")

    with pytest.raises(InputError, match="options: worker_cores: outside of 1 to 4; given 9"):
        gateway.choose(Strict(worker_cores=1), {"worker_cores": 9})


# -- jobs of SLURM, without one -----------------------------------------------------------------------------


def test_a_job_has_processes_of_one_thread():
    found = slurm.job_arguments("2GB", {"workers_per_job": 4, "job_script_prologue": ["module load python"]})
    assert found["cores"] == found["processes"] == 4 and found["memory"] == "8000000000B"
    assert found["job_script_prologue"][0] == "export OMP_NUM_THREADS=1"
    assert found["job_script_prologue"][-1] == "module load python"
