"""Quantile delta mapping: the reanalysis in the common period, the model's change after it, member by member."""

from __future__ import annotations

import sys

import dask
import numpy as np
import pytest
import xarray as xr

from alpgm_dask.forcing.adjustment import _windows, quantile_delta_mapping
from alpgm_dask.forcing.calendar import hydro_year
from alpgm_dask.schema import InputError

pytest.importorskip("xsdba", reason="xsdba is not installed (extra 'adjust')")
pytestmark = pytest.mark.filterwarnings("ignore:keys will default to True in jsonpickle")

PERIOD, FUTURE = (1981, 2000), (2021, 2040)
LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


def no_compute(dsk, keys, **kwargs):
    raise AssertionError("something was computed while a graph was built")


def make(first, last, *, seed=0, members=0, points=2, step="D", calendar="standard", **law) -> xr.Dataset:
    """Climate of a known law: a season, noise, a bias and a trend; wet steps of a share, gamma distributed."""
    law = {"bias": 0.0, "trend": 0.0, "scale": 1.0, "growth": 0.0, "wet": 0.5} | law
    kind = {"calendar": calendar, "use_cftime": calendar != "standard"}
    freq = "D" if step == "D" else "MS"
    end = f"{last}-09-{'30' if step == 'D' else '01'}"
    time = xr.date_range(f"{first - 1}-10-01", end, freq=freq, **kind)
    dates = xr.DataArray(time, dims="time")
    year, phase = hydro_year(dates).values[:, None], np.asarray(dates.dt.dayofyear)[:, None] / 365.25
    rng = np.random.default_rng(seed)
    shape = ((members,) if members else ()) + (len(time), points)
    dims = (("member",) if members else ()) + ("time", "point")
    tas = 273.0 - 9 * np.cos(2 * np.pi * (phase - 0.05)) + rng.normal(0, 4, shape)
    tas += law["bias"] + law["trend"] * (year - 1990)
    wet = rng.random(shape) < law["wet"]
    total = np.where(wet, rng.gamma(0.8, 8, shape), 0) * law["scale"] * (1 + law["growth"] * (year - 1990))
    snow = total * rng.random(shape)
    point = np.arange(points)
    ds = xr.Dataset(
        {
            "tas": (dims, tas.astype("float32"), {"units": "K"}),
            "snowfall": (dims, snow.astype("float32"), {"units": "kg m-2"}),
            "rainfall": (dims, (total - snow).astype("float32"), {"units": "kg m-2"}),
        },
        coords={
            "time": time,
            "elevation": ("point", 2000.0 + 10 * point, {"units": "m"}),
            "lon": ("point", 6.0 + 0.1 * point, {"units": "degrees_east"}),
            "lat": ("point", np.full(points, 45.0), {"units": "degrees_north"}),
        },
    )
    return ds.assign_coords(member=("member", [f"m{i}" for i in range(members)])) if members else ds


def chunked(ds: xr.Dataset, **chunks: int) -> xr.Dataset:
    """Lazy, but for the places of the points, which may be loaded."""
    places = ("elevation", "lon", "lat")
    return ds.drop_vars(places).chunk(chunks).assign_coords({name: ds[name] for name in places})


def years(ds: xr.Dataset, period: tuple[int, int]) -> xr.Dataset:
    label = hydro_year(ds["time"]).values
    return ds.isel(time=(label >= period[0]) & (label <= period[1]))


def of_month(ds: xr.Dataset, month: int) -> xr.Dataset:
    return ds.isel(time=ds["time"].dt.month.values == month)


def total(ds: xr.Dataset) -> xr.DataArray:
    return ds["snowfall"] + ds["rainfall"]


def adjust(projection, history, **options) -> xr.Dataset:
    return quantile_delta_mapping(projection, history, **{"period": PERIOD, "window": 20} | options)


@pytest.fixture(scope="module")
def history() -> xr.Dataset:
    return make(1979, 2002, seed=1)


