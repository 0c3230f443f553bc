"""What gridded archives are refused for, and which oddities of files are read all the same."""

from __future__ import annotations

import gridded_products as products
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alpgm_dask.convert.climate.cf_names import choose_variables
from alpgm_dask.convert.climate.gridded import open_grid, read
from alpgm_dask.schema import InputError


def archive(freq="D", start="2000-10-01", end="2001-09-30 23:00", units="kg m-2", **changes) -> xr.Dataset:
    """A year of climate on 2 x 2 cells; `changes`: attributes of tas."""
    time = pd.date_range(start, end, freq=freq)
    ds = xr.Dataset(coords={"time": time, "lat": [46.0, 46.5], "lon": [7.0, 7.5]})
    shape = (len(time), 2, 2)
    ds["tas"] = (("time", "lat", "lon"), np.full(shape, 275.0), {"units": "K"} | changes)
    ds["pr"] = (("time", "lat", "lon"), np.full(shape, 2.0), {"units": units})
    ds["orog"] = (("lat", "lon"), np.full((2, 2), 1000.0), {"units": "m"})
    return ds


# -- sources ------------------------------------------------------------------------------------------------


def test_sources_that_are_not_there(tmp_path):
    (tmp_path / "text.nc").write_text("no NetCDF")
    (tmp_path / "empty").mkdir()
    for given, message in (
        (tmp_path / "none.nc", r"none\.nc: no such file or folder"),
        (str(tmp_path / "*.grib"), r"\*\.grib: no file has such a name"),
        (tmp_path / "empty", r"empty: no NetCDF file \(\.nc"),
        (tmp_path / "text.nc", r"text\.nc: cannot be opened as NetCDF file"),
        ([], "sources: nothing is given"),
        ({}, "sources: no member is given"),
    ):
        with pytest.raises(InputError, match=message):
            read(given)


# -- variables ----------------------------------------------------------------------------------------------


def test_variables_that_are_missing_or_not_named():
    ds = archive()
    with pytest.raises(
        InputError, match=r"'tas' is not found; allowed: the standard name air_temperature.*: orog, pr$"
    ):
        read(ds.drop_vars("tas"))
    with pytest.raises(InputError, match="'pr' is not found; allowed: the standard name precipitation_amount or"):
        read(ds.drop_vars("pr"))
    with pytest.raises(
        InputError, match=r"names \(--variable\): 'temperature' is none of what is read; allowed: tas, pr, snowfall"
    ):
        read(ds, names={"temperature": "tas"})
    with pytest.raises(
        InputError, match=r"variable 't' \(names or --variable, tas\) is missing; given are: orog, pr, tas"
    ):
        read(ds, names={"tas": "t"})
    renamed = ds.rename(tas="warmth", pr="wet")
    assert read(renamed, names={"tas": "warmth", "pr": "wet"}).climate.sizes["point"] == 4


def test_two_variables_of_one_standard_name():
    ds = archive(standard_name="air_temperature").rename(tas="one")
    ds["two"] = ds["one"]
    with pytest.raises(
        InputError, match=r"one, two are all air_temperature .*names=\{'tas': 'one'\} \(--variable tas=one\)"
    ):
        read(ds)
    assert read(ds, names={"tas": "two"}).climate.sizes["time"] == 365
    # extremes of the day have the same standard name, and are no candidates
    ds["one"].attrs["cell_methods"] = "area: mean time: maximum"
    chosen = choose_variables([("here", ds)])
    assert chosen["tas"] == "two" and chosen["elevation"] == "orog"


def test_snowfall_or_rainfall_and_the_sum():
    ds = archive()
    ds["prsn"] = ds["pr"] * 1.5
    ds["prsn"].attrs = {"units": "kg m-2"}
    climate = read(ds).climate
    assert float(climate["rainfall"].max()) == 0.0 and float(climate["snowfall"].min()) == 3.0
    rain = ds.rename(prsn="rainfall").assign(rainfall=ds["pr"] * 0.25)
    rain["rainfall"].attrs = {"units": "mm"}
    assert float(read(rain).climate["snowfall"].max()) == 1.5
    with pytest.raises(InputError, match="'pr' is not found"):
        read(ds.drop_vars("pr"))


