"""A real Dask Gateway on this machine, and jobs of a stand-in for SLURM: clusters come, work, and are gone."""

from __future__ import annotations

import os
import sys
import time

import cloudpickle
import dask
import numpy as np
import pytest
import servers

import alpgm_dask
from alpgm_dask import pipeline, store
from alpgm_dask.cluster import THREADS, connect
from alpgm_dask.cluster.gateway import _running_loop
from alpgm_dask.config import load_config
from alpgm_dask.schema import InputError

pytestmark = pytest.mark.hub

# workers of other processes cannot import this module
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """The configuration of Dask that leads to a Gateway, as a hub's environment has it."""
    pytest.importorskip("dask_gateway")
    pytest.importorskip("dask_gateway_server")
    folder = tmp_path_factory.mktemp("gateway")
    with servers.gateway_server(folder, environment={"OF_THE_SERVER": "yes"}) as found:
        auth = {"type": "basic", "kwargs": {"username": "alice", "password": "password-of-a-test"}}
        yield {
            "gateway.address": found["address"],
            "gateway.proxy-address": found["proxy_address"],
            "gateway.auth": auth,
        }


def _clusters() -> list:
    from dask_gateway import Gateway

    with Gateway(loop=_running_loop()) as one:
        return one.list_clusters()


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_a_cluster_comes_works_and_is_gone(gateway):
    said = []
    options = {"worker_cores": 1, "environment": {"MINE": "too"}}
    with dask.config.set(gateway), connect("gateway", workers=2, options=options, say=said.append) as client:
        assert len(_clusters()) == 1
        client.wait_for_workers(2, timeout=60)
        for found in client.run(_environment).values():
            assert THREADS.items() <= found.items()
            assert found["OF_THE_SERVER"] == "yes" and found["MINE"] == "too"
        assert client.gather(client.map(abs, [-1, -2])) == [1, 2]
        assert client.dashboard_link.startswith(gateway["gateway.address"])
    assert any("waiting for the first worker" in line for line in said)
    with dask.config.set(gateway):
        servers.wait_until(lambda: not _clusters(), 30, "the cluster's end")


def test_a_cluster_grows_with_its_work_and_is_gone_after_an_error(gateway):
    with dask.config.set(gateway):
        with pytest.raises(ZeroDivisionError), connect("gateway", workers=[1, 2]) as client:
            futures = client.map(time.sleep, [1.0] * 40, pure=False)
            client.wait_for_workers(2, timeout=25)
            client.cancel(futures)
            _ = 1 / 0
        servers.wait_until(lambda: not _clusters(), 30, "the cluster's end")


RUN = """
title = "on a Gateway"
catalog = "{catalog}"
output = "run"
[glaciers]
massifs = ["Bois Noirs"]
[period]
start = 2016
end = 2020
[smb]
model = "prescribed"
prescribed = -1.0
[cluster]
kind = "gateway"
workers = [1, 2]
options = {{worker_cores = 1, environment = {{PRIVATE = "not-for-results"}}}}
"""


def test_a_run_file_asks_for_a_cluster(gateway, demo_catalog, tmp_path):
    (tmp_path / "run.toml").write_text(RUN.format(catalog=demo_catalog))
    said = []
    with dask.config.set(gateway):
        folder = pipeline.run(load_config(tmp_path / "run.toml"), say=said.append)
        servers.wait_until(lambda: not _clusters(), 30, "the cluster's end")
    assert any(line.startswith(f"Dask dashboard: {gateway['gateway.address']}") for line in said)
    results = store.open_store(str(folder / "results.zarr"))
    assert set(np.unique(results["status"])) <= {1, 2} and results.attrs["failed_blocks"] == 0
    assert "not-for-results" not in str(results.attrs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "a:1"}, r"^Dask Gateway http.*does not offer 'image'; it offers: environment, worker_cores"),
        ({"worker_cores": 9}, r"options: worker_cores: .*; given 9"),
        ({"worker_cores": "many"}, r"options: worker_cores: .*; given 'many'"),
    ],
)
def test_options_are_refused(gateway, options, message):
    with dask.config.set(gateway):
        with pytest.raises(InputError, match=message), connect("gateway", options=options):
            pass
        assert not _clusters()


