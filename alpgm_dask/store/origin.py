"""Where a store comes from: code, versions, inputs, time."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr
import zarr


def code_revision() -> str:
    """The git revision of the package's checkout, or its version where there is no checkout."""
    from importlib.metadata import PackageNotFoundError, version

    here = Path(__file__).parents[1]
    if (here.parent / ".git").exists():
        command = ["git", "-C", os.fspath(here), "describe", "--always", "--dirty", "--abbrev=12"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    try:
        return version("alpgm_dask")
    except PackageNotFoundError:
        return "unknown"


def provenance(title: str, **inputs: object) -> dict[str, object]:
    """Global attributes: CF conventions, what a store was made from, by what, with which versions, when.

    CF knows text and numbers only: what has structure is JSON.
    """
    import dask
    import numba

    return {
        "Conventions": "CF-1.11",
        "title": title,
        "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} alpgm_dask {code_revision()}",
        "source": "alpgm_dask",
        "code_revision": code_revision(),
        "versions": json.dumps({module.__name__: module.__version__ for module in (np, numba, xr, zarr, dask)}),
        "python": platform.python_version(),
        "inputs": json.dumps(inputs, default=str),
    }
