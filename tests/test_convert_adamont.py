"""ADAMONT members: pairs of files found by name, amounts as their units say, years that one member lacks."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from station_products import CNRM, MOHC, save_member

from alpgm_dask import forcing
from alpgm_dask.convert.climate import adamont, station_days
from alpgm_dask.schema import InputError


def refuse(*args, **kwargs):
    raise AssertionError("something computed")


@pytest.fixture
def two(tmp_path):
    """Two members; the second has one year more at the end."""
    first = save_member(tmp_path / "x", CNRM, seed=1)
    second = save_member(tmp_path / "y", MOHC, seed=2, stop="2008-12-31")
    return tmp_path, first, second


def test_scenarios_go_on_from_the_historical_run(tmp_path):
    """As ADAMONT has it: until the end of 2005, and one RCP or another from then on; the year between is whole."""
    past = (CNRM[0], CNRM[1], "HISTORICAL")
    save_member(tmp_path, past, seed=1, start="2003-08-01", stop="2005-12-31")
    later = {}
    for k, scenario in enumerate(("RCP45", "RCP85")):
        later[scenario] = save_member(
            tmp_path, (*CNRM[:2], scenario), seed=2 + k, start="2006-01-01", stop="2007-12-31"
        )
    save_member(tmp_path, (*MOHC[:2], "HISTORICAL"), seed=5, start="2003-08-01", stop="2005-12-31")
    archive = adamont.read(tmp_path)
    climate = archive.climate
    assert climate["scenario"].values.tolist() == ["rcp45", "rcp85", "historical"]
    assert [str(climate["time"].values[i])[:10] for i in (0, -1)] == ["2003-10-01", "2007-09-30"]
    both, alone = climate.isel(member=[0, 1]).load(), climate.isel(member=2).load()
    assert both["tas"].notnull().all()
    before = both["time"].dt.year < 2006
    np.testing.assert_array_equal(*(both["tas"].isel(member=k).where(before, drop=True).values for k in (0, 1)))
    january = both["tas"].sel(time="2006-01-01").values
    np.testing.assert_allclose(january, [ds[0]["Tair"].values[0] for ds in later.values()], rtol=1e-7)
    assert alone["tas"].notnull().all("point").values.sum() == 366 + 365  # it has no scenario to begin
    assert len({fingerprint for _, fingerprint in archive.pieces}) == 3


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
    assert archive.report.count("members that have some of the years only") == 1
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


def test_options_are_part_of_the_pieces(two):
    options = [{}, {"hours_of_rates": 3.0}, {"massif_names": {15: "Ecrins"}}]
    assert len({adamont.read(two[0], **asked).pieces for asked in options}) == 3


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
    with pytest.raises(InputError, match=r"hours_of_rates \(--hours-of-rates\) is 0; allowed: above 0"):
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
