"""The one form of climate: units, steps, calendars, grids, and what is refused."""

import dask
import numpy as np
import pytest
import xarray as xr

from alpgm_dask import forcing, schema
from alpgm_dask.schema import InputError


def _refuse(*args, **kwargs):
    raise AssertionError("something was computed")


def days(n=400, start="2000-10-01", calendar="standard", **changed) -> xr.Dataset:
    """Two points of daily climate in the canonical form, lazy."""
    time = xr.date_range(start, periods=n, freq="D", calendar=calendar, use_cftime=calendar != "standard")
    shape = (n, 2)
    ds = xr.Dataset(
        {
            "tas": (("time", "point"), np.full(shape, 270.0, "float32"), {"units": "K"}),
            "snowfall": (("time", "point"), np.full(shape, 1.0, "float32"), {"units": "kg m-2"}),
            "rainfall": (("time", "point"), np.full(shape, 2.0, "float32"), {"units": "kg m-2"}),
        },
        coords={
            "time": time,
            "elevation": ("point", np.array([2000.0, 3000.0]), {"units": "m"}),
            "lon": ("point", np.array([6.0, 7.0])),
            "lat": ("point", np.array([45.0, 46.0])),
        },
    )
    return ds.assign(changed).chunk(time=100)


def with_units(ds: xr.Dataset, name: str, units: str | None, factor: float = 1.0, offset: float = 0.0) -> xr.Dataset:
    changed = (ds[name] * np.float32(factor) + np.float32(offset)).assign_attrs(units=units)
    return ds.assign({name: changed})


def test_what_is_canonical_comes_back_as_it_is():
    given = days()
    out = forcing.as_climate(given)
    assert forcing.is_canonical(given)
    assert out["tas"].data is given["tas"].data
    assert out["elevation"].attrs["standard_name"] == "surface_altitude"
    xr.testing.assert_equal(out, given)


def test_nothing_is_computed_but_positions():
    given = with_units(days(), "tas", "degC", 1.0, -273.15)
    given = given.assign_coords({name: given[name].load() for name in ("elevation", "lon", "lat")})
    with dask.config.set(scheduler=_refuse):
        out = forcing.as_climate(given)
        forcing.value_extremes(out)
    assert out["tas"].chunks == ((100, 100, 100, 100), (2,))


@pytest.mark.parametrize(
    ("name", "units", "factor", "offset"),
    [
        ("tas", "degC", 1.0, -273.15),
        ("tas", "degF", 1.8, -459.67),
        ("tas", "Kelvin", 1.0, 0.0),
        ("rainfall", "mm", 1.0, 0.0),
        ("rainfall", "mm day-1", 1.0, 0.0),
        ("rainfall", "m of water equivalent", 1e-3, 0.0),
        ("rainfall", "kg m-2 s-1", 1 / 86400, 0.0),
        ("rainfall", "kg m**-2 s**-1", 1 / 86400, 0.0),
        ("rainfall", "m s-1", 1e-3 / 86400, 0.0),
        ("rainfall", "cm/hour", 0.1 / 24, 0.0),
        ("elevation", "km", 1e-3, 0.0),
    ],
)
def test_units_are_converted(name, units, factor, offset):
    given = days()
    changed = (given[name] * factor + offset).assign_attrs(units=units)
    out = forcing.as_climate(
        given.assign({name: changed}) if name != "elevation" else given.assign_coords(elevation=changed)
    )
    assert out[name].attrs["units"] == schema.VARIABLES[name].units
    np.testing.assert_allclose(out[name].values, given[name].values, rtol=1e-6)
    assert out[name].dtype == changed.dtype


def test_monthly_rates_count_the_days_of_their_month():
    time = xr.date_range("2000-01-01", periods=3, freq="MS") + np.timedelta64(15, "D")  # stamped in the middle
    ds = days().isel(time=slice(0, 3)).drop_vars(["snowfall", "rainfall"]).assign_coords(time=time)
    ds["pr"] = (("time", "point"), np.ones((3, 2), "float32"), {"units": "mm day-1"})
    out = forcing.as_climate(ds)
    assert forcing.time_step(out) == "monthly"
    assert out["pr"].values[:, 0].tolist() == [31.0, 29.0, 31.0]
    assert out["time"].dt.day.values.tolist() == [1, 1, 1]
    ds["pr"].attrs["units"] = "mm month-1"
    assert forcing.as_climate(ds)["pr"].values[:, 0].tolist() == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_days_stamped_at_noon_in_any_calendar(calendar):
    given = days(calendar=calendar)
    noon = given.assign_coords(time=given.indexes["time"].shift(12, "h"))
    out = forcing.as_climate(noon)
    assert forcing.time_step(noon) == "daily"
    assert out.indexes["time"].equals(given.indexes["time"])
    assert not forcing.is_canonical(noon)


