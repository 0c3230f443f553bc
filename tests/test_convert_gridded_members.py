"""Members of a gridded ensemble: side by side over the years that any of them has."""

from __future__ import annotations

import dask
import gridded_products as products
import numpy as np
import pytest
import xarray as xr

from alpgm_dask.convert.climate import members
from alpgm_dask.convert.climate.gridded import read
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError


def no_compute(dsk, keys, **kwargs):
    raise AssertionError("something was computed while a graph was built")


def months_of(climate, member):
    """First and last month with values, of one member."""
    there = climate["tas"].isel(member=member).notnull().all("point").values
    return [str(climate["time"].values[at])[:7] for at in np.flatnonzero(there)[[0, -1]]]


def test_members_side_by_side(tmp_path):
    long = products.model_run(tmp_path, "long", "2001-09-30", experiment_id="rcp85", driving_model_id="A", model_id="R")
    short = products.model_run(
        tmp_path, "short", "2000-12-31", experiment_id="rcp45", driving_model_id="B", model_id="R"
    )
    archive = read({"a": long, "b": short}, labels={"b": {"scenario": "RCP4.5"}})
    climate = archive.climate
    assert archive.grows == "member" and [name for name, _ in archive.pieces] == ["a", "b"]
    assert climate.sizes == {"member": 2, "time": 24, "point": 6}
    assert climate["gcm"].values.tolist() == ["A", "B"] and climate["scenario"].values.tolist() == ["rcp85", "RCP4.5"]
    assert np.isnan(climate["tas"][1, 12:]).all() and np.isfinite(climate["tas"][1, :12]).all()
    assert archive.report.count("members that have some of the years only") == 1
    alone = read({"b": short}).climate
    np.testing.assert_array_equal(climate["tas"].isel(member=[1], time=slice(0, 12)), alone["tas"])
    with pytest.raises(InputError, match=r"gcm is 'B'.* is 'A'.*a mapping from the name of each member"):
        read([long, short])


def test_members_of_one_length_and_other_years(tmp_path):
    early = products.model_run(tmp_path, "early", "2001-09-30", start="1999-10-01")
    late = products.model_run(tmp_path, "late", "2003-09-30", start="2001-10-01")
    climate = read({"late": late, "early": early}).climate
    assert climate.sizes["time"] == 48 and climate["member"].values.tolist() == ["late", "early"]
    assert months_of(climate, 0) == ["2001-10", "2003-09"] and months_of(climate, 1) == ["1999-10", "2001-09"]
    assert np.isnan(climate["pr"].values).sum() == 48 * 6


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_days_of_other_years_in_calendars_of_models(tmp_path, calendar):
    whole = read(products.flux_model(tmp_path, calendar)).climate
    n = whole.sizes["time"]
    later = whole.assign_coords(time=whole.indexes["time"].shift(2 * n, "D"))
    with dask.config.set(scheduler=no_compute):
        both = members.side_by_side({"a": whole, "b": later}, ConversionReport("two"))
    assert n == {"noleap": 365, "360_day": 360}[calendar] and both["time"].dt.calendar == calendar
    assert both["tas"].dims == ("member", "time", "point") and both.sizes["time"] == 3 * n
    assert both["tas"].isnull().all("point").sum("time").values.tolist() == [2 * n, 2 * n]
    np.testing.assert_array_equal(both["tas"][1, 2 * n :], whole["tas"])


def test_one_date_in_two_types_is_one_date(tmp_path):
    path = products.model_run(tmp_path, "a", "2001-09-30")
    with xr.open_dataset(path) as ds:
        other = ds.load().convert_calendar("proleptic_gregorian", use_cftime=True)
    tas = read({"a": path, "b": other}).climate["tas"]
    np.testing.assert_array_equal(tas[0], tas[1])


def test_a_member_that_moves_the_years_changes_all_pieces(tmp_path):
    runs = {name: products.model_run(tmp_path, name, "2001-09-30") for name in ("a", "b")}
    before = read(runs).pieces
    runs["c"] = products.model_run(tmp_path, "c", "2001-09-30")
    assert read(runs).pieces[:2] == before
    runs["c"] = products.model_run(tmp_path, "c", "2001-09-30", start="1998-10-01")
    after = dict(read(runs).pieces)
    assert all(after[name] != mark for name, mark in before)


def test_members_of_other_calendars_or_grids_are_refused(tmp_path):
    for name in ("x", "y", "z"):
        (tmp_path / name).mkdir()
    x = products.flux_model(tmp_path / "x", "noleap")
    y = products.flux_model(tmp_path / "y", "360_day")
    z = products.flux_model(tmp_path / "z", "noleap", lat=(45.0, 46.0, 48.0))
    with pytest.raises(InputError, match=r"members of different calendars \(360_day: y; noleap: x\); allowed: one cal"):
        read({"x": x, "y": y})
    with pytest.raises(InputError, match="member z: lat of its 6 points is not that of the 6 points of x"):
        read({"x": x, "z": z})
