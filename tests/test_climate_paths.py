"""Predictors of one climate by two ways: lazily in blocks, grouped by flox, and in the year loop's kernel.

They must agree to 1e-12, under every setting, and must not depend on how anything is cut.
"""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from test_forcing import make_climate, no_compute, over_glaciers

from alpgm_dask import forcing
from alpgm_dask.forcing import Downscaling, pieces, reduction
from alpgm_dask.schema import InputError

RNG = np.random.default_rng(4)
N, N_POINTS = 7, 5
POINT = RNG.integers(0, N_POINTS, N)
HEIGHT = RNG.uniform(1900, 3500, N)
CORNERS = RNG.integers(0, N_POINTS, (N, 4))
WEIGHT = RNG.dirichlet(np.ones(4), N)
RAIN = ("winter_rainfall", "summer_rainfall")

SETTINGS = {
    "alpgm": Downscaling(),
    "parity": Downscaling(phase="alpgm-1.2"),
    "ramp": Downscaling(all_snow_below=-0.5, all_rain_above=2.0),
    "threshold": Downscaling(all_snow_below=1.0, all_rain_above=1.0, phase="alpgm-1.2"),
    "gradient": Downscaling(precipitation_gradient=1.5e-3),
    "monthly lapse": Downscaling(lapse_rate=tuple(np.linspace(3e-3, 8e-3, 12)), daily_spread=3.0),
}


def monthly_of(climate: xr.Dataset) -> xr.Dataset:
    """Months of daily climate, stamped with their first day."""
    by = climate.resample(time="MS")
    out = by.sum().assign(tas=by.mean()["tas"], elevation=climate["elevation"])
    for name in ("tas", "snowfall", "rainfall"):
        out[name].attrs = climate[name].attrs
    return out


def climate_of(step: str, **options) -> xr.Dataset:
    daily = make_climate(3, n_points=N_POINTS, **options)
    return daily if step == "daily" else monthly_of(daily)


def kernel_path(climate, point, height, how, weight=None) -> np.ndarray:
    """(year, glacier, predictor) as the year loop asks for them."""
    lazy = forcing.annual_predictors(climate, point, height, weight=weight, downscaling=how)
    reference = forcing.reference_climatology(lazy, (2001, 2003))
    block = forcing.block_forcing_climate(climate, point, reference, weight=weight, downscaling=how)
    return np.array([block.predictors(k, height) for k in range(3)])


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["nearest", "bilinear"])
@pytest.mark.parametrize("how", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("step", ["daily", "monthly"])
def test_both_paths_agree(step, how, weight):
    climate, point = climate_of(step), POINT if weight is None else CORNERS
    lazy = forcing.annual_predictors(climate, point, HEIGHT, weight=weight, downscaling=how)
    want = forcing.predictor_array(lazy).transpose("hydro_year", "glacier", "predictor").values
    got = kernel_path(climate, point, HEIGHT, how, weight)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    assert np.isfinite(got).all() and (got[..., 0] > 0).all() and (got[..., 1].max(axis=1) > 0).all()


def test_both_paths_equal_the_original(shared):
    """ALPGM's own numbers at every row: the lazy path and the kernel, in the compatibility setting, 1e-6."""
    import pandas as pd

    table = pd.read_csv(shared / "oracle/climate/glacier_year_forcing.csv")
    ds = xr.open_dataset(shared / "oracle/climate/daily_inputs.nc").load()
    climate = ds.rename(snow="snowfall", rain="rainfall", ZS="elevation")[["tas", "snowfall", "rainfall", "elevation"]]
    for name, units in {"tas": "degC", "snowfall": "kg m-2", "rainfall": "kg m-2", "elevation": "m"}.items():
        climate[name].attrs["units"] = units
    point = np.array([list(ds.orig_index.values).index(p) for p in table.point])
    months = [month.capitalize() for month in forcing.MONTHS]
    names = ["CPDD", "winter_snow", "summer_snow", *(f"T_{m}" for m in months), *(f"S_{m}" for m in months)]
    lazy = forcing.annual_predictors(climate.chunk(time=1461), point, table.alt.values, phase="alpgm-1.2")
    by_year = forcing.predictor_array(lazy).compute()
    reference = forcing.reference_climatology(lazy)
    block = forcing.block_forcing_climate(climate, point, reference)
    assert len(table) == 147
    for k, year in enumerate(block.years):
        rows = np.flatnonzero(table.year == year)
        want = table.iloc[rows][names].values
        np.testing.assert_allclose(by_year.sel(hydro_year=year)[rows], want, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(block.predictors(k, table.alt.values)[rows], want, rtol=1e-6, atol=1e-9)


# -- nothing depends on how things are cut --------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["daily", "monthly"]), st.integers(20, 900), st.integers(1, 5), st.integers(1, 400_000),
    st.sampled_from(sorted(SETTINGS)), st.booleans(),
)  # fmt: skip
def test_chunks_and_pieces_change_no_bit(step, time, point, at_once, how, corners):
    climate = climate_of(step, members=2)
    asked = {"point": CORNERS if corners else POINT, "elevation": HEIGHT, "weight": WEIGHT if corners else None}
    whole = forcing.annual_predictors(climate, **asked, downscaling=SETTINGS[how])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "MAX_STEPS", at_once // 50)
        patch.setattr(reduction, "BYTES_AT_ONCE", at_once)
        lazy = forcing.annual_predictors(climate.chunk(time=time, point=point), **asked, downscaling=SETTINGS[how])
        xr.testing.assert_identical(lazy.compute(), whole)
        mean, want = (forcing.reference_climatology(made, (2001, 2003)) for made in (lazy, whole))
        xr.testing.assert_identical(mean.compute(), want)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(N)), st.integers(1, N), st.integers(2001, 2003), st.sampled_from(sorted(SETTINGS)))
