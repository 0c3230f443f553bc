"""SAFRAN forcing files: days as counted by hand, files in any order and cut anywhere, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from station_products import POINTS, hourly, save, season

from alpgm_dask import forcing
from alpgm_dask.convert.climate import safran, station_days
from alpgm_dask.convert.climate.station_files import StationFile
from alpgm_dask.schema import InputError


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three years, whose names are in the wrong order."""
    folder = tmp_path_factory.mktemp("safran")
    for name, year in zip("cab", (2000, 2001, 2002), strict=True):
        season(folder, year, f"{name}/deep/FORCING_{name}.nc")
    return folder


def by_hand(ds: xr.Dataset, step_hours: float = 1.0) -> dict[str, dict[str, np.ndarray]]:
    """Variable -> day -> values, stamp by stamp; only days that have all of their stamps."""
    out: dict[str, dict[str, list]] = {name: {} for name in ("Tair", "Snowf", "Rainf")}
    for i, stamp in enumerate(ds["time"].values):
        for name, found in out.items():
            found.setdefault(str(stamp)[:10], []).append(ds[name].values[i])
    whole = {name: {day: v for day, v in found.items() if len(v) * step_hours == 24.0} for name, found in out.items()}
    result = {"tas": {day: sum(v) / len(v) for day, v in whole["Tair"].items()}}
    for word, name in (("snowfall", "Snowf"), ("rainfall", "Rainf")):
        result[word] = {day: sum(v) * step_hours * 3600.0 for day, v in whole[name].items()}
    return result


def assert_days(got: xr.Dataset, want: dict[str, dict[str, np.ndarray]]):
    assert [str(day)[:10] for day in got["time"].values] == sorted(want["tas"])
    for word, values in want.items():
        table = np.array([values[day] for day in sorted(values)])
        np.testing.assert_allclose(got[word].values, table, rtol=2e-7, atol=1e-7, err_msg=word)


def refuse(*args, **kwargs):
    raise AssertionError("something computed")


# -- the real file ------------------------------------------------------------------------------------------


@pytest.fixture
def real(shared):
    return shared / "data/safran/FORCING_test_base.nc"


def test_days_of_the_real_file_are_those_counted_by_hand(real):
    with dask.config.set(scheduler=refuse):
        got = safran.daily(real)
    with xr.open_dataset(real) as ds:
        assert_days(got, by_hand(ds.load()))
    assert got.sizes == {"time": 364, "point": 2}
    assert got["massif"].values.tolist() == ["Mont-Blanc"] * 2
    assert got["massif_safran"].values.tolist() == [3, 3]
    assert got["elevation"].values.tolist() == [2400.0, 2700.0]
    assert np.isnan(got["aspect"].values).all()
    np.testing.assert_allclose([got["lon"].values[0], got["lat"].values[0]], [6.82392, 45.89794])


def test_the_real_file_is_in_the_canonical_form(real):
    got = safran.daily(real)
    again = forcing.as_climate(got, "again")
    assert forcing.time_step(again) == "daily"
    assert {name: again[name].attrs["units"] for name in ("tas", "snowfall", "rainfall")} == {
        "tas": "K",
        "snowfall": "kg m-2",
        "rainfall": "kg m-2",
    }
    xr.testing.assert_identical(got, again)


def test_the_real_file_has_no_whole_hydrological_year(real):
    with pytest.raises(InputError, match=r"FORCING_test_base.nc.*2010-08-02 to 2011-07-31; allowed: one whole hydrol"):
        safran.read(real)


# -- days ---------------------------------------------------------------------------------------------------


def test_files_are_ordered_by_date_and_shared_stamps_count_once(archive):
    with dask.config.set(scheduler=refuse):
        read = safran.read(archive)
    whole = hourly("2000-08-01 06:00", "2003-08-01 06:00")
    want = by_hand(whole)
    assert_days(safran.daily(archive), want)
    years = {word: {d: v for d, v in of.items() if "2000-10-01" <= d < "2002-10-01"} for word, of in want.items()}
    assert_days(read.climate, years)
    assert read.report.count("stamps in two files") == 2
    assert read.report.count("whole days before the first whole hydrological year") == 60
    assert read.report.count("whole days after the last whole hydrological year") == 304
    assert read.report.count("points without aspect (flat)") == 4
    assert (read.report.totals["first year"], read.report.totals["last year"]) == (2001, 2002)


