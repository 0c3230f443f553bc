"""Options of ``alpgm convert safran | adamont | gridded``: what they hand to the readers, and what is refused."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from station_products import hourly, save, save_member

from alpgm_dask import cluster, ingest
from alpgm_dask.catalog import Entry, Parameter, write_catalog
from alpgm_dask.cli import main


@pytest.fixture
def converted(monkeypatch, tmp_path):
    """Runs the command without a cluster and without writing; gives the archive that would be saved."""
    archives = []
    monkeypatch.setattr(cluster, "connect", lambda **options: nullcontext())
    monkeypatch.setattr(ingest, "save_climate", lambda archive, catalog, *rest: archives.append(archive) or catalog)

    def run(*arguments):
        status = main(["convert", *map(str, arguments), "--catalog", str(tmp_path / "out/catalog.yaml")])
        return archives.pop() if status == 0 else None

    return run


def months(shift=0.0) -> xr.Dataset:
    time = pd.date_range("2000-10-01", "2001-09-01", freq="MS")
    ds = xr.Dataset(coords={"time": time, "lat": [46.0, 46.5], "lon": [7.0, 7.5]})
    dims, shape = ("time", "lat", "lon"), (12, 2, 2)
    ds["tas"] = (dims, np.full(shape, 275.0 + shift), {"units": "K"})
    ds["pr"] = (dims, np.full(shape, 2.0 + shift), {"units": "mm"})
    ds["orog"] = (dims[1:], np.full((2, 2), 1000.0 + shift), {"units": "m"})
    return ds


@pytest.fixture
def catalog(tmp_path):
    """One store for each variable and run, as CMIP6 is kept."""
    for run, shift in (("r1", 0.0), ("r2", 1.0)):
        for variable in ("tas", "pr", "orog"):
            ds = months(shift)[[variable]].assign_attrs(source_id=run)
            ds.to_zarr(tmp_path / f"{run}_{variable}.zarr", zarr_format=2)
    parameters = {
        "variable": Parameter("tas", ("tas", "pr", "orog"), "what"),
        "run": Parameter("r1", ("r1", "r2"), "which"),
    }
    entries = {"model": Entry("zarr", "{CATALOG_DIR}/{run}_{variable}.zarr", "a model")}
    write_catalog(tmp_path / "models.yaml", entries, parameters)
    return tmp_path / "models.yaml"


# -- entries of catalogs ------------------------------------------------------------------------------------


def test_entries_with_parameters_of_their_own(converted, catalog):
    sources = ["model?variable=tas", "model?variable=pr"]
    archive = converted(
        "gridded", *sources, "--from-catalog", catalog, "--orography", "model?variable=orog", "--param", "run=r2"
    )
    assert float(archive.climate["tas"][0, 0]) == 276.0 and float(archive.climate["pr"][0, 0]) == 3.0
    assert archive.climate["elevation"].values.tolist() == [1001.0] * 4
    own = converted(
        *("gridded", "model?run=r2&variable=tas", "model?run=r2&variable=pr", "--from-catalog", catalog),
        *("--orography", "model?variable=orog", "--member", "one", "--label", "scenario=ssp585"),
    )
    assert own.climate["elevation"].values.tolist() == [1000.0] * 4  # the catalog's default run
    assert [own.climate[n].item() for n in ("member", "gcm", "scenario")] == ["one", "r2", "ssp585"]


def test_a_file_may_have_the_elevation_of_entries(converted, catalog, tmp_path):
    months(7.0)[["orog"]].to_netcdf(tmp_path / "orog.nc")
    sources = ["model?variable=tas", "model?variable=pr"]
    archive = converted("gridded", *sources, "--from-catalog", catalog, "--orography", tmp_path / "orog.nc")
    assert archive.climate["elevation"].values.tolist() == [1007.0] * 4


def test_members_of_several_entries(converted, catalog):
    sources = [f"{run}=model?run={run}&variable={variable}" for variable in ("tas", "pr") for run in ("r1", "r2")]
    archive = converted(
        *("gridded", *sources, "--members", "--from-catalog", catalog, "--orography", "model?variable=orog"),
        *("--label", "r2:gcm=ANOTHER", "--label", "r2:scenario=ssp126"),
    )
    climate = archive.climate
    assert climate["tas"][:, 0, 0].values.tolist() == [275.0, 276.0] and archive.grows == "member"
    assert climate["gcm"].values.tolist() == ["r1", "ANOTHER"] and climate["scenario"].values.tolist() == ["", "ssp126"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model?variable=tasmax"], "parameter 'variable' is 'tasmax'; allowed: tas, pr, orog"),
        (["model?table=day"], "unknown parameter 'table'; allowed: variable, run"),
        (["model?variable"], "'model?variable': 'variable' are no parameters; allowed: ENTRY?name=value&name=value"),
        (["model?run=r1&run=r2"], "'model?run=r1&run=r2': a parameter is there twice"),
        (["other?run=r1"], "entry 'other' is missing"),
        (["model", "--orography", "none.nc"], "none.nc: no such file or folder"),
        (["model", "--param", "run=r1", "--param", "run=r2"], "--param run=...: given twice"),
        (["a=model", "--members", "--label", "gcm=X"], "--label gcm=X; allowed with --members: NAME:gcm=X"),
    ],
)
def test_entries_and_parameters_that_are_none(converted, catalog, capsys, arguments, message):
    if "--orography" in arguments:
        arguments = ["model?variable=pr", *arguments]
    assert converted("gridded", *arguments, "--from-catalog", catalog) is None
    assert message in capsys.readouterr().err


# -- stations -----------------------------------------------------------------------------------------------


def test_options_of_safran(converted, tmp_path):
    ds = hourly("2000-08-01 06:00", "2001-10-05 06:00", hours=6).drop_vars(["LON", "LAT"])
    save(ds, tmp_path / "FORCING.nc")
    (tmp_path / "places.csv").write_text("number,lon,lat\n3,6.8,45.9\n15,6.0,44.9\n16,6.5,44.8\n")
    places = ["--massif-positions", tmp_path / "places.csv"]
    plain = converted("safran", tmp_path, *places)
    before = converted("safran", tmp_path, *places, "--amounts-before-stamp")
    assert plain.climate["lon"].values.tolist() == [6.8, 6.8, 6.0, 6.0, 6.5, 6.5]
    assert "0 to 23 h" in plain.report.notes[-1] and "1 to 24 h" in before.report.notes[-1]


def test_what_a_message_recommends_is_an_option(converted, tmp_path, capsys):
    save(hourly("2000-08-01 06:00", "2001-10-05 06:00", hours=6).drop_vars("LON"), tmp_path / "FORCING.nc")
    assert converted("safran", tmp_path) is None
    assert "in massif_positions (--massif-positions)" in capsys.readouterr().err


def test_options_of_adamont(converted, tmp_path):
    _, total = save_member(
        *(tmp_path, ("first", "second", "RCP85"), "{3}.{0}.{1}.{2}.nc", ("mean", "sum")), units="kg m-2 s-1", factor=3e3
    )
    pattern = r"(?P<kind>mean|sum)\.(?P<gcm>\w+)\.(?P<rcm>\w+)\.(?P<scenario>\w+)"
    (tmp_path / "places.csv").write_text("number,lon,lat\n3,0.0,0.0\n")
    archive = converted(
        *("adamont", tmp_path, "--pattern", pattern, "--hours-of-rates", 3),
        *("--massif-positions", tmp_path / "places.csv"),
    )
    assert archive.climate["member"].values.tolist() == ["first_second_rcp85"]
    want = 3 * 3600 * total["RAIN"].isel(TIME=slice(61, 61 + 730))
    np.testing.assert_allclose(archive.climate["rainfall"][0], want, rtol=3e-7)
