"""Catalogs of the repository, remote ones for form; what a catalog may hold; list, show and check."""

from __future__ import annotations

import re
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from alpgm_dask import store
from alpgm_dask.catalog import Entry, Parameter, check_catalog, list_entries, open_catalog, show_entry, write_catalog
from alpgm_dask.catalog import opened as opened_module
from alpgm_dask.cli import catalog as verbs
from alpgm_dask.schema import InputError

CATALOGS = Path(__file__).parent.parent / "catalogs"
REMOTE = CATALOGS / "remote.yaml"


def climate(temperature: float, points: int = 3) -> xr.Dataset:
    """Two hydrological years of the same day."""
    time = xr.date_range("2000-10-01", "2002-09-30", freq="D")
    dims, shape = ("time", "point"), (len(time), points)
    return xr.Dataset(
        {
            "tas": (dims, np.full(shape, temperature, "float32"), {"units": "K"}),
            "pr": (dims, np.ones(shape, "float32"), {"units": "kg m-2"}),
            "elevation": ("point", np.linspace(1800, 3000, points), {"units": "m"}),
            "lon": ("point", np.full(points, 6.5), {"units": "degrees_east"}),
            "lat": ("point", np.full(points, 45.5), {"units": "degrees_north"}),
        },
        coords={"time": time},
    ).chunk(time=365, point=2)


MEMBERS = {("rcp26", "A_X"): 270.0, ("rcp26", "B_Y"): 271.0, ("rcp85", "A_X"): 274.0, ("rcp85", "B_Y"): 275.0}


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """The template of local climate beside a store for each scenario and member; do not change it."""
    folder = tmp_path_factory.mktemp("local")
    content = yaml.safe_load((CATALOGS / "climate_local.yaml").read_text())
    content["user_parameters"]["scenario"] |= {"options": ["rcp26", "rcp85"], "default": "rcp26"}
    content["user_parameters"]["member"] |= {"options": ["A_X", "B_Y"], "default": "A_X"}
    (folder / "climate.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    store.write(climate(269.0), str(folder / "history.zarr"))
    for (scenario, member), temperature in MEMBERS.items():
        store.write(climate(temperature), str(folder / f"projections/{scenario}/{member}.zarr"))
    return folder / "climate.yaml"


def command(*words: str) -> int:
    """``alpgm catalog ...``; InputError is what the command line makes 2 of."""
    import argparse

    parser = argparse.ArgumentParser()
    verbs.add(parser.add_subparsers())
    arguments = parser.parse_args(["catalog", *map(str, words)])
    arguments.call(arguments)
    return 0


# -- scenario and member ------------------------------------------------------------------------------------


def test_each_member_and_scenario_is_its_own_store(local):
    """Intake 2 keeps the default, and says nothing, where parameters are given to the entry."""
    for (scenario, member), temperature in MEMBERS.items():
        catalog = open_catalog(local, scenario=scenario, member=member)
        found = catalog.read("projection")
        assert found["tas"].chunks is not None and found["tas"].values.min() == found["tas"].values.max() == temperature
        assert catalog.url("projection").endswith(f"projections/{scenario}/{member}.zarr")
        assert float(catalog.read("history")["tas"][0, 0]) == 269.0
    assert float(open_catalog(local).read("projection")["tas"][0, 0]) == 270.0


def test_a_value_outside_of_the_options_is_refused_with_the_options(local):
    with pytest.raises(InputError, match=r"climate.yaml: parameter 'member' is 'C_Z'; allowed: A_X, B_Y"):
        open_catalog(local, member="C_Z")
    with pytest.raises(InputError, match=r"unknown parameter 'run'; allowed: scenario, member"):
        open_catalog(local, run="1")
    with pytest.raises(InputError, match=r"parameter 'scenario' is 'rcp45'; allowed: rcp26, rcp85"):
        open_catalog(local).with_parameters(scenario="rcp45")
    with pytest.raises(InputError, match=r"parameter 'member' is '\{scenario\}'"):
        open_catalog(local, member="{scenario}")


def test_parameters_of_an_entry_are_those_of_its_place(local):
    catalog = open_catalog(local)
    assert catalog.parameters_of("history") == {}
    assert catalog.parameters_of("projection") == {
        "scenario": ("rcp26", ("rcp26", "rcp85")),
        "member": ("A_X", ("A_X", "B_Y")),
    }
    assert list(catalog.choices("history")) == [{}] and catalog.count_choices("projection") == 4
    assert {tuple(choice.values()) for choice in catalog.choices("projection")} == set(MEMBERS)


# -- list, show, check --------------------------------------------------------------------------------------


def test_check_opens_every_combination(local):
    history, projection = check_catalog(local)
    assert (history.status, history.remark) == ("ok", "climate; time 730, point 3")
    assert projection.status == "ok" and projection.remark.startswith("4 combinations of parameters; climate")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: shutil.rmtree(p), r"scenario=rcp85, member=B_Y: nothing at .*rcp85/B_Y.zarr"),
        (lambda p: store.prime(climate(1.0), str(p), overwrite=True), r"rcp85.*was not finished"),
        (lambda p: store.write(climate(1.0).drop_vars("elevation"), str(p), overwrite=True), r"'elevation' is missing"),
        (lambda p: store.write(climate(1.0).isel(time=[0, 2, 3]), str(p), overwrite=True), r"'time'.*2000-10-03"),
    ],
)
def test_check_names_the_one_member_that_fails(local, tmp_path, spoil, message):
    shutil.copytree(local.parent, tmp_path / "here")
    spoil(tmp_path / "here/projections/rcp85/B_Y.zarr")
    history, projection = check_catalog(tmp_path / "here/climate.yaml")
    assert history.status == "ok" and projection.status == "failed"
    assert re.search(message, projection.remark), projection.remark
    with pytest.raises(InputError, match=r"climate.yaml: 1 of 2 entries failed: projection"):
        command("check", tmp_path / "here/climate.yaml")


