"""A store made longer: what is there stays, and what is cut short is finished to the same bytes."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from alpgm_dask import store
from alpgm_dask.schema import InputError


def series(n: int, calendar: str = "standard") -> xr.Dataset:
    """Values that say their own day and point, chunks of 4 days."""
    time = xr.date_range("2000-10-01", periods=n, calendar=calendar, use_cftime=calendar != "standard")
    values = np.add.outer(np.arange(n) * 10.0, np.arange(3)).astype("float32")
    ds = xr.Dataset(
        {"tas": (("time", "point"), values)}, coords={"time": time, "elevation": ("point", [1.0, 2.0, 3.0])}
    )
    return ds.chunk(time=4)


def bytes_of(folder) -> dict[str, bytes]:
    """The files of a store, but for those that say when and how it was written."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "/c/" in str(p)}


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
@pytest.mark.parametrize("steps", [(6, 7, 20), (4, 8, 9), (1, 2, 3)])
def test_appended_in_parts_is_the_whole(tmp_path, steps, calendar):
    url, whole = str(tmp_path / "a.zarr"), series(steps[-1], calendar)
    store.write(series(steps[0], calendar).chunk(time=4), url)
    for before, after in pairwise(steps):
        store.append(whole.isel(time=slice(before, after)), url, "time", {"note": after})
    xr.testing.assert_identical(store.open_store(url).drop_attrs().compute(), whole.drop_attrs().compute())
    assert store.attributes(url)["note"] == steps[-1]


def test_full_chunks_are_not_touched(tmp_path):
    folder = tmp_path / "a.zarr"
    store.write(series(10), str(folder))
    stamps = {p: p.stat().st_mtime_ns for p in (folder / "tas/c").rglob("*") if p.is_file()}
    store.append(series(13).isel(time=slice(10, None)), str(folder), "time")
    touched = {p.relative_to(folder / "tas/c").parts[0] for p, t in stamps.items() if p.stat().st_mtime_ns != t}
    assert touched == {"2"}  # days 8 to 11; those of 0 to 7 stay


def test_a_new_member_with_its_label(tmp_path):
    url = str(tmp_path / "a.zarr")
    one = series(6).expand_dims(member=np.array(["first"], dtype=object)).assign_coords(gcm=("member", ["a"]))
    two = (series(6) + 1).expand_dims(member=np.array(["another"], dtype=object)).assign_coords(gcm=("member", ["bcd"]))
    store.write(one, url)
    store.append(two, url, "member")
    found = store.open_store(url)
    assert found["member"].values.tolist() == ["first", "another"] and found["gcm"].values.tolist() == ["a", "bcd"]
    np.testing.assert_array_equal(found["tas"][1].values, two["tas"][0].values)


def test_an_append_that_is_cut_short_is_finished_by_the_same_call(tmp_path):
    whole, part = series(11), series(11).isel(time=slice(6, None))
    for name in ("a", "b"):
        store.write(series(6), str(tmp_path / f"{name}.zarr"))
    store.append(part, str(tmp_path / "a.zarr"), "time")
    url = str(tmp_path / "b.zarr")
    assert store.extend(part, url, "time") == 6  # ... and here the writer dies
    assert not store.is_complete(url) and store.unfinished_append(url) == {"dim": "time", "start": 6}
    with pytest.raises(InputError, match="was not finished"):
        store.open_store(url)
    store.append(part, url, "time")
    assert store.unfinished_append(url) is None
    assert bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")
    xr.testing.assert_equal(store.open_store(url).compute(), whole.compute())


def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path):
    url = str(tmp_path / "a.zarr")
    store.write(series(6), url)
    more = series(8).isel(time=slice(6, None))
    for given, dim, message in (
        (more, "member", "has no dimension 'member'"),
        (more.drop_vars("tas"), "time", "variable 'tas' is missing in what is appended"),
        (
            more.isel(point=slice(0, 2)),
            "time",
            r"'tas' to append has sizes {'point': 2}; allowed: those stored, {'point': 3}",
        ),
    ):
        with pytest.raises(InputError, match=message):
            store.append(given, url, dim)
    assert store.is_complete(url)
    xr.testing.assert_equal(store.open_store(url).compute(), series(6).compute())
    store.prime(series(6), str(tmp_path / "half.zarr"))
    with pytest.raises(InputError, match=r"half.zarr: the store was not finished"):
        store.append(more, str(tmp_path / "half.zarr"), "time")