def test_a_grid_becomes_points_and_loses_cells_without_elevation():
    flat = days()
    grid = xr.Dataset(
        {name: (("time", "y", "x"), flat[name].values.reshape(-1, 1, 2), flat[name].attrs) for name in flat.data_vars},
        coords={"time": flat["time"], "lon": ("x", [359.0, 1.0]), "lat": ("y", [45.0])},
    )
    grid["elevation"] = (("y", "x"), np.array([[2000.0, np.nan]]), {"units": "m"})
    out = forcing.as_climate(grid.chunk())
    assert out["tas"].dims == ("time", "point")
    assert (out["lon"].item(), out["lat"].item()) == (-1.0, 45.0)
    assert (out["grid_row"].item(), out["grid_column"].item()) == (0, 0)


def _gap(ds):
    return ds.isel(time=np.r_[0:200, 201:400])


def _twice(ds):
    return ds.isel(time=np.r_[0:200, 199:400])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.drop_vars("tas"), "here: variable 'tas' is missing"),
        (lambda ds: ds.drop_vars("rainfall"), "here: variable 'rainfall' is missing; allowed: pr, or snowfall and"),
        (lambda ds: ds.drop_vars(["snowfall", "rainfall"]), "here: variable 'pr' is missing; allowed: pr, or snowfall"),
        (lambda ds: ds.drop_vars("elevation"), "here: variable 'elevation' is missing"),
        (lambda ds: ds.drop_vars("time"), "here: variable 'time' is missing"),
        (lambda ds: ds.assign_coords(time=np.arange(400)), "variable 'time' is of type int64; allowed: dates"),
        (
            _gap,
            r"here: variable 'time': 2001-04-20.* follows 2001-04-18.* \(1 such places\); allowed: consecutive days",
        ),
        (_twice, r"variable 'time': 2001-04-18.* follows 2001-04-18"),
        (lambda ds: ds.isel(time=slice(0, 1)), "variable 'time' has 1 values; allowed: days or months"),
        (lambda ds: with_units(ds, "tas", None), "variable 'tas' has no units"),
        (lambda ds: with_units(ds, "tas", "kg m-2"), "variable 'tas' has units 'kg m-2'; allowed: .*'K'"),
        (lambda ds: with_units(ds, "rainfall", "furlong of rain"), "variable 'rainfall' has units .* which are none"),
        (lambda ds: with_units(ds, "rainfall", "K"), "variable 'rainfall' has units 'K'; allowed"),
        (lambda ds: ds.assign(tas=ds["tas"].isel(point=0)), "variable 'tas' has dimensions"),
        (
            lambda ds: ds.assign_coords(elevation=("point", [2000.0, 30000.0], {"units": "m"})),
            r"variable 'elevation' is 30000.0 at point 1 \(1 such points\); allowed: -500 to 9000 m",
        ),
        (lambda ds: ds.assign_coords(lat=("point", [45.0, 146.0])), "variable 'lat' is 146.0 at point 1"),
        (lambda ds: ds.isel(point=slice(0, 0)), "variable 'elevation' is missing everywhere"),
    ],
)
def test_what_is_not_climate_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        forcing.as_climate(change(days()), "here")


def test_hours_are_refused_and_say_what_makes_days_of_them():
    hours = days().assign_coords(time=xr.date_range("2000-10-01", periods=400, freq="h"))
    with pytest.raises(InputError, match="shorter steps are made days by 'alpgm convert'"):
        forcing.as_climate(hours, "here")


def test_values_that_cannot_be_are_refused_with_their_date():
    warm = days()
    values = warm["tas"].values.copy()
    values[7, 1] = 1000.0
    extremes = forcing.value_extremes(warm.assign(tas=(("time", "point"), values)))
    with pytest.raises(
        InputError, match=r"here: variable 'tas' is 1000 K on 2000-10-08 \(1 such steps\); allowed: 170 to"
    ):
        forcing.refuse_implausible(extremes, "here")
    in_celsius = forcing.value_extremes(warm.assign(tas=warm["tas"] - 273.15))
    with pytest.raises(InputError, match=r"variable 'tas' is -3.1\d* K on 2000-10-01 \(400 such steps\)"):
        forcing.refuse_implausible(in_celsius, "here")
    nothing = forcing.value_extremes(warm.assign(rainfall=warm["rainfall"] * np.nan))
    with pytest.raises(InputError, match="variable 'rainfall' is missing at every point"):
        forcing.refuse_implausible(nothing, "here")
    assert forcing.refuse_implausible(forcing.value_extremes(warm), "here")["tas"] == [270.0, 270.0]