def test_glaciers_years_and_members_by_themselves_are_the_same_bits(order, n, year, how):
    climate, some = climate_of("daily", members=2), np.array(order[:n])
    asked = {"downscaling": SETTINGS[how]}
    whole = forcing.annual_predictors(climate, POINT, HEIGHT, **asked)
    apart = forcing.annual_predictors(climate, POINT[some], HEIGHT[some], **asked)
    xr.testing.assert_identical(apart, whole.isel(glacier=some))
    xr.testing.assert_identical(
        forcing.annual_predictors(climate.isel(member=1), POINT, HEIGHT, **asked), whole.isel(member=1)
    )
    from_year = forcing.annual_predictors(climate.sel(time=slice(f"{year - 1}-10-01", None)), POINT, HEIGHT, **asked)
    xr.testing.assert_identical(from_year, whole.sel(hydro_year=slice(year, None)))
    one = forcing.annual_predictors(forcing.days_of(climate, [year]), POINT, HEIGHT, **asked)
    xr.testing.assert_identical(one, whole.sel(hydro_year=[year]))


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(N)), st.integers(1, N), st.sampled_from(sorted(SETTINGS)), st.booleans())
def test_a_block_is_the_same_bits_whatever_it_holds(order, n, how, corners):
    climate, some = climate_of("daily"), np.array(order[:n])
    point, weight = (CORNERS, WEIGHT) if corners else (POINT, None)
    everyone = kernel_path(climate, point, HEIGHT, SETTINGS[how], weight)
    alone = kernel_path(climate, point[some], HEIGHT[some], SETTINGS[how], None if weight is None else weight[some])
    np.testing.assert_array_equal(alone, everyone[:, some])