def test_check_counts_the_combinations_it_leaves_out(local, tmp_path, monkeypatch):
    monkeypatch.setattr("alpgm_dask.catalog.checked.MAX_CHOICES", 3)
    assert check_catalog(local)[1].remark.startswith("3 of 4 combinations; climate")


def test_show_says_what_is_in_an_entry(local, capsys):
    command("show", local, "projection", "--param", "scenario=rcp85", "--param", "member=B_Y")
    shown = capsys.readouterr().out
    for line in (
        "projections/rcp85/B_Y.zarr",
        "parameter scenario = rcp85 (of rcp26, rcp85)",
        "dimensions: time 730, point 3",
        "tas        (time, point)  float32  K  chunks 365 x 2",
        "climate contract: held. daily, 2000-10-01 to 2002-09-30, 3 points",
    ):
        assert line in shown, line
    with pytest.raises(InputError, match=r"--param 'scenario'; allowed: name=value"):
        command("show", local, "projection", "--param", "scenario")
    with pytest.raises(InputError, match=r"entry 'projections' is missing; the catalog has: history, projection"):
        command("show", local, "projections")


def test_show_says_what_a_store_lacks_as_climate(tmp_path):
    store.write(climate(270.0).drop_vars("lat"), str(tmp_path / "half.zarr"))
    store.write(xr.Dataset({"a": ("x", np.zeros(2))}), str(tmp_path / "other.zarr"))
    names = {name: Entry("zarr", f"{{CATALOG_DIR}}/{name}.zarr") for name in ("half", "other")}
    write_catalog(tmp_path / "c.yaml", names)
    catalog = open_catalog(tmp_path / "c.yaml")
    assert "climate contract: not held. entry 'half': variable 'lat' is missing" in show_entry(catalog, "half")
    assert "climate contract: no climate" in show_entry(catalog, "other")
    assert [entry.status for entry in check_catalog(tmp_path / "c.yaml")] == ["failed", "ok"]


def test_list_has_parameters_with_defaults_and_options(local, capsys):
    command("list", local)
    shown = capsys.readouterr().out
    assert "member = A_X (of A_X, B_Y)" in shown and "climate to come" in shown
    assert [entry.name for entry in list_entries(open_catalog(local))] == ["history", "projection"]


# -- the remote ones, without going there -------------------------------------------------------------------

