"""ADAMONT members: pairs of files found by name, amounts as their units say, years that one member lacks."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from alpgm_dask import forcing
from alpgm_dask.convert.climate import adamont, station_days
from alpgm_dask.convert.climate.adamont_names import Member, identify
from alpgm_dask.schema import InputError

CNRM = ("CNRM-CERFACS-CNRM-CM5", "CNRM-ALADIN53", "RCP85")
MOHC = ("MOHC-HadGEM2-ES", "CLMcom-CCLM4-8-17", "RCP45")
NAME = "ADAMONT_{0}_{1}_{2}_daily_{3}.nc"


def member_files(start="2005-08-01", stop="2007-12-31", *, seed=0, calendar="standard", units="kg m-2", factor=1.0):
    """Daily means and daily sums of a member: three points, days stamped at 06 h."""
    time = xr.date_range(
        f"{start} 06:00", f"{stop} 06:00", freq="D", calendar=calendar, use_cftime=calendar != "standard"
    )
    rng = np.random.default_rng(seed)
    dims, shape = ("TIME", "NB_POINT"), (len(time), 3)
    points = {
        "ZS": ("NB_POINT", [1800.0, 2400.0, 2400.0], {"units": "m"}),
        "MASSIF_NUMBER": ("NB_POINT", [3, 3, 15]),
        "LON": ("NB_POINT", [6.8, 6.8, 6.0]),
        "LAT": ("NB_POINT", [45.9, 45.9, 44.9]),
    }
    tas = (dims, rng.normal(272.0, 5.0, shape), {"units": "K"})
    snow, rain = (rng.gamma(0.5, 6.0, shape) for _ in range(2))
    sums = {"SNOW": (dims, snow / factor, {"units": units}), "RAIN": (dims, rain / factor, {"units": units})}
    mean = xr.Dataset({"Tair": tas} | points, coords={"TIME": time})
    # as the tools that make them do, both files have every variable
    return mean.assign({name: (dims, 0 * snow, {"units": units}) for name in sums}), xr.Dataset(
        sums | points | {"Tair": (dims, 24 * mean["Tair"].values, {"units": "K"})}, coords={"TIME": time}
    )


def save_member(folder, member=CNRM, name=NAME, kinds=("MEAN", "SUM"), **options):
    folder.mkdir(parents=True, exist_ok=True)
    files = member_files(**options)
    for ds, kind in zip(files, kinds, strict=True):
        ds.to_netcdf(folder / name.format(*member, kind))
    return files


def refuse(*args, **kwargs):
    raise AssertionError("something computed")


@pytest.fixture
def two(tmp_path):
    """Two members; the second has one year more at the end."""
    first = save_member(tmp_path / "x", CNRM, seed=1)
    second = save_member(tmp_path / "y", MOHC, seed=2, stop="2008-12-31")
    return tmp_path, first, second


# -- pairs --------------------------------------------------------------------------------------------------


def test_members_of_different_length(two):
    folder, (mean, total), (other_mean, other_total) = two
    with dask.config.set(scheduler=refuse):
        archive = adamont.read(folder)
    climate = archive.climate
    assert climate["tas"].dims == ("member", "time", "point")
    assert climate["member"].values.tolist() == [
        "CNRM-CERFACS-CNRM-CM5_CNRM-ALADIN53_rcp85",
        "MOHC-HadGEM2-ES_CLMcom-CCLM4-8-17_rcp45",
    ]
    assert climate["gcm"].values.tolist() == ["CNRM-CERFACS-CNRM-CM5", "MOHC-HadGEM2-ES"]
    assert climate["rcm"].values.tolist() == ["CNRM-ALADIN53", "CLMcom-CCLM4-8-17"]
    assert climate["scenario"].values.tolist() == ["rcp85", "rcp45"]
    assert [str(climate["time"].values[i])[:10] for i in (0, -1)] == ["2005-10-01", "2008-09-30"]
    rows = {"TIME": slice(61, 61 + 730)}
    for member, tas, sums in ((0, mean, total), (1, other_mean, other_total)):
        part = climate.isel(member=member, time=slice(0, 730))
        np.testing.assert_allclose(part["tas"], tas["Tair"].isel(rows), rtol=1e-7)
        np.testing.assert_allclose(part["snowfall"], sums["SNOW"].isel(rows), rtol=1e-7)
        np.testing.assert_allclose(part["rainfall"], sums["RAIN"].isel(rows), rtol=1e-7)
    last = climate.isel(time=slice(730, None)).isnull().all(("time", "point"))
    assert [last[name].values.tolist() for name in ("tas", "snowfall", "rainfall")] == [[True, False]] * 3
    assert archive.report.count("members without some of the years") == 1
    assert archive.report.count("members with an incomplete last hydrological year") == 2
    assert archive.report.count("members with an incomplete first hydrological year") == 2


def test_what_comes_out_is_canonical(two):
    climate = adamont.read(two[0]).climate
    xr.testing.assert_identical(forcing.as_climate(climate, "again"), climate)
    assert forcing.time_step(climate) == "daily"
    assert climate["massif_safran"].values.tolist() == [3, 3, 15]
    assert climate["massif"].values.tolist() == ["Mont-Blanc", "Mont-Blanc", "Oisans"]
    assert np.isnan(climate["aspect"].values).all()
    assert {climate[name].dtype for name in ("tas", "snowfall", "rainfall")} == {np.dtype("float32")}


def test_pairs_do_not_depend_on_the_order_of_files(two, tmp_path):
    folder = two[0]
    want = adamont.read(folder)
    files = sorted(folder.rglob("*.nc"))
    got = adamont.read([files[i] for i in (3, 0, 2, 1)])
    assert got.pieces == want.pieces
    xr.testing.assert_identical(got.climate.compute(), want.climate.compute())
    # the sums come first in the alphabet, and the members the other way round
    again = tmp_path / "again"
    save_member(again, CNRM, "zz_{3}_{2}_{1}_{0}.nc", ("daymean", "accumulated_daysum"), seed=1)
    save_member(again, MOHC, "aa_{3}_{2}_{1}_{0}.nc", ("tmean", "cumul"), seed=2, stop="2008-12-31")
    xr.testing.assert_identical(adamont.read(again).climate.compute(), want.climate.compute())


def test_one_more_member_leaves_the_pieces_as_they_were(two):
    folder = two[0]
    before = adamont.read(folder)
    assert (before.grows, len(before.pieces)) == ("member", 2)
    save_member(folder, ("NCC-NorESM1-M", "DMI-HIRHAM5", "RCP26"), seed=3)
    after = adamont.read(folder)
    assert after.pieces[:2] == before.pieces
    assert [label for label, _ in after.pieces] == after.climate["member"].values.tolist()
    xr.testing.assert_identical(after.climate.isel(member=[0, 1]).compute(), before.climate.compute())
    save_member(folder / "x", CNRM, seed=9)
    changed = adamont.read(folder)
    assert [a == b for a, b in zip(changed.pieces, after.pieces, strict=True)] == [False, True, True]


def test_a_member_that_makes_the_archive_longer_changes_all_pieces(two):
    before = dict(adamont.read(two[0]).pieces)
    save_member(two[0], ("NCC-NorESM1-M", "DMI-HIRHAM5", "RCP26"), stop="2009-12-31")
    after = dict(adamont.read(two[0]).pieces)
    assert all(after[label] != fingerprint for label, fingerprint in before.items())


def test_the_first_member_may_be_the_longer_one(tmp_path):
    save_member(tmp_path, CNRM, start="2003-08-01")
    save_member(tmp_path, MOHC)
    tas = adamont.read(tmp_path).climate["tas"]
    assert str(tas["time"].values[0])[:10] == "2003-10-01"
    assert tas.isnull().all("point").sum("time").values.tolist() == [0, 731]


# -- amounts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "factor"),
    [("kg m-2", 1.0), ("mm", 1.0), ("kg/m2/d", 1.0), ("mm day-1", 1.0), ("kg/m2/s", 3600.0), ("mm h-1", 1.0)],
)
def test_sums_are_what_their_units_say(tmp_path, units, factor):
    """Sums of 24 hourly rates keep the units of the rates; a sum of amounts is an amount."""
    _, total = save_member(tmp_path, units=units, factor=factor)
    got = adamont.read(tmp_path).climate["snowfall"].isel(member=0)
    np.testing.assert_allclose(got, factor * total["SNOW"].isel(TIME=slice(61, 61 + 730)), rtol=3e-7)


def test_sums_of_three_hourly_rates(tmp_path):
    _, total = save_member(tmp_path, units="kg m-2 s-1", factor=10_800.0)
    got = adamont.read(tmp_path, hours_of_rates=3.0)
    np.testing.assert_allclose(
        got.climate["rainfall"][0], 10_800.0 * total["RAIN"].isel(TIME=slice(61, 61 + 730)), rtol=3e-7
    )
    assert "8 rates of 3 h" in got.report.notes[0]
    with pytest.raises(InputError, match="hours_of_rates is 0; allowed: above 0"):
        adamont.read(tmp_path, hours_of_rates=0)


# -- calendars ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("calendar", "year"), [("noleap", 365), ("360_day", 360)])
def test_calendars_stay_as_they_are(tmp_path, calendar, year):
    save_member(tmp_path, CNRM, calendar=calendar, start="2007-08-01", stop="2008-12-30")
    save_member(tmp_path, MOHC, calendar=calendar, start="2007-08-01", stop="2009-12-30")
    climate = adamont.read(tmp_path).climate
    assert climate["time"].dt.calendar == calendar
    assert climate.sizes["time"] == 2 * year
    assert climate["tas"].isnull().all("point").sum("time").values.tolist() == [year, 0]


def test_calendars_are_not_mixed(tmp_path):
    save_member(tmp_path, CNRM)
    save_member(tmp_path, MOHC, calendar="360_day", stop="2007-12-30")
    with pytest.raises(InputError, match=r"different calendars \(360_day: MOHC\S+; standard: CNRM\S+\); allowed: one"):
        adamont.read(tmp_path)


# -- memory -------------------------------------------------------------------------------------------------


def test_chunks_are_bounded_also_where_there_are_no_values(two, monkeypatch):
    want = adamont.read(two[0]).climate.compute()
    monkeypatch.setattr(station_days, "TASK_BYTES", 100 * 3 * 8)
    small = adamont.read(two[0]).climate
    assert max(small["tas"].chunks[1]) <= 366
    xr.testing.assert_identical(small.compute(scheduler="synchronous"), want)


# -- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "member", "kind"),
    [
        ("FORCING_CNRM-ALADIN53_CNRM-CERFACS-CNRM-CM5_RCP8.5_2005080106_2100073106_daymean.nc",
         ("CNRM-CERFACS-CNRM-CM5", "CNRM-ALADIN53", "rcp85"), "mean"),
        ("ADAMONT_IPSL-IPSL-CM5A-MR_IPSL-INERIS-WRF331F_rcp_45_DAYSUM.nc",
         ("IPSL-IPSL-CM5A-MR", "IPSL-INERIS-WRF331F", "rcp45"), "sum"),
        ("daysum_ICHEC-EC-EARTH_KNMI-RACMO22E_historical-rcp26.nc",
         ("ICHEC-EC-EARTH", "KNMI-RACMO22E", "rcp26"), "sum"),
        ("mean_EC-EARTH-RCA4-RCP45-2006.nc", ("EC-EARTH", "RCA4", "rcp45"), "mean"),
        ("MPI-ESM1-2-HR_ICON-CLM_ssp3-7.0_cumul.nc", ("MPI-ESM1-2-HR", "ICON-CLM", "ssp370"), "sum"),
        ("MPI-M-MPI-ESM-LR_REMO2009_HISTORICAL_mean.nc", ("MPI-M-MPI-ESM-LR", "REMO2009", "historical"), "mean"),
    ],
)  # fmt: skip
def test_members_told_by_names(tmp_path, name, member, kind):
    assert identify(xr.Dataset(), tmp_path / name) == (Member(*member), kind)


def test_members_told_by_attributes_and_contents(tmp_path):
    attrs = {"driving_model_id": "A-GCM", "model_id": "B-RCM", "experiment_id": "rcp85"}
    mean = xr.Dataset({"Tair": 0}, attrs=attrs)
    assert identify(mean, tmp_path / "first.nc") == (Member("A-GCM", "B-RCM", "rcp85"), "mean")
    assert identify(xr.Dataset({"SNOW": 0}, attrs=attrs), tmp_path / "second.nc")[1] == "sum"
    with pytest.raises(InputError, match=r"third.nc: the name does not tell daily means from daily sums"):
        identify(mean.assign(SNOW=0), tmp_path / "third.nc")


def test_members_told_by_a_pattern(tmp_path):
    pattern = r"(?P<kind>mean|sum)\.(?P<gcm>\w+)\.(?P<rcm>\w+)\.(?P<scenario>\w+)"
    save_member(tmp_path, ("first", "second", "RCP85"), "{3}.{0}.{1}.{2}.nc", ("mean", "sum"))
    climate = adamont.read(tmp_path, pattern=pattern).climate
    assert climate["member"].values.tolist() == ["first_second_rcp85"]
    with pytest.raises(InputError, match=r"the name does not match the pattern 'nothing'"):
        adamont.read(tmp_path, pattern="nothing")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CNRM-CM5_RCP85_mean.nc", "neither its name nor its attributes tell the rcm"),
        ("CNRM-CM5_ALADIN53_mean.nc", "neither its name nor its attributes tell the scenario"),
        ("CNRM-CM5_IPSL-CM5A-MR_ALADIN53_RCP85_mean.nc", "more than one gcm: CNRM-CM5, IPSL-CM5A-MR"),
        ("CNRM-CM5_ALADIN53_RCP85_mean_sum.nc", "does not tell daily means from daily sums"),
        ("CNRM-CM5_ALADIN53_RCP85.nc", "does not tell daily means from daily sums"),
    ],
)
def test_names_that_do_not_tell(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        identify(xr.Dataset(), tmp_path / name)


# -- refusals -----------------------------------------------------------------------------------------------


def test_a_mean_without_its_sum_and_two_of_a_kind(two):
    folder = two[0]
    path = folder / "y" / NAME.format(*MOHC, "SUM")
    path.rename(folder / "away")
    with pytest.raises(InputError, match=r"_MEAN\.nc: member MOHC\S+ has no file of daily sums"):
        adamont.read(folder)
    (folder / "away").rename(path)
    save_member(folder / "z", CNRM)
    with pytest.raises(InputError, match=r"member CNRM\S+ has daily means in .* too; allowed: one file"):
        adamont.read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.assign(ZS=ds["ZS"] + 100), r"'elevation' is 1900 at point 0"),
        (lambda ds: ds.isel(NB_POINT=[0, 2, 1]), r"'massif_safran' is 15 at point 1, in .* it is 3 \(2 such points\)"),
        (lambda ds: ds.isel(NB_POINT=[0, 1]), r"has 2 points, .* has 3"),
        (lambda ds: ds.isel(TIME=[*range(5), *range(6, 883)]), r"2005-08-07 06:00:00 follows 2005-08-05 06:00:00"),
        (lambda ds: ds.isel(TIME=slice(0, 400)), r"covers 2005-08-01 to 2006-09-04 in both; allowed: one whole"),
        (lambda ds: ds.drop_vars("SNOW"), r"variable 'SNOW' is missing"),
        (lambda ds: ds.assign(RAIN=ds["RAIN"].assign_attrs(units="K")), r"variable 'RAIN' has units 'K'"),
        (lambda ds: ds.assign(RAIN=ds["RAIN"].drop_attrs()), r"variable 'RAIN' has no units"),
        (lambda ds: ds.assign_coords(TIME=np.arange(883)), r"variable 'TIME' is of type int64; allowed: dates"),
    ],
)
def test_files_that_do_not_fit(tmp_path, change, message):
    _, total = save_member(tmp_path)
    path = tmp_path / NAME.format(*CNRM, "SUM")
    path.unlink()
    change(total).to_netcdf(path)
    with pytest.raises(InputError, match=message) as refused:
        adamont.read(tmp_path)
    assert path.name in str(refused.value)


def test_members_of_different_points(two):
    folder = two[0]
    for path in sorted((folder / "y").glob("*.nc")):
        with xr.open_dataset(path) as ds:
            other = ds.load().assign(ZS=ds["ZS"] + 300)
        other.to_netcdf(path)
    with pytest.raises(InputError, match=r"MOHC\S+: variable 'elevation' is 2100 at point 0, in \S+CNRM"):
        adamont.read(folder)


def test_hourly_files_are_not_days(tmp_path):
    for kind in ("mean", "sum"):
        time = xr.date_range("2005-08-01", "2005-08-03", freq="h")
        ds = member_files()[kind == "sum"].isel(TIME=slice(0, len(time))).assign_coords(TIME=time)
        ds.to_netcdf(tmp_path / NAME.format(*CNRM, kind))
    with pytest.raises(InputError, match=r"'time' has 24 steps per day; allowed: days"):
        adamont.read(tmp_path)
