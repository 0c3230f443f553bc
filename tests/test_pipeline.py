"""A whole run on the demo region: real stores, a real cluster, stages that are kept, runs that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from alpgm_dask import InputError, load_config, outputs, pipeline, report, store
from alpgm_dask.schema import FAILURE, STATUS

RUN = """
title = "test"
catalog = "{catalog}"
output = "run"

[period]
start = 2014
end = {end}

[smb]
model = "lasso"
recipe = "standard-seasonal-regional"
keep_members = true

[forcing]
kind = "climate"
history = "climate"
projection = "projections"
members = {members}

[geometry]
thickness_years = [2016]

[cluster]
workers = 2
"""


def run_file(folder: Path, catalog: Path, end: int = 2018, members=("made-1-high",), extra: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.toml"
    text = RUN.format(catalog=catalog, end=end, members=list(members)).replace("'", '"')
    path.write_text(text.replace("members = []\n", "") + extra)
    return path


def lines_of(config, **options):
    said = []
    pipeline.run(config, say=said.append, **options)
    return said


@pytest.fixture(scope="module")
def members(demo_catalog):
    from alpgm_dask import open_catalog

    return [str(m) for m in open_catalog(demo_catalog).read("projections")["member"].values]


@pytest.fixture(scope="module")
def done(demo_catalog, members, tmp_path_factory):
    """A finished run over the end of the history and the start of two projections; file and what it said."""
    path = run_file(tmp_path_factory.mktemp("runs") / "one", demo_catalog, members=members[:2])
    return path, lines_of(load_config(path))


def files_of(folder: Path) -> dict[str, bytes]:
    """Every chunk of a store by name; metadata apart, which carry the time."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "zarr.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_results_open_with_xarray_alone_and_say_what_they_are(done, members, tmp_path):
    with xr.open_zarr(done[0].parent / "run/results.zarr") as results:
        assert results.sizes["hydro_year"] == 5
        assert list(results["member"].values) == members[:2]
        assert {"gcm", "rcm", "scenario"} <= set(results.coords)
        assert (results["status"] > STATUS.index("not_run")).all()
        assert results["area"].attrs["units"] == "m2"
        assert results["smb"].attrs["standard_name"].startswith("land_ice_lwe")
        assert results["status"].attrs["flag_meanings"].split() == list(STATUS)
        for key in ("Conventions", "inputs", "versions", "code_revision", "fingerprint", "run", "history"):
            assert key in results.attrs, key
        assert results.attrs["complete"] == 1
        assert np.isfinite(results["lat"].values).all()
        assert results["smb_members"].dims == ("member", "smb_member", "glacier", "hydro_year")
        np.testing.assert_array_equal(results["smb_members"][:, 0], results["smb"])  # a Lasso is one model
        assert results["extrapolation"].dtype == np.uint8 and results["extrapolation"].max() > 0
        results.to_netcdf(tmp_path / "results.nc")
        # history is the same for both members, then they part
        np.testing.assert_array_equal(results["smb"][0, :, :2], results["smb"][1, :, :2])
        assert not np.array_equal(results["smb"][0, :, 3], results["smb"][1, :, 3])


def test_every_stage_is_skipped_while_nothing_changes(done):
    path, first = done
    assert not any("skipped" in line for line in first)
    again = lines_of(load_config(path))
    assert sum("unchanged, skipped" in line for line in again) == 5


def test_a_forced_stage_is_done_again_and_the_others_are_not(done):
    again = lines_of(load_config(done[0]), force=["figures"])
    assert sum("unchanged, skipped" in line for line in again) == 4
    with pytest.raises(InputError, match=r"unknown stage 'nonsense'; allowed: training, smb"):
        pipeline.run(load_config(done[0]), force=["nonsense"])


def test_results_of_other_settings_are_not_touched(done, demo_catalog, members):
    path = done[0]
    before = files_of(path.parent / "run/results.zarr")
    other = path.parent / "other.toml"
    other.write_text(path.read_text().replace("[2016]", "[2017]"))
    with pytest.raises(InputError, match=r"results\.zarr: made from other inputs, settings or code"):
        lines_of(load_config(other))
    assert files_of(path.parent / "run/results.zarr") == before
    said = lines_of(load_config(other), overwrite=True)
    assert sum("unchanged, skipped" in line for line in said) == 3  # training, smb and forcing do not depend on it
    lines_of(load_config(path), overwrite=True)
    assert files_of(path.parent / "run/results.zarr") == before


def test_report_shows_the_table_and_the_pictures(done):
    text = report.describe(done[0].parent / "run")
    assert "glaciers" in text and "all " in text and "region.png" in text
    for line in text.splitlines():
        if line.startswith("picture:"):
            assert Path(line.split(maxsplit=1)[1]).stat().st_size > 10_000


