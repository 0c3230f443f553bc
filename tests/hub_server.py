"""A JupyterHub on this machine with a Dask Gateway behind its authentication, for one test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import servers

USER, PASSWORD = "alice", "password-of-a-test"
PREFIX = "/services/dask-gateway"

_HUB = """
c.JupyterHub.bind_url = "{hub}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{inner}"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.auth_token = "{proxy_token}"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.pid_file = "{folder}/hub.pid"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.cmd = ["{bin}/jupyterhub-singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.Spawner.environment = {environment!r}
c.JupyterHub.services = [
    {{"name": "dask-gateway", "url": "{gateway}", "api_token": "{token}", "display": False}}
]
c.JupyterHub.load_roles = [{{"name": "user", "scopes": ["self", "access:services!service=dask-gateway"]}}]
"""

_BEHIND_THE_HUB = """
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.JupyterHubAuthenticator"
c.JupyterHubAuthenticator.jupyterhub_api_url = "http://127.0.0.1:{inner}/hub/api"
c.JupyterHubAuthenticator.jupyterhub_api_token = "{token}"
c.Proxy.prefix = "{prefix}"
"""


def proxy_command() -> str | None:
    """configurable-http-proxy: in the folder that an environment variable names, or on the path."""
    folder = os.environ.get("ALPGM_HTTP_PROXY", "")
    return shutil.which("configurable-http-proxy", path=f"{folder}{os.pathsep}{os.environ['PATH']}")


def missing() -> list[str]:
    """What a hub and its browser need and is not here."""
    commands = {"chromium": ("chromium", "chromium-browser"), "chromedriver": ("chromedriver",)}
    out = [name for name, found in commands.items() if not any(map(shutil.which, found))]
    if not shutil.which("node") or proxy_command() is None:
        out.append("configurable-http-proxy (npm)")
    return out


@dataclass(frozen=True)
class Hub:
    """A hub that runs: its address, and the home of its user."""

    url: str
    home: Path


@contextmanager
def hub_server(folder: Path, environment: Mapping[str, str]) -> Iterator[Hub]:
    """A hub whose users, and the workers of its Gateway, have `environment`."""
    home = folder / "home" / USER
    home.mkdir(parents=True)
    outer, inner, api = servers.free_ports(3)
    hub, token = f"http://127.0.0.1:{outer}", "b" * 64
    behind = _BEHIND_THE_HUB.format(inner=inner, token=token, prefix=PREFIX)
    with servers.gateway_server(folder, extra=behind, environment=environment, path=PREFIX) as gateway:
        of_users = {
            "DASK_GATEWAY__ADDRESS": f"{hub}{PREFIX}",
            "DASK_GATEWAY__PROXY_ADDRESS": gateway["proxy_address"],
            "DASK_GATEWAY__AUTH__TYPE": "jupyterhub",
            "DASK_GATEWAY__PUBLIC_ADDRESS": PREFIX,
            **environment,
        }
        config = folder / "jupyterhub_config.py"
        places = {"hub": hub, "inner": inner, "api": api, "gateway": gateway["address"], "proxy": proxy_command()}
        tokens = {"proxy_token": "c" * 64, "password": PASSWORD, "token": token}
        config.write_text(_HUB.format(**places, **tokens, folder=folder, bin=servers.BIN, environment=of_users))
        command = [str(servers.BIN / "jupyterhub"), "-f", str(config)]
        with servers.server(command, folder / "hub.log", url=f"{hub}/hub/health"):
            yield Hub(hub, home)
