"""A bucket of a real S3 server: catalogs, stores and fingerprints; who one is comes from the environment."""

from __future__ import annotations

import numpy as np
import pytest
import servers
import xarray as xr

from alpgm_dask import store
from alpgm_dask.catalog import check_catalog, open_catalog
from alpgm_dask.cluster import connect
from alpgm_dask.config import load_config
from alpgm_dask.schema import InputError

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The environment that leads to the server; its bucket is ``alps``."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with servers.s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture(autouse=True)
def _environment(server, monkeypatch):
    for name, value in server.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def catalog(server, demo_catalog):
    """The demo region, copied into the bucket as it is."""
    import s3fs

    options = {"key": server["AWS_ACCESS_KEY_ID"], "secret": server["AWS_SECRET_ACCESS_KEY"]}
    fs = s3fs.S3FileSystem(endpoint_url=server["AWS_ENDPOINT_URL"], skip_instance_cache=True, **options)
    fs.put(f"{demo_catalog.parent}/", "alps/demo/", recursive=True)
    return "s3://alps/demo/catalog.yaml"


def test_a_catalog_in_a_bucket_is_that_of_the_folder(catalog, demo_catalog):
    there, here = open_catalog(catalog), open_catalog(demo_catalog)
    assert there.names == here.names
    assert there.url("glaciers") == "s3://alps/demo/glaciers.zarr"
    xr.testing.assert_identical(there.read("glaciers").load(), here.read("glaciers").load())
    assert there.read("outlines").equals(here.read("outlines"))


def test_what_lies_beside_a_catalog_is_checked_as_in_a_folder(catalog, demo_catalog):
    there, here = check_catalog(catalog), check_catalog(demo_catalog)
    assert [(line.name, line.status, line.remark) for line in there] == [(h.name, "ok", h.remark) for h in here]


def test_nobody_is_refused(catalog, monkeypatch):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(
        InputError, match=r"catalog\.yaml: does not open: .*credentials; needed: credentials in the env"
    ):
        open_catalog(catalog)
    s3fs.S3FileSystem.clear_instance_cache()


def test_what_is_not_there_is_refused(catalog):
    with pytest.raises(InputError, match=r"s3://alps/other\.yaml: there is no such catalog"):
        open_catalog("s3://alps/other.yaml")
    with pytest.raises(InputError, match=r"s3://alps/none\.zarr: there is no Zarr store"):
        store.open_store("s3://alps/none.zarr")


def _template() -> xr.Dataset:
    values = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("member", "glacier"))
    return xr.Dataset({"volume": values}).chunk(member=1, glacier=2)


def test_workers_fill_a_store_in_a_bucket():
    url, whole = "s3://alps/results.zarr", _template().compute()
    assert not store.exists(url)
    store.prime(_template(), url, ledger={"member": 3, "block": 2})
    assert store.exists(url) and not store.is_complete(url) and len(store.pending(url)) == 6
    with pytest.raises(InputError, match="the store was not finished"):
        store.open_store(url)
    with connect(workers=2, memory="1GB") as client:
        for entries in ([(0, 0), (0, 1), (1, 0)], [(1, 1), (2, 0), (2, 1)]):  # cut short, then gone on with
            regions = [{"member": slice(m, m + 1), "glacier": slice(2 * b, 2 * b + 2)} for m, b in entries]
            parts = [whole.isel(region) for region in regions]
            receipts = client.map(store.write_block, parts, [url] * 3, regions, entries)
            assert [receipt["entry"] for receipt in client.gather(receipts)] == entries
            left = store.pending(url)
            assert not set(left) & set(entries)
    assert left == []
    store.finish(url)
    np.testing.assert_array_equal(store.open_store(url)["volume"].values, whole["volume"].values)
    with pytest.raises(InputError, match="the store exists already"):
        store.prime(_template(), url)
    store.remove(url)
    assert not store.exists(url)


def test_a_fingerprint_follows_the_data():
    url, data = "s3://alps/printed.zarr", _template().compute()
    assert store.fingerprint(url) == ""
    store.write(data, url)
    first = store.fingerprint(url)
    assert first and store.fingerprint(url) == first
    store.write(data + 1, url, overwrite=True)
    assert store.fingerprint(url) not in ("", first)


RUN = """
title = "from a bucket"
catalog = "s3://alps/demo/catalog.yaml"
output = "run"
[glaciers]
massifs = ["Bois Noirs"]
[period]
start = 2016
end = 2020
[smb]
model = "prescribed"
prescribed = -1.0
"""


def test_a_run_reads_from_a_bucket_and_keeps_no_credentials(catalog, server, tmp_path):
    from alpgm_dask.pipeline import run

    (tmp_path / "run.toml").write_text(RUN)
    config, said = load_config(tmp_path / "run.toml"), []
    folder = run(config, say=said.append)
    results = store.open_store(str(folder / "results.zarr"))
    assert set(np.unique(results["status"])) <= {1, 2} and "s3://alps/demo/glaciers.zarr" in results.attrs["inputs"]
    for path in [*folder.rglob("*.json"), tmp_path / "run.toml"]:
        assert server["AWS_SECRET_ACCESS_KEY"] not in path.read_text()
    run(config, say=said.append)
    assert sum("unchanged, skipped" in line for line in said) == 2
