"""Climate at glaciers: oracle parity, laziness, calendars, sensitivities, matching."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask import forcing
from alpgm_dask.constants import LAPSE_RATE
from alpgm_dask.schema import InputError

#: Hydrological year at which ALPGM places each inventory when it interpolates: 1967, 1985 twice, 2003 twice, 2015.
ALPGM_KNOTS = {1959: 1967, 1983: 1985, 1984: 1985, 2002: 2003, 2003: 2003, 2015: 2015}


def no_compute(dsk, keys, **kwargs):
    raise AssertionError("something was computed while a graph was built")


def chunked(ds, **chunks):
    """Lazy, except what says which glacier is which and how high it lies: that may be loaded."""
    out = ds.chunk(chunks)
    return out.assign({n: ds[n] for n in ds.variables if n in ("rgi_id", "massif", "reference_elevation")})


def make_climate(n_years=2, n_points=3, seed=0, start="2000-10-01", calendar="standard", members=0):
    time = xr.date_range(start, periods=n_years * 366 + 3, calendar=calendar, use_cftime=calendar != "standard")
    year = xr.DataArray(time, dims="time").dt.year + (xr.DataArray(time, dims="time").dt.month >= 10)
    time = time[(year < int(start[:4]) + 1 + n_years).values]
    rng = np.random.default_rng(seed)
    shape = ((members,) if members else ()) + (len(time), n_points)
    dims = (("member",) if members else ()) + ("time", "point")
    season = -2 - 9 * np.cos(2 * np.pi * (np.arange(len(time)) / 365.25 + 0.25))
    tas = 273.15 + season[:, None] + rng.normal(0, 4, shape)
    wet = {name: (dims, rng.gamma(0.4, 9, shape), {"units": "kg m-2"}) for name in ("snowfall", "rainfall")}
    heights = ("point", 2100.0 + 300 * np.arange(n_points), {"units": "m"})
    return xr.Dataset({"tas": (dims, tas, {"units": "K"}), **wet, "elevation": heights}, coords={"time": time})


def over_glaciers(values):
    return xr.DataArray(np.asarray(values), dims="glacier")


POINT, ELEVATION = over_glaciers([0, 2, 1, 2]), over_glaciers([2000.0, 2900.0, 2400.0, 2500.0])


# -- against the original -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oracle(shared):
    table = pd.read_csv(shared / "oracle/climate/glacier_year_forcing.csv")
    ds = xr.open_dataset(shared / "oracle/climate/daily_inputs.nc").load()
    climate = ds.rename(snow="snowfall", rain="rainfall", ZS="elevation").drop_vars(["massif", "aspect", "orig_index"])
    for name, units in {"tas": "degC", "snowfall": "kg m-2", "rainfall": "kg m-2", "elevation": "m"}.items():
        climate[name].attrs["units"] = units
    table["position"] = [list(ds.orig_index.values).index(p) for p in table.point]
    return climate, table


def test_predictors_equal_the_original(oracle):
    climate, table = oracle
    rows = table.drop_duplicates(["rgi", "alt"]).reset_index(drop=True)
    got = forcing.annual_predictors(
        climate, over_glaciers(rows.position), over_glaciers(rows.alt), phase="alpgm-1.2"
    ).assign_coords(key=("glacier", [f"{r.rgi}/{r.alt}" for r in rows.itertuples()]))
    got = got.set_index(glacier="key")
    months = [m.capitalize() for m in forcing.MONTHS]
    for row in table.to_dict("records"):
        year = got.sel(glacier=f"{row['rgi']}/{row['alt']}", hydro_year=row["year"])
        want = [row["CPDD"], row["winter_snow"], row["summer_snow"]]
        want += [row[f"T_{m}"] for m in months] + [row[f"S_{m}"] for m in months]
        np.testing.assert_allclose(forcing.predictor_array(year), want, rtol=1e-6, atol=1e-9)
        for season in ("winter", "summer"):
            np.testing.assert_allclose(year[f"{season}_rainfall"], row[f"adamont_{season}_rain"], rtol=1e-6, atol=1e-9)
    assert len(table) == 147


def test_references_and_anomalies_equal_the_original(oracle, shared):
    # the original's references are means over 1967-2015 with each year at that year's inventory elevation
    climate, table = oracle
    inventory = {
        year: pd.read_csv(shared / f"data/alpgm/glacier_data/GLIMS/GLIMS_{year}.csv", sep=";", encoding="latin-1")
        .drop_duplicates("GLIMS_ID")
        .set_index("GLIMS_ID")["MEAN_Pixel"]
        for year in (1967, 1985, 2003, 2015)
    }
    first = table.drop_duplicates("rgi")
    years = np.arange(1959, 2016)
    maps = np.array([[inventory[year][glims] for year in ALPGM_KNOTS.values()] for glims in first.glims])
    elevation = np.array([np.interp(years, list(ALPGM_KNOTS), row) for row in maps])
    elevation = xr.DataArray(elevation, dims=("glacier", "hydro_year"), coords={"hydro_year": years})
    predictors = forcing.annual_predictors(climate, over_glaciers(first.position), elevation, phase="alpgm-1.2")
    reference = forcing.predictor_array(forcing.reference_climatology(predictors))
    for i, (_, rows) in enumerate(table.groupby(table.rgi.astype("category").cat.set_categories(first.rgi))):
        row = rows.iloc[0]
        raw = np.array([row[f"T_{m.capitalize()}"] for m in forcing.MONTHS])
        raw = np.append(raw, [row[f"S_{m.capitalize()}"] for m in forcing.MONTHS])
        anomaly = np.array([row[f"{kind}{m}"] for kind in ("Ta", "Sa") for m in range(1, 13)])
        want = np.concatenate([[row["ref_CPDD"], row["ref_w"], row["ref_s"]], raw - anomaly])
        np.testing.assert_allclose(reference[i], want, rtol=1e-6, atol=1e-8)


# -- the lazy path ------------------------------------------------------------------------------------------


def test_nothing_is_computed_until_asked_and_lazy_equals_eager():
    climate = make_climate(members=2)
    with dask.config.set(scheduler=no_compute):
        lazy = forcing.annual_predictors(climate.chunk(time=100, point=2, member=1), POINT, ELEVATION)
        reference = forcing.reference_climatology(lazy, (2001, 2002))
        array = forcing.predictor_array(lazy)
    assert lazy["cpdd"].chunks is not None and reference["cpdd"].chunks is not None and array.chunks is not None
    eager = forcing.annual_predictors(climate, POINT, ELEVATION)
    assert eager["tas_monthly"].dims == ("member", "glacier", "hydro_year", "month")
    xr.testing.assert_allclose(lazy.compute(), eager, rtol=1e-11)
    one = forcing.annual_predictors(climate.isel(member=1), POINT, ELEVATION)
    xr.testing.assert_allclose(one, eager.isel(member=1), rtol=1e-11)


@settings(max_examples=10, deadline=None)
@given(st.integers(30, 800), st.integers(1, 3), st.integers(1, 3))
def test_chunks_and_neighbours_change_nothing(time, point, cut):
    climate = make_climate()
    whole = forcing.annual_predictors(climate, POINT, ELEVATION)
    lazy = climate.chunk(time=time, point=point)
    parts = [forcing.annual_predictors(lazy, POINT[s], ELEVATION[s]) for s in (slice(0, cut), slice(cut, None))]
    xr.testing.assert_allclose(xr.concat(parts, "glacier").compute(), whole, rtol=1e-11)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.floats(-2000, 2000))
def test_precipitation_is_conserved_and_dropped_only_on_request(seed, shift):
    climate = make_climate(1, seed=seed)
    conserving = forcing.annual_predictors(climate, POINT, ELEVATION + shift)
    total = (climate.snowfall + climate.rainfall).isel(point=POINT).sum("time").values
    got = sum(conserving[f"{season}_{kind}fall"] for season in ("winter", "summer") for kind in ("snow", "rain"))
    np.testing.assert_allclose(got.squeeze("hydro_year"), total, rtol=1e-12)
    dropping = forcing.annual_predictors(climate, POINT, ELEVATION + shift, phase="alpgm-1.2")
    rain = ["winter_rainfall", "summer_rainfall"]
    assert all((dropping[name] <= conserving[name]).all() for name in rain)
    xr.testing.assert_equal(dropping.drop_vars(rain), conserving.drop_vars(rain))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_a_thousand_metres_are_six_kelvin(seed):
    climate = make_climate(1, seed=seed)
    higher = forcing.annual_predictors(climate, POINT, ELEVATION + 1000.0)
    climate["tas"] = (climate["tas"] - 6.0).assign_attrs(units="K")
    colder = forcing.annual_predictors(climate, POINT, ELEVATION)
    xr.testing.assert_allclose(higher.drop_vars("reference_elevation"), colder.drop_vars("reference_elevation"))


@pytest.mark.parametrize(("calendar", "length"), [("standard", 731), ("noleap", 730), ("360_day", 720)])
def test_calendars(calendar, length):
    climate = make_climate(start="2003-10-01", calendar=calendar)
    assert climate.sizes["time"] == length
    climate["tas"] = xr.full_like(climate["tas"], 274.15)
    climate["tas"].attrs["units"] = "K"
    got = forcing.annual_predictors(climate, over_glaciers([0]), over_glaciers([2100.0]))
    assert got.hydro_year.values.tolist() == [2004, 2005]
    leap = {"standard": 366, "noleap": 365, "360_day": 360}[calendar]
    np.testing.assert_allclose(got.cpdd[0], [leap, length - leap])


def test_only_complete_years_and_units_in_degc():
    climate = make_climate(3)
    whole = forcing.annual_predictors(climate, POINT, ELEVATION)
    cut = climate.isel(time=slice(1, -1))
    cut["tas"] = (cut["tas"] - 273.15).assign_attrs(units="degC")
    got = forcing.annual_predictors(cut, POINT, ELEVATION)
    assert got.hydro_year.values.tolist() == [2002]
    xr.testing.assert_allclose(got, whole.sel(hydro_year=[2002]))


def spoilt(name, **change):
    climate = make_climate(1)
    if name == "gap":
        return climate.isel(time=np.delete(np.arange(365), 100))
    if name == "duplicate":
        return climate.isel(time=np.insert(np.arange(365), 100, 100))
    if name == "short":
        return climate.isel(time=slice(0, 364))
    if name == "units":
        climate["tas"].attrs["units"] = "F"
    return climate.drop_vars(name) if name in climate else climate


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("gap", "2001-01-10.*follows 2001-01-08"),
        ("duplicate", "2001-01-09.*follows 2001-01-09"),
        ("short", "2000-10-01.*2001-09-29"),
        ("units", "'tas' has units 'F', allowed: K, degC"),
        ("tas", "'tas' is missing"),
        ("rainfall", "'rainfall' is missing; allowed: pr, or snowfall and rainfall"),
        ("elevation", "'elevation' is missing"),
    ],
)
def test_bad_climate_is_refused(fault, message):
    with pytest.raises(InputError, match=f"^clim.nc: .*{message}"):
        forcing.annual_predictors(spoilt(fault), POINT, ELEVATION, where="clim.nc")


def test_bad_arguments_are_refused():
    climate = make_climate(1)
    with pytest.raises(InputError, match=r"point 3 of glacier 1 does not exist; allowed: 0\.\.2"):
        forcing.annual_predictors(climate, over_glaciers([0, 3]), over_glaciers([2000.0, 2000.0]))
    with pytest.raises(InputError, match=r"'sleet' is not known; allowed: conserving, alpgm-1\.2"):
        forcing.annual_predictors(climate, POINT, ELEVATION, phase="sleet")
    with pytest.raises(InputError, match="1967 to 2015 are asked for; it covers 2001 to 2001"):
        forcing.reference_climatology(forcing.annual_predictors(climate, POINT, ELEVATION))
    with pytest.raises(InputError, match="no value for hydrological year 2001"):
        yearly = ELEVATION.expand_dims(hydro_year=[2002], axis=1)
        forcing.annual_predictors(climate, POINT, yearly)


# -- inside the year loop -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "calendar"), [("float32", "standard"), ("float64", "noleap")])
def test_daily_forcing_equals_the_lazy_path(dtype, calendar):
    climate = make_climate(3, n_points=5, calendar=calendar)
    for name in ("tas", "snowfall", "rainfall"):
        climate[name] = climate[name].astype(dtype, keep_attrs=True)
    point = over_glaciers([4, 2, 2])
    height = over_glaciers([2500.0, 2600.0, 3100.0])
    predictors = forcing.annual_predictors(climate, point, height)
    reference = forcing.reference_climatology(predictors, (2001, 2003))
    block = pickle.loads(
        pickle.dumps(forcing.block_forcing_climate(climate.chunk(), point, reference, years=[2002, 2003]))
    )
    assert block.years.tolist() == [2002, 2003] and block.tas.shape[0] == 2 and block.tas.dtype == dtype
    for k, year in enumerate(block.years):
        want = forcing.predictor_array(predictors.sel(hydro_year=year)).values
        np.testing.assert_allclose(block.predictors(k, height.values), want, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(block.reference, forcing.predictor_array(reference).values)
    seasonal = reference[["cpdd", "winter_snowfall", "summer_snowfall"]]
    assert forcing.block_forcing_climate(climate, point, seasonal).predictors(0, height.values).shape == (3, 3)
    with pytest.raises(InputError, match="2002 to 2004 are asked for; it covers 2001 to 2003"):
        forcing.block_forcing_climate(climate, point, reference, years=[2002, 2003, 2004])


def made_predictors(n=40, years=3, cpdd=-0.8, winter=0.3, summer=0.5, noise=0.0, monthly=False, seed=0):
    """Predictors with a known gradient; massif means differ, so that only slopes within a massif are right."""
    rng = np.random.default_rng(seed)
    massif = np.array(["A", "B"])[np.arange(n) % 2]
    height = rng.uniform(2400, 3400, n) + 300 * (massif == "B")
    base = np.where(massif == "B", 900.0, 400.0)[:, None] + 10.0 * np.arange(years)
    slopes = {"cpdd": cpdd, "winter_snowfall": winter, "summer_snowfall": summer}
    dims = ("glacier", "hydro_year")
    data = {
        k: (dims, base + s * (height[:, None] - 2900) + rng.normal(0, noise + 1e-12, (n, years)))
        for k, s in slopes.items()
    }
    ds = xr.Dataset(data, coords={"hydro_year": 2000 + np.arange(years), "massif": ("glacier", massif)})
    if monthly:
        ds["tas_monthly"] = (ds.cpdd * 0 - 5.0).expand_dims(month=np.arange(1, 13), axis=-1)
        ds["snowfall_monthly"] = (ds.winter_snowfall / 6).expand_dims(month=np.arange(1, 13), axis=-1)
    ds["reference_elevation"] = ("glacier", height)
    return ds


def test_sensitivity_finds_a_known_gradient_lazily():
    ds = made_predictors(monthly=True)
    with dask.config.set(scheduler=no_compute):
        lazy = forcing.elevation_sensitivity(chunked(ds, glacier=7, hydro_year=2))
    assert lazy["cpdd"].chunks is not None and lazy["cpdd"].dims == ("glacier", "hydro_year")
    got = lazy.compute()
    for name, slope in {"cpdd": -0.8, "winter_snowfall": 0.3, "summer_snowfall": 0.5}.items():
        np.testing.assert_allclose(got[name], slope, atol=1e-9)
    np.testing.assert_allclose(got["snowfall_monthly"], 0.05, atol=1e-9)
    assert (got["tas_monthly"] == -0.006).all() and got["tas_monthly"].attrs["units"] == "K m-1"


def test_sensitivity_stands_up_to_wrong_rows_and_keeps_its_bounds():
    ds = made_predictors(noise=5.0)
    ds["cpdd"][:8] = 5000.0
    np.testing.assert_allclose(forcing.elevation_sensitivity(ds).cpdd, -0.8, atol=0.06)
    wild = forcing.elevation_sensitivity(made_predictors(cpdd=0.4, winter=-0.2, summer=9.0))
    assert (wild.cpdd == 0).all() and (wild.winter_snowfall == 0).all() and (wild.summer_snowfall == 1.5).all()
    assert (forcing.elevation_sensitivity(made_predictors(cpdd=-9.0)).cpdd == -0.006 * 366).all()


def test_a_small_massif_takes_the_pooled_slope_and_none_is_refused():
    ds = made_predictors()
    ds["massif"] = ("glacier", np.where(np.arange(40) < 3, "tiny", ds.massif.values))
    ds["cpdd"][:3] = 1.0
    np.testing.assert_allclose(forcing.elevation_sensitivity(ds).cpdd, -0.8, atol=1e-6)
    with pytest.raises(InputError, match="run without it"):
        forcing.elevation_sensitivity(ds.isel(glacier=[0]))
    with pytest.raises(InputError, match="'reference_elevation' is missing"):
        forcing.elevation_sensitivity(ds.drop_vars("reference_elevation"))


@pytest.mark.parametrize("case", ["safran", "adamont"])
def test_sensitivity_of_the_real_predictors(shared, case):
    name, inventory = {
        "safran": ("safran_seasonal_1959_2015", "GLIMS_2003"),
        "adamont": ("adamont_seasonal_2007_2099", "GLIMS_2015_massif"),
    }[case]
    ds = xr.open_dataset(shared / f"data/safran_glaciers/{name}.nc")
    table = pd.read_csv(shared / f"data/alpgm/glacier_data/GLIMS/{inventory}.csv", sep=";", encoding="latin-1")
    table = table.drop_duplicates(["GLIMS_ID", "Glacier"]).set_index(["GLIMS_ID", "Glacier"])
    keys = pd.MultiIndex.from_arrays([ds.glims_id.values, ds.name.values])
    table = table.reindex(keys)
    linked = np.flatnonzero(table.MEAN_Pixel.notna().values)
    ds = ds.isel(glacier=linked).drop_vars(["glims_id", "name"])
    ds["reference_elevation"] = ("glacier", table.MEAN_Pixel.values[linked])
    ds["massif"] = ("glacier", table.Massif_SAFRAN.values[linked].astype(int).astype(str))
    got = forcing.elevation_sensitivity(ds)
    low, high = {"safran": (-0.75, -0.55), "adamont": (-0.95, -0.75)}[case]
    assert low < float(got.cpdd.median()) < high
    assert 0.1 < float(got.winter_snowfall.median()) < 0.3 and 0.2 < float(got.summer_snowfall.median()) < 0.45
    assert float((got.cpdd <= -0.006 * 366).mean()) == 0.0


def placed_predictors(**options):
    """As :func:`made_predictors`, at places with identifiers."""
    ds = made_predictors(**options)
    n = ds.sizes["glacier"]
    ids = np.array([f"g{i}" for i in range(n)], dtype=object)
    ds["mean_elevation"] = ds["reference_elevation"] + 70.0  # of another elevation model
    return ds.assign_coords(
        rgi_id=("glacier", ids), lon=("glacier", np.full(n, 6.0)), lat=("glacier", np.full(n, 45.0))
    )


def test_predictor_forcing_moves_predictors_to_the_current_elevation():
    ds = placed_predictors(monthly=True)
    row = [3, 17, 4]
    glaciers = ds.isel(glacier=row)
    start = glaciers.reference_elevation.values
    aligned = forcing.align_predictors(glaciers, ds, years=[2001, 2002], reference_period=(2000, 2002))
    block = pickle.loads(pickle.dumps(forcing.block_forcing_predictors(aligned, start - 70)))
    want = forcing.predictor_array(ds).transpose("hydro_year", "glacier", "predictor").values[1:, row]
    np.testing.assert_allclose(block.predictors(0, start - 70), want[0])
    shifted = block.predictors(1, start - 70 + 100) - want[1]
    np.testing.assert_allclose(shifted[:, 0], np.maximum(-80.0, -want[1][:, 0]), atol=1e-6)
    np.testing.assert_allclose(shifted[:, [1, 2, 3, 15]], [[30.0, 50.0, -0.6, 5.0]] * 3, atol=1e-6)
    assert block.predictors(0, start + 5000)[:, 0].max() == 0.0
    climatology = forcing.predictor_array(forcing.reference_climatology(ds, (2000, 2002)))
    np.testing.assert_array_equal(block.reference, climatology.values[row])


def test_a_neighbours_row_is_moved_to_the_glacier_and_so_is_its_climatology():
    ds = placed_predictors()
    glacier = ds.isel(glacier=[3]).assign_coords(rgi_id=("glacier", np.array(["new"], dtype=object)))
    glacier["mean_elevation"] = ds.reference_elevation[[3]] + 100.0
    period = {"years": [2001, 2002], "reference_period": (2000, 2002)}
    own = forcing.align_predictors(ds.isel(glacier=[3]), ds, **period)
    neighbour = forcing.match_predictors(glacier, ds).row.values
    rise = 100.0 + ds.reference_elevation.values[3] - ds.reference_elevation.values[neighbour[0]]
    taken = forcing.align_predictors(glacier, ds, **period)
    source = forcing.align_predictors(ds.isel(glacier=neighbour), ds, **period)
    np.testing.assert_allclose(taken.predictors[..., 0], source.predictors[..., 0] - 0.8 * rise, atol=1e-6)
    np.testing.assert_allclose(taken.predictors - taken.reference, source.predictors - source.reference, atol=1e-6)
    assert own.forcing_distance == 0.0


def test_aligned_predictors_are_at_one_elevation_whatever_they_were_made_for():
    """The same climate, valid at elevations that change by year: moved to that of the year before the run."""
    ds = placed_predictors()
    rise = 10.0 * xr.DataArray([0, 1, 2], dims="hydro_year", coords={"hydro_year": ds.hydro_year})
    yearly = ds.assign(reference_elevation=(ds.reference_elevation + rise).transpose("glacier", "hydro_year"))
    yearly["cpdd"] = ds.cpdd - 0.8 * rise
    aligned = forcing.align_predictors(ds, yearly, years=[2001, 2002], reference_period=(2000, 2002))
    np.testing.assert_array_equal(aligned.start_elevation, ds.reference_elevation)
    np.testing.assert_allclose(aligned.predictors[..., 0].T, ds.cpdd[:, 1:], atol=1e-6)


def test_projection_follows_history_at_the_history_elevation():
    past, future = placed_predictors(), placed_predictors()
    future = future.assign_coords(hydro_year=future.hydro_year + 2)
    future["cpdd"] = future.cpdd - 0.8 * 50.0 + 100.0
    future["reference_elevation"] = future.reference_elevation + 50.0
    future = xr.concat([future, future], "member").assign_coords(member=["a", "b"])
    future["reference_elevation"] = future.reference_elevation.isel(member=0)
    future["massif"] = past.massif
    aligned = forcing.align_predictors(past, past, future, years=range(2000, 2005), reference_period=(2000, 2002))
    assert aligned.predictors.dims == ("member", "hydro_year", "glacier", "predictor")
    np.testing.assert_allclose(aligned.predictors[1, :3, :, 0].T, past.cpdd, atol=1e-6)
    np.testing.assert_allclose(aligned.predictors[0, 3:, :, 0].T, past.cpdd[:, 1:] + 100.0, atol=1e-6)
    with pytest.raises(InputError, match="2000 to 2005 are asked for; it covers 2000 to 2004"):
        forcing.align_predictors(past, past, future, years=range(2000, 2006), reference_period=(2000, 2002))


# -- matching -----------------------------------------------------------------------------------------------


def places(dim, lon, lat, **other):
    data = {"lon": (dim, np.asarray(lon, float)), "lat": (dim, np.asarray(lat, float))}
    return xr.Dataset({**data, **{k: (dim, np.asarray(v)) for k, v in other.items()}})


def test_nearest_point_takes_massif_then_elevation_then_aspect():
    climate = places(
        "point", [6, 6, 6, 7], [45, 45, 45, 45], massif=["A", "A", "A", "B"],
        elevation=[2400.0, 2700.0, 2700.0, 2700.0], aspect=[0.0, 90.0, 270.0, 0.0],
    )  # fmt: skip
    glaciers = places(
        "glacier", [6.99, 6.1, 6.1, 6.9], [45] * 4, massif=["A", "A", "A", ""],
        mean_elevation=[2600.0, 2500.0, 2650.0, 2400.0], aspect=[350.0, 0.0, 80.0, 0.0],
    )  # fmt: skip
    got = forcing.nearest_points(glaciers, climate, 100e3)
    assert got.point.values.tolist() == [2, 0, 1, 3]
    np.testing.assert_allclose(got.forcing_distance[3], 0.1 * 111195 * np.cos(np.radians(45)), rtol=1e-3)


def test_far_glaciers_are_refused_by_name():
    climate = places("point", [6.0], [45.0])
    glaciers = places("glacier", [6.0, 6.0, 8.0], [45.0, 46.0, 45.0], rgi_id=["a", "b", "c"])
    with pytest.raises(InputError, match=r"max_distance = 50 km of glacier b \(111.2 km\), c \(157.2 km\)"):
        forcing.nearest_points(glaciers, climate, 50e3)


def test_match_predictors_takes_its_own_row_or_a_neighbour_of_the_massif():
    rows = places("glacier", [6, 6.2, 6.01], [45] * 3, rgi_id=["x", "y", "z"], massif=["A", "A", "B"])
    glaciers = places("glacier", [6.2, 6.0, 6.02], [45] * 3, rgi_id=["y", "new", "z"], massif=["A", "A", "B"])
    got = forcing.match_predictors(glaciers, rows)
    assert got.row.values.tolist() == [1, 0, 2] and got.forcing_distance.values.tolist() == [0.0, 0.0, 0.0]
    lonely = places("glacier", [6.01], [45], rgi_id=["new"], massif=["C"])
    assert forcing.match_predictors(lonely, rows).row.values.tolist() == [2]
    far = places("glacier", [6.6], [45], rgi_id=["new"], massif=["B"])
    assert forcing.match_predictors(far, rows, 40e3).row.values.tolist() == [1]
    with pytest.raises(InputError, match=r"glacier new \(31.5 km\)"):
        forcing.match_predictors(far, rows)
    nameless = places("glacier", [6.009], [45], rgi_id=["new"], massif=[""])
    assert forcing.match_predictors(nameless, rows).row.values.tolist() == [2]
    with pytest.raises(InputError, match="'y' twice"):
        forcing.match_predictors(glaciers, rows.isel(glacier=[0, 1, 1]))


def test_parts_of_other_calendars_follow_one_another():
    """Three years of the standard calendar, then two of noleap: the years of each are its own."""
    past = make_climate(n_years=3, seed=1)
    future = make_climate(n_years=5, start="2001-10-01", calendar="noleap", seed=2)
    point, height = xr.DataArray([0, 2], dims="glacier"), np.array([2600.0, 2900.0])
    reference = forcing.reference_climatology(
        forcing.annual_predictors(past, point, xr.DataArray(height, dims="glacier")), (2001, 2003)
    )
    whole = forcing.block_forcing_spliced([past, future], point, reference, range(2002, 2006))
    first = forcing.block_forcing_climate(past, point, reference, years=[2002, 2003])
    second = forcing.block_forcing_climate(future, point, reference, years=[2004, 2005])
    assert whole.years.tolist() == [2002, 2003, 2004, 2005]
    for k, (part, j) in enumerate([(first, 0), (first, 1), (second, 0), (second, 1)]):
        np.testing.assert_array_equal(whole.predictors(k, height), part.predictors(j, height))
    with pytest.raises(InputError, match="no part covers the hydrological years from 2007 on"):
        forcing.block_forcing_spliced([past, future], point, reference, range(2002, 2010))
    assert forcing.days_of(past, [2002]).sizes["time"] == 365


def test_parts_at_other_elevations_are_each_brought_to_the_glacier():
    """The same weather given 500 m higher, 3 K colder: the glacier gets the same."""
    past = make_climate(n_years=2, seed=1)
    future = make_climate(n_years=4, start="2000-10-01", seed=2)
    colder = (future["tas"] - 500 * LAPSE_RATE).assign_attrs(future["tas"].attrs)
    higher = future.assign(tas=colder, elevation=(future["elevation"] + 500).assign_attrs(future["elevation"].attrs))
    point, height = xr.DataArray([0, 2], dims="glacier"), np.array([2600.0, 2900.0])
    predictors = forcing.annual_predictors(past, point, xr.DataArray(height, dims="glacier"))
    reference = forcing.reference_climatology(predictors, (2001, 2002))
    one, other = (
        forcing.block_forcing_spliced([past, later], point, reference, range(2001, 2005)) for later in (future, higher)
    )
    for k in range(4):
        np.testing.assert_allclose(other.predictors(k, height), one.predictors(k, height), rtol=1e-4)
    assert np.abs(one.predictors(2, height) - one.predictors(1, height)).max() > 1


def test_parts_of_calendar_years_follow_one_another():
    """Files end on 31 December: the three months that are left of a part are no year of its own."""
    long = make_climate(n_years=6, start="2000-10-01", seed=3)
    past = long.sel(time=slice(None, "2003-12-31"))
    future = long.sel(time=slice("2003-01-01", None))
    point, height = xr.DataArray([0, 2], dims="glacier"), np.array([2600.0, 2900.0])
    reference = forcing.reference_climatology(
        forcing.annual_predictors(long, point, xr.DataArray(height, dims="glacier")), (2001, 2003)
    )
    assert forcing.days_of(past, [2004, 2005]).sizes["time"] == 0
    assert str(forcing.days_of(past, [2003, 2004]).time.values[-1])[:10] == "2003-09-30"
    whole = forcing.block_forcing_climate(long, point, reference, years=[2003, 2004, 2005])
    for parts in ([past, future], [past.isel(time=slice(-92, None)), long]):
        spliced = forcing.block_forcing_spliced(parts, point, reference, [2003, 2004, 2005])
        for k in range(3):
            np.testing.assert_array_equal(spliced.predictors(k, height), whole.predictors(k, height))
