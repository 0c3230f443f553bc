"""A run file with an ensemble: its store, its ledger, what is said of blocks that fail, runs that were cut short."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from test_pipeline import files_of, lines_of

from alpgm_dask import InputError, load_config, outputs, report, store
from alpgm_dask.evolution import Settings
from alpgm_dask.schema import FAILURE, STATUS
from alpgm_dask.stages import Stages

ENSEMBLE = "[ensemble]\nthickness_factors = [0.7, 1.0]\ndelta_h_shifts = [0.0, 1.0]\n"


def run_file(folder: Path, catalog: Path, extra: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.toml"
    path.write_text(
        f'title = "t"\ncatalog = "{catalog}"\noutput = "run"\n[period]\nstart = 2016\nend = 2018\n'
        '[smb]\nmodel = "prescribed"\nprescribed = -2.0\n'
        f"[geometry]\nthickness_years = [2018]\nflat_below_area = 0.0\n{extra}"
    )
    return path


@pytest.fixture(scope="module")
def done(demo_catalog, tmp_path_factory):
    """A finished ensemble of 2 x 2 variants; its run file and what it said."""
    path = run_file(tmp_path_factory.mktemp("ensemble"), demo_catalog, ENSEMBLE)
    return path, lines_of(load_config(path))


def test_a_variant_that_changes_nothing_equals_a_run_without_ensemble(done, demo_catalog, tmp_path):
    plain = run_file(tmp_path, demo_catalog)
    lines_of(load_config(plain))
    with (
        xr.open_zarr(plain.parent / "run/results.zarr") as alone,
        xr.open_zarr(done[0].parent / "run/results.zarr") as results,
    ):
        assert alone["area"].dims == ("member", "glacier", "hydro_year")
        assert alone[store.LEDGER].dims == ("member", "block") and "thickness_factor" not in alone.variables
        dims = ("member", "thickness_factor", "delta_h_shift")
        assert results["area"].dims == (*dims, "glacier", "hydro_year") and results["status"].dims == (*dims, "glacier")
        assert results["ice_thickness"].dims == (*dims, "thickness_year", "pixel")
        assert results[store.LEDGER].dims == (*dims, "block") and bool(results[store.LEDGER].all())
        assert results["thickness_factor"].values.tolist() == [0.7, 1.0]
        assert results["delta_h_shift"].attrs["units"] == "1"
        same = results.sel(thickness_factor=1.0, delta_h_shift=0.0)
        for name in set(alone.data_vars) - {store.LEDGER}:
            np.testing.assert_array_equal(same[name].values, alone[name].values, err_msg=name)
        assert not np.array_equal(results["area"][0, 1, 0], results["area"][0, 1, 1])
    with pytest.raises(InputError, match="made from other inputs, settings or code"):
        other = plain.parent / "other.toml"
        other.write_text(plain.read_text() + ENSEMBLE)
        lines_of(load_config(other))


def test_the_report_says_what_makes_the_spread(done):
    text = report.describe(done[0].parent / "run")
    assert "spread of 2018 by what is varied" in text and "thickness_factor" in text and "ensemble.png" in text
    assert sum("unchanged, skipped" in line for line in lines_of(load_config(done[0]))) == 2


def test_results_that_were_cut_short_are_finished_to_the_same_bytes(done, tmp_path):
    """As a kill leaves them: not complete, some chunks of some variants not written, and not in the ledger."""
    shutil.copytree(done[0].parent, tmp_path / "cut")
    path, product = tmp_path / "cut/run.toml", tmp_path / "cut/run/results.zarr"
    whole = files_of(product)
    group = zarr.open_group(product, mode="r+", use_consolidated=False)
    lost = [(0, 0, 1, 0), (0, 1, 0, 1), (0, 1, 1, 0)]
    for entry in lost:
        group[store.LEDGER][entry] = 0
        member, factor, shift, block = entry
        (product / f"area/c/{member}/{factor}/{shift}/{block}/0").unlink()
        (product / f"ice_thickness/c/{member}/{factor}/{shift}/0/{block}").unlink()
    group.attrs["complete"] = 0
    Stages(tmp_path / "cut/run").forget("evolution")
    assert store.pending(str(product)) == lost
    with pytest.raises(InputError, match="not finished; allowed: --resume or --overwrite"):
        lines_of(load_config(path))
    lines_of(load_config(path), resume=True)
    assert files_of(product) == whole


def test_blocks_that_fail_are_named_and_marked_in_their_variant_only(done, tmp_path):
    """The store of a run whose tasks raise: one is left in the ledger, its glaciers are marked, others stay."""
    from dask import delayed
    from distributed import Client

    from alpgm_dask import open_catalog, packing

    product = str(tmp_path / "results.zarr")
    shutil.copytree(done[0].parent / "run/results.zarr", product)
    glaciers = open_catalog(load_config(done[0]).catalog).read("glaciers")
    zarr.open_group(product, mode="r+", use_consolidated=False)[store.LEDGER][0, 1, 0, 1] = 0
    how = Settings(thickness_factors=(0.7, 1.0), delta_h_shifts=(0.0, 1.0))

    def fail() -> None:
        raise ValueError("no more room")

    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        made = {(0, 1, 0, 1): delayed(fail)()}
        failed = outputs.write_blocks(client, made, glaciers, product, how)
    assert failed == {"member 0, thickness x 1, delta-h 0, block 1": "ValueError: no more room"}
    assert "member 0, thickness x 1, delta-h 0, block 1: ValueError" in str(outputs.BlocksFailedError(failed))
    with xr.open_zarr(product) as results:
        lost = results["failure"].values == FAILURE.index("block_error")
        block = packing.blocks(glaciers)[1].glaciers
        assert lost[0, 1, 0, block].all() and lost.sum() == block.stop - block.start
        assert (results["status"].values[lost] == STATUS.index("failed")).all()
