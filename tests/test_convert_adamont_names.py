"""ADAMONT members: which file is of which member, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from station_products import CNRM, MOHC, NAME, member_files, save_member

from alpgm_dask.convert.climate import adamont
from alpgm_dask.convert.climate.adamont_names import Member, identify
from alpgm_dask.schema import InputError


@pytest.fixture
def two(tmp_path):
    """Two members; the second has one year more at the end."""
    first = save_member(tmp_path / "x", CNRM, seed=1)
    second = save_member(tmp_path / "y", MOHC, seed=2, stop="2008-12-31")
    return tmp_path, first, second


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
    with pytest.raises(InputError, match=r"the name does not match the pattern \(--pattern\) 'nothing'"):
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
