"""Stores: primed, filled by whoever made a block, finished; never taken for complete before that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings

import dask
import numpy as np
import pytest
import small_region as small
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask import store
from alpgm_dask.schema import InputError

YEARS = 3


def template(n_members: int = 2, n_glaciers: int = 5, per_block: int = 2) -> xr.Dataset:
    """Empty lazy results of blocks of two glaciers, and names in memory."""
    import dask.array as da

    shape, chunks = (n_members, n_glaciers, YEARS), (1, per_block, YEARS)
    names = np.array([f"glacier {i}" for i in range(n_glaciers)], dtype=object)
    return xr.Dataset(
        {
            "area": (("member", "glacier", "hydro_year"), da.full(shape, np.nan, chunks=chunks), {"units": "m2"}),
            "status": (("member", "glacier"), da.zeros(shape[:2], dtype="int8", chunks=chunks[:2])),
            "name": ("glacier", names),
        },
        coords={"hydro_year": np.arange(2000, 2000 + YEARS)},
        attrs={"block_glaciers": per_block},
    )


def block(member: int, index: int, n_glaciers: int = 5, per_block: int = 2) -> tuple[xr.Dataset, dict[str, slice]]:
    """Block of a member: its area is 100 * member + the number of the glacier; and its region."""
    rows = slice(index * per_block, min((index + 1) * per_block, n_glaciers))
    area = 100.0 * member + np.arange(rows.start, rows.stop)[None, :, None] + np.zeros(YEARS)
    ds = xr.Dataset(
        {
            "area": (("member", "glacier", "hydro_year"), area),
            "status": (("member", "glacier"), np.ones(area.shape[:2], dtype="int8")),
        }
    )
    return ds, {"member": slice(member, member + 1), "glacier": rows}


def write_one(url: str, member: int, index: int) -> tuple[dict, int]:
    ds, region = block(member, index)
    return store.write_block(ds, url, region, (member, index)), os.getpid()


def primed(tmp_path) -> str:
    url = str(tmp_path / "results.zarr")
    store.prime(template(), url, ledger={"member": 2, "block": 3})
    return url


def all_blocks() -> list[tuple[int, int]]:
    return [(m, b) for m in range(2) for b in range(3)]


def expected_area() -> np.ndarray:
    return 100.0 * np.arange(2)[:, None, None] + np.arange(5)[None, :, None] + np.zeros(YEARS)


# -- prime, fill, finish ------------------------------------------------------------------------------------


def test_priming_computes_nothing_and_the_ledger_counts_down(tmp_path):
    with dask.config.set(scheduler=small.no_compute):
        url = primed(tmp_path)
    assert store.exists(url) and not store.is_complete(url)
    assert store.attributes(url)["primed"] == 1
    assert store.pending(url) == all_blocks()
    receipt, _ = write_one(url, 1, 2)
    assert receipt == {"entry": (1, 2), "bytes": YEARS * 8 + 1}
    assert store.pending(url) == [entry for entry in all_blocks() if entry != (1, 2)]
    for entry in store.pending(url):
        write_one(url, *entry)
    assert store.pending(url) == []
    store.finish(url, {"title": "five glaciers"})
    ds = store.open_store(url)
    np.testing.assert_array_equal(ds["area"], expected_area())
    assert ds.attrs["title"] == "five glaciers" and ds.attrs["complete"] == 1
    assert ds["area"].attrs["units"] == "m2"


def test_one_dask_chunk_is_one_zarr_chunk(tmp_path):
    url = primed(tmp_path)
    store.finish(url)
    ds = store.open_store(url)
    assert ds.chunks["member"] == (1, 1) and ds.chunks["glacier"] == (2, 2, 1)
    assert ds["name"].chunks == ((2, 2, 1),)
    assert ds[store.LEDGER].chunks == ((1, 1), (1, 1, 1))


def test_unwritten_numbers_are_missing_and_unwritten_codes_are_zero(tmp_path):
    url = primed(tmp_path)
    write_one(url, 0, 0)
    store.finish(url)
    ds = store.open_store(url).compute()
    assert np.isfinite(ds["area"]).sum() == 2 * YEARS
    assert ds["status"].values.sum() == 2


def test_an_unfinished_store_is_refused(tmp_path):
    url = primed(tmp_path)
    for entry in all_blocks():
        write_one(url, *entry)
    with pytest.raises(InputError, match=r"results\.zarr: the store was not finished; .*--resume or --overwrite"):
        store.open_store(url)
    with pytest.raises(InputError, match=r"nothing\.zarr: there is no Zarr store"):
        store.open_store(str(tmp_path / "nothing.zarr"))


def test_an_existing_store_is_refused_unless_overwritten(tmp_path):
    url = str(tmp_path / "a.zarr")
    store.write(xr.Dataset({"a": ("x", np.zeros(3)), "b": ("x", np.zeros(3))}), url)
    for again in (store.write, store.prime):
        with pytest.raises(InputError, match=r"a\.zarr: the store exists already; .*--overwrite, or --resume"):
            again(xr.Dataset({"a": ("x", np.ones(3))}), url)
    assert store.open_store(url)["a"].values.tolist() == [0, 0, 0]
    store.write(xr.Dataset({"a": ("x", np.ones(3))}), url, overwrite=True)
    assert list(store.open_store(url).data_vars) == ["a"]
    assert store.open_store(url)["a"].values.tolist() == [1, 1, 1]
    store.remove(url)
    store.remove(url)
    assert not store.exists(url)


def test_a_written_dataset_does_not_keep_the_chunks_it_was_read_with(tmp_path):
    """Encoding of the store that a dataset comes from must not cut blocks of the next one."""
    first, second = str(tmp_path / "1.zarr"), str(tmp_path / "2.zarr")
    store.write(xr.Dataset({"a": ("x", np.arange(10.0))}).chunk(x=5), first)
    store.write(store.open_store(first).isel(x=slice(1, 10)).chunk(x=3), second)
    found = store.open_store(second)
    assert found.chunks["x"] == (3, 3, 3)
    assert found["a"].values.tolist() == list(range(1, 10))


def test_whole_and_lazy_numbers_dates_and_flags_come_back(tmp_path):
    url = str(tmp_path / "a.zarr")
    ds = xr.Dataset(
        {
            "f4": ("x", np.array([1.5, np.nan], dtype="float32")),
            "i8": ("x", np.array([-1, 2], dtype="int8")),
            "scalar": ((), 3.5),
            "date": ("x", np.array(["2000-01-01", "2015-09-30"], "datetime64[ns]")),
        },
        attrs={"flag": True, "many": [1, 2]},
    )
    store.write(ds.chunk(x=1), url)
    xr.testing.assert_identical(
        store.open_store(url).compute().assign_attrs(complete=None), ds.assign_attrs(complete=None)
    )


# -- strings ------------------------------------------------------------------------------------------------


def as_kind(values: list[str], kind: str) -> np.ndarray:
    return np.array(values, dtype={"object": object, "U": None, "StringDType": np.dtypes.StringDType()}[kind])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), min_size=1, max_size=5),
    st.sampled_from(["object", "U", "StringDType"]),
    st.booleans(),
)
def test_strings_of_any_kind_come_back(tmp_path_factory, values, kind, lazy):
    url = str(tmp_path_factory.mktemp("text") / "t.zarr")
    ds = xr.Dataset({"name": ("glacier", as_kind(values, kind))}, coords={"rgi_id": ("glacier", as_kind(values, kind))})
    store.write(ds.chunk(glacier=2) if lazy else ds, url)
    found = store.open_store(url)
    assert found["name"].values.tolist() == values
    assert found["rgi_id"].values.tolist() == values
    store.write(found, url.replace("t.zarr", "again.zarr"))
    assert store.open_store(url.replace("t.zarr", "again.zarr"))["name"].values.tolist() == values


def test_a_string_without_dimensions_comes_back(tmp_path):
    url = str(tmp_path / "t.zarr")
    store.write(xr.Dataset({"crs": ((), "EPSG:32632")}), url)
    assert store.open_store(url)["crs"].item() == "EPSG:32632"


def test_a_finished_store_opens_alone_and_without_warning(tmp_path):
    url = str(tmp_path / "a.zarr")
    ds = small.glaciers().assign(glims_id=("glacier", np.array(["ü", "", "c", "d"], dtype=object)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.write(ds, url, attrs=store.provenance("test", inputs="none"))
        found = xr.open_zarr(url)
        assert found["glims_id"].values.tolist() == ["ü", "", "c", "d"]
        assert found["rgi_id"].values.tolist() == ["G0", "G3", "G1", "G2"]
        found.load()
        primed_url = primed(tmp_path)
        write_one(primed_url, 0, 1)
        store.finish(primed_url)
        assert xr.open_zarr(primed_url).load()["name"].values[0] == "glacier 0"
    assert found["ice_thickness"].attrs["units"] == "m"
    assert found.attrs["Conventions"] == "CF-1.11" and found.attrs["title"] == "test"


# -- fingerprints -------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.text("abc/", min_size=1, max_size=3), st.binary(max_size=6), min_size=1, max_size=4),
    st.data(),
)
def test_fingerprint_is_that_of_the_bytes(tmp_path_factory, files, data):
    def write(files):
        folder = tmp_path_factory.mktemp("f")
        for name, content in files.items():
            path = folder / f"x{name.replace('/', '_')}"
            path.write_bytes(content)
        return folder

    files = {name.replace("/", "_"): content for name, content in files.items()}
    folder = write(files)
    before = store.fingerprint(str(folder))
    assert before == store.fingerprint(f"file://{folder}") == store.fingerprint(str(write(files)))
    os.utime(next(folder.iterdir()))
    assert store.fingerprint(str(folder)) == before
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name] or b"\0")
    if files[name]:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1
    assert store.fingerprint(str(write({**files, name: bytes(content)}))) != before
    assert store.fingerprint(str(write({**files, "another": b""}))) != before


def test_a_byte_that_moves_from_content_to_name_is_seen(tmp_path):
    for folder, name, content in (("1", "a", "bc"), ("2", "ab", "c")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(content)
    assert store.fingerprint(str(tmp_path / "1")) != store.fingerprint(str(tmp_path / "2"))


def test_fingerprint_of_a_store_follows_its_values(tmp_path):
    url, other = str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")
    store.write(xr.Dataset({"a": ("x", [1.0, 2.0])}), url)
    shutil.copytree(url, other)
    assert store.fingerprint(url) == store.fingerprint(other)
    store.write_block(xr.Dataset({"a": ("x", [3.0])}), other, {"x": slice(0, 1)})
    assert store.fingerprint(url) != store.fingerprint(other)
    assert store.fingerprint(str(tmp_path / "nothing")) == ""
    one = tmp_path / "one.parquet"
    one.write_bytes(b"abc")
    before = store.fingerprint(str(one))
    one.write_bytes(b"abd")
    assert before and store.fingerprint(str(one)) != before


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.floats(allow_nan=False), st.text(), st.none())))
def test_digest_does_not_depend_on_order(settings_of_a_run):
    backwards = dict(reversed(settings_of_a_run.items()))
    assert store.digest(settings_of_a_run) == store.digest(backwards)
    assert store.digest({**settings_of_a_run, "another": 1}) != store.digest(settings_of_a_run) or (
        settings_of_a_run.get("another") == 1
    )


def test_provenance_names_versions_and_inputs_in_text():
    """Text, because CF (and NetCDF) know no other structure in an attribute."""
    found = store.provenance("a run", glaciers="glaciers.zarr")
    assert all(isinstance(value, str) for value in found.values())
    assert json.loads(found["inputs"]) == {"glaciers": "glaciers.zarr"}
    assert set(json.loads(found["versions"])) == {"numpy", "numba", "xarray", "zarr", "dask"} and found["python"]
    assert found["code_revision"] and found["history"].endswith(str(found["code_revision"]))


def test_a_store_can_be_saved_as_netcdf(tmp_path):
    url = str(tmp_path / "a.zarr")
    store.write(xr.Dataset({"a": ("x", [1.0, 2.0])}), url, attrs=store.provenance("test", inputs="none"))
    store.open_store(url).to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as found:
        assert found["a"].values.tolist() == [1, 2] and found.attrs["complete"] == 1


# -- several processes, and killed ones ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    options = {"processes": True, "n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(host="127.0.0.1", **options) as cluster, Client(cluster) as client:
        yield client


def test_blocks_written_from_two_processes(client, tmp_path):
    url = primed(tmp_path)
    workers = sorted(client.scheduler_info()["workers"])
    assert len(workers) == 2
    here = os.path.dirname(__file__)
    client.run(lambda: sys.path.insert(0, here))  # a worker does not have the tests on its path
    made = [
        client.submit(write_one, url, *entry, workers=workers[i % 2], pure=False)
        for i, entry in enumerate(all_blocks())
    ]
    receipts = client.gather(made)
    assert len({pid for _, pid in receipts} - {os.getpid()}) == 2
    assert [receipt["entry"] for receipt, _ in receipts] == all_blocks()
    assert store.pending(url) == []
    store.finish(url)
    np.testing.assert_array_equal(store.open_store(url)["area"], expected_area())


@pytest.mark.parametrize("written", [[], [(0, 1)], [(0, 0), (1, 2)]])
def test_a_writer_that_is_killed_never_leaves_a_complete_store(tmp_path, written):
    url = str(tmp_path / "killed.zarr")
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import test_store as t
        t.store.prime(t.template(), {url!r}, ledger={{"member": 2, "block": 3}})
        for entry in {written!r}:
            t.write_one({url!r}, *entry)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not store.is_complete(url)
    with pytest.raises(InputError, match="was not finished"):
        store.open_store(url)
    assert store.pending(url) == [entry for entry in all_blocks() if entry not in written]
    for entry in store.pending(url):
        write_one(url, *entry)
    store.finish(url)
    np.testing.assert_array_equal(store.open_store(url)["area"], expected_area())


def test_a_store_whose_priming_was_cut_short_says_so(tmp_path):
    """Xarray writes metadata before the last line of prime, so that ``primed`` is there only when all of it is."""
    url = str(tmp_path / "cut.zarr")
    ds = template().assign_attrs(complete=0)
    ds.to_zarr(url, mode="w", zarr_format=3, consolidated=False, compute=False)
    assert store.exists(url) and not store.is_complete(url) and "primed" not in store.attributes(url)
