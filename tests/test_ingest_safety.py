"""What conversions may not do: lose what is there, mix up dates, or write at the same time as another process."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import small_region as small
import xarray as xr
import zarr
from test_ingest_climate import archive, client, save, stored  # noqa: F401

from alpgm_dask import ingest, store
from alpgm_dask.schema import InputError


class KilledError(BaseException):
    """Stands for the end of a process: nothing that handles exceptions sees it."""


def left_as_killed(folder, monkeypatch, where: str, given) -> None:
    """Convert, and end at a place in between, without the clean-up that a dying process does not do either."""
    from alpgm_dask.ingest import climate

    def die(*args, **kwargs):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(climate.store, "undo_append", lambda url: None)
        if where == "before any block":
            patch.setattr(climate, "write_blocks", die)
        elif where == "in finish":
            patch.setattr(zarr.core.attributes.Attributes, "put", die)
        elif where == "between two arrays":
            resize, done = zarr.Array.resize, []
            patch.setattr(zarr.Array, "resize", lambda a, s: die() if done else (done.append(1), resize(a, s))[1])
        with pytest.raises(KilledError):
            save(given, folder, CLIENT[0])
    (folder / "climate.zarr.lock").unlink(missing_ok=True)


CLIENT: list = []


@pytest.fixture(autouse=True)
def _one_client(client):  # noqa: F811
    CLIENT[:] = [client]


WHERE = ["before any block", "in finish", "between two arrays"]


@pytest.mark.parametrize("where", WHERE)
def test_an_append_that_was_killed_anywhere_is_done_again(tmp_path, client, monkeypatch, where):  # noqa: F811
    save(archive(1991, 1993), tmp_path, client)
    left_as_killed(tmp_path, monkeypatch, where, archive(1991, 1996))
    assert not store.is_complete(str(tmp_path / "climate.zarr"))
    said = save(archive(1991, 1996), tmp_path, client)
    assert "is taken back" in said[0] and "1994 to 1996 are new" in said[1]
    np.testing.assert_allclose(stored(tmp_path)["tas"].values, archive(1991, 1996).climate["tas"].values, rtol=1e-6)


@pytest.mark.parametrize("where", WHERE)
def test_after_an_append_that_was_killed_the_old_files_give_the_old_store(tmp_path, client, monkeypatch, where):  # noqa: F811
    save(archive(1991, 1993), tmp_path, client)
    before = stored(tmp_path).compute()
    left_as_killed(tmp_path, monkeypatch, where, archive(1991, 1996))
    said = save(archive(1991, 1993), tmp_path, client)
    assert "is taken back" in said[0] and "unchanged" in said[1]
    xr.testing.assert_identical(stored(tmp_path).compute(), before)


@pytest.mark.parametrize("where", WHERE)
def test_after_an_append_that_was_killed_other_files_are_still_refused(tmp_path, client, monkeypatch, where):  # noqa: F811
    save(archive(1991, 1993), tmp_path, client)
    left_as_killed(tmp_path, monkeypatch, where, archive(1991, 1996))
    with pytest.raises(InputError, match="'1991' is not in the files given"):
        save(archive(2001, 2002), tmp_path, client)
    assert stored(tmp_path).sizes["time"] == 3 * 365 + 1


def test_what_is_not_ours_is_not_deleted(tmp_path, client):  # noqa: F811
    ours = xr.Dataset({"a": ("x", [1.0])})
    ours.to_zarr(tmp_path / "climate.zarr", zarr_format=3, consolidated=False)
    ours.to_zarr(tmp_path / "mine.zarr", zarr_format=2, consolidated=False)
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr/notes.txt").write_text("of somebody")
    for overwrite in (False, True):
        for name in ("climate", "mine", "other"):
            with pytest.raises(InputError, match=rf"{name}.zarr: something is there that alpgm_dask did not write"):
                ingest.save_climate(archive(1991, 1992), tmp_path / "catalog.yaml", name, client, overwrite)
    assert xr.open_zarr(tmp_path / "climate.zarr", consolidated=False)["a"].values == [1.0]
    assert (tmp_path / "other.zarr/notes.txt").read_text() == "of somebody"


def test_predictors_do_not_replace_what_they_are_made_of_or_what_is_not_ours(tmp_path, client):  # noqa: F811
    small.write_region(tmp_path, {"glaciers": small.glaciers()})
    save(archive(1991, 1992), tmp_path, client)
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "mine.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match="--name 'climate' is what they are made of"):
        ingest.make_predictors(tmp_path / "catalog.yaml", "climate", "climate", overwrite=True)
    with pytest.raises(InputError, match=r"mine.zarr: something is there that alpgm_dask did not write"):
        ingest.make_predictors(
            tmp_path / "catalog.yaml", "climate", "mine", overwrite=True, max_distance=1e6, say=lambda line: None
        )


def test_a_member_of_other_years_is_refused(tmp_path, client):  # noqa: F811
    """As many days, two years later: without its dates it would fit."""
    save(archive(1991, 1992, members=("a",)), tmp_path, client)
    later = archive(1995, 1996, members=("a", "b"))
    same_length = later.climate.isel(time=slice(0, stored(tmp_path).sizes["time"]))
    with pytest.raises(InputError, match=r"variable 'time' goes from 1990-10-01.* in the archive from 1994-10-01"):
        save(replace(later, climate=same_length), tmp_path, client)


def test_two_processes_do_not_write_one_store(tmp_path, client):  # noqa: F811
    file = tmp_path / "climate.zarr.lock"
    file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "yesterday"}))
    with pytest.raises(InputError, match=r"climate.zarr.lock: another process writes there: .*elsewhere"):
        save(archive(1991, 1992), tmp_path, client)
    with store.lock(tmp_path / "b.zarr"), pytest.raises(InputError, match="another process writes there"):
        store.lock(tmp_path / "b.zarr", wait=0.2).__enter__()
    import socket

    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    file.write_text(json.dumps({"host": socket.gethostname(), "pid": pid, "since": "before it died"}))
    save(archive(1991, 1992), tmp_path, client)
    assert not file.exists() and stored(tmp_path).sizes["time"] == 731


@pytest.mark.parametrize("name", ["../x", "my climate", "", "1st"])
def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InputError, match="allowed: letters, digits and _, beginning with a letter"):
        ingest.save_climate(archive(1991, 1992), tmp_path / "in/catalog.yaml", name, CLIENT[0])
    assert list(tmp_path.iterdir()) == []


def test_entries_that_are_no_climate_are_not_replaced(tmp_path):
    small.write_region(tmp_path, {"glaciers": small.glaciers()})
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"entry 'glaciers' is .*; allowed: another --name"):
            ingest.save_climate(archive(1991, 1992), tmp_path / "catalog.yaml", "glaciers", CLIENT[0], overwrite)


def test_a_finished_store_of_ours_that_is_no_climate_is_not_replaced(tmp_path):
    store.write(xr.Dataset({"a": ("x", [1.0])}), str(tmp_path / "climate.zarr"))
    with pytest.raises(InputError, match=r"climate.zarr: a store of something else is there"):
        save(archive(1991, 1992), tmp_path, CLIENT[0])


def test_a_store_that_was_finished_and_never_listed_is_listed(tmp_path):
    save(archive(1991, 1992), tmp_path, CLIENT[0])
    (tmp_path / "catalog.yaml").unlink()
    assert "unchanged" in save(archive(1991, 1992), tmp_path, CLIENT[0])[0]
    assert stored(tmp_path).sizes["time"] == 731
