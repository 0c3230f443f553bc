"""Servers on this machine for tests: started as processes, waited for, and ended by their process ids."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent


def free_ports(n: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def server(command: list[str], log: Path, *, url: str, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """A process that answers at `url` within two minutes; it, and what it started, ends with the test."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, start_new_session=True
        )
        try:
            wait_until(lambda: answers(url) or process.poll() is not None, 120, f"{command[0]} at {url}")
            assert process.poll() is None, log.read_text()[-4000:]
            yield
        finally:
            end(process)


def end(process: subprocess.Popen) -> None:
    """End a process that leads its own session, and what it started there."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)
    with_it = [pid for pid in _processes() if _session_of(pid) == process.pid]
    for pid in with_it:
        try:
            os.kill(pid, 15)
        except ProcessLookupError:
            continue


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def answers(url: str) -> bool:
    """Whether there is an answer that is no error: a proxy may be there before what it leads to."""
    try:
        urllib.request.urlopen(url, timeout=2)
    except OSError:
        return False
    return True


def wait_until(condition, seconds: float, what: str) -> None:
    """Ask again and again; AssertionError after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


# -- S3 -----------------------------------------------------------------------------------------------------

#: How a process finds the S3 server and who it is: the environment, as everywhere.
SECRETS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_DEFAULT_REGION": "eu-west-1"}


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 server with the bucket ``alps``; gives the environment that leads there."""
    import s3fs

    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with server([str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], folder / "s3.log", url=url):
        options = {"key": SECRETS["AWS_ACCESS_KEY_ID"], "secret": SECRETS["AWS_SECRET_ACCESS_KEY"]}
        fs = s3fs.S3FileSystem(endpoint_url=url, skip_instance_cache=True, **options)
        fs.mkdir("alps")
        yield {"AWS_ENDPOINT_URL": url, **SECRETS}


# -- Dask Gateway -------------------------------------------------------------------------------------------

_GATEWAY = """
import os
from dask_gateway_server.options import Integer, Mapping, Options

c.DaskGateway.address = "127.0.0.1:{api}"
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.Proxy.address = "127.0.0.1:{proxy}"
c.Proxy.tcp_address = "127.0.0.1:{tcp}"
c.Proxy.api_token = "{token}"
c.UnsafeLocalBackend.clusters_directory = "{folder}/clusters"
c.ClusterConfig.scheduler_cmd = ["{bin}/dask", "scheduler"]  # the defaults name scripts that are no longer there
c.ClusterConfig.worker_cmd = ["{bin}/dask", "worker"]
c.ClusterConfig.worker_cores = 1
c.ClusterConfig.worker_memory = "1.5 G"
c.ClusterConfig.idle_timeout = 600


def handler(options):
    return {{"worker_cores": options.worker_cores, "environment": {{**{environment!r}, **options.environment}}}}


c.Backend.cluster_options = Options(
    Integer("worker_cores", 1, min=1, max=2), Mapping("environment", {{}}), handler=handler
)
"""

_SIMPLE = """
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = "password-of-a-test"
"""


@contextmanager
def gateway_server(
    folder: Path, *, extra: str = _SIMPLE, environment: Mapping[str, str] | None = None, path: str = ""
) -> Iterator[dict[str, str]]:
    """A Dask Gateway of processes of this machine; gives the addresses of its web and scheduler proxies.

    Parameters
    ----------
    folder
        of its configuration, logs and clusters.
    extra
        further configuration: who may use it.
    environment
        of its schedulers and workers.
    path
        prefix that it answers under.
    """
    api, proxy, tcp = free_ports(3)
    config = folder / "dask_gateway_config.py"
    text = _GATEWAY.format(
        api=api, proxy=proxy, tcp=tcp, token="a" * 64, folder=folder, bin=BIN, environment=dict(environment or {})
    )
    config.write_text(text + extra)
    url = f"http://127.0.0.1:{proxy}"
    command = [str(BIN / "dask-gateway-server"), "-f", str(config)]
    with server(command, folder / "gateway.log", url=f"{url}{path}/api/health"):
        yield {"address": url, "proxy_address": f"tls://127.0.0.1:{tcp}"}
