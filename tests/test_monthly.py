"""Predictors from months against those from the days that the months are made of: how good, and for which settings.

Three climates: the demo's synthetic days, the fabricated ones that ALPGM was run with, and a real year of SAFRAN. Each
is taken 1,200 m up and down, so that glaciers from all cold to all warm are among them.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from alpgm_dask import forcing
from alpgm_dask.forcing import Downscaling

SHIFTS = np.arange(-1200.0, 1201.0, 200.0)
SNOW = ("winter_snowfall", "summer_snowfall")


def with_units(ds: xr.Dataset) -> xr.Dataset:
    units = {"tas": "K", "snowfall": "kg m-2", "rainfall": "kg m-2", "elevation": "m"}
    return ds[list(units)].assign({name: ds[name].assign_attrs(units=text) for name, text in units.items()})


def demo_days() -> xr.Dataset:
    from alpgm_dask.demo import climate
    from alpgm_dask.demo.relief import MASSIFS

    n = len(MASSIFS)
    place = climate.points(
        np.array(climate.ELEVATIONS), np.array([f"M{i}" for i in range(n)]), np.zeros(n), np.zeros(n)
    )
    return with_units(climate.history(place, seed=1).sel(time=slice("1994-10-01", "2014-09-30")).load())


def oracle_days(shared) -> xr.Dataset:
    ds = xr.open_dataset(shared / "oracle/climate/daily_inputs.nc").rename(
        snow="snowfall", rain="rainfall", ZS="elevation"
    )
    return with_units(ds.assign(tas=ds["tas"] + 273.15).sel(time=slice("1994-10-01", "2014-09-30")).load())


def safran_days(shared) -> xr.Dataset:
    """August 2010 to July 2011, the last two months put before the first: a year from October to September."""
    names = {"Tair": "tas", "Snowf": "snowfall", "Rainf": "rainfall", "Number_of_points": "point"}
    ds = xr.open_dataset(shared / "data/safran/FORCING_test_base.nc")
    days = ds[["Tair", "Snowf", "Rainf"]].resample(time="D").mean().sel(time=slice("2010-08-02", "2011-07-31"))
    days, height = days.rename(names), ("point", ds["ZS"].values)
    for name in ("snowfall", "rainfall"):
        days[name] = days[name] * 86400.0
    # 1 August begins at 6 o'clock and is left out: 2 August stands for it
    days = xr.concat([days, days.isel(time=[0])], "time").isel(time=np.roll(np.arange(365), -60))
    return with_units(days.assign_coords(time=xr.date_range("2010-10-01", periods=365)).assign(elevation=height))


def months_of(days: xr.Dataset) -> xr.Dataset:
    by = days.resample(time="MS")
    return with_units(by.sum().assign(tas=by.mean()["tas"], elevation=days["elevation"]))


def both(days: xr.Dataset, **settings) -> tuple[xr.Dataset, xr.Dataset]:
    """Predictors from days and from months, at glaciers above and below every point."""
    point = np.repeat(np.arange(days.sizes["point"]), SHIFTS.size)
    height = days["elevation"].values[point] + np.tile(SHIFTS, days.sizes["point"])
    months = forcing.annual_predictors(months_of(days), point, height, downscaling=Downscaling(**settings))
    return forcing.annual_predictors(days, point, height), months


def relative_rmse(months: xr.DataArray, days: xr.DataArray) -> float:
    return float(np.sqrt(((months - days) ** 2).mean()) / days.mean())


def relative_bias(months: xr.DataArray, days: xr.DataArray) -> float:
    return float((months - days).mean() / days.mean())


#: of each climate: greatest relative bias, and RMSE of one glacier in one year. Summer snow is the weakest: on wet days
#: it is cooler than in the mean of the month, the more so in the real year. The oracle's days vary by 3 K only.
BOUNDS = {
    "demo": {"cpdd": (0.03, 0.04), "winter_snowfall": (0.03, 0.09), "summer_snowfall": (0.06, 0.20)},
    "oracle": {"cpdd": (0.15, 0.18), "winter_snowfall": (0.02, 0.05), "summer_snowfall": (0.06, 0.12)},
    "safran": {"cpdd": (0.02, 0.03), "winter_snowfall": (0.08, 0.12), "summer_snowfall": (0.27, 0.37)},
}


@pytest.fixture(params=BOUNDS, scope="module")
def climate(request):
    if request.param == "demo":
        return request.param, demo_days()
    made = {"oracle": oracle_days, "safran": safran_days}[request.param]
    return request.param, made(request.getfixturevalue("shared"))


def test_months_are_as_good_as_stated(climate):
    name, days = climate
    truth, months = both(days)
    np.testing.assert_allclose(months["tas_monthly"], truth["tas_monthly"], atol=2e-4)
    for predictor, (bias, rmse) in BOUNDS[name].items():
        assert abs(relative_bias(months[predictor], truth[predictor])) < bias, predictor
        assert relative_rmse(months[predictor], truth[predictor]) < rmse, predictor


def snow_error(days: xr.Dataset, **settings) -> float:
    truth, months = both(days, **settings)
    return sum(relative_rmse(months[name], truth[name]) for name in SNOW)


def test_a_wide_ramp_is_better_than_that_of_a_day(climate):
    """0 to 2 degC, or a threshold, are for days; of months they make too much snow in winter, too little in summer."""
    _, days = climate
    usual = snow_error(days)
    assert usual < 0.75 * snow_error(days, all_snow_below=0.0, all_rain_above=2.0)
    assert usual < 0.75 * snow_error(days, all_snow_below=0.0, all_rain_above=0.0)


def test_the_spread_is_that_of_real_days(shared):
    """Of the real year, less than half the error that a spread 1 K smaller or greater has."""
    days = safran_days(shared)
    usual, small, large = (
        relative_rmse(months["cpdd"], truth["cpdd"])
        for truth, months in (both(days), both(days, daily_spread=3.0), both(days, daily_spread=5.0))
    )
    assert usual < 0.5 * small and usual < 0.5 * large