def test_units_that_are_none():
    with pytest.raises(InputError, match="variable 'tas' has units 'furlong'"):
        read(archive(units="mm").assign_attrs().pipe(_with_units, "tas", "furlong"))
    with pytest.raises(InputError, match="variable 'pr' has units 'K'"):
        read(_with_units(archive(), "pr", "K"))
    with pytest.raises(InputError, match="variable 'orog' has no units"):
        read(_with_units(archive(), "orog", ""))


def _with_units(ds, name, units):
    ds = ds.copy()
    ds[name] = ds[name].assign_attrs(units=units)
    return ds


# -- grids --------------------------------------------------------------------------------------------------


def test_grids_that_are_not_understood(tmp_path):
    bare = archive().rename(lat="a", lon="b").drop_vars(["a", "b"])
    with pytest.raises(InputError, match=r"dimensions \('a', 'b'\), and no longitude and latitude are found"):
        read(bare)
    levels = archive()
    levels["tas"] = levels["tas"].expand_dims(plev=[850.0, 500.0], axis=1)
    with pytest.raises(InputError, match=r"variable 'tas' has the dimension plev \(2\) beside time and place"):
        read(levels)
    ds = xr.open_dataset(products.laea(tmp_path / "laea.nc"))
    with pytest.raises(InputError, match="names the grid mapping 'crs', which is missing"):
        read(ds.drop_vars("crs"))
    ds["crs"].attrs = {"grid_mapping_name": "a_map_of_ours"}
    with pytest.raises(InputError, match=r"its grid mapping .*a_map_of_ours.* is not understood"):
        read(ds)


def test_files_of_other_grids_and_elevations():
    ds = archive()
    other = ds[["pr"]].assign_coords(lon=[7.0, 8.0])
    with pytest.raises(InputError, match=r"its grid is not that of .*no cell at lon 7\.5000, lat 46\.0000 \(2 such"):
        read([ds[["tas", "orog"]], other])
    turned = ds[["pr"]].isel(lat=[1, 0]).assign(pr=lambda d: d["pr"] + d["lat"])
    turned["pr"].attrs = {"units": "mm"}
    climate = read([ds[["tas", "orog"]], turned]).climate
    np.testing.assert_array_equal(climate["pr"][0], 2.0 + climate["lat"])
    # one variable in files of two orders of rows
    split = [ds[["tas", "orog", "pr"]].isel(time=slice(0, 99)), turned.isel(time=slice(99, None))]
    split.append(ds[["tas"]].isel(time=slice(99, None)))
    np.testing.assert_array_equal(read(split).climate["pr"][[0, 200]], [[2.0] * 4, 2.0 + climate["lat"]])
    with pytest.raises(InputError, match="variable 'orog' differs by 5 m from that of other files"):
        read([ds, _with_units(ds[["orog"]] + 5.0, "orog", "m")])
    with pytest.raises(InputError, match="no cell that is needed has both elevation and values"):
        read(_with_units(ds.assign(orog=ds["orog"] * np.nan), "orog", "m"))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((7, 46, 8), "has 3 numbers; allowed"),
        ((7, 47, 8, 46), "is none; allowed: .*south below north"),
        ((7, 46, 800, 47), "is none; allowed"),
        (
            (20, 46, 21, 47),
            r"no cell of its grid is at bounding_box \(--bounding-box\) \(20, 46, 21, 47\); it covers lon 7 to 7\.5",
        ),
    ],
)
def test_boxes_that_are_none(box, message):
    with pytest.raises(InputError, match=message):
        read(archive(), bounding_box=box)