PLACES = {
    "cmip6_historical": "gs://cmip6/CMIP6/CMIP/MPI-M/MPI-ESM1-2-HR/historical/r1i1p1f1/day/tas/gn/v20190710",
    "cmip6_scenario": "gs://cmip6/CMIP6/ScenarioMIP/DKRZ/MPI-ESM1-2-HR/ssp585/r1i1p1f1/day/tas/gn/v20190710",
    "copernicus_dem": "https://copernicus-dem-30m.s3.amazonaws.com/Copernicus_DSM_COG_10_N45_00_E006_00_DEM/"
    "Copernicus_DSM_COG_10_N45_00_E006_00_DEM.tif",
    "era5_maps": "gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3",
    "era5_series": "s3://earthmover-icechunk-era5/icechunkV2",
    "euro_cordex_tas": "s3://euro-cordex/CMIP5/cordex/output/EUR-11/SMHI/MPI-M-MPI-ESM-LR/historical/r1i1p1/RCA4/v1a/"
    "mon/tas/v20160803",
}


def test_remote_entries_resolve_to_their_places():
    catalog = open_catalog(REMOTE)
    assert {name: catalog.url(name) for name in catalog.names} == PLACES
    other = open_catalog(REMOTE, scenario="ssp245", variable="pr", tile="N46_00_E008_00")
    assert "/ssp245/r1i1p1f1/day/pr/gn/" in other.url("cmip6_scenario") and "N46_00_E008" in other.url("copernicus_dem")
    assert "/historical/r1i1p1f1/day/pr/gn/" in other.url("cmip6_historical")


def test_remote_entries_are_anonymous_and_say_what_must_be_said():
    checked = check_catalog(REMOTE)
    assert {entry.status for entry in checked} == {"not reached"}
    content = yaml.safe_load(REMOTE.read_text())
    for name, source in content["data"].items():
        options = source["kwargs"]["storage_options"]
        anonymous = options is None or options.get("token") == "anon" or options.get("anon") or options.get("anonymous")
        assert anonymous, name
    assert all(content["entries"][name]["metadata"]["remote"] is True for name in content["entries"])
    assert content["data"]["era5_series_data"]["kwargs"]["root"] == "single/temporal"


def test_remote_entries_need_their_metadata(tmp_path):
    content = yaml.safe_load(REMOTE.read_text())
    del content["entries"]["era5_maps"]["metadata"]["licence"]
    content["entries"]["era5_series"]["metadata"]["remote"] = False
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    failed = {entry.name: entry.remark for entry in check_catalog(tmp_path / "r.yaml") if entry.status == "failed"}
    assert set(failed) == {"era5_maps", "era5_series"}
    assert "says nothing of 'licence'" in failed["era5_maps"] and "not marked" in failed["era5_series"]


def test_an_entry_whose_url_has_an_unknown_parameter_fails_alone(tmp_path):
    content = yaml.safe_load(REMOTE.read_text())
    content["data"]["cmip6_scenario_data"]["kwargs"]["url"] = "gs://cmip6/{scenaro}/{model}"
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    failed = [entry for entry in check_catalog(tmp_path / "r.yaml") if entry.status == "failed"]
    assert [entry.name for entry in failed] == ["cmip6_scenario"] and "{scenaro}" in failed[0].remark


def test_every_catalog_of_the_repository_opens():
    for path in CATALOGS.glob("*.yaml"):
        assert list_entries(open_catalog(path)), path


# -- reaching them ------------------------------------------------------------------------------------------


def test_reach_opens_what_answers_and_gives_up_on_what_does_not(monkeypatch):
    never = threading.Event()

    def read(self, name):
        if name == "era5_maps":
            return xr.Dataset({"t2m": ("valid_time", np.zeros(4))})
        if name == "era5_series":
            never.wait(20)
        raise OSError("no route to host")

    monkeypatch.setattr(opened_module.Catalog, "read", read)
    found = {entry.name: entry for entry in check_catalog(REMOTE, reach=True, timeout=0.2)}
    never.set()
    assert found["era5_maps"].status == "ok" and found["era5_maps"].remark.endswith("valid_time 4")
    assert found["era5_series"].remark == "no answer within 0.2 s"
    assert found["copernicus_dem"].remark == "OSError: no route to host"
    assert [entry.status for entry in found.values()].count("failed") == 5


