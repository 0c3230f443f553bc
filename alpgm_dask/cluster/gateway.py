"""A cluster of Dask Gateway: made with the options that its server offers, gone at the end, also on errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from alpgm_dask.cluster.asking import Workers, needed, scale
from alpgm_dask.cluster.workers import THREADS, prepared
from alpgm_dask.schema import InputError

#: Seconds to wait for the first worker: a cloud may have to start a machine and fetch an image of some GB.
FIRST_WORKER = 900.0


def choose(offered: Any, options: Mapping[str, Any]) -> None:
    """Set what was asked for in the options of a Gateway's server, and threads in their ``environment``, if it has one.

    Every server offers other options. Values that are not given stay as the server, or the configuration of Dask
    (``gateway.cluster.options``), has them.

    Raises
    ------
    InputError
        if an option is not offered, naming those that are, or its value is refused.
    """
    for name, value in options.items():
        if name not in offered:
            names = ", ".join(sorted(offered)) or "none at all"
            raise InputError(f"options: this Gateway does not offer {name!r}; it offers: {names}")
        try:
            offered[name] = {**offered[name], **value} if name == "environment" else value
        except (TypeError, ValueError) as error:
            raise InputError(f"options: {name}: {error}; given {value!r}") from error
    if "environment" in offered:
        offered["environment"] = {**THREADS, **offered["environment"]}


@lru_cache(maxsize=1)
def _running_loop() -> Any:
    """The event loop of all Gateway objects of this process, never stopped: they ask for it when they are collected.

    One that stopped with the object would print an ignored exception into every notebook.
    """
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    runner.start()
    return runner.loop


@contextmanager
def gateway_client(
    workers: Workers | None, options: Mapping[str, Any], say: Callable[[str], None]
) -> Iterator[tuple[Any, str]]:
    """A client of a new cluster, which is shut down at the end.

    Where the Gateway is and who asks is taken from the configuration of Dask, which a hub sets in the environment
    (``DASK_GATEWAY__ADDRESS``, ``DASK_GATEWAY__AUTH__TYPE`` and the like).

    Raises
    ------
    InputError
        if no Gateway is configured, it does not answer, refuses the user or an option, or cannot start the cluster.
    """
    package = needed("dask_gateway", "gateway")
    with _refusals(package):
        gateway = package.Gateway(loop=_running_loop())
    with gateway:
        with _refusals(package, gateway.address):
            offered = gateway.cluster_options()
            choose(offered, options)
            cluster = gateway.new_cluster(offered, shutdown_on_close=True)
        with cluster:
            scale(cluster, workers)
            with cluster.get_client() as client, prepared(client, "Dask Gateway", seconds=FIRST_WORKER, say=say):
                yield client


@contextmanager
def _refusals(package: Any, address: str = "") -> Iterator[None]:
    """What a Gateway says, in the words of the project."""
    from aiohttp import ClientConnectionError, ClientResponseError

    where = f"Dask Gateway {address}".strip()
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except ClientConnectionError as error:
        raise InputError(f"{where}: no answer ({error}); needed: the address of a running Gateway") from error
    except ClientResponseError as error:
        said = f"{error.status} {error.message}"
        raise InputError(f"{where}: refused ({said}); needed: a user and an option that it accepts") from error
    except (ValueError, package.GatewayClusterError, package.GatewayServerError) as error:
        raise InputError(f"{where}: {error}; see gateway.dask.org for what it needs") from error