def test_workers_of_another_version_are_refused_and_the_cluster_is_gone(gateway, monkeypatch):
    monkeypatch.setattr(alpgm_dask, "__version__", "0.0.1")
    with dask.config.set(gateway):
        message = r"worker tls://\S+ has alpgm_dask \S+ and not 0\.0\.1 as this process; allowed: the same on both"
        with pytest.raises(InputError, match=message), connect("gateway", workers=1):
            pass
        servers.wait_until(lambda: not _clusters(), 30, "the cluster's end")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gateway.address": None}, "^Dask Gateway: No dask-gateway address provided or found in configuration"),
        ({"gateway.address": "http://127.0.0.1:9"}, r"^Dask Gateway http://127\.0\.0\.1:9: no answer .*needed"),
        ({"gateway.auth.kwargs.password": "wrong"}, r"refused \(401 .*\); needed: a user"),
    ],
)
def test_a_gateway_that_cannot_serve_is_said(gateway, change, message):
    with (
        dask.config.set(gateway),
        dask.config.set(change),
        pytest.raises(InputError, match=message),
        connect("gateway"),
    ):
        pass


# -- SLURM: its commands replaced by ones that run a job here -------------------------------------------------

_SBATCH = """#!/bin/sh
if [ "$1" = --test-only ]; then
  if grep -q "SBATCH -A nobody"; then echo "sbatch: error: Invalid account" >&2; exit 1; fi
  exit 0
fi
cp "$1" "{folder}/job.$$"  # what SLURM does: the script may be gone before the job runs
setsid sh "{folder}/job.$$" > "{folder}/job.$$.log" 2>&1 &
echo "Submitted batch job $!"
"""
_SCANCEL = """#!/bin/sh
for job in "$@"; do kill -TERM -- "-$job"; done
"""


@pytest.fixture
def batch_system(tmp_path, monkeypatch):
    """Stand-ins for ``sbatch`` and ``scancel``; gives the folder where jobs leave their scripts."""
    pytest.importorskip("dask_jobqueue")
    for name, text in (("sbatch", _SBATCH), ("scancel", _SCANCEL)):
        command = tmp_path / name
        command.write_text(text.format(folder=tmp_path))
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_workers_as_jobs(batch_system):
    options = {"interface": "lo", "queue": "short", "account": "ice", "walltime": "00:10:00", "workers_per_job": 2}
    with connect("slurm", workers=2, memory="600MB", options=options) as client:
        client.wait_for_workers(2, timeout=60)
        assert all(THREADS.items() <= found.items() for found in client.run(_environment).values())
        assert all(worker["nthreads"] == 1 for worker in client.scheduler_info()["workers"].values())
        assert client.gather(client.map(abs, [-1, -2])) == [1, 2]
    (script,) = [path.read_text() for path in batch_system.glob("job.*") if path.suffix != ".log"]
    for line in ("#SBATCH -p short", "#SBATCH -A ice", "#SBATCH --cpus-per-task=2", "#SBATCH -t 00:10:00"):
        assert line in script
    assert "export OMP_NUM_THREADS=1" in script and "--nworkers 2" in script and "--nthreads 1" in script


def test_a_job_that_slurm_refuses_is_not_waited_for(batch_system):
    message = "^SLURM: refuses a job of these options: sbatch: error: Invalid account; see"
    with pytest.raises(InputError, match=message), connect("slurm", options={"interface": "lo", "account": "nobody"}):
        pass


def test_without_slurm_there_are_no_jobs(monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"^SLURM: there is no command sbatch here"), connect("slurm"):
        pass
