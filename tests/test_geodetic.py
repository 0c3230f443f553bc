"""Corrections to geodetic balances: of losses only, once and never twice, by glacier; ALPGM's tables."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_region import no_compute

from alpgm_dask.convert.alpgm_geodetic import TABLES, geodetic
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.evolution import Model
from alpgm_dask.schema import InputError
from alpgm_dask.smb.geodetic import FLAG, correct, fit_factors, geodetic_factors


def made_smb(years=10, seed=0) -> xr.DataArray:
    values = np.random.default_rng(seed).normal(-0.5, 1.0, (3, years))
    ids = np.array(["A", "B", "C"], dtype=object)
    return xr.DataArray(values, dims=("glacier", "hydro_year"), coords={"rgi_id": ("glacier", ids)}, name="smb")


def test_losses_of_named_glaciers_are_scaled_and_nothing_else():
    smb = made_smb()
    with dask.config.set(scheduler=no_compute):
        lazy = correct(smb.chunk(hydro_year=3).assign_coords(rgi_id=smb["rgi_id"]), {"B": 0.5, "Z": 9.0})
    assert lazy.chunks is not None and lazy.dims == smb.dims and lazy.name == "smb"
    want = smb.values.copy()
    want[1] = np.where(want[1] < 0, want[1] * 0.5, want[1])
    np.testing.assert_array_equal(lazy.values, want)
    assert lazy.attrs[FLAG] == "1 glaciers"
    turned = correct(smb.transpose("hydro_year", "glacier"), {"B": 0.5})
    np.testing.assert_array_equal(turned.transpose(*smb.dims).values, want)


def test_once_never_twice():
    once = correct(made_smb(), {"A": 0.5})
    with pytest.raises(InputError, match=r"smb: corrected already .*allowed: once"):
        correct(once, {"B": 0.5})
    model = Model("standard-seasonal", lambda rows: rows[:, :1].T).corrected({"A": 0.5})
    with pytest.raises(InputError, match="the model is corrected already; allowed: once"):
        model.corrected({"A": 0.5})


def test_factors_of_a_simulation_bring_its_mean_to_the_balance():
    smb = made_smb(30)
    balance = xr.DataArray([-0.4, -0.6, 5.0], dims="glacier")
    factors = fit_factors(smb, balance)
    assert sorted(factors) == ["A", "B"]  # no factor of losses makes the third gain 5 m a year
    np.testing.assert_allclose(correct(smb, factors).mean("hydro_year")[:2], [-0.4, -0.6])
    ratio = float(balance[0] / smb[0].mean())
    assert factors["A"] != pytest.approx(ratio, rel=1e-3)  # what ALPGM takes; exact only without gains
    assert fit_factors(smb.clip(max=-0.1), balance)["A"] == pytest.approx(-0.4 / float(smb[0].clip(max=-0.1).mean()))


def write_tables(folder, rows, later=None) -> None:
    (folder / "smb/smb_validation").mkdir(parents=True)
    columns = ["ID", "GLIMS_ID", "Name", "bias_correction", "bias_correction_perc"]
    for name, values in zip(TABLES.values(), (rows, later or rows), strict=True):
        table = pd.DataFrame(values, columns=columns)
        table.to_csv(folder / "smb/smb_validation" / name, sep=";", encoding="latin-1")


def test_faults_of_the_tables_are_counted_and_left_out(tmp_path):
    rows = [
        (1.0, "x", "é one", 0.3, 0.7),
        (1.0, "x", "one again", 0.3, 0.7),
        (2.0, "x", "two", 0.5, np.nan),
        (9.0, "x", "far", 0.5, 0.5),
        (3.0, "x", "three", -0.1, 1.1),
    ]
    later = [(*rows[0][:4], 0.8), rows[4]]
    write_tables(tmp_path, rows, later)
    report = ConversionReport("x")
    found = geodetic(tmp_path, {1: "R.1", 2: "R.2", 3: "R.3"}, report)
    assert found["geodetic"]["rgi_id"].values.tolist() == ["R.1", "R.3"]
    name = TABLES["geodetic"]
    counts = {
        f"{name}: glaciers without rasters": 1,
        f"{name}: rows that repeat a glacier": 1,
        f"{name}: factors that are no positive numbers": 1,
        "geodetic corrections in one of the two tables only": 0,
        "geodetic factors that are others for projections": 1,
        "geodetic factors above 1: losses are made larger": 1,
    }
    assert {key: report.count(key) for key in counts} == counts
    first, projections = found.values()
    assert geodetic_factors(first) == {"R.1": 0.7, "R.3": 1.1} and geodetic_factors(projections)["R.1"] == 0.8
    np.testing.assert_allclose(first["simulated_smb"], [-1.0, -1.0])
    np.testing.assert_allclose(first["geodetic_balance"], [-0.7, -1.1])
    np.testing.assert_array_equal(projections["geodetic_balance"], first["geodetic_balance"])
    assert first["geodetic_balance"].attrs["units"] == "m year-1"


def test_tables_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"SMB_bias_correction.csv: there is no such file"):
        geodetic(tmp_path, {}, ConversionReport("x"))
    write_tables(tmp_path, [(1.0, "x", "one", 0.3, 0.7)])
    path = tmp_path / "smb/smb_validation" / TABLES["geodetic"]
    path.write_text(path.read_text().replace("bias_correction_perc", "ratio"))
    with pytest.raises(InputError, match=r"column 'bias_correction_perc' is missing; given: .*ratio"):
        geodetic(tmp_path, {}, ConversionReport("x"))


@pytest.mark.real
def test_alpgms_tables_are_what_they_are_taken_for(shared):
    """Their simulated means are those that ALPGM published beside them, and no glacier of them was trained on."""
    data = shared / "data/alpgm/glacier_data"
    report = ConversionReport("x")
    numbers = pd.read_csv(data / "smb/smb_validation" / TABLES["geodetic"], sep=";", encoding="latin-1")["ID"]
    found = geodetic(data, {int(n): f"RGI60-11.{int(n):05d}" for n in numbers}, report)
    ds = found["geodetic"].set_xindex("rgi_id")
    assert ds.sizes["glacier"] == 16
    assert report.count("geodetic factors that are others for projections") == 3
    assert report.count("geodetic factors above 1: losses are made larger") == 1
    published = pd.read_csv(data / "smb/smb_validation/SMB_2000_2015.csv", sep=";", encoding="latin-1", index_col=0)
    for name, number in (("Bossons", "03646"), ("Bionnassay", "03648")):
        one = ds.sel(rgi_id=f"RGI60-11.{number}")
        assert float(one["simulated_smb"]) == pytest.approx(published["Bolibar et al., 2020"][name], abs=0.01)
        assert float(one["geodetic_balance"]) == pytest.approx(published["Davaze et al., 2020"][name], abs=0.06)
    projections = found["geodetic_projections"]
    assert projections["geodetic_factor"].min() == pytest.approx(0.3511)
    trained = pd.read_csv(data / "GLIMS/GLIMS_Rabatel_30_2003.csv", sep=";", encoding="latin-1")["GLIMS_ID"]
    table = pd.read_csv(data / "smb/smb_validation" / TABLES["geodetic"], sep=";", encoding="latin-1")
    assert not set(trained) & set(table["GLIMS_ID"])
