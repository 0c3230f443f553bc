"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and oracles beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"real data are not here: {folder} is absent")
    return folder


@pytest.fixture(scope="session")
def geometry_oracle(shared):
    """Files of what ALPGM gives under prescribed mass balance, sorted."""
    return sorted((shared / "oracle/geometry").glob("case*.npz"))


@pytest.fixture(scope="session")
def demo_catalog(tmp_path_factory):
    """Catalog of the demo region, built once."""
    from alpgm_dask.ingest import build_demo

    return build_demo(tmp_path_factory.mktemp("demo") / "data", say=lambda line: None)
