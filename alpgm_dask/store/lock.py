"""One writer at a time: a lock file beside what is written, on file systems that can make one."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import fsspec

from alpgm_dask.schema import InputError
from alpgm_dask.store.group import is_local


@contextmanager
def lock(url: str | Path, wait: float = 0.0) -> Iterator[None]:
    """Hold ``<url>.lock`` while writing; one that was left by a process that is gone is taken over.

    Another process that holds it is waited for, `wait` seconds at most.

    Object stores have no exclusive creation that every one of them honours: nothing is held there.

    Raises
    ------
    InputError
        if another process holds it, saying which and since when.
    """
    fs, path = fsspec.url_to_fs(str(url))
    if not is_local(fs):
        yield
        return
    file = Path(f"{path}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    _take(file, time.monotonic() + wait)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _take(file: Path, until: float) -> None:
    about = {"host": socket.gethostname(), "pid": os.getpid(), "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    while True:
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            held = _read(file)
            if held.get("host") == about["host"] and not _lives(int(held.get("pid", 0))):
                file.unlink(missing_ok=True)
            elif time.monotonic() < until:
                time.sleep(0.1)
            else:
                raise InputError(
                    f"{file}: another process writes there: {held or 'unknown'}; allowed: to wait for it, or to delete "
                    "this file if that process is gone"
                ) from None
            continue
        with os.fdopen(handle, "w") as opened:
            json.dump(about, opened)
        return


def _read(file: Path) -> dict[str, object]:
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