# -- properties -----------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.floats(-1000, 1000), st.sampled_from(["ramp", "alpgm", "monthly lapse"]))
def test_mass_is_conserved_but_for_alpgm(seed, shift, how):
    climate = make_climate(1, n_points=N_POINTS, seed=seed)
    made = forcing.annual_predictors(climate, POINT, HEIGHT + shift, downscaling=SETTINGS[how])
    seasons = [made[f"{season}_{kind}fall"] for season in ("winter", "summer") for kind in ("snow", "rain")]
    given_ = (climate.snowfall + climate.rainfall).isel(point=POINT).sum("time")
    np.testing.assert_allclose(sum(seasons)[:, 0], given_, rtol=1e-12)
    dropped = forcing.annual_predictors(climate, POINT, HEIGHT + shift, phase="alpgm-1.2", downscaling=SETTINGS[how])
    assert all((dropped[name] <= made[name]).all() for name in RAIN)
    xr.testing.assert_identical(dropped.drop_vars(RAIN), made.drop_vars(RAIN))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.sampled_from(["daily", "monthly"]), st.sampled_from(["alpgm", "ramp"]))
def test_a_thousand_metres_are_six_kelvin_on_both_paths(seed, step, how):
    climate = climate_of(step, seed=seed)
    colder = climate.assign(tas=(climate["tas"] - 6.0).assign_attrs(units="K"))
    higher = kernel_path(climate, POINT, HEIGHT + 1000.0, SETTINGS[how])
    np.testing.assert_allclose(higher, kernel_path(colder, POINT, HEIGHT, SETTINGS[how]), rtol=1e-9, atol=1e-9)


def test_precipitation_grows_with_elevation_and_never_falls_below_none():
    """5 per cent in 100 m, of what is given at the point; 2,100 m below it nothing is left."""
    climate = make_climate(1, n_points=1)
    steeper = Downscaling(precipitation_gradient=5e-4)
    rising = forcing.annual_predictors(climate, [0, 0, 0], np.array([2100.0, 2200.0, 0.0]), downscaling=steeper)
    flat = forcing.annual_predictors(climate, [0, 0, 0], np.array([2100.0, 2200.0, 0.0]))
    ratio = rising.snowfall_monthly.sum("month") / flat.snowfall_monthly.sum("month")
    np.testing.assert_allclose(ratio[:2, 0], [1.0, 1.05], rtol=1e-12)
    assert (rising.winter_rainfall + rising.summer_rainfall)[2, 0] == 0.0
    xr.testing.assert_identical(rising[["cpdd", "tas_monthly"]], flat[["cpdd", "tas_monthly"]])


def test_each_month_has_its_own_lapse_rate():
    climate = make_climate(1, n_points=1)
    rates = np.linspace(4e-3, 9e-3, 12)
    low, high = forcing.annual_predictors(
        climate, [0, 0], np.array([2100.0, 3100.0]), downscaling=Downscaling(lapse_rate=tuple(rates))
    ).tas_monthly.values[:, 0]
    np.testing.assert_allclose(low - high, 1000 * rates, rtol=1e-9)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["nearest", "bilinear"])
def test_precipitation_without_phases_is_rain_where_it_is_given(weight):
    climate, point = make_climate(3, n_points=N_POINTS), POINT if weight is None else CORNERS
    total = (climate["snowfall"] + climate["rainfall"]).assign_attrs(units="kg m-2")
    alone = climate.drop_vars(["snowfall", "rainfall"]).assign(pr=total)
    as_rain = climate.assign(snowfall=climate["snowfall"] * 0, rainfall=total)
    as_rain["snowfall"].attrs["units"] = "kg m-2"
    want = forcing.annual_predictors(as_rain, point, HEIGHT, weight=weight)
    xr.testing.assert_identical(forcing.annual_predictors(alone, point, HEIGHT, weight=weight), want)
    lazy = forcing.annual_predictors(alone.chunk(time=100), point, HEIGHT, weight=weight)
    xr.testing.assert_identical(lazy.compute(), want)
    asked = point, HEIGHT, Downscaling(), weight
    np.testing.assert_array_equal(kernel_path(alone, *asked), kernel_path(as_rain, *asked))