@pytest.fixture(scope="module")
def projection() -> xr.Dataset:
    """Too warm by 3 K, too wet by half and too often, of another calendar; warming by 0.05 K a year, and wetter."""
    law = {"bias": 3.0, "trend": 0.05, "scale": 1.5, "growth": 0.005, "wet": 0.7}
    return make(1981, 2040, seed=2, members=2, calendar="noleap", **law)


@pytest.fixture(scope="module")
def adjusted(projection, history) -> xr.Dataset:
    lazy = adjust(chunked(projection, time=1460, member=1, point=2), chunked(history, time=1461, point=2))
    return lazy.compute(scheduler="synchronous")


# -- known truth --------------------------------------------------------------------------------------------


def test_the_common_period_is_distributed_as_the_reanalysis(history, projection, adjusted):
    truth, raw, ours = (years(ds, PERIOD) for ds in (history, projection, adjusted))
    wrong = abs(raw["tas"].quantile(LEVELS, "time") - truth["tas"].quantile(LEVELS, "time"))
    right = abs(ours["tas"].quantile(LEVELS, "time") - truth["tas"].quantile(LEVELS, "time"))
    assert float(wrong.min()) > 2.5 and float(right.max()) < 0.15  # K
    for month in (1, 7):
        cut = [of_month(ds, month)["tas"].mean("time") for ds in (truth, ours)]
        assert float(abs(cut[1] - cut[0]).max()) < 0.05
    ratio = total(ours).mean("time") / total(truth).mean("time")
    assert float(abs(ratio - 1).max()) < 0.03
    assert float((total(raw).mean("time") / total(truth).mean("time")).min()) > 1.8
    high = total(ours).quantile([0.9, 0.98], "time") / total(truth).quantile([0.9, 0.98], "time")
    assert float(abs(high - 1).max()) < 0.06


def test_the_change_is_kept(projection, adjusted):
    change = [
        years(ds, FUTURE)["tas"].mean("time") - years(ds, PERIOD)["tas"].mean("time") for ds in (projection, adjusted)
    ]
    assert float(change[0].min()) > 1.8
    np.testing.assert_allclose(change[1], change[0], atol=0.02)  # K
    growth = [
        total(years(ds, FUTURE)).mean("time") / total(years(ds, PERIOD)).mean("time") for ds in (projection, adjusted)
    ]
    assert float(growth[0].min()) > 1.12
    np.testing.assert_allclose(growth[1], growth[0], rtol=0.04)


def test_wet_steps_become_as_many_as_in_the_reanalysis_and_dry_ones_stay_dry(history, projection, adjusted):
    share = [(total(years(ds, PERIOD)) >= 0.05).mean("time") for ds in (history, projection, adjusted)]
    assert float(share[1].min()) > 0.66
    np.testing.assert_allclose(share[2], share[0].expand_dims(member=2), atol=0.02)
    assert (total(adjusted).values[total(projection).values < 0.05] == 0).all()
    assert (adjusted["snowfall"].values >= 0).all() and (adjusted["rainfall"].values >= 0).all()


def test_a_model_with_too_few_wet_steps_keeps_them_few_and_no_amount_runs_away(history):
    dry = make(1981, 2020, seed=3, wet=0.2, growth=0.02)
    ours = adjust(dry, history)
    share = float((total(years(ours, PERIOD)) >= 0.05).mean())
    assert 0.17 < share < 0.23
    assert float(total(ours).max()) < 3 * float(total(dry).max())


def test_the_share_of_snow_stays_the_models(projection, adjusted):
    wet = total(adjusted).values > 0.1
    before, after = ((ds["snowfall"] / total(ds)).values[wet] for ds in (projection, adjusted))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_what_needs_no_adjustment_stays(history):
    same = adjust(history, history, period=(1979, 2002))
    np.testing.assert_allclose(same["tas"], history["tas"], atol=1e-3)
    np.testing.assert_allclose(total(same), total(history).where(total(history) >= 0.05, 0.0), rtol=1e-3, atol=1e-3)


