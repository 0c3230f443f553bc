"""Runs of four glaciers with every choice that [smb] has: corrected, stored, weighted, of some glaciers only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_region as small
import xarray as xr
from test_inputs import corrections
from test_pipeline import files_of

from alpgm_dask import InputError, load_config, pipeline, smb
from alpgm_dask.smb.geodetic import FLAG, correct

RUN = """
title = "four glaciers"
catalog = "catalog.yaml"
output = "{name}"
[period]
start = 2001
end = 2008
[smb]
{smb}
[forcing]
kind = "predictors"
history = "history"
projection = "scenarios"
reference_period = [2000, 2004]
"""

FITTED = """
model = "lasso"
recipe = "standard-seasonal-regional"
settings = {alphas = 10}
keep_members = true
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A region whose observations follow the degree-days of their year, so that a model has something to learn."""
    folder = tmp_path_factory.mktemp("region")
    region = small.everything()
    observed = region["smb_observations"]
    years = xr.DataArray(np.arange(observed.sizes["hydro_year"]) * 0.3, dims="hydro_year")
    region["smb_observations"] = observed.assign(smb=(observed["smb"] + years).assign_attrs(units="m year-1"))
    small.write_region(folder, {**region, "geodetic": corrections(("G1", "G9"), (0.5, 3.0))})
    return folder


def run(folder: Path, name: str, settings: str, extra: str = "") -> list[str]:
    (folder / f"{name}.toml").write_text(RUN.format(name=name, smb=settings) + extra)
    said: list[str] = []
    pipeline.run(load_config(folder / f"{name}.toml"), say=said.append)
    return said


def results_of(folder: Path, name: str) -> xr.Dataset:
    with xr.open_zarr(folder / name / "results.zarr") as results:
        return results.load()


@pytest.fixture(scope="module")
def plain(folder):
    return run(folder, "plain", FITTED), results_of(folder, "plain")


def test_a_model_is_fitted_on_a_worker_and_says_how_well(folder, plain):
    said, _ = plain
    (line,) = (line for line in said if line.startswith("[2/5] smb: "))
    assert "Lasso" in line and "r2" in line
    card = json.loads((folder / "plain/model/model_card.json").read_text())
    assert card["settings"]["alphas"] == 10 and card["recipe"] == "standard-seasonal-regional"
    assert card["seed"] == 0 and card["sample_weight"] == "none" and card["reference_period"] == [2000, 2004]


def test_the_regions_climate_is_in_the_forcing(folder, plain):
    with xr.open_zarr(folder / "plain/forcing.zarr") as forcing:
        found = forcing["regional_anomaly"].load()
    assert found.dims == ("member", "hydro_year", "predictor")
    np.testing.assert_allclose(found[1, :, 0], np.arange(2001, 2009) - 2002, atol=1e-9)
    assert found.attrs["long_name"].startswith("anomaly of each predictor")


def test_losses_are_corrected_where_asked_for_and_results_say_so(folder, plain):
    assert "geodetic_factor" not in plain[1] and FLAG not in plain[1]["smb"].attrs
    run(folder, "corrected", FITTED + 'geodetic = "geodetic"')
    results = results_of(folder, "corrected")
    at = list(results["rgi_id"].values)
    assert results["geodetic_factor"].values[at.index("G1")] == 0.5
    assert (np.delete(results["geodetic_factor"].values, at.index("G1")) == 1).all()
    first = plain[1]["smb"].values[:, :, 0]
    assert (first[:, at.index("G1")] < 0).all()
    scaled = first * np.where(np.array(at) == "G1", 0.5, 1.0)
    np.testing.assert_allclose(results["smb"].values[:, :, 0], scaled, rtol=1e-6)
    for name in ("smb", "smb_members"):
        assert results[name].attrs[FLAG] == "1 glaciers"
    with pytest.raises(InputError, match="smb: corrected already"):
        correct(results["smb"], {"G1": 0.5})


def test_a_stored_model_gives_what_its_own_run_gave(folder, plain):
    said = run(folder, "stored", 'model = "stored"\npath = "plain/model"\nkeep_members = true')
    assert not any("training" in line or "] smb" in line for line in said)
    theirs = results_of(folder, "stored")
    for name in ("smb", "smb_members", "area", "volume", "extrapolation"):
        np.testing.assert_array_equal(theirs[name], plain[1][name])
    assert str(folder / "plain/model") in theirs.attrs["inputs"]
    again: list[str] = []
    pipeline.run(load_config(folder / "stored.toml"), say=again.append)
    assert sum("unchanged, skipped" in line for line in again) == 3
    card = folder / "plain/model/model_card.json"
    before = card.read_text()
    card.write_text(before.replace('"seed": 0', '"seed": 7'))
    with pytest.raises(InputError, match="made from other inputs, settings or code"):
        pipeline.run(load_config(folder / "stored.toml"))
    card.write_text(before)


def test_other_glaciers_beside_it_change_no_bit_of_a_glacier(folder, plain):
    run(folder, "some", FITTED, '[glaciers]\nids = ["G1", "G3"]\n')
    some = results_of(folder, "some").set_xindex("rgi_id")
    whole = plain[1].set_xindex("rgi_id").sel(rgi_id=some["rgi_id"].values)
    for name in ("smb", "smb_members", "area", "volume", "extrapolation", "cpdd"):
        np.testing.assert_array_equal(some[name], whole[name])


@pytest.mark.parametrize(
    "change",
    ['sample_weight = "balanced"', "seed = 1", "settings = {alphas = 11}", 'recipe = "alpgm-1.2-seasonal-regional"'],
)
def test_whatever_matters_to_the_fit_is_in_its_key(folder, plain, change):
    """Neither the keeping of members nor a correction does."""
    from alpgm_dask.inputs import open_inputs
    from alpgm_dask.stages import Stages

    def key(settings: str) -> dict[str, str]:
        (folder / "key.toml").write_text(RUN.format(name="key", smb=settings))
        config = load_config(folder / "key.toml")
        return pipeline.keys_of(config, open_inputs(config), stages)

    stages = Stages(folder / "key")
    name = change.split(" = ")[0]
    kept = "\n".join(line for line in FITTED.splitlines() if not line.startswith(name))
    base, other = key(FITTED), key(f"{kept}\n{change}")
    assert base["smb"] != other["smb"] and base["evolution"] != other["evolution"]
    fewer = key(FITTED.replace("keep_members = true", ""))
    assert fewer["smb"] == base["smb"] and fewer["forcing"] == base["forcing"]
    assert fewer["evolution"] != base["evolution"]
    corrected = key(FITTED + 'geodetic = "geodetic"')
    assert corrected["smb"] == base["smb"] and corrected["evolution"] != base["evolution"]


def test_weights_change_the_fit(folder, plain):
    run(folder, "balanced", FITTED + 'sample_weight = "balanced"')
    card = json.loads((folder / "balanced/model/model_card.json").read_text())
    assert card["sample_weight"] == "balanced"
    a, b = (smb.load_model(folder / name / "model") for name in ("plain", "balanced"))
    assert a.intercept_ != b.intercept_


def test_runs_on_other_workers_give_the_same_bytes(folder, plain):
    run(folder, "alone", FITTED, "[cluster]\nworkers = 1\n")
    assert files_of(folder / "alone/results.zarr") == files_of(folder / "plain/results.zarr")