def kill_when_some_blocks_are_written(path: Path, at_least: int) -> int:
    """Start ``alpgm run`` in its own process group and kill -9 all of it once blocks are in the ledger."""
    command = [sys.executable, "-m", "alpgm_dask.cli", "run", str(path)]
    run = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    product, written = str(path.parent / "run/results.zarr"), 0
    deadline = time.monotonic() + 120
    while run.poll() is None and time.monotonic() < deadline:
        if store.exists(product) and store.attributes(product).get("primed"):
            written = int(xr.open_zarr(product, consolidated=False)[store.LEDGER].sum())
            if written >= at_least:
                break
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return written


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes(demo_catalog, members, tmp_path):
    whole = run_file(tmp_path / "whole", demo_catalog, end=2060, members=members)
    lines_of(load_config(whole))
    path = run_file(tmp_path / "killed", demo_catalog, end=2060, members=members)
    written = kill_when_some_blocks_are_written(path, 5)
    product = str(path.parent / "run/results.zarr")
    left = len(store.pending(product))
    assert written >= 5 and left > 0
    with pytest.raises(InputError, match="not finished"):
        store.open_store(product)
    with pytest.raises(InputError, match="not finished; allowed: --resume or --overwrite"):
        lines_of(load_config(path))
    lines_of(load_config(path), resume=True)
    assert files_of(path.parent / "run/results.zarr") == files_of(whole.parent / "run/results.zarr")


def test_a_block_that_fails_is_reported_and_resumed(demo_catalog, members, tmp_path):
    """A store whose chunk cannot be decompressed: its block fails with its reason, the others are written."""
    import shutil

    data = tmp_path / "data"
    shutil.copytree(demo_catalog.parent, data)
    chunk = next((data / "glaciers.zarr/surface_elevation/c").glob("3"))
    good = chunk.read_bytes()
    chunk.write_bytes(b"not a chunk")
    path = run_file(tmp_path / "run", data / "catalog.yaml", end=2016, members=members[:1])
    with pytest.raises(outputs.BlocksFailedError, match="member 0, block 3"):
        lines_of(load_config(path))
    product = path.parent / "run/results.zarr"
    with xr.open_zarr(product) as results:
        per_block = results.attrs["block_glaciers"]
        lost = results["failure"].values[0] == FAILURE.index("block_error")
        assert np.flatnonzero(lost).tolist() == list(range(3 * per_block, 4 * per_block))
        assert np.isfinite(results["area"].values[0, ~lost]).all()
    assert "block_error" in report.describe(path.parent / "run")
    chunk.write_bytes(good)
    # the input's bytes are other ones now, so results of the broken one are not continued
    with pytest.raises(InputError, match="made from other inputs"):
        lines_of(load_config(path), resume=True)
    lines_of(load_config(path), overwrite=True)
    with xr.open_zarr(product) as results:
        assert (results["failure"] == 0).all()


def test_prescribed_mass_balance_needs_no_climate(demo_catalog, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        f'title = "t"\ncatalog = "{demo_catalog}"\noutput = "run"\n[period]\nstart = 2016\nend = 2018\n'
        '[glaciers]\nmassifs = ["Haute Dorane"]\n[smb]\nmodel = "prescribed"\nprescribed = [-1.0, 0.0, -2.0]\n'
    )
    said = lines_of(load_config(path))
    assert not any("training" in line for line in said)
    with xr.open_zarr(tmp_path / "run/results.zarr") as results:
        np.testing.assert_allclose(results["smb"].values[0, 0], [-1.0, 0.0, -2.0])
        assert set(results["massif"].values) == {"Haute Dorane"}
        assert results["cpdd"].isnull().all()


def test_resume_and_force_do_not_keep_what_is_there(done):
    path = done[0]
    other = path.parent / "forced.toml"
    other.write_text(path.read_text().replace("[geometry]", "[geometry]\nflat_below_area = 0.0"))
    before = files_of(path.parent / "run/results.zarr")
    lines_of(load_config(other), resume=True, force=["evolution"])
    assert files_of(path.parent / "run/results.zarr") != before
    lines_of(load_config(path), overwrite=True)
    assert files_of(path.parent / "run/results.zarr") == before


def test_a_store_that_is_not_ours_is_not_touched(demo_catalog, members, tmp_path):
    path = run_file(tmp_path, demo_catalog, members=members[:1])
    foreign = tmp_path / "run/results.zarr"
    xr.Dataset({"precious": ("x", [1.0])}).to_zarr(foreign)
    with pytest.raises(InputError, match="exists and is no results of a run"):
        lines_of(load_config(path))
    assert float(xr.open_zarr(foreign)["precious"][0]) == 1.0


def test_a_run_of_one_year(demo_catalog, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        f'title = "t"\ncatalog = "{demo_catalog}"\noutput = "run"\n[period]\nstart = 2016\nend = 2016\n'
        '[glaciers]\nmassifs = ["Haute Dorane"]\n[smb]\nmodel = "prescribed"\nprescribed = -1.0\n'
    )
    assert any("figures" in line for line in lines_of(load_config(path)))
