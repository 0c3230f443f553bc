"""SAFRAN forcing files: what their points stand for, and what is refused."""

from __future__ import annotations

import pytest
from station_products import hourly, save, season

from alpgm_dask.convert.climate import safran
from alpgm_dask.convert.climate.station_points import listed_massifs, read_positions
from alpgm_dask.schema import InputError

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


def test_a_table_of_positions(tmp_path):
    path = tmp_path / "massifs.csv"
    path.write_text("number, lon, lat\n15, 6.0, 44.9\n3, 6.8, 45.9\n")
    assert read_positions(path) == {15: (6.0, 44.9), 3: (6.8, 45.9)}
    for text, message in (
        ("number,lon\n15,6.0\n", r"massifs.csv: line 2 is \{number: 15, lon: 6.0\}; allowed: number, lon, lat"),
        ("number,lon,lat\n15,6.0,x\n", r"line 2 is \{number: 15, lon: 6.0, lat: x\}"),
        ("number,lon,lat\n15,6.0,44.9\n15,6.0,44.9\n", "line 3: massif 15 .* allowed: every massif once"),
        ("number,lon,lat\n15,44.9,600\n", "line 2: massif 15 at lon 44.9, lat 600.0"),
        ("number,lon,lat\n", "has no line of a massif"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_positions(path)
    with pytest.raises(InputError, match=r"none.csv: cannot be read"):
        read_positions(tmp_path / "none.csv")


def test_names_and_positions_of_massifs_are_part_of_the_pieces(tmp_path):
    for year in (2000, 2001):
        ds = hourly(f"{year}-08-01 06:00", f"{year + 1}-08-01 06:00", hours=6)
        save(ds.drop_vars(["LON", "LAT"]), tmp_path / f"FORCING_{year}.nc")
    places = {3: (6.8, 45.9), 15: (6.0, 44.9), 16: (6.5, 44.8)}
    moved = places | {16: (6.6, 44.8)}
    pieces = [
        safran.read(tmp_path, massif_positions=places).pieces,
        safran.read(tmp_path, massif_positions=moved).pieces,
        safran.read(tmp_path, massif_positions=places, massif_names={16: "Ecrins"}).pieces,
    ]
    assert len(set(pieces)) == 3 and pieces[0] == safran.read(tmp_path, massif_positions=places).pieces


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
