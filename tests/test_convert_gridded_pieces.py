"""Pieces of archives: which hydrological year is made of what, and what changes it."""

from __future__ import annotations

import dask
import gridded_products as products
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alpgm_dask.convert.climate import archive, yearly
from alpgm_dask.convert.climate.archive import file_fingerprint
from alpgm_dask.convert.climate.gridded import read


def months(first, last, offset=0.0):
    """Monthly climate as HISTALP has it, 2 x 2 cells: values that depend on month and cell alone."""
    time = pd.date_range(f"{first - 1}-10-01", f"{last}-09-01", freq="MS")
    ds = xr.Dataset(coords={"time": time, "lat": [46.0, 46.5], "lon": [7.0, 7.5]})
    value = (time.year * 12 + time.month).to_numpy()[:, None, None] % 50 + np.arange(4.0).reshape(2, 2) + offset
    ds["tas"] = (("time", "lat", "lon"), 260.0 + value, {"units": "K", "actual_range": [value.min(), value.max()]})
    ds["pr"] = (("time", "lat", "lon"), value, {"units": "mm"})
    ds["orog"] = (("lat", "lon"), np.full((2, 2), 1000.0), {"units": "m"})
    return ds


def saved(ds, path):
    path.unlink(missing_ok=True)  # who has it open keeps what it was
    ds.to_netcdf(path)
    return path


# -- files --------------------------------------------------------------------------------------------------


def test_every_byte_of_a_file_counts_and_of_a_large_one_a_sample(tmp_path, monkeypatch):
    path = tmp_path / "file"
    content = np.random.default_rng(0).integers(0, 256, 5 << 20, dtype="u1")

    def mark(*changed):
        other = content.copy()
        other[list(changed)] ^= 255
        path.write_bytes(other.tobytes())
        return file_fingerprint(path)

    same = mark()
    assert mark() == same
    assert all(mark(at) != same for at in (0, 1_500_000, 2_621_440, 5_242_879))
    monkeypatch.setattr(archive, "WHOLE_BELOW", 1 << 20)
    monkeypatch.setattr(archive, "SAMPLE", 1 << 10)
    large = mark()
    assert large == mark() and all(mark(at) != large for at in (0, 1 << 20, 5_242_879))
    seen = [at for at in range(1 << 20, 4 << 20, 1 << 15) if mark(at) != large]
    assert 1 <= len(seen) < 40


def test_the_bytes_of_a_stores_chunks_count(tmp_path, monkeypatch):
    store = tmp_path / "a.zarr"
    months(2000, 2001).chunk(time=1).to_zarr(store, consolidated=False, encoding={"tas": {"compressors": None}})
    for whole_below in (archive.WHOLE_BELOW, 100):
        monkeypatch.setattr(archive, "WHOLE_BELOW", whole_below)
        before = file_fingerprint(store)
        chunk = store / "tas/c/7/0/0"
        content = chunk.read_bytes()
        chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert file_fingerprint(store) != before
        chunk.write_bytes(content)
        assert file_fingerprint(store) == before


# -- years --------------------------------------------------------------------------------------------------


def given_as(form, ds, folder):
    """The same archive as one file, one store, a graph, a dataset in memory."""
    if form == "file":
        return saved(ds, folder / "a.nc")
    if form == "store":
        ds.chunk(time=24).to_zarr(folder / "a.zarr", mode="w", zarr_format=2)
        return folder / "a.zarr"
    return ds.chunk(time=24) if form == "graph" else ds


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("form", ["file", "store", "memory", "graph"])
def test_a_source_that_becomes_longer_keeps_the_pieces_of_its_years(tmp_path, monkeypatch, form, large):
    if large:
        monkeypatch.setattr(yearly, "YEAR_BELOW", 100)
    short, long = (read(given_as(form, months(2001, last), tmp_path)).pieces for last in (2005, 2007))
    assert [year for year, _ in long] == [str(year) for year in range(2001, 2008)]
    assert long[:5] == short and len({mark for _, mark in long}) == 7
    changed = months(2001, 2007)
    changed["pr"][24, 1, 0] += 1.0  # October 2002, the first month of 2003
    after = read(given_as(form, changed, tmp_path)).pieces
    assert [year for (year, mark), (_, other) in zip(long, after, strict=True) if mark != other] == ["2003"]


def test_small_years_are_looked_at_whole_large_ones_at_their_ends_and_between(tmp_path, monkeypatch):
    ds, other = months(2001, 2003), months(2001, 2003)
    other["tas"][14] += 1.0  # December of 2002
    marks = [read(saved(one, tmp_path / f"{i}.nc")).pieces for i, one in enumerate((ds, other))]
    assert [a == b for a, b in zip(*marks, strict=True)] == [True, False, True]
    monkeypatch.setattr(yearly, "YEAR_BELOW", 100)
    monkeypatch.setattr(yearly, "STEPS", 3)
    marks = [read(tmp_path / f"{i}.nc").pieces for i in (0, 1)]
    assert marks[0] == marks[1]
    other["tas"][23, 1, 1] += 1.0  # September of 2002, the last step
    marks.append(read(saved(other, tmp_path / "2.nc")).pieces)
    assert [a == b for a, b in zip(marks[0], marks[2], strict=True)] == [True, False, True]