def test_corners_of_one_point_are_that_point():
    climate, corners = climate_of("daily"), np.repeat(POINT[:, None], 4, axis=1)
    nearest = forcing.annual_predictors(climate, POINT, HEIGHT)
    xr.testing.assert_allclose(forcing.annual_predictors(climate, corners, HEIGHT, weight=WEIGHT), nearest, rtol=1e-9)
    half = forcing.annual_predictors(climate, [[0, 1]], [2250.0], weight=[[0.5, 0.5]])
    mean = climate.isel(point=[0]).copy()
    for name in ("tas", "snowfall", "rainfall", "elevation"):
        mean[name] = (
            climate[name].isel(point=[0, 1]).mean("point").expand_dims("point", -1).assign_attrs(climate[name].attrs)
        )
    xr.testing.assert_allclose(half, forcing.annual_predictors(mean, [0], [2250.0]), rtol=1e-9)


# -- laziness -------------------------------------------------------------------------------------------------


def test_a_store_without_chunks_is_read_in_tasks(tmp_path, monkeypatch):
    climate = climate_of("daily", members=2).astype("float32", keep_attrs=True)
    encoding = {name: {"chunks": (1, 365, 2)} for name in ("tas", "snowfall", "rainfall")}
    climate.to_zarr(tmp_path / "c.zarr", zarr_format=3, consolidated=False, encoding=encoding)
    opened = xr.open_dataset(tmp_path / "c.zarr", engine="zarr", chunks=None, cache=False, consolidated=False)
    monkeypatch.setattr(xr.backends.zarr.ZarrArrayWrapper, "_oindex", lambda *_: pytest.fail("values were read"))
    monkeypatch.setattr(pieces, "MAX_STEPS", 400 * N)
    lazy = forcing.annual_predictors(opened, POINT, HEIGHT)
    monkeypatch.undo()
    assert lazy["cpdd"].chunks == ((1, 1), (N,), (1, 1, 1))
    xr.testing.assert_identical(lazy.compute(), forcing.annual_predictors(climate, POINT, HEIGHT))
    with dask.config.set(scheduler=no_compute):
        direct = forcing.annual_predictors(opened, POINT, HEIGHT)
    xr.testing.assert_identical(direct.compute(), lazy.compute())


def test_lazy_elevations_stay_lazy_also_by_year():
    climate = climate_of("daily")
    yearly = xr.DataArray(
        HEIGHT[:, None] + [0.0, 30.0, -30.0], dims=("glacier", "hydro_year"), coords={"hydro_year": [2001, 2002, 2003]}
    )
    for height in (over_glaciers(HEIGHT), yearly):
        eager = forcing.annual_predictors(climate, POINT, height)
        with dask.config.set(scheduler=no_compute):
            lazy = forcing.annual_predictors(climate, POINT, height.chunk(glacier=2))
            both = forcing.annual_predictors(climate.chunk(time=200, point=1), POINT, height.chunk(glacier=2))
        xr.testing.assert_identical(lazy.compute(), eager)
        xr.testing.assert_identical(both.compute(), eager)
    at_2002 = forcing.annual_predictors(climate, POINT, HEIGHT + 30.0).sel(hydro_year=[2002])
    np.testing.assert_array_equal(eager["cpdd"].sel(hydro_year=[2002]), at_2002["cpdd"])


def test_the_graph_is_small():
    """One task for each member; with 10,000 glaciers, one for every two of its eight years."""
    climate = make_climate(8, n_points=3, members=4).chunk(time=-1, point=1, member=1)
    for n, pieces_ in ((40, 1), (10_000, 4)):
        lazy = forcing.annual_predictors(climate, np.zeros(n, dtype=int), np.full(n, 2500.0))
        layer = next(v for k, v in lazy["cpdd"].__dask_graph__().layers.items() if k.startswith("predictors"))
        assert len(layer) == 4 * pieces_ and len(lazy["cpdd"].__dask_graph__()) < 300


