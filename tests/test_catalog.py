"""Catalogs: names to lazy data, parameters that take effect, and no code from a YAML file."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
import small_region as small
import xarray as xr
import yaml

from alpgm_dask import store
from alpgm_dask.catalog import Entry, Parameter, open_catalog, write_catalog
from alpgm_dask.schema import InputError


def write_numbers(folder, **values: float) -> None:
    for name, value in values.items():
        store.write(xr.Dataset({"a": ("x", np.full(3, value))}), str(folder / f"{name}.zarr"))


@pytest.fixture
def region(tmp_path):
    """A catalog with a Zarr entry whose url has a parameter, and a GeoParquet entry."""
    import geopandas
    import shapely

    folder = tmp_path / "region"
    folder.mkdir()
    write_numbers(folder, one=1.0, rcp26=26.0, rcp85=85.0)
    table = geopandas.GeoDataFrame({"rgi_id": ["G0"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    table.to_parquet(folder / "outlines.parquet")
    entries = {
        "one": Entry("zarr", "{CATALOG_DIR}/one.zarr", "ones (three)"),
        "climate": Entry("zarr", "{CATALOG_DIR}/{scenario}.zarr", "by scenario"),
        "outlines": Entry("geoparquet", "{CATALOG_DIR}/outlines.parquet", "squares"),
    }
    parameters = {"scenario": Parameter("rcp26", ("rcp26", "rcp85"), "what is emitted")}
    write_catalog(folder / "catalog.yaml", entries, parameters)
    return folder / "catalog.yaml"


def edited(path, change) -> str:
    """Path of a copy of a catalog in which `change` was made."""
    content = yaml.safe_load(path.read_text())
    change(content)
    out = path.with_name("edited.yaml")
    out.write_text(yaml.safe_dump(content))
    return str(out)


def read_all(path, **parameters) -> None:
    catalog = open_catalog(path, **parameters)
    for name in catalog.names:
        catalog.read(name)


# -- reading ------------------------------------------------------------------------------------------------


def test_entries_are_listed_described_and_read_lazily(region):
    catalog = open_catalog(region)
    assert catalog.names == ["climate", "one", "outlines"]
    assert catalog.describe("one") == "ones (three)"
    one = catalog.read("one")
    assert one["a"].chunks is not None and one["a"].values.tolist() == [1, 1, 1]
    assert catalog.url("one").endswith("/region/one.zarr")
    outlines = catalog.read("outlines")
    assert outlines.crs.to_epsg() == 4326 and outlines["rgi_id"].tolist() == ["G0"]


def test_a_parameter_takes_effect(region):
    """Through an entry, Intake keeps the default and says nothing."""
    assert open_catalog(region).read("climate")["a"].values[0] == 26
    assert open_catalog(region, scenario="rcp26").read("climate")["a"].values[0] == 26
    other = open_catalog(region, scenario="rcp85")
    assert other.read("climate")["a"].values[0] == 85
    assert other.url("climate").endswith("/rcp85.zarr")
    assert open_catalog(region).read("climate")["a"].values[0] == 26
    assert other.read("one")["a"].values[0] == 1


def test_a_moved_folder_and_another_working_directory(region, tmp_path, monkeypatch):
    moved = tmp_path / "moved here"
    shutil.move(region.parent, moved)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert open_catalog(moved / "catalog.yaml", scenario="rcp85").read("climate")["a"].values[0] == 85
    assert open_catalog("../moved here/catalog.yaml").read("one")["a"].values[0] == 1
    assert len(open_catalog("../moved here/catalog.yaml").read("outlines")) == 1


def test_writing_again_merges(region):
    write_numbers(region.parent, two=2.0)
    write_catalog(
        region, {"two": Entry("zarr", "{CATALOG_DIR}/two.zarr"), "one": Entry("zarr", "{CATALOG_DIR}/two.zarr")}
    )
    catalog = open_catalog(region, scenario="rcp85")
    assert catalog.names == ["climate", "one", "outlines", "two"]
    assert [float(catalog.read(n)["a"][0]) for n in ("climate", "one", "two")] == [85, 2, 2]
    assert not list(region.parent.glob("*.tmp"))


def test_intake_itself_reads_what_is_written(region):
    import intake

    assert intake.open_catalog(str(region))["one"].read()["a"].values[0] == 1


# -- refused ------------------------------------------------------------------------------------------------


def test_wrong_names_parameters_and_options(region):
    with pytest.raises(
        InputError, match=r"catalog.yaml: entry 'on' is missing; the catalog has: climate, one, outlines"
    ):
        open_catalog(region).read("on")
    with pytest.raises(InputError, match=r"unknown parameter 'scenari'; allowed: scenario"):
        open_catalog(region, scenari="rcp85")
    with pytest.raises(InputError, match=r"parameter 'scenario' is 'rcp45'; allowed: rcp26, rcp85"):
        open_catalog(region, scenario="rcp45")
    with pytest.raises(
        InputError, match=r"entry 'x' is of kind 'grib'; allowed: zarr, icechunk, raster, netcdf, geoparquet"
    ):
        write_catalog(region, {"x": Entry("grib", "x.grib")})


def test_missing_and_unfinished_stores(region):
    shutil.rmtree(region.parent / "one.zarr")
    with pytest.raises(InputError, match=r"catalog.yaml: entry 'one': nothing at .*one.zarr"):
        open_catalog(region).read("one")
    store.prime(xr.Dataset({"a": ("x", np.zeros(3))}), str(region.parent / "one.zarr"))
    with pytest.raises(InputError, match=r"entry 'one': the store .*one.zarr was not finished"):
        open_catalog(region).read("one")
    (region.parent / "outlines.parquet").unlink()
    with pytest.raises(InputError, match=r"entry 'outlines': nothing at .*outlines.parquet"):
        open_catalog(region).read("outlines")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not YAML"),
        ("just words", "not an Intake 2 catalog"),
        ("", "not an Intake 2 catalog"),
        ("sources:\n  one:\n    driver: zarr\n    args: {urlpath: one.zarr}\n", "not an Intake 2 catalog"),
        ("version: 1\nsources: {}\n", "not an Intake 2 catalog"),
        ("version: 2\nentries: {}\n", "section 'data' is missing"),
        ("version: 2\nentries: [a]\n", "section 'entries' is missing or no mapping"),
        ("a: !!python/object/apply:os.system ['true']\n", "not YAML"),
    ],
)
def test_what_is_no_catalog(tmp_path, text, message):
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"catalog.yaml: {message}"):
        open_catalog(path)
    with pytest.raises(InputError, match=r"nothing.yaml: there is no such catalog"):
        open_catalog(tmp_path / "nothing.yaml")


#: A module that leaves a trace when it is imported: nothing that a catalog names may get that far.
TRAP = "import pathlib; pathlib.Path(__file__).with_name('sprung').touch()\nclass Reader:\n    pass\n"

FOREIGN = {
    "reader": lambda c: c["entries"]["one"].update(reader="trap:Reader"),
    "output_instance": lambda c: c["entries"]["one"].update(output_instance="trap:Reader"),
    "datatype": lambda c: c["data"]["one_data"].update(datatype="trap:Reader"),
    "reader of an entry nobody reads": lambda c: c["entries"]["climate"].update(reader="trap:Reader"),
    "list": lambda c: c["entries"]["one"].update(reader=["trap:Reader"]),
    "nested data": lambda c: c["entries"]["one"]["kwargs"].update(
        data={"datatype": "trap:Reader", "kwargs": {"url": "x"}, "metadata": {}, "user_parameters": {}}
    ),
    "parameter class": lambda c: c["user_parameters"]["scenario"].update(cls="trap:Reader"),
    "parameter class of an entry": lambda c: c["entries"]["one"].update(user_parameters={"p": {"cls": "trap:Reader"}}),
    "pipeline": lambda c: c["entries"]["one"].update(
        reader="intake.readers.convert:Pipeline",
        kwargs={"steps": [["{data(one_data)}", [], {}], ["{func(trap:Reader)}"]]},
    ),
    "pipeline step": lambda c: c["entries"]["one"]["kwargs"].update(steps=[["{func(trap:Reader)}", [], {}]]),
    "function": lambda c: c["entries"]["one"]["kwargs"].update(preprocess="{func(trap:Reader)}"),
    "import": lambda c: c["entries"]["one"]["kwargs"].update(preprocess="{import(trap:Reader)}"),
    "pickle": lambda c: c["entries"]["one"]["kwargs"].update(preprocess="{pickle64(gAN9cQAu)}"),
    "environment": lambda c: c["data"]["one_data"]["kwargs"].update(url="{env(HOME)}/one.zarr"),
    "function in an url": lambda c: c["data"]["one_data"]["kwargs"].update(url="{func(trap:Reader)}"),
    "default": lambda c: c["user_parameters"]["scenario"].update(default="func(trap:Reader)"),
    "pickle as default": lambda c: c["user_parameters"]["scenario"].update(default="pickle64(gAN9cQAu)"),
}


@pytest.fixture
def sprung(tmp_path, monkeypatch):
    """The trace that importing ``trap`` leaves."""
    (tmp_path / "trap.py").write_text(TRAP)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "sprung"
    sys.modules.pop("trap", None)


@pytest.mark.parametrize("where", FOREIGN)
def test_a_foreign_driver_is_refused_before_it_is_imported(region, sprung, where):
    with pytest.raises(InputError, match=r"edited.yaml: .*(is a foreign driver|asks for code).*; allowed: "):
        read_all(edited(region, FOREIGN[where]))
    assert not sprung.exists()


def test_a_parameter_value_that_asks_for_code_is_refused(region):
    free = edited(region, lambda c: c["user_parameters"]["scenario"].pop("options"))
    with pytest.raises(InputError, match=r"parameter 'scenario' is 'func\(os:system\)', which asks for code"):
        open_catalog(free, scenario="func(os:system)")


def test_the_trap_would_spring(region, sprung):
    """Intake alone imports what a catalog names: the refusals above refuse something."""
    import intake

    with pytest.raises((AttributeError, TypeError)):
        intake.open_catalog(edited(region, FOREIGN["reader"]))["one"].read()
    assert sprung.exists()


def test_words_with_brackets_in_a_description_are_no_code(region):
    write_catalog(region, {"one": Entry("zarr", "{CATALOG_DIR}/one.zarr", "glacier(s) of region(11), func(x)")})
    assert open_catalog(region).describe("one") == "glacier(s) of region(11), func(x)"
    assert open_catalog(region).read("one")["a"].values[0] == 1


def test_the_small_region_is_read(tmp_path):
    path = small.write_region(tmp_path, {"glaciers": small.glaciers()})
    assert open_catalog(path).read("glaciers")["rgi_id"].values.tolist() == ["G0", "G3", "G1", "G2"]


def test_what_was_checked_is_what_is_read(region, sprung):
    """A file that changes after it was opened cannot bring in what was refused."""
    catalog = open_catalog(region)
    shutil.copy(edited(region, FOREIGN["reader"]), region)
    assert catalog.read("one")["a"].values[0] == 1
    assert not sprung.exists()
