"""``alpgm validate``: what it writes, the same whatever the number of workers, and what a kill or a fault costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alpgm_dask import InputError, cli, load_config, smb, validate
from alpgm_dask.cluster import connect
from alpgm_dask.schema import texts
from alpgm_dask.smb import Lasso
from alpgm_dask.smb.base import scores
from alpgm_dask.smb.validation import Plan, cross_validate

RUN = """
title = "test"
catalog = "{catalog}"
output = "run"
[period]
start = 2014
end = 2015
[smb]
model = "lasso"
recipe = "standard-seasonal"
[forcing]
kind = "climate"
history = "climate"
[cluster]
workers = {workers}
[validation]
schemes = ["logo", "lsygo"]
inner_splits = 4
"""

TABLES = ("predictions", "scores", "scores_by_glacier", "scores_by_year", "reliability")


def run_file(folder: Path, catalog: Path, workers: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_text(RUN.format(catalog=catalog, workers=workers))
    return folder / "run.toml"


@pytest.fixture(scope="module")
def done(demo_catalog, tmp_path_factory):
    """A finished validation with two workers: its run file, folder, and what it said."""
    path, said = run_file(tmp_path_factory.mktemp("validate"), demo_catalog), []
    return path, validate.validate(load_config(path), say=said.append), said


def tables_of(folder: Path) -> dict[str, bytes]:
    found = [folder / "scores.csv", *(p for name in TABLES for p in sorted(folder.glob(f"*/{name}.csv")))]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def parts_of(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in sorted(folder.glob("*/fold-*.npz"))}


def training_table(done) -> xr.Dataset:
    with xr.open_zarr(done[0].parent / "run/training.zarr") as table:
        return table.load()


# -- what comes out ---------------------------------------------------------------------------------------------


def test_every_out_of_fold_value_is_written_and_is_that_of_the_science_layer(done):
    table = training_table(done)
    want = cross_validate(Lasso("standard-seasonal"), table, "logo", inner_splits=4)
    got = pd.read_csv(done[1] / "logo-lasso/predictions.csv")
    assert len(got) == table.sizes["sample"]
    np.testing.assert_array_equal(got["rgi_id"], texts(want["rgi_id"]))
    for name in ("predicted", "observed", "lower_90", "upper_90", "baseline_year"):
        np.testing.assert_allclose(got[name], want[name].values, rtol=1e-9)
    folds = pd.read_csv(done[1] / "logo-lasso/folds.csv")
    assert len(folds) == len(set(got["rgi_id"])) and json.loads(folds["chosen"][0])["alpha"] > 0


def test_scores_have_intervals_and_baselines_and_agree_with_the_predictions(done):
    found = pd.read_csv(done[1] / "scores.csv")
    assert found["scheme"].unique().tolist() == ["logo", "lsygo"]
    for scheme, rows in found.groupby("scheme"):
        predictions = pd.read_csv(done[1] / f"{scheme}-lasso/predictions.csv")
        first = rows.iloc[0]
        want = scores(predictions["observed"].values, predictions["predicted"].values)
        for name, value in want.items():
            assert first[name] == pytest.approx(value)
            assert first[f"{name}_low"] < first[name] < first[f"{name}_high"]
        assert rows["predictor"].str.startswith("baseline: ").sum() == 2
    each = pd.read_csv(done[1] / "logo-lasso/scores_by_glacier.csv")
    assert (each.groupby("glacier").size() == 3).all()
    assert {p.name for p in done[1].glob("logo-lasso/*.png")} == {
        "scatter.png",
        "cumulative.png",
        "error_by_magnitude.png",
        "reliability.png",
    }
    assert any("baseline: the glacier's own mean" in line for line in done[2])


def test_the_numbers_do_not_depend_on_the_number_of_workers(done, demo_catalog, tmp_path):
    path = run_file(tmp_path, demo_catalog, workers=1)
    folder = validate.validate(load_config(path), say=lambda line: None)
    assert tables_of(folder) == tables_of(done[1]) and len(tables_of(folder)) == 11


def test_finished_folds_are_not_done_again_and_lost_or_damaged_ones_are(done):
    path, folder, _ = done
    before, tables = parts_of(folder), tables_of(folder)
    lost, damaged = folder / "logo-lasso/fold-003.npz", folder / "lsygo-lasso/fold-010.npz"
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:500])
    validate.validate(load_config(path), say=lambda line: None)
    after = parts_of(folder)
    assert after.keys() == before.keys()
    assert {p for p in before if before[p] != after[p]} == {lost, damaged}
    assert tables_of(folder) == tables


def test_a_validation_of_other_settings_is_replaced_only_if_told_so(done, tmp_path, capsys):
    shutil.copytree(done[0].parent / "run", tmp_path / "run")
    folder, other = tmp_path / "run/validation", tmp_path / "other.toml"
    other.write_text(done[0].read_text().replace("inner_splits = 4", "inner_splits = 5").replace(', "lsygo"', ""))
    before = parts_of(folder)
    assert cli.main(["validate", str(other)]) == 2
    assert "logo-lasso: made from other inputs, settings or code; allowed: --overwrite" in capsys.readouterr().err
    assert parts_of(folder) == before
    assert cli.main(["validate", str(other), "--overwrite"]) == 0
    assert f"validation: {folder}" in capsys.readouterr().out
    after = parts_of(folder)
    assert {p.parent.name for p in before if before[p] != after[p]} == {"logo-lasso"}


# -- kills and faults -------------------------------------------------------------------------------------------


class Slow(Lasso):
    """Takes its time, so that there is a middle to be killed in."""

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None):
        time.sleep(0.25)
        return super().fit(X, y, groups, folds=folds, sample_weight=sample_weight)


class Broken(Lasso):
    """Fails where G2 is held out, refuses what it is given where G4 is."""

    def fit(self, X, y, groups=None, *, folds=None, sample_weight=None):
        if self.alphas == 3 and "G2" not in groups:
            raise RuntimeError("the disk is full")
        if self.alphas == 4 and "G4" not in groups:
            raise InputError("features: too few")
        return super().fit(X, y, groups, folds=folds, sample_weight=sample_weight)


def small_table(n_glaciers=8, n_years=12) -> xr.Dataset:
    from alpgm_dask.features import feature_names

    rng, names, n = np.random.default_rng(0), feature_names("standard-seasonal"), n_glaciers * n_years
    X = rng.normal(0, 1, (n, len(names)))
    return xr.Dataset(
        {"features": (("sample", "feature"), X), "smb": ("sample", X[:, 0] + rng.normal(0, 0.3, n))},
        coords={
            "feature": list(names),
            "rgi_id": ("sample", np.repeat([f"G{i}" for i in range(n_glaciers)], n_years)),
            "hydro_year": ("sample", np.tile(np.arange(2000, 2000 + n_years), n_glaciers)),
        },
    )


def job(folder: Path, model: Lasso) -> validate.Job:
    one = validate.Job(folder / "logo-lasso", "lasso", model, Plan("logo", inner_splits=3), "key", 8)
    validate.claim(one, overwrite=False)
    return one


def kill_once_a_fold_is_written(folder: Path, pid: int) -> None:
    deadline = time.monotonic() + 60
    while not list(folder.glob("fold-*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


def test_a_killed_worker_costs_a_fold_and_not_the_run(tmp_path):
    table, one = small_table(), job(tmp_path, Slow("standard-seasonal", alphas=3))
    with connect(workers=2) as client:
        pids = list(client.run(os.getpid).values())
        killer = threading.Thread(target=kill_once_a_fold_is_written, args=(one.folder, pids[0]))
        killer.start()
        validate.run_folds(client, [one], table)
        killer.join()
        assert pids[0] not in client.run(os.getpid).values()
    assert one.missing() == []
    got = validate.validation.assemble(table, [validate.load_part(one.part(k), "key") for k in range(8)])
    want = cross_validate(Slow("standard-seasonal", alphas=3), table, "logo", inner_splits=3)
    np.testing.assert_allclose(got["predicted"], want["predicted"], rtol=1e-12)
    assert got.attrs == want.attrs


def test_a_fold_that_fails_is_named_and_the_others_are_kept(tmp_path):
    table = small_table()
    with connect(workers=2) as client:
        one = job(tmp_path / "a", Broken("standard-seasonal", alphas=3))
        with pytest.raises(validate.FoldsFailedError, match="logo-lasso, fold 2: RuntimeError: the disk is full"):
            validate.run_folds(client, [one], table)
        assert one.missing() == [2]
        whole = Lasso("standard-seasonal", alphas=3)
        validate.run_folds(client, [validate.Job(**{**vars(one), "model": whole})], table)
        assert one.missing() == []
        with pytest.raises(InputError, match="logo-lasso, fold 4: features: too few"):
            validate.run_folds(client, [job(tmp_path / "b", Broken("standard-seasonal", alphas=4))], table)


@pytest.mark.slow
def test_a_killed_validation_goes_on_to_the_same_numbers(done, demo_catalog, tmp_path):
    path = run_file(tmp_path, demo_catalog)
    command = [sys.executable, "-m", "alpgm_dask.cli", "validate", str(path)]
    run = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder, deadline = tmp_path / "run/validation", time.monotonic() + 120
    while run.poll() is None and time.monotonic() < deadline and len(parts_of(folder)) < 5:
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    kept = parts_of(folder)
    assert 5 <= len(kept) < len(parts_of(done[1])) and not (folder / "scores.csv").exists()
    validate.validate(load_config(path), say=lambda line: None)
    assert {p: parts_of(folder)[p] for p in kept} == kept
    assert tables_of(folder) == tables_of(done[1])


def test_work_that_fails_is_1_and_an_interrupt_130(done, capsys, monkeypatch):
    def fail(*args, **options):
        raise validate.FoldsFailedError({"logo-lasso, fold 1": "ValueError: x"})

    monkeypatch.setattr(validate, "validate", fail)
    assert cli.main(["validate", str(done[0])]) == 1
    assert "1 folds failed; run again for these alone\nlogo-lasso, fold 1: ValueError: x" in capsys.readouterr().err

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(validate, "validate", interrupt)
    assert cli.main(["validate", str(done[0])]) == 130
    assert "interrupted; run again, finished folds are kept" in capsys.readouterr().err


def test_options_reach_the_validation(done, monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(validate, "validate", lambda config, **options: seen.update(options, out=config.output))
    arguments = ["--scheme", "massif", "--scheme", "years-5", "--model", "lasso", "--protocol", "published"]
    assert cli.main(["validate", str(done[0]), *arguments, "--output", str(tmp_path / "o"), "--overwrite"]) == 0
    want = {"schemes": ["massif", "years-5"], "models": ["lasso"], "protocol": "published", "overwrite": True}
    assert seen == {**want, "out": str(tmp_path / "o")}


# -- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheme", "lago"], "scheme 'lago' is not known; allowed: logo, loyo, lsygo, years-N"),
        (["--model", "oracle"], "'oracle'"),
        (["--protocol", "published"], "protocol 'published': a lasso chooses no epoch; allowed: nested"),
        (["--catalog", "nothing.yaml"], "nothing.yaml: there is no such catalog"),
    ],
)
def test_refused_before_any_fold(done, capsys, arguments, message):
    before = parts_of(done[1])
    assert cli.main(["validate", str(done[0]), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert parts_of(done[1]) == before
    assert not {p.name for p in done[1].iterdir()} - {"logo-lasso", "lsygo-lasso", "scores.csv"}


def test_a_prescribed_balance_has_nothing_to_validate(demo_catalog, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        f'title = "t"\ncatalog = "{demo_catalog}"\noutput = "run"\n[period]\nstart = 2016\nend = 2016\n'
        '[smb]\nmodel = "prescribed"\nprescribed = -1.0\n'
    )
    with pytest.raises(InputError, match=r'smb\.model = "prescribed" is not fitted here'):
        validate.validate(load_config(path))


def test_a_folder_that_is_not_ours_is_not_touched(tmp_path):
    one = validate.Job(tmp_path / "logo-lasso", "lasso", Lasso(), Plan("logo"), "key", 8)
    one.folder.mkdir()
    (one.folder / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="logo-lasso: exists and is no validation; allowed: another output"):
        validate.claim(one, overwrite=True)
    assert (one.folder / "thesis.txt").read_text() == "precious"


def test_the_fingerprint_knows_data_settings_and_labels(done):
    config, table = load_config(done[0]), training_table(done)
    models = validate.models_of(config)

    def key(config=config, table=table, scheme="logo", models=models):
        (job,) = validate.jobs(config, table, [scheme], models, "nested")
        return job.key

    massif = table.assign_coords(massif=("sample", np.roll(table["massif"].values, 40)))
    assert smb.table_fingerprint(table) == smb.table_fingerprint(massif) and key() == key()
    other_seed = config.model_copy(update={"validation": config.validation.model_copy(update={"seed": 1})})
    others = [
        key(table=table.assign(smb=table["smb"] + 1e-9)),
        key(table=massif),
        key(other_seed),
        key(scheme="loyo"),
        key(models={"lasso": Lasso("standard-seasonal", alphas=3)}),
    ]
    assert len({key(), *others}) == 6