def test_places_that_are_none():
    lon, lat = np.array([7.0, 7.2]), np.array([46.0, np.nan])
    with pytest.raises(InputError, match=r"around \(--around-glaciers\): lon 7\.2, lat nan are no places"):
        read(archive(), around=(lon, lat))
    with pytest.raises(InputError, match=r"around \(--around-glaciers\): 2 longitudes and 1 latitudes are no places"):
        read(archive(), around=(lon, lat[:1]))
    with pytest.raises(InputError, match=r"margin \(--margin\): -1\.0 km"):
        read(archive(), around=(lon, lat[:1].repeat(2)), margin=-1.0)
    with pytest.raises(InputError, match="no cell of its grid is at the places of around"):
        read(archive(), around=(lon + 20, np.array([46.0, 46.0])))


# -- time ---------------------------------------------------------------------------------------------------


def test_gaps_and_duplicates_are_named_with_file_and_date(tmp_path):
    ds = archive()
    ds.isel(time=slice(0, 100)).to_netcdf(tmp_path / "a.nc")
    ds.isel(time=slice(99, None)).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(InputError, match=r"a\.nc and .*b\.nc: variable 'tas': 2001-01-08 .*comes again \(1 such"):
        read(tmp_path)
    ds.isel(time=slice(102, None)).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(InputError, match=r"what follows 2001-01-08 .*, before 2001-01-11 .* is missing"):
        read(tmp_path)
    months = archive("MS").drop_isel(time=4)
    with pytest.raises(InputError, match=r"what follows 2001-01-01 .* before 2001-03-01.* allowed: consecutive months"):
        read(months)


def test_dates_that_are_none(tmp_path):
    ds = archive()
    with pytest.raises(InputError, match=r"'tas' has the dimension time .* beside time and place"):
        read(ds.assign_coords(time=np.arange(365.0)))
    broken = ds["time"].values.copy()
    broken[3] = np.datetime64("NaT")
    with pytest.raises(InputError, match="'time' has a date that is missing"):
        read(ds.assign_coords(time=broken))
    with pytest.raises(InputError, match="'tas' has one time step"):
        read(ds.isel(time=[0]))
    for freq, hours in (("YS", 8760), ("5h", 5)):
        with pytest.raises(InputError, match=f"'tas' has steps of {hours} hours; allowed: months, days, or hours"):
            read(archive(freq, end="2004-09-30"))
    with pytest.raises(InputError, match=r"from 2000-10-01 .* to 2001-09-29 .* a whole hydrological year or more"):
        read(ds.isel(time=slice(0, -1)))


def test_variables_that_do_not_meet():
    ds = archive()
    with pytest.raises(InputError, match="'tas' is daily and 'pr' monthly"):
        read([ds[["tas", "orog"]], archive("MS")[["pr"]]])
    with pytest.raises(InputError, match=r"no date in common: tas 2000-10-01 .*; pr 2002-10-01"):
        read([ds[["tas", "orog"]], archive(start="2002-10-01", end="2003-09-30")[["pr"]]])
    other = ds.convert_calendar("noleap", use_cftime=True)
    with pytest.raises(InputError, match=r"the calendars of .*noleap.* differ"):
        read([ds[["tas", "orog"]], other[["pr"]]])
    with pytest.raises(InputError, match=r"'tas' has the calendar 'noleap', in .* it is 'standard'"):
        read([ds, other])


def test_bounds_decide_where_they_are_sound():
    hourly = archive("6h")
    low = hourly["time"].values - np.timedelta64(6, "h")
    hourly["time_bnds"] = (("time", "bnds"), np.stack([low, hourly["time"].values], axis=1))
    hourly["time"].attrs["bounds"] = "time_bnds"
    hourly["pr"][1] = 9.0  # stamped 06:00, the first step of 1 October
    grid = open_grid(hourly)  # no keyword: the bounds say what is summed
    assert str(grid["time"].values[0])[:10] == "2000-10-01"
    np.testing.assert_array_equal(grid["pr"].isel(y=0, x=0)[:2], [15.0, 8.0])
    hourly["time_bnds"] = hourly["time_bnds"].isel(time=np.zeros(hourly.sizes["time"], int)).drop_vars("time")
    with pytest.raises(InputError, match="'pr' is an amount by hours, and neither time bounds nor cell_methods say"):
        open_grid(hourly)
    daily = archive().assign_coords(time=archive()["time"] + np.timedelta64(24, "h"))  # days stamped at their end
    bounds = np.stack([daily["time"].values - np.timedelta64(1, "D"), daily["time"].values], axis=1)
    daily["time_bnds"] = (("time", "bnds"), bounds)
    daily["time"].attrs["bounds"] = "time_bnds"
    assert str(read(daily).climate["time"].values[0])[:10] == "2000-10-01"