def test_what_points_stand_for(archive):
    got = safran.daily(archive)
    assert got["massif"].values.tolist() == ["Mont-Blanc"] * 2 + ["Oisans"] * 2 + ["Pelvoux"] * 2
    assert got["massif_safran"].values.tolist() == [3, 3, 15, 15, 16, 16]
    np.testing.assert_array_equal(got["aspect"], [np.nan, 0, np.nan, 180, np.nan, np.nan])
    assert got["slope"].values.tolist() == POINTS["slope"][0]
    renamed = safran.daily(archive, massif_names={16: "Ecrins"})
    assert renamed["massif"].values.tolist()[4:] == ["Ecrins"] * 2


@pytest.mark.parametrize("hours", [2, 3, 6])
def test_longer_steps(tmp_path, hours):
    path = save(hourly("2001-01-01 06:00", "2001-01-20 18:00", hours), tmp_path / "FORCING.nc")
    with xr.open_dataset(path) as ds:
        assert_days(safran.daily(path), by_hand(ds.load(), hours))


def test_amounts_of_the_time_before_the_stamp(tmp_path):
    ds = hourly("2001-01-01 00:00", "2001-01-05 00:00")
    got = safran.daily(save(ds, tmp_path / "FORCING.nc"), amounts_before_stamp=True)
    assert got.sizes["time"] == 4
    for day in range(4):
        rows = slice(24 * day + 1, 24 * day + 25)
        np.testing.assert_allclose(got["snowfall"][day], ds["Snowf"][rows].sum("time") * 3600, rtol=2e-7)
        np.testing.assert_allclose(got["tas"][day], ds["Tair"][24 * day : 24 * day + 24].mean("time"), rtol=2e-7)


def test_the_earlier_file_has_the_shared_stamp(tmp_path):
    save(hourly("2001-01-01 00:00", "2001-01-03 06:00"), tmp_path / "FORCING_1.nc")
    later = hourly("2001-01-03 06:00", "2001-01-05 06:00")
    later["Snowf"][0] = 1.0
    save(later, tmp_path / "FORCING_2.nc")
    assert_days(safran.daily(tmp_path), by_hand(hourly("2001-01-01 00:00", "2001-01-05 06:00")))


@pytest.mark.parametrize("cuts", [(6, 7, 8), (24, 48), (30, 95), (1, 119)], ids=str)
def test_where_files_are_cut_changes_nothing(tmp_path, cuts):
    ds = hourly("2001-01-01 03:00", "2001-01-06 20:00")
    for i, (a, b) in enumerate(pairwise((0, *cuts, ds.sizes["time"]))):
        save(ds.isel(time=slice(a, b)), tmp_path / f"{9 - i}/FORCING.nc")
    whole = safran.daily(save(ds, tmp_path / "whole.nc"))
    xr.testing.assert_identical(safran.daily(tmp_path).compute(), whole.compute())


def test_an_hour_without_value_makes_its_day_missing(tmp_path):
    ds = hourly("2001-01-01 00:00", "2001-01-04 00:00")
    ds["Tair"][30, 1] = np.nan
    got = safran.daily(save(ds, tmp_path / "FORCING.nc"))
    assert np.argwhere(np.isnan(got["tas"].values)).tolist() == [[1, 1]]


def test_other_units_of_the_same_thing(tmp_path):
    ds = hourly("2001-01-01 00:00", "2001-01-04 00:00")
    want = safran.daily(save(ds, tmp_path / "FORCING.nc"))
    ds["Tair"] = (ds["Tair"] - 273.15).assign_attrs(units="degC")
    ds["Snowf"] = (ds["Snowf"] * 3600).assign_attrs(units="mm h-1")
    got = safran.daily(save(ds, tmp_path / "other.nc"))
    xr.testing.assert_allclose(got, want, rtol=1e-6)


# -- memory -------------------------------------------------------------------------------------------------