def test_what_is_sampled_is_read_in_small_parts_and_of_graphs_once_a_year(tmp_path, monkeypatch):
    steps = []
    whole = yearly.Taken.values_at

    def counted(self, at, **options):
        if np.ndim(at):
            steps.append(np.asarray(at).tolist())
        return whole(self, at, **options)

    monkeypatch.setattr(yearly.Taken, "values_at", counted)
    read(months(2001, 2003).chunk(time=12))
    assert steps == [[0], [12], [24]] * 2
    steps.clear()
    monkeypatch.setattr(yearly, "BLOCK_BYTES", 5 * 4 * 8)
    read(saved(months(2001, 2003), tmp_path / "a.nc"))
    assert max(map(len, steps)) == 5 and sum(map(len, steps)) == 2 * 36


def test_another_file_leaves_the_years_of_the_others(tmp_path):
    one, two, three = (saved(months(y, y), tmp_path / f"{y}.nc") for y in (2000, 2001, 2002))
    alone, short, long = read([one]), read([one, two]), read([two, three, one])
    assert [year for year, _ in long.pieces] == ["2000", "2001", "2002"]
    assert long.pieces[:2] == short.pieces and short.pieces[:1] == alone.pieces
    assert len({mark for _, mark in long.pieces}) == 3
    boxed = read([one, two], bounding_box=(7.0, 45.0, 7.1, 46.1), names={"pr": "pr"})
    assert boxed.climate.sizes["point"] == 4 and boxed.pieces == short.pieces  # all cells are beside the box
    other = saved(months(2001, 2001, offset=1.0), tmp_path / "other.nc")
    assert [a == b for a, b in zip(read([one, other]).pieces, short.pieces, strict=True)] == [True, False]


def test_the_last_of_several_files_may_become_longer(tmp_path):
    """Files of calendar years, the present one not complete."""
    months_of = months(2001, 2003)
    first = saved(months_of.sel(time=slice("2000-10", "2001-12")), tmp_path / "first.nc")
    last = saved(months_of.sel(time=slice("2002-01", "2002-09")), tmp_path / "last.nc")
    longer = saved(months_of.sel(time=slice("2002-01", "2003-09")), tmp_path / "longer.nc")
    short, long = read([first, last]), read([first, longer])
    assert [year for year, _ in long.pieces] == ["2001", "2002", "2003"] and long.pieces[:2] == short.pieces


# -- options ------------------------------------------------------------------------------------------------


def test_whatever_changes_values_changes_the_pieces(tmp_path):
    ds = months(2001, 2002)
    ds["other"] = ds["pr"]
    higher = (ds[["orog"]] + 10.0).assign(orog=lambda d: d["orog"].assign_attrs(units="m"))
    asked = [
        {},
        {"names": {"pr": "other"}},
        {"orography": higher},
        {"accumulated": "step"},
        {"bounding_box": (7.0, 45.0, 7.1, 46.1), "names": {"tas": "tas", "pr": "other"}},
        {"member": "m"},
        {"member": "n"},
        {"member": "m", "labels": {"gcm": "A"}},
    ]
    marks = [read(ds, **options).pieces[0] for options in asked]
    assert len(set(marks)) == len(asked) - 1 and marks[4] == marks[1]  # the box leaves no cell out
    other = read({"m": ds}).pieces, read({"m": ds}, labels={"m": {"rcm": "R"}}).pieces
    assert other[0] != other[1]


def test_units_that_change_change_the_pieces():
    ds = months(2001, 2001)
    other = ds.assign(pr=ds["pr"].assign_attrs(units="cm"))
    assert read(ds).pieces != read(other).pieces


def test_pieces_of_hourly_archives_that_become_longer(tmp_path):
    whole = xr.open_dataset(products.era5_land(tmp_path / "land.nc")).load()
    hours = whole.isel(time=slice(0, None, 6))
    later = hours.assign_coords(time=hours["time"] + np.timedelta64(365, "D")).isel(time=slice(1, None))
    long = xr.concat([hours, later.drop_vars("z")], "time", data_vars="minimal", coords="minimal", compat="override")
    with dask.config.set(scheduler="synchronous"):
        short = read(saved(hours, tmp_path / "a.nc"), accumulated="day")
        both = read(saved(long, tmp_path / "b.nc"), accumulated="day")
    assert [year for year, _ in both.pieces] == ["2001", "2002"] and both.pieces[:1] == short.pieces