# -- anomalies, refusals --------------------------------------------------------------------------------------


def test_anomalies_say_what_they_are_relative_to():
    climate = climate_of("daily", members=2)
    made = forcing.annual_predictors(climate.chunk(time=365), POINT, HEIGHT)
    reference = forcing.reference_climatology(made.isel(member=0), (2001, 2002))
    with dask.config.set(scheduler=no_compute):
        found = forcing.anomalies(made, reference)
    assert list(found) == [f"{name}_anomaly" for name in reference.data_vars]
    assert found["cpdd_anomaly"].attrs["reference_period"] == "2001-2002"
    assert found["tas_monthly_anomaly"].attrs["units"] == "K"
    assert found["tas_monthly_anomaly"].dims == ("member", "glacier", "hydro_year", "month")
    mean = found.isel(member=0, hydro_year=slice(0, 2)).mean("hydro_year").compute()
    assert all(np.abs(values).max() < 1e-9 for values in mean.values())
    with pytest.raises(InputError, match="have 3 glaciers, their climatology 7"):
        forcing.anomalies(made.isel(glacier=slice(3)), reference)


def test_days_and_months_are_not_spliced():
    daily, monthly = climate_of("daily"), monthly_of(make_climate(5, n_points=N_POINTS))
    reference = forcing.reference_climatology(forcing.annual_predictors(daily, POINT, HEIGHT), (2001, 2003))
    with pytest.raises(InputError, match="part 2: its steps are monthly, those before daily"):
        forcing.block_forcing_spliced([daily, monthly], POINT, reference, range(2002, 2006))
    both = forcing.block_forcing_spliced([monthly_of(daily), monthly], POINT, reference, range(2002, 2006))
    np.testing.assert_array_equal(
        both.predictors(3, HEIGHT), forcing.block_forcing_climate(monthly, POINT, reference).predictors(4, HEIGHT)
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lapse_rate": 6.0}, r"lapse_rate is 6.0 K m-1; allowed: -0.01 to 0.02 K m-1"),
        ({"lapse_rate": [0.006] * 11}, "lapse_rate has 11 values; allowed: 1, or 12 with October first"),
        ({"lapse_rate": [0.006] * 11 + [float("nan")]}, "lapse_rate is nan"),
        ({"precipitation_gradient": 5.0}, "precipitation_gradient is 5.0 m-1; allowed: -0.01 to 0.01"),
        ({"all_snow_below": 0.0}, "all_rain_above is None; allowed: both, or neither"),
        ({"all_snow_below": 2.0, "all_rain_above": 0.0}, "all_snow_below is 2.0 degC; allowed: not above"),
        ({"all_snow_below": 273.0, "all_rain_above": 275.0}, "all_snow_below is 273.0 degC; allowed: -20 to 20"),
        ({"daily_spread": 0.0}, "daily_spread is 0.0 K; allowed: 0.1 to 15"),
        ({"phase": "sleet"}, r"phase 'sleet' is not known; allowed: conserving, alpgm-1\.2"),
    ],
)
def test_settings_without_sense_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Downscaling(**given)


def test_weights_without_sense_are_refused():
    climate = climate_of("daily")
    with pytest.raises(InputError, match=r"weight of glacier 1 is \[0.5, 0.6\]; allowed: 0 to 1, 1 in sum"):
        forcing.annual_predictors(climate, [[0, 1], [0, 1]], [2500.0] * 2, weight=[[0.5, 0.5], [0.5, 0.6]])
    with pytest.raises(InputError, match=r"point has dimensions \('glacier', 'corner'\)"):
        forcing.annual_predictors(climate, CORNERS, HEIGHT)
    with pytest.raises(InputError, match="point 9 of glacier 0 does not exist"):
        forcing.annual_predictors(climate, [[9, 0]], [2500.0], weight=[[0.5, 0.5]])