def test_small_tasks_give_the_same_numbers_and_read_no_more_than_they_may(archive, monkeypatch):
    want = safran.read(archive).climate.compute()
    read, sizes = station_days._read, []

    def counted(segment, points):
        part = read(segment, points)
        sizes.append(part.nbytes)
        return part

    monkeypatch.setattr(station_days, "_read", counted)
    monkeypatch.setattr(station_days, "TASK_BYTES", 40 * 24 * 6 * 8)
    small = safran.read(archive).climate
    assert max(small["tas"].chunks[0]) <= 40
    xr.testing.assert_identical(small.compute(scheduler="synchronous"), want)
    assert max(sizes) <= station_days.TASK_BYTES
    assert sum(sizes) < 1.02 * 3 * 8 * 6 * (24 * 1095 + 19)


@pytest.mark.parametrize("storage_rows", [1, 8760], ids=["rows", "columns"])
def test_the_tasks_of_a_large_archive_are_bounded(storage_rows):
    """60 years of hours at 6,000 points, 75 GB: the graph is built without the files."""
    points = xr.Dataset({"elevation": ("point", np.zeros(6000))})
    units = {"tas": "K"}
    sources = [
        StationFile(str(y), pd.date_range(f"{y}-08-01 06:00", f"{y + 1}-08-01 06:00", freq="h"), "time", "point",
               {"tas": "Tair"}, units, points, storage_rows)
        for y in range(1958, 2018)
    ]  # fmt: skip
    series = station_days.in_order(sources[::-1])
    span = station_days.whole_days(series)
    tas = station_days.daily_array(series, "tas", span, how="mean")
    assert tas.shape == (60 * 365 + 15 - 1, 6000)
    chunks = tas.data.chunks
    assert 24 * 8 * max(chunks[0]) * max(chunks[1]) <= station_days.TASK_BYTES
    assert tas.data.npartitions < 20_000
    if storage_rows > 1:
        assert max(chunks[0]) >= 365
    else:
        assert len(chunks[1]) == 1


def test_many_threads_read_the_same_files_that_xarray_reads(archive, monkeypatch):
    """The NetCDF library is not thread-safe: every open and read takes its turn."""
    want = safran.read(archive).climate.compute(scheduler="synchronous")
    monkeypatch.setattr(station_days, "TASK_BYTES", 20 * 24 * 6 * 8)
    climate = safran.read(archive).climate
    with xr.open_dataset(next(archive.rglob("*.nc")), chunks={"time": 200}) as ds:
        got, *_ = dask.compute(climate, ds["Tair"].sum(), ds["Snowf"].sum(), scheduler="threads", num_workers=8)
    xr.testing.assert_identical(got, want)


# -- growing ------------------------------------------------------------------------------------------------


def test_one_more_year_leaves_the_pieces_as_they_were(tmp_path):
    for year in (2000, 2001, 2002):
        season(tmp_path, year)
    before = safran.read(tmp_path)
    season(tmp_path, 2003)
    after = safran.read(tmp_path)
    assert [label for label, _ in before.pieces] == ["2001", "2002"]
    assert [label for label, _ in after.pieces] == ["2001", "2002", "2003"]
    assert after.pieces[:2] == before.pieces
    assert len({fingerprint for _, fingerprint in after.pieces}) == 3
    n = before.climate.sizes["time"]
    xr.testing.assert_identical(after.climate.isel(time=slice(0, n)).compute(), before.climate.compute())


def test_a_changed_file_changes_the_pieces_it_is_part_of(tmp_path):
    for year in (2000, 2001, 2002, 2003):
        season(tmp_path, year)
    before = dict(safran.read(tmp_path).pieces)
    path = next(tmp_path.rglob("*2003080106_*.nc"))
    changed = hourly("2003-08-01 06:00", "2004-08-01 06:00")
    changed["Tair"] += 1.0
    save(changed, path)
    after = dict(safran.read(tmp_path).pieces)
    assert [year for year in before if before[year] != after[year]] == ["2003"]
    assert all(after[year] != mark for year, mark in safran.read(tmp_path, amounts_before_stamp=True).pieces)