# -- sums, members ------------------------------------------------------------------------------------------


def test_hourly_sums_must_be_said_and_are_looked_at(tmp_path):
    land = products.era5_land(tmp_path / "land.nc")
    with pytest.raises(
        InputError, match=r"accumulated='step' \(--accumulated step\) for .* look like accumulated='day' \(--"
    ):
        read(land)
    with pytest.raises(InputError, match="'tp', accumulated='step': its values grow all day from 2000-10-01"):
        read(land, accumulated="step")
    with pytest.raises(InputError, match=r"accumulated \(--accumulated\): 'hour'; allowed: 'step', 'day'"):
        read(land, accumulated="hour")
    products.era5(tmp_path)
    files = [*tmp_path.glob("data*.nc")]
    with pytest.raises(InputError, match=r"its first days look like accumulated='step' \(--accumulated step\)$"):
        read(files, orography=tmp_path / "geopotential.nc")
    with pytest.raises(InputError, match="accumulated='day': its values fall at 2000-09-30 02:00"):
        read(files, accumulated="day", orography=tmp_path / "geopotential.nc")
    dry = archive("6h", end="2001-10-01 00:00")
    with pytest.raises(InputError, match=r"since 00 UTC \(ERA5-Land\)$"):  # the first days settle nothing
        read(dry.assign(pr=dry["pr"] * 0.0).pipe(_with_units, "pr", "mm"))
    summed = archive("6h", end="2001-10-01 00:00")
    summed["pr"].attrs["cell_methods"] = "time: sum"
    np.testing.assert_array_equal(read(summed).climate["pr"], 8.0)
    rate = archive("6h", end="2001-10-01 00:00", units="mm/day")
    np.testing.assert_array_equal(read(rate).climate["pr"], 2.0)


def test_a_missing_hour_makes_its_day_missing():
    ds = archive("6h", units="kg m-2 s-1", end="2001-10-01 00:00")
    ds["tas"][41] = np.nan
    days = np.isnan(read(ds).climate["tas"]).any("point").values
    assert np.flatnonzero(days).tolist() == [10]


def test_final_era5_goes_before_the_preliminary_one():
    ds = archive(units="mm")
    two = xr.concat([ds["tas"].where(ds["time"] < np.datetime64("2001-05-01")), ds["tas"] + 9.0], dim="expver")
    ds["tas"] = two.assign_coords(expver=[1, 5]).assign_attrs(units="K")
    tas = read(ds).climate["tas"]
    assert float(tas[0, 0]) == 275.0 and float(tas[-1, 0]) == 284.0


def test_members_and_labels_that_are_none():
    ds = archive()
    with pytest.raises(InputError, match=r"member \(--member\): 'x', with members \(--members\)"):
        read({"a": ds}, member="x")
    with pytest.raises(InputError, match=r"labels \(--label\): 'model' is no label; allowed: gcm, rcm, scenario"):
        read(ds, member="x", labels={"model": "y"})
    with pytest.raises(InputError, match=r"labels \(--label\): 'b' is no member; allowed: a"):
        read({"a": ds}, labels={"b": {"gcm": "y"}})
    two = [ds.isel(time=slice(0, 9)).assign_attrs(source_id="A"), ds.isel(time=slice(9, None))]
    assert read(two, member="x").climate["gcm"].item() == "A"
    with pytest.raises(InputError, match="its variables are rainfall, snowfall, tas, those of a pr, tas"):
        read({"a": ds, "b": ds.assign(prsn=ds["pr"])})
    with pytest.raises(InputError, match="member b: its steps are monthly, those of a daily"):
        read({"a": ds, "b": archive("MS")})
