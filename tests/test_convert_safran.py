"""SAFRAN forcing files: days as counted by hand, files in any order and cut anywhere, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alpgm_dask import forcing
from alpgm_dask.convert.climate import safran, station_days
from alpgm_dask.convert.climate.station_files import StationFile
from alpgm_dask.convert.climate.station_points import listed_massifs
from alpgm_dask.schema import InputError

#: Three massifs at two elevations; one point faces north, one south, the others are flat.
POINTS = {
    "ZS": ([1800.0, 2100.0, 2400.0, 2700.0, 2400.0, 2700.0], "m"),
    "massif_number": ([3, 3, 15, 15, 16, 16], None),
    "aspect": ([-1.0, 0.0, -1.0, 180.0, -1.0, -1.0], "degrees from north"),
    "slope": ([0.0, 20.0, 0.0, 40.0, 0.0, 0.0], "degrees from horizontal"),
    "LON": ([6.8, 6.8, 6.0, 6.0, 6.5, 6.5], "degrees_east"),
    "LAT": ([45.9, 45.9, 44.9, 44.9, 44.8, 44.8], "degrees_north"),
}


def hourly(start: str, stop: str, hours: int = 1, n: int = 6) -> xr.Dataset:
    """Weather that depends on the date and the point alone, from one stamp to another (included)."""
    time = pd.date_range(start, stop, freq=f"{hours}h")
    hour = ((time - pd.Timestamp("2000-01-01")) // pd.Timedelta("1h")).to_numpy()[:, None]
    wet = (hour * 7919 % 11 < 3) * (1 + hour * 104729 % 5) * np.linspace(1, 2, n) / 3600
    tas = 272.0 + 10 * np.sin(hour / 1400) + hour % 24 / 6 - np.arange(n)
    return xr.Dataset(
        {
            "Tair": (("time", "Number_of_points"), tas, {"units": "K"}),
            "Snowf": (("time", "Number_of_points"), np.where(tas < 273.15, wet, 0.0), {"units": "kg/m2/s"}),
            "Rainf": (("time", "Number_of_points"), np.where(tas < 273.15, 0.0, wet), {"units": "kg/m2/s"}),
        }
        | {
            name: ("Number_of_points", values[:n], {"units": unit} if unit else {})
            for name, (values, unit) in POINTS.items()
        },
        coords={"time": time},
    )


def save(ds: xr.Dataset, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    dates = {"units": "hours since 1900-01-01", "dtype": "float64"}
    ds.to_netcdf(path, encoding={"time": dates} if "time" in ds.variables else {})
    return path


def season(folder, year: int, name: str | None = None, **options):
    """A file from August of a year to August of the next."""
    ds = hourly(f"{year}-08-01 06:00", f"{year + 1}-08-01 06:00", **options)
    return save(ds, folder / (name or f"{year}/FORCING_{year}080106_{year + 1}080106.nc"))


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


# -- positions and massifs ----------------------------------------------------------------------------------


def test_lists_of_massifs():
    text = " Mont-Blanc , 3 ,45.89794,6.82392 ; Oisans, 15, 44.94609, 5.99951"
    assert listed_massifs(text) == {3: ("Mont-Blanc", 45.89794, 6.82392), 15: ("Oisans", 44.94609, 5.99951)}
    assert listed_massifs("") == {}


def test_points_without_position_take_that_of_their_massif(tmp_path):
    ds = hourly("2001-01-01 00:00", "2001-01-04 00:00", n=4).assign_attrs(massifsList="Mont-Blanc,3,45.9,6.8")
    ds["LON"][:], ds["LAT"][:] = 0.0, 0.0
    path = save(ds, tmp_path / "FORCING.nc")
    with pytest.raises(InputError, match=r"FORCING.nc.*'LON', 'LAT' are missing or 0 at point 2 \(massif 15\)"):
        safran.daily(path)
    got = safran.daily(path, massif_positions={15: (6.0, 44.9)})
    assert got["lon"].values.tolist() == [6.8, 6.8, 6.0, 6.0]
    assert got["lat"].values.tolist() == [45.9, 45.9, 44.9, 44.9]
    without = save(ds.drop_vars(["LON", "LAT"]), tmp_path / "without.nc")
    assert safran.daily(without, massif_positions={15: (6.0, 44.9)})["lon"].values.tolist() == [6.8, 6.8, 6.0, 6.0]


def test_massifs_told_by_position(tmp_path):
    ds = hourly("2001-01-01 00:00", "2001-01-04 00:00").drop_vars("massif_number")
    ds.attrs["massifsList"] = "Mont-Blanc,3,45.9,6.8, Oisans,15,44.9,6.0, Pelvoux,16,44.8,6.5"
    got = safran.daily(save(ds, tmp_path / "FORCING.nc"))
    assert got["massif_safran"].values.tolist() == [3, 3, 15, 15, 16, 16]
    ds.attrs["massifsList"] = "Mont-Blanc,3,45.9,6.8, Oisans,15,44.9,6.0"
    with pytest.raises(InputError, match=r"'massif_number' is missing and massifsList has 2 massifs.*point 4"):
        safran.daily(save(ds, tmp_path / "other.nc"))


def test_massifs_unknown(tmp_path):
    ds = hourly("2001-01-01 00:00", "2001-01-04 00:00")
    ds["massif_number"][:] = [0, 30, 30, 1, 1, 1]
    assert safran.daily(save(ds, tmp_path / "a.nc"))["massif"].values.tolist() == [
        "",
        *["massif 30"] * 2,
        *["Chablais"] * 3,
    ]


# -- refusals -----------------------------------------------------------------------------------------------


def test_a_gap_between_files(tmp_path):
    for year in (2000, 2002):
        season(tmp_path, year)
    with pytest.raises(InputError, match=r"2000080106.* and .*2002080106.*2002-08-01 06:00:00 follows 2001-08-01 06"):
        safran.read(tmp_path)


def test_a_gap_and_a_repetition_within_a_file(tmp_path):
    ds = hourly("2001-01-01 00:00", "2001-01-04 00:00")
    gap = save(ds.isel(time=[*range(10), *range(11, 73)]), tmp_path / "gap.nc")
    with pytest.raises(InputError, match=r"gap.nc.*2001-01-01 11:00:00 follows 2001-01-01 09:00:00 \(1 such places"):
        safran.daily(gap)
    twice = save(ds.isel(time=[*range(10), *range(9, 73)]), tmp_path / "twice.nc")
    with pytest.raises(InputError, match=r"twice.nc.*2001-01-01 09:00:00 follows 2001-01-01 09:00:00"):
        safran.daily(twice)


def test_two_files_of_the_same_year(tmp_path):
    season(tmp_path, 2000)
    season(tmp_path, 2000, "copy/FORCING_copy.nc")
    with pytest.raises(InputError, match=r"2000-08-01 06:00:00 to 2001-08-01 06:00:00 is in .* too"):
        safran.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda ds: ds.assign(ZS=ds["ZS"] + 300),
            r"variable 'elevation' is 2100 at point 0, in .* it is 1800 \(6 such",
        ),
        (lambda ds: ds.isel(Number_of_points=slice(0, 5)), r"has 5 points, .* has 6"),
        (lambda ds: ds.isel(Number_of_points=[1, 0, 2, 3, 4, 5]), r"at point 0, in .* \(2 such points\)"),
        (lambda ds: ds.drop_vars("Snowf"), r"variable 'Snowf' is missing; the variables given are: LAT"),
        (lambda ds: ds.drop_vars("Tair"), r"variable 'Tair' is missing"),
        (lambda ds: ds.drop_vars("ZS"), r"variable 'ZS' is missing"),
        (lambda ds: ds.assign(Tair=ds["Tair"].assign_attrs(units="Pa")), r"variable 'Tair' has units 'Pa'"),
        (lambda ds: ds.assign(Rainf=ds["Rainf"].assign_attrs(units="")), r"variable 'Rainf' has no units"),
        (
            lambda ds: ds.assign(Rainf=ds["Rainf"].assign_attrs(units="mm h-1")),
            r"'Rainf' has units 'mm h-1', in .*_1.nc they are 'kg/m2/s'; allowed: the same",
        ),
        (lambda ds: ds.rename_vars(time="t"), r"variable 'time' is missing"),
        (lambda ds: ds.expand_dims("yy"), r"dimensions \('yy', 'time', 'Number_of_points'\); allowed: time and points"),
        (lambda ds: ds.assign(massif_number=ds["Tair"]), r"'massif_number' has dimensions"),
    ],
)
def test_files_that_do_not_fit(tmp_path, change, message):
    save(hourly("2001-01-01 00:00", "2001-01-03 06:00"), tmp_path / "FORCING_1.nc")
    save(change(hourly("2001-01-03 06:00", "2001-01-05 06:00")), tmp_path / "FORCING_2.nc")
    with pytest.raises(InputError, match=message) as refused:
        safran.daily(tmp_path)
    assert str(refused.value).startswith(str(tmp_path / "FORCING_2.nc"))


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match=r"no file named FORCING\*\.nc"):
        safran.read(tmp_path)
    with pytest.raises(InputError, match="absent: does not exist"):
        safran.read(tmp_path / "absent")
    (tmp_path / "FORCING.nc").write_text("no NetCDF")
    with pytest.raises(InputError, match=r"FORCING\.nc: cannot be read as NetCDF"):
        safran.read(tmp_path)
    short = save(hourly("2001-01-01 06:00", "2001-01-02 23:00"), tmp_path / "short.nc")
    with pytest.raises(InputError, match=r"short.nc.*1 whole days"):
        safran.daily(short)