def test_a_shift_of_the_whole_model_changes_nothing(history):
    model = make(1981, 2020, seed=4)
    shifted = model.assign(tas=(model["tas"] + 5.0).assign_attrs(units="K"))
    pair = [adjust(ds, history)["tas"].values for ds in (model, shifted)]
    np.testing.assert_allclose(pair[1], pair[0], atol=1e-3)


# -- calendars, months, precipitation without phase, missing years ------------------------------------------


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_monthly_input_of_another_calendar(calendar):
    truth = make(1971, 2000, seed=5, step="M", wet=1.0, points=1)
    law = {"bias": 2.0, "trend": 0.05, "scale": 0.5, "wet": 1.0}
    model = make(1971, 2050, seed=6, step="M", calendar=calendar, points=1, **law)
    ours = quantile_delta_mapping(model, truth, period=(1971, 2000))
    for month in (2, 8):
        truth_month, ours_month = (of_month(years(ds, (1971, 2000)), month) for ds in (truth, ours))
        assert float(abs(ours_month["tas"].mean() - truth_month["tas"].mean())) < 0.15
        assert float(abs(total(ours_month).mean() / total(truth_month).mean() - 1)) < 0.1
    change = [
        float(years(ds, (2021, 2050))["tas"].mean() - years(ds, (1971, 2000))["tas"].mean()) for ds in (model, ours)
    ]
    assert change[0] > 2.0 and abs(change[1] - change[0]) < 0.05


def test_precipitation_alone_against_a_reanalysis_with_phases(history, projection, adjusted):
    alone = projection.drop_vars(["snowfall", "rainfall"]).assign(pr=total(projection).assign_attrs(units="kg m-2"))
    ours = adjust(alone, history)
    assert set(ours.data_vars) == {"tas", "pr"}
    np.testing.assert_allclose(ours["pr"], total(adjusted), rtol=1e-5, atol=1e-5)


def test_missing_years_of_a_member_stay_missing_and_a_member_without_the_period_is_refused(history, projection):
    model = projection.isel(point=[0])
    late = hydro_year(model["time"]) > 2030
    short = model.where(~(late & (model["member"] == "m1")))
    ours = adjust(short, history.isel(point=[0]))
    gone = np.isnan(ours["tas"].values)
    np.testing.assert_array_equal(gone, np.isnan(short["tas"].values))
    np.testing.assert_array_equal(np.isnan(ours["snowfall"].values), gone)
    early = hydro_year(model["time"]) <= 2000
    without = model.where(~(early & (model["member"] == "m1")))
    with pytest.raises(InputError, match=r"projection: tas of a member.* has no value in the common period 1981-2000"):
        adjust(without, history.isel(point=[0]))


# -- graphs -------------------------------------------------------------------------------------------------


def test_nothing_is_computed_until_asked_and_blocks_change_nothing(history, projection):
    given = chunked(projection, time=3000, member=1, point=1)
    with dask.config.set(scheduler=no_compute):
        lazy = adjust(given, chunked(history, time=700, point=2), group="season")
    for name in ("tas", "snowfall", "rainfall"):
        assert lazy[name].chunks == given[name].chunks and lazy[name].dtype == np.float32, name
        assert lazy[name].attrs["units"] == projection[name].attrs["units"], name
    assert lazy["tas"].dims == ("member", "time", "point")
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), adjust(projection, history, group="season"))


def test_a_block_is_bounded_whatever_the_chunks_were():
    truth, model = (make(1981, last, points=200, step="M", members=m) for last, m in ((1990, 0), (2000, 3)))
    given = chunked(model, member=3, point=200, time=60)
    lazy = adjust(given, chunked(truth), period=(1981, 1990))
    assert lazy["tas"].chunks == given["tas"].chunks
    layers = lazy["tas"].__dask_graph__().layers
    blocks = [layer for name, layer in layers.items() if name.startswith("adjust_block-")]
    assert [len(layer.get_output_keys()) for layer in blocks] == [3 * 4]  # a member and at most 64 points each


