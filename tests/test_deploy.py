"""What an operator installs: values that the Gateway's own classes take, an image and jobs that have what we need."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from alpgm_dask.cluster import slurm
from alpgm_dask.config import load_config

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VALUES = yaml.safe_load((DEPLOY / "daskhub-values.yaml").read_text())
PIECES = VALUES["dask-gateway"]["gateway"]["extraConfig"]


def _name_and_version(requirement: str) -> tuple[str, str]:
    name, version = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)[^.\d]*.*", requirement).groups()
    return name.lower().replace("_", "-"), version


def test_the_environment_has_every_dependency_with_its_lower_bound():
    packages = yaml.safe_load((DEPLOY / "environment.yml").read_text())["dependencies"]
    found = dict(_name_and_version(entry) for entry in packages if ">=" in entry)
    names = {"dask": "dask-core", "geopandas": "geopandas-base", "matplotlib": "matplotlib-base"}
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["slurm"], *extras["ann"][:2]]
    for name, version in map(_name_and_version, wanted):
        assert found.get(names.get(name, name)) == version, name


def test_the_example_of_slurm_is_a_run_file():
    config = load_config(DEPLOY / "slurm.toml")
    assert config.cluster.kind == "slurm" and config.cluster.workers == (16, 128)
    found = slurm.job_arguments(config.cluster.memory, config.cluster.options)
    assert found["processes"] == 16 and found["memory"] == "32000000000B"


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
@pytest.mark.parametrize("path", [DEPLOY / "slurm.sh", ROOT / ".ci/run"], ids=lambda path: path.name)
def test_scripts_are_scripts(path):
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("name", PIECES)
def test_python_in_the_values_is_python(name):
    compile(PIECES[name], name, "exec")


def test_there_are_no_secrets_and_one_image():
    text = (DEPLOY / "daskhub-values.yaml").read_text()
    keys = re.findall(r"^\s*([\w-]+):", re.sub(r"^\s*#.*$", "", text, flags=re.M), re.M)
    assert not [key for key in keys if re.search(r"(?i)secret|token|password|client_id|access_key", key)]
    one = {"name": "REGISTRY/alpgm-dask", "tag": "TAG"}
    assert VALUES["jupyterhub"]["singleuser"]["image"] == one
    assert VALUES["dask-gateway"]["gateway"]["backend"]["image"] == one
    assert "{name}:{tag}".format(**one) in PIECES["20-options"]


# -- by the programs that will read it ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def configured():
    """The Gateway's configuration after the Python in our values has run, and its class of clusters."""
    pytest.importorskip("dask_gateway_server")
    pytest.importorskip("kubernetes_asyncio")
    from dask_gateway_server.backends.kubernetes.backend import KubeClusterConfig
    from traitlets.config import Config

    config = Config()
    for name in sorted(PIECES):
        exec(compile(PIECES[name], name, "exec"), {"c": config})
    return config, KubeClusterConfig


@pytest.mark.hub
def test_limits_are_those_of_the_gateways_class(configured):
    config, kind = configured
    assert set(config.KubeClusterConfig) <= set(kind.class_trait_names())
    limited = kind(config=config)
    assert limited.cluster_max_workers == 64 and limited.cluster_max_memory == 300 * 2**30


@pytest.mark.hub
def test_options_that_a_user_picks_make_a_cluster(configured):
    from dask_gateway.options import Options

    from alpgm_dask.cluster import THREADS, gateway

    config, kind = configured
    server = config.Backend.cluster_options
    offered = Options._from_spec(server.get_specification())
    gateway.choose(offered, {"worker_resource_allocation": "2CPU, 16G", "image": "a/b:1", "idle_timeout_minutes": 10})
    picked = server.get_configuration(server.parse_options(dict(offered)), None)
    made = kind(**picked)
    assert made.worker_cores == 1.9 and made.worker_memory == made.worker_memory_limit == 16 * 2**30
    assert made.image == "a/b:1" and made.idle_timeout == 600 and made.environment == THREADS
    assert made.worker_threads == 1
    offered["image"] = "a/b"
    with pytest.raises(ValueError, match="image: needs a tag"):
        server.get_configuration(server.parse_options(dict(offered)), None)


@pytest.mark.hub
@pytest.mark.parametrize(
    "command",
    [("hadolint", "deploy/Dockerfile"), ("yamllint", "-s", "-c", "deploy/.yamllint", "deploy")],
    ids=lambda c: c[0],
)
def test_linters_find_nothing(command):
    program = shutil.which(command[0], path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip(f"{command[0]} is not here")
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