@pytest.mark.parametrize(("name", "package"), [("era5_series", "icechunk"), ("era5_maps", "gcsfs")])
def test_a_package_that_is_not_installed_is_named(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    for protocol in ("gs", "gcs"):  # where gcsfs is installed, and was used before
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    with pytest.raises(InputError, match=rf"'{name}': it needs the package {package}, .*; install the extra 'cloud'"):
        open_catalog(REMOTE).read(name)


# -- other kinds, on this machine ---------------------------------------------------------------------------


def test_an_icechunk_repository_is_read_by_its_group(tmp_path):
    icechunk = pytest.importorskip("icechunk", reason="icechunk is not installed (extra 'cloud')")
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "repo")))
    session = repository.writable_session("main")
    for group, value in (("single/temporal", 1.0), ("single/spatial", 2.0)):
        made = climate(270.0 + value).drop_encoding()
        made.load().to_zarr(session.store, group=group, consolidated=False, zarr_format=3)
    session.commit("two layouts")
    entry = Entry("icechunk", "{CATALOG_DIR}/repo", "time series", group="single/temporal")
    write_catalog(tmp_path / "c.yaml", {"era5": entry})
    found = open_catalog(tmp_path / "c.yaml").read("era5")
    assert found["tas"].chunks is not None and float(found["tas"][0, 0]) == 271.0
    assert check_catalog(tmp_path / "c.yaml")[0].status == "ok"
    shutil.rmtree(tmp_path / "repo")
    with pytest.raises(InputError, match=r"entry 'era5': .*repo does not open"):
        open_catalog(tmp_path / "c.yaml").read("era5")


def test_rasters_and_netcdf(tmp_path):
    import rioxarray  # noqa: F401  (gives .rio)

    tile = xr.DataArray(np.arange(12.0, dtype="f4").reshape(3, 4), dims=("y", "x"))
    tile = tile.assign_coords(y=[3.0, 2.0, 1.0], x=[1.0, 2.0, 3.0, 4.0]).rio.write_crs(4326)
    tile.rio.to_raster(tmp_path / "N45.tif")
    xr.Dataset({"a": ("x", [1.0, 2.0])}).to_netcdf(tmp_path / "a.nc")
    entries = {
        "dem": Entry("raster", "{CATALOG_DIR}/{tile}.tif", "a tile"),
        "file": Entry("netcdf", "{CATALOG_DIR}/a.nc"),
    }
    write_catalog(tmp_path / "c.yaml", entries, {"tile": Parameter("N45")})
    catalog = open_catalog(tmp_path / "c.yaml")
    dem = catalog.read("dem")
    assert dem["band_data"].chunks is not None and float(dem["band_data"].sum()) == 66.0
    assert dem.rio.crs.to_epsg() == 4326
    assert catalog.read("file")["a"].chunks is not None and catalog.read("file")["a"].values.tolist() == [1.0, 2.0]
    with pytest.raises(InputError, match=r"entry 'dem': .*N46.tif does not open"):
        open_catalog(tmp_path / "c.yaml", tile="N46").read("dem")
    assert [entry.status for entry in check_catalog(tmp_path / "c.yaml")] == ["ok", "ok"]


def test_storage_options_reach_the_file_system(tmp_path, monkeypatch):
    """A file system in memory stands for a bucket, and remembers how it was asked for."""
    import sys

    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    asked = []

    class Bucket(MemoryFileSystem):
        protocol = "gs"

        def __init__(self, *args, **options):
            asked.append(options)
            super().__init__(*args, **options)

        @classmethod
        def _strip_protocol(cls, path):
            return MemoryFileSystem._strip_protocol(path.replace("gs://", "memory://", 1))

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", Bucket)
    options = {"token": "anon"}
    xr.Dataset({"a": ("x", [1.0, 2.0])}).to_zarr("gs://bucket/a.zarr", zarr_format=3, storage_options=options)
    asked.clear()
    Bucket.clear_instance_cache()
    write_catalog(tmp_path / "c.yaml", {"a": Entry("zarr", "gs://bucket/a.zarr", storage_options=options)})
    assert open_catalog(tmp_path / "c.yaml").read("a")["a"].values.tolist() == [1.0, 2.0]
    assert asked and all(given.get("token") == "anon" for given in asked)
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_an_icechunk_repository_on_s3_is_written_as_intake_wants_it(tmp_path):
    entry = Entry("icechunk", "s3://bucket/a/b", storage_options={"region": "us-east-1", "anonymous": True}, group="g")
    write_catalog(tmp_path / "c.yaml", {"era5": entry})
    source = yaml.safe_load((tmp_path / "c.yaml").read_text())["data"]["era5_data"]["kwargs"]
    options = {"bucket": "bucket", "prefix": "a/b", "region": "us-east-1", "anonymous": True}
    assert source == {"url": "s3", "storage_options": options, "root": "g", "ref": "main"}
    assert open_catalog(tmp_path / "c.yaml").url("era5") == "s3://bucket/a/b"