def test_members_and_points_are_each_by_themselves(history, projection):
    whole = adjust(projection, history, group="season")
    one = adjust(projection.isel(member=[1], point=[1]), history.isel(point=[1]), group="season")
    xr.testing.assert_identical(one, whole.isel(member=[1], point=[1]))
    alone = adjust(projection.isel(member=1, point=[1]), history.isel(point=[1]), group="season")
    np.testing.assert_array_equal(alone["tas"], whole["tas"].isel(member=1, point=[1]))
    turned = adjust(projection.isel(member=[1, 0], point=[1, 0]), history.isel(point=[1, 0]), group="season")
    xr.testing.assert_identical(turned, whole.isel(member=[1, 0], point=[1, 0]))


@pytest.mark.parametrize("years_", [(1981, 2100), (1951, 2005), (1981, 2000)])
def test_windows_have_every_year_once_and_rank_it_in_their_own_time(years_):
    windows = _windows(years_, (1981, 2000), 30, 10)
    covered = [year for first, last, *_ in windows for year in range(first, last + 1)]
    assert covered == list(range(years_[0], years_[1] + 1))
    for first, last, begin, end in windows:
        assert years_[0] <= begin <= first <= last <= end <= years_[1]
        assert (begin, end) == (1981, 2000) if first == 1981 else end - begin + 1 == 30


# -- refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period": (1975, 2000)}, r"projection does not cover .*1975-2000; .*projection 1981-2040, history 1979-2002"),
        ({"period": (1981, 2005)}, r"history does not cover the common period 1981-2005"),
        ({"period": (1991, 1995)}, r"the common period is 1991-1995; allowed: 10 hydrological years or more"),
        ({"group": "week"}, r"group is 'week'; allowed: month, season, year"),
        ({"quantiles": 1}, r"quantiles are 1; allowed: 2 or more"),
        ({"quantiles": [0.5, 0.1]}, r"quantiles are \[0.5, 0.1\]; allowed"),
        ({"window": 5, "step": 10}, r"step is 10 and window 5 years; allowed: 1 <= step <= window"),
    ],
)
def test_settings_that_are_refused(projection, history, options, message):
    with pytest.raises(InputError, match=message):
        adjust(projection, history, **options)


def test_other_points_and_steps_are_refused(projection, history):
    projection = years(projection, PERIOD).isel(member=0)
    with pytest.raises(InputError, match=r"projection has 2 points and history 1; allowed: the same points"):
        adjust(projection, history.isel(point=[0]))
    with pytest.raises(InputError, match=r"variable 'lon' of point 0 is 6, in history 6.1 \(2 such points\)"):
        adjust(projection, history.isel(point=[1, 0]))
    higher = history.assign_coords(elevation=history["elevation"] + 300)
    with pytest.raises(InputError, match=r"'elevation' of point 0 is 2000, in history 2300"):
        adjust(projection, higher.assign_coords(elevation=higher["elevation"].assign_attrs(units="m")))
    with pytest.raises(InputError, match=r"projection is daily and history monthly"):
        adjust(projection, make(1979, 2002, step="M"))
    with pytest.raises(InputError, match=r"history: dimension 'member' in the reanalysis"):
        adjust(projection, make(1979, 2002, members=2))


def test_the_package_that_is_missing_is_named(projection, history, monkeypatch):
    monkeypatch.setattr("alpgm_dask.forcing.adjustment.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package xsdba; install the extra 'adjust'"):
        adjust(projection, history)


def test_units_are_still_read_after_xsdba_was_imported():
    """It sets up the registry of units that ours is, too."""
    import xsdba  # noqa: F401

    from alpgm_dask.forcing.units import convert_units

    assert "xsdba" in sys.modules
    rate = xr.DataArray(np.array([1.0, 2.0]), dims="time", attrs={"units": "mm day-1"}, name="pr")
    assert convert_units(rate, "kg m-2", "here", step_days=30.0).values.round(9).tolist() == [30.0, 60.0]
    celsius = xr.DataArray(np.array([0.0]), dims="time", attrs={"units": "degC"}, name="tas")
    assert convert_units(celsius, "K", "here").values.tolist() == [273.15]
