"""Elevation models into a catalog: written block by block on workers, never half, never over something else."""

from __future__ import annotations

import numpy as np
import pytest
import small_region
import small_surveys as small
import xarray as xr
from small_surveys import DATES

from alpgm_dask import ingest, packing, store
from alpgm_dask.catalog import open_catalog
from alpgm_dask.cli import main
from alpgm_dask.convert import elevation
from alpgm_dask.schema import InputError


@pytest.fixture(scope="module")
def client():
    from alpgm_dask.cluster import connect

    with connect(workers=2, memory="1GB") as client:
        yield client


@pytest.fixture
def folder(tmp_path):
    """Two surveys, and outlines that call the glaciers as :func:`small_region.glaciers` does."""
    for which in ("first", "second"):
        small.tif(tmp_path / f"{which}.tif", which)
    ids = {name: small.BOXES[old] for name, old in zip(("G0", "G1", "X2"), small.BOXES, strict=True)}
    small.outlines(ids, name=["a", "b", "c"]).to_parquet(tmp_path / "shapes.parquet")
    return tmp_path


def convert(folder, client, **options):
    said: list[str] = []
    given = {"first": folder / "first.tif", "second": folder / "second.tif", "outlines": folder / "shapes.parquet"}
    path = folder / "out/catalog.yaml"
    ingest.convert_elevation(
        path, options.pop("name", "elevation_models"), client, dates=DATES, say=said.append, **given | options
    )
    return path, said[0]


def test_surveys_become_an_entry_of_a_catalog(folder, client):
    path, said = convert(folder, client)
    ds = open_catalog(path).read("elevation_models")
    packing.blocks(ds)
    assert ds["elevation_change"].chunks is not None
    assert (ds.attrs["first_survey"], ds.attrs["second_survey"]) == DATES and ds.attrs["complete"] == 1
    there = np.isfinite(ds["x"].values)
    expected = small.thinning(ds["x"].values[there], ds["y"].values[there])
    np.testing.assert_allclose(ds["elevation_change"].values[there], expected, atol=1e-3)
    assert "elevation models: pixels with a change" in said
    assert (path.parent / "elevation_models_report.json").exists()


def test_the_glaciers_of_the_catalog_say_what_they_are_called(folder, client):
    small_region.write_region(folder / "out", {"glaciers": small_region.glaciers()})
    path, _ = convert(folder, client, name="surveys")
    ds = open_catalog(path).read("surveys")
    told = dict(zip(ds["rgi_id"].values, zip(ds["name"].values, ds["massif"].values, strict=True), strict=True))
    assert told == {"G0": ("one", "A"), "G1": ("two", "A"), "X2": ("c", "")}


def test_outlines_are_those_of_the_catalog_unless_given(folder, client):
    from alpgm_dask.catalog import Entry, write_catalog

    with pytest.raises(InputError, match="no entry 'outlines'; allowed: --outlines FILE"):
        convert(folder, client, outlines=None)
    write_catalog(folder / "out/catalog.yaml", {"outlines": Entry("geoparquet", str(folder / "shapes.parquet"))})
    path, _ = convert(folder, client, outlines=None)
    assert open_catalog(path).read("elevation_models").sizes["glacier"] == 3


def test_an_entry_is_replaced_only_when_told_and_only_by_its_like(folder, client):
    path, _ = convert(folder, client)
    with pytest.raises(InputError, match=r"elevation_models\.zarr: the store exists already; allowed: .*--overwrite"):
        convert(folder, client)
    convert(folder, client, overwrite=True)
    store.write(xr.Dataset({"a": ("x", [1.0])}), str(path.parent / "other.zarr"))
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"other\.zarr: a store of something else is there; allowed"):
            convert(folder, client, name="other", overwrite=overwrite)
    small_region.write_region(folder / "out", {"glaciers": small_region.glaciers()})
    with pytest.raises(InputError, match=r"entry 'glaciers' is .*; allowed: another --name"):
        convert(folder, client, name="glaciers", overwrite=True)


def test_a_store_whose_writing_was_cut_short_is_not_taken_for_finished(folder, client, monkeypatch):
    from alpgm_dask.ingest import stores

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stores.store, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            convert(folder, client)
    url = str(folder / "out/elevation_models.zarr")
    assert store.exists(url) and not store.is_complete(url)
    with pytest.raises(InputError, match="was not finished"):
        store.open_store(url)
    path, _ = convert(folder, client)  # what was not finished is written again without being told to
    assert store.open_store(url).sizes["glacier"] == 3 and "elevation_models" in open_catalog(path).names


def test_what_is_refused_leaves_nothing(folder, client):
    with pytest.raises(InputError, match="allowed: the first before the second"):
        ingest.convert_elevation(
            folder / "out/catalog.yaml",
            "x",
            client,
            dates=DATES[::-1],
            outlines=folder / "shapes.parquet",
            first="a",
            second="b",
        )
    assert not (folder / "out/x.zarr").exists() and not (folder / "out/catalog.yaml").exists()


def test_the_command_line(folder, capsys):
    given = ["--outlines", str(folder / "shapes.parquet"), "--catalog", str(folder / "cli/catalog.yaml")]
    rasters = ["--first", str(folder / "first.tif"), "--second", str(folder / "second.tif")]
    verb = ["convert", "elevation", "--workers", "1", "--memory", "1GB"]
    assert main([*verb, *given, *rasters, "--dates", "2015", "2000"]) == 2
    assert "dates of the surveys: 2015, then 2000" in capsys.readouterr().err
    assert main([*verb, *given, *rasters, "--dates", *DATES]) == 0
    assert "area with a change (km2)" in capsys.readouterr().out
    ds = open_catalog(folder / "cli/catalog.yaml").read("elevation_models")
    here = elevation.convert(folder / "shapes.parquet", DATES, first=rasters[1], second=rasters[3])
    np.testing.assert_array_equal(ds["elevation_change"], small.packed(here)["elevation_change"])