# -- what a catalog may not hold ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "AKIA", "anon": False}, r"storage_options holds 'key'; allowed: anon, .*from the environment"),
        ({"secret": "hunter2"}, r"storage_options holds 'secret'"),
        ({"access_key_id": "hunter2"}, r"storage_options holds 'access_key_id'"),
        ({"token": "hunter2"}, r"'token' may only be 'anon'"),
        ({"requester_pays": True}, r"'requester_pays' may only be False"),
        ({"client_kwargs": {"aws_secret_access_key": "hunter2"}}, r"client_kwargs holds 'aws_secret_access_key'"),
        ({"endpoint_url": "https://me:hunter2@host"}, r"url of host carries credentials"),
        (["hunter2"], r"storage_options is no mapping"),
    ],
)
def test_credentials_are_refused_and_not_repeated(tmp_path, options, message):
    content = yaml.safe_load(REMOTE.read_text())
    content["data"]["era5_maps_data"]["kwargs"]["storage_options"] = options
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=message) as refused:
        open_catalog(tmp_path / "r.yaml")
    assert "hunter2" not in str(refused.value) and "AKIA" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://me:hunter2@bucket/a.zarr", "carries credentials"),
        ("https://host/a.zarr?X-Amz-Signature=hunter2", "carries credentials"),
        ("simplecache::s3://bucket/a.zarr", "chains file systems"),
        ("reference://a.json", "is of protocol 'reference'; allowed: file, local, memory, s3"),
        ("github://owner:repo/a.zarr", "is of protocol 'github'"),
    ],
)
def test_places_that_are_refused(tmp_path, url, message):
    with pytest.raises(InputError, match=message) as refused:
        write_catalog(tmp_path / "c.yaml", {"a": Entry("zarr", url)})
    assert "hunter2" not in str(refused.value) and not (tmp_path / "c.yaml").exists()


def test_a_parameter_cannot_bring_in_a_place_that_is_refused(tmp_path):
    write_catalog(tmp_path / "c.yaml", {"a": Entry("zarr", "{where}/a.zarr")}, {"where": Parameter("memory://here")})
    assert open_catalog(tmp_path / "c.yaml").url("a") == "memory://here/a.zarr"
    with pytest.raises(InputError, match="is of protocol 'reference'"):
        open_catalog(tmp_path / "c.yaml", where="reference://x").read("a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["entries"]["era5_maps"]["kwargs"].update(preprocess="x"), "argument 'preprocess' is foreign"),
        (lambda c: c["entries"]["era5_maps"]["kwargs"].update(engine="pydap"), "engine 'pydap'; allowed: zarr"),
        (lambda c: c["data"]["era5_maps_data"]["kwargs"].update(fs="x"), "argument 'fs' is foreign"),
        (lambda c: c["entries"]["era5_maps"]["kwargs"].update(data="{data(nothing)}"), "allowed: one {data"),
        (lambda c: c["entries"]["era5_maps"].update(kwargs=None), "has no 'kwargs'"),
        (lambda c: c["data"]["era5_series_data"]["kwargs"].update(url="in_memory_storage://"), "is of protocol"),
    ],
)
def test_foreign_arguments_are_refused(tmp_path, change, message):
    content = yaml.safe_load(REMOTE.read_text())
    change(content)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=message):
        open_catalog(tmp_path / "r.yaml")
