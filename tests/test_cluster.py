"""A local cluster: processes of one thread that a terminal's Ctrl-C leaves alone."""

from __future__ import annotations

import signal

import pytest

from alpgm_dask.cluster import THREADS, connect


def _blocked() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _environment() -> dict[str, str | None]:
    import os

    return {name: os.environ.get(name) for name in THREADS}


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
