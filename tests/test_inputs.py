"""What a run reads is refused before work starts, naming entry, variable, value and what is allowed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import small_region as small
import xarray as xr

from alpgm_dask import inputs, packing, schema
from alpgm_dask.catalog import Entry, Parameter, write_catalog
from alpgm_dask.config import Config, Glaciers
from alpgm_dask.schema import InputError

FIRST, LAST = small.HISTORY[0], small.PROJECTION[1]

KINDS = {
    "climate": {"kind": "climate", "history": "climate", "projection": "projections"},
    "predictors": {"kind": "predictors", "history": "history", "projection": "scenarios"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Stores of a region in which everything is right."""
    folder = tmp_path_factory.mktemp("base")
    small.write_region(folder, small.everything())
    return folder


@pytest.fixture
def opened(base, tmp_path):
    """``opened(kind, changed stores, settings of sections)`` opens the inputs of a run."""

    def open_run(
        kind: str | None = "climate", changed: dict[str, xr.Dataset] | None = None, **sections
    ) -> inputs.Inputs:
        folder = Path(tempfile.mkdtemp(dir=tmp_path)) if changed else base
        catalog = small.write_region(folder, changed, base) if changed else base / "catalog.yaml"
        given = {"title": "t", "catalog": str(catalog), "output": "run", "period": {"start": FIRST, "end": LAST}}
        given["delta_h"] = {"entry": "delta_h"}
        if kind is None:
            given["smb"] = {"model": "prescribed", "prescribed": -1.0}
        else:
            given["smb"] = {"recipe": "standard-seasonal"}
            given["forcing"] = {**KINDS[kind], "reference_period": small.HISTORY}
        for name, values in sections.items():
            given[name] = {k: v for k, v in {**given.get(name, {}), **values}.items() if k != "recipe" or v is not None}
        return inputs.open_inputs(Config.model_validate(given))

    return open_run


def units(ds: xr.Dataset, name: str, given: str) -> xr.Dataset:
    ds = ds.copy()
    ds[name] = ds[name].assign_attrs(units=given)
    return ds


# -- all right ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "climate", "predictors"])
def test_good_inputs_are_opened_and_stay_lazy(opened, kind):
    found = opened(kind)
    assert found.glaciers.sizes["glacier"] == 4
    assert found.glaciers["ice_thickness"].chunks is not None
    assert set(found.urls) == {"glaciers", "delta_h"} | (
        {"smb_observations", KINDS[kind]["history"], KINDS[kind]["projection"]} if kind else set()
    )
    if kind is None:
        assert found.history is found.projection is found.observations is None
    else:
        name = "tas" if kind == "climate" else "cpdd"
        assert found.history[name].chunks is not None and found.projection[name].chunks is not None
        assert found.projection["member"].values.tolist() == ["m0", "m1"]


def test_a_history_alone_serves_its_own_years(opened):
    for kind in KINDS:
        found = opened(kind, forcing={"projection": None}, period={"end": small.HISTORY[1]})
        assert found.projection is None


def test_members_are_chosen_in_the_order_asked_for(opened):
    assert opened(forcing={"members": ("m1", "m0")}).projection["member"].values.tolist() == ["m1", "m0"]
    assert opened(forcing={"members": ("m1",)}).projection["member"].values.tolist() == ["m1"]


def test_elevations_that_follow_the_years_are_allowed(opened):
    history = small.predictors(small.HISTORY)
    yearly = history["reference_elevation"].expand_dims(hydro_year=history["hydro_year"], axis=1)
    opened("predictors", {"history": history.assign(reference_elevation=yearly)})


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_other_calendars_are_accepted(opened, calendar):
    climate, later = (small.daily(y, m, calendar) for y, m in ((small.HISTORY, 0), (small.PROJECTION, 2)))
    found = opened("climate", {"climate": climate, "projections": later})
    assert found.history["time"].dt.calendar == calendar


# -- which glaciers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["G0", "G1", "G2", "G3"]),
        ({"ids": ("G3", "G1")}, ["G1", "G3"]),
        ({"massifs": ("B",)}, ["G2", "G3"]),
        ({"massifs": ("any",)}, ["G0", "G1", "G2", "G3"]),
        ({"subregions": ("11-01",)}, ["G0", "G1", "G2"]),
        ({"subregions": ("any",), "massifs": ("B",)}, ["G2"]),
        ({"bounding_box": (7.005, 44, 7.025, 46)}, ["G1", "G2"]),
        ({"bounding_box": (7.01, 45, 7.02, 45.1), "massifs": ("A",)}, ["G1"]),
    ],
)
def test_glaciers_meet_every_condition(opened, wanted, expected):
    found = opened(None, glaciers=wanted)
    assert sorted(found.glaciers["rgi_id"].values.tolist()) == expected
    for rgi_id in expected:
        thickness = packing.glacier(found.glaciers, rgi_id)["ice_thickness"].values
        assert thickness.tolist() == [10.0 * (int(rgi_id[1]) + 1)] * (int(rgi_id[1]) + 1)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"ids": ("G1", "G70")}, r"entry 'glaciers': rgi_id: unknown glacier 'G70'; the nearest identifiers are: G0"),
        ({"massifs": ("C",)}, r"entry 'glaciers': glaciers.massifs: 'C' is no massif; allowed: any, A, B"),
        ({"subregions": ("12",)}, r"glaciers.subregions: '12' is no subregion; allowed: any, 11-01"),
        ({"bounding_box": (0, 0, 1, 1)}, r"no glacier meets the conditions .*bounding_box"),
        ({"ids": ("G0",), "massifs": ("B",)}, r"no glacier meets the conditions .*'ids'.*'massifs'"),
    ],
)
def test_glaciers_that_are_not_there(opened, wanted, message):
    with pytest.raises(InputError, match=message):
        opened(None, glaciers=wanted)


def test_twice_the_same_glacier_is_refused():
    glaciers = small.glaciers().compute()
    glaciers["rgi_id"][3] = "G0"
    with pytest.raises(InputError, match=r"here: rgi_id 'G0' stands 2 times; allowed: once"):
        inputs.positions(glaciers, Glaciers(), "here")
    with pytest.raises(InputError, match=r"here: glaciers.massifs: the glaciers have no variable 'massif'"):
        inputs.positions(small.glaciers().drop_vars("massif"), Glaciers(massifs=("A",)), "here")


# -- refused: what an entry lacks ---------------------------------------------------------------------------

MISSING = [
    (None, "glaciers", "ice_thickness"),
    (None, "glaciers", "epsg"),
    (None, "glaciers", "rgi_id"),
    (None, "delta_h", "normalized_elevation"),
    ("climate", "glaciers", "mean_elevation"),
    ("climate", "climate", "snowfall"),
    ("climate", "climate", "elevation"),
    ("climate", "projections", "tas"),
    ("climate", "smb_observations", "smb"),
    ("climate", "smb_observations", "tongue_slope"),
    ("predictors", "history", "cpdd"),
    ("predictors", "history", "reference_elevation"),
    ("predictors", "history", "hydro_year"),
    ("predictors", "scenarios", "massif"),
]


@pytest.mark.parametrize(("kind", "entry", "variable"), MISSING)
def test_a_missing_variable_is_named(opened, kind, entry, variable):
    ds = small.everything()[entry].drop_vars(variable)
    with pytest.raises(
        InputError, match=rf"catalog.yaml: entry '{entry}': variable '{variable}' is missing; .*given are: "
    ):
        opened(kind, {entry: ds})


@pytest.mark.parametrize(
    ("kind", "entry", "variable", "given"),
    [
        (None, "glaciers", "ice_thickness", "cm"),
        (None, "glaciers", "lon", "degree"),
        ("climate", "smb_observations", "smb", "mm year-1"),
        ("predictors", "history", "winter_snowfall", "m"),
        ("predictors", "scenarios", "reference_elevation", "km"),
    ],
)
def test_other_units_are_refused(opened, kind, entry, variable, given):
    allowed = schema.VARIABLES[variable].units
    message = rf"entry '{entry}': variable '{variable}' has units '{given}', allowed: '{allowed}'"
    with pytest.raises(InputError, match=message):
        opened(kind, {entry: units(small.everything()[entry], variable, given)})


def test_other_units_of_climate_are_converted_and_wrong_ones_show_in_the_values(opened):
    climate = small.daily(small.HISTORY)
    celsius = climate.assign(tas=(climate["tas"] - 273.15).assign_attrs(units="degC"))
    found = opened("climate", {"climate": celsius}).history
    assert found["tas"].attrs["units"] == "K"
    np.testing.assert_allclose(found["tas"].values, opened("climate").history["tas"].values, rtol=1e-6)
    with pytest.raises(
        InputError, match=r"entry 'climate': variable 'tas' is 5\d\d\S* K on 1999-10-01 \(\d+ such steps\)"
    ):
        opened("climate", {"climate": units(climate, "tas", "degC")})


def test_other_dimensions_are_refused(opened):
    history = small.predictors(small.HISTORY)
    with pytest.raises(InputError, match=r"entry 'history': variable 'cpdd' has dimensions .*'member'.*allowed: "):
        opened("predictors", {"history": history.assign(cpdd=history["cpdd"].expand_dims(member=["a"]))})


def with_months(ds: xr.Dataset) -> xr.Dataset:
    zero = (ds["cpdd"] * 0).expand_dims(month=np.arange(1, 13), axis=-1)
    return schema.annotate(ds.assign(tas_monthly=zero, snowfall_monthly=zero))


def test_monthly_predictors_are_needed_by_a_recipe_that_takes_them(opened):
    feature = r"feature 'tas_monthly_anomaly_oct' of recipe 'standard' is made of it"
    with pytest.raises(InputError, match=rf"entry 'history': variable 'tas_monthly' is missing; {feature}"):
        opened("predictors", smb={"recipe": "standard"})
    with pytest.raises(InputError, match=r"entry 'scenarios': variable 'tas_monthly' is missing"):
        opened("predictors", {"history": with_months(small.predictors(small.HISTORY))}, smb={"recipe": "standard"})


def test_monthly_predictors_serve(opened):
    changed = {"history": small.predictors(small.HISTORY), "scenarios": small.predictors(small.PROJECTION, 2)}
    opened("predictors", {name: with_months(ds) for name, ds in changed.items()}, smb={"recipe": "standard"})


def test_regional_features_need_the_observed_glaciers_in_the_projection_too(opened):
    later = small.predictors(small.PROJECTION, 2)
    ids = np.array(["G0", "G1", "G2", "H3"], dtype=object)
    far = later.assign_coords(rgi_id=("glacier", ids), lon=later["lon"] + [0, 0, 0, 1])
    chosen = {"ids": ("G0", "G1")}
    assert opened("predictors", {"scenarios": far}, glaciers=chosen).recipe == "standard-seasonal"
    with pytest.raises(InputError, match=r"entry 'scenarios': no climate within max_distance = .* of glacier G3"):
        opened(
            "predictors",
            {"scenarios": far},
            glaciers=chosen,
            smb={"recipe": "standard-seasonal-regional"},
            forcing={"max_distance": 0.1},
        )


# -- stored models and corrections ----------------------------------------------------------------------------


def stored(folder, recipe: str):
    """A Lasso of made-up rows, stored."""
    from alpgm_dask import smb
    from alpgm_dask.features import feature_names

    names, random = list(feature_names(recipe)), np.random.default_rng(0)
    table = xr.Dataset(
        {"features": (("sample", "feature"), random.normal(size=(20, len(names)))), "smb": ("sample", np.arange(20.0))},
        coords={"feature": names, "hydro_year": ("sample", np.arange(2000, 2020)), "rgi_id": ("sample", ["G0"] * 20)},
    )
    model = smb.Lasso(recipe=recipe, alphas=(0.1,)).fit(table["features"], table["smb"].values)
    return str(smb.save_model(model, folder, smb.model_card(model, table)))


def test_a_stored_model_brings_its_recipe_and_needs_no_observations(opened, base, tmp_path):
    path = stored(tmp_path / "model", "alpgm-1.2-seasonal")
    found = opened("predictors", smb={"model": "stored", "path": path, "recipe": None})
    assert found.recipe == "alpgm-1.2-seasonal" and found.model.kind == "lasso"
    assert found.observations is None and found.urls["smb.path"] == path


def test_a_stored_model_whose_features_the_data_cannot_supply_is_refused(opened, tmp_path):
    monthly, regional = (stored(tmp_path / name, name) for name in ("alpgm-1.2", "standard-seasonal-regional"))
    feature = "feature 'tas_monthly_anomaly_oct' of recipe 'alpgm-1.2' is made of it"
    with pytest.raises(InputError, match=f"entry 'history': variable 'tas_monthly' is missing; {feature}"):
        opened("predictors", smb={"model": "stored", "path": monthly, "recipe": None})
    feature = "feature 'regional_cpdd_anomaly' of recipe 'standard-seasonal-regional'"
    with pytest.raises(
        InputError, match=f"entry 'nowhere' is missing; {feature} is made of the climate at its glaciers"
    ):
        opened("predictors", smb={"model": "stored", "path": regional, "recipe": None, "observations": "nowhere"})
    found = opened("predictors", smb={"model": "stored", "path": regional, "recipe": None})
    assert found.observations.sizes["glacier"] == 2
    with pytest.raises(InputError, match=r"smb.path: .*gone: there is no such file or folder"):
        opened("predictors", smb={"model": "stored", "path": str(tmp_path / "gone"), "recipe": None})
    (tmp_path / "alpgm-1.2/weights.npz").write_bytes(b"other")
    with pytest.raises(InputError, match=r"weights.npz: sha256 is .*, the card says"):
        opened("climate", smb={"model": "stored", "path": monthly, "recipe": None})


def corrections(ids=("G1", "G2"), factors=(0.5, 2.0)) -> xr.Dataset:
    ds = xr.Dataset({"geodetic_factor": ("glacier", np.array(factors, dtype=float))})
    return schema.annotate(ds.assign_coords(rgi_id=("glacier", np.array(ids, dtype=object))))


def test_corrections_are_read_and_checked(opened):
    asked = {"smb": {"recipe": "standard-seasonal", "geodetic": "geodetic"}}
    found = opened("predictors", {"geodetic": corrections()}, **asked)
    assert found.geodetic["geodetic_factor"].values.tolist() == [0.5, 2.0] and "geodetic" in found.urls
    with pytest.raises(InputError, match=r"entry 'geodetic': rgi_id 'G1' stands 2 times; allowed: once"):
        opened("predictors", {"geodetic": corrections(("G1", "G1"))}, **asked)
    with pytest.raises(InputError, match=r"'geodetic_factor' is -1.0 at glacier 'G2'; allowed: positive numbers"):
        opened("predictors", {"geodetic": corrections(factors=(1.0, -1.0))}, **asked)


def test_glaciers_that_are_not_packed_are_refused(opened):
    plain = small.glaciers()
    plain.attrs = {}
    with pytest.raises(InputError, match="attribute 'block_glaciers' is missing: not a packed store"):
        opened(None, {"glaciers": plain})


def test_a_table_where_a_store_is_needed_is_refused(opened, base, tmp_path):
    import geopandas
    import shapely

    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs=4326).to_parquet(tmp_path / "a.parquet")
    write_catalog(tmp_path / "c.yaml", {"glaciers": Entry("geoparquet", "{CATALOG_DIR}/a.parquet")})
    config = {"title": "t", "catalog": str(tmp_path / "c.yaml"), "output": "o", "period": {"start": 1, "end": 2}}
    with pytest.raises(InputError, match=r"entry 'glaciers': it is a table \(GeoDataFrame\); allowed: a Zarr store"):
        inputs.open_inputs(Config.model_validate({**config, "smb": {"model": "prescribed", "prescribed": 0}}))


def test_entries_and_parameters_of_the_catalog(opened, base, tmp_path):
    with pytest.raises(InputError, match=r"entry 'delta' is missing; the catalog has: climate, delta_h, "):
        opened(None, delta_h={"entry": "delta"})
    path = tmp_path / "p.yaml"
    write_catalog(path, {"glaciers": Entry("zarr", f"{base}/{{what}}.zarr")}, {"what": Parameter("nothing")})
    config = {"title": "t", "catalog": str(path), "output": "o", "period": {"start": 1, "end": 2}}
    config |= {"smb": {"model": "prescribed", "prescribed": 0}}
    with pytest.raises(InputError, match=r"nothing at .*nothing.zarr"):
        inputs.open_inputs(Config.model_validate(config))
    found = inputs.open_inputs(Config.model_validate({**config, "catalog_parameters": {"what": "glaciers"}}))
    assert found.urls == {"glaciers": f"{base}/glaciers.zarr"} or found.urls["glaciers"].endswith("/glaciers.zarr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.assign(delta_h=d["delta_h"] * 2),
            "variable 'delta_h': values of glacier 'G1' from 0 to 2; allowed",
        ),
        (
            lambda d: d.assign(normalized_elevation=d["normalized_elevation"].copy(data=[[0.0, np.nan, 1.0]])),
            "variable 'normalized_elevation': nodes of glacier 'G1' neither rise nor fall",
        ),
        (lambda d: xr.concat([d, d], "glacier"), "rgi_id 'G1' stands 2 times; allowed: once"),
    ],
)
def test_delta_h_functions_that_are_none(opened, change, message):
    with pytest.raises(InputError, match=f"entry 'delta_h': {message}"):
        opened(None, {"delta_h": schema.annotate(change(small.delta_h()))})


# -- refused: members, years, days, distances ---------------------------------------------------------------


def test_unknown_members(opened):
    with pytest.raises(InputError, match=r"entry 'projections': unknown member 'm7'; allowed: m0, m1"):
        opened(forcing={"members": ("m0", "m7")})
    with pytest.raises(InputError, match=r"entry 'projections': it has no members; forcing.members is \['m0'\]"):
        opened("climate", {"projections": small.daily(small.PROJECTION)}, forcing={"members": ("m0",)})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("forcing", "period", "message"),
    [
        (
            {},
            {"end": LAST + 1},
            rf"hydrological years {FIRST} to {LAST + 1} are asked for; it covers {FIRST} to {LAST}",
        ),
        (
            {},
            {"start": FIRST - 1},
            rf"hydrological years {FIRST - 1} to {LAST} are asked for; it covers {FIRST} to {LAST}",
        ),
        (
            {"projection": None},
            {},
            rf"hydrological years {FIRST} to {LAST} are asked for; it covers {FIRST} to {small.HISTORY[1]}",
        ),
        (
            {"reference_period": (1967, 2015)},
            {},
            rf"reference period: .* 1967 to 2015 are asked for; it covers {FIRST} to {small.HISTORY[1]}",
        ),
    ],
)
def test_climate_that_does_not_cover_the_years(opened, kind, forcing, period, message):
    with pytest.raises(InputError, match=rf"catalog.yaml: entry '{KINDS[kind]['history']}'.*: {message}"):
        opened(kind, forcing=forcing, period=period)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gap_between_history_and_projection(opened, kind):
    entry = KINDS[kind]["projection"]
    later = (small.PROJECTION[0] + 1, small.PROJECTION[1])
    ds = small.daily(later, 2) if kind == "climate" else small.predictors(later, 2)
    with pytest.raises(InputError, match=rf"and then '{entry}': .*'hydro_year' has gaps"):
        opened(kind, {entry: ds})


def test_a_projection_may_overlap_the_history(opened):
    years = (small.HISTORY[1] - 1, small.PROJECTION[1])
    opened("climate", {"projections": small.daily(years, 2)})
    opened("predictors", {"scenarios": small.predictors(years, 2)})


@pytest.mark.parametrize("entry", ["climate", "projections"])
def test_days_that_are_missing_or_stand_twice(opened, entry):
    ds = small.everything()[entry]
    keep = np.delete(np.arange(ds.sizes["time"]), 100)
    with pytest.raises(
        InputError, match=rf"entry '{entry}': variable 'time': .* follows .*consecutive days without gap"
    ):
        opened("climate", {entry: ds.isel(time=keep)})


def test_days_that_stand_twice(opened):
    ds = small.daily(small.HISTORY)
    twice = ds.isel(time=np.sort(np.append(np.arange(ds.sizes["time"]), 100)))
    with pytest.raises(InputError, match=r"'climate': variable 'time': (\S+) \S+ follows \1 \S+ \(1 such places\)"):
        opened("climate", {"climate": twice})


def test_an_incomplete_year_does_not_count(opened):
    short = small.daily(small.PROJECTION, 2).isel(time=slice(0, -1))
    with pytest.raises(InputError, match=rf"it covers {FIRST} to {LAST - 1}"):
        opened("climate", {"projections": short})


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_a_projection_may_have_another_calendar(opened, calendar):
    opened("climate", {"projections": small.daily(small.PROJECTION, 2, calendar)})


def test_times_that_are_no_dates(opened):
    climate = small.daily(small.HISTORY)
    with pytest.raises(InputError, match=r"entry 'climate': variable 'time' is of type int64; allowed: dates"):
        opened("climate", {"climate": climate.assign_coords(time=np.arange(climate.sizes["time"]))})


def test_other_points_in_history_and_projection(opened):
    """Each point of the history takes the projection's of its massif, which keeps its own elevation."""
    plain = opened("climate")
    assert plain.points["history"].tolist() == plain.points["projection"].tolist() == [0, 1]
    moved = small.daily(small.PROJECTION, 2).isel(point=[1, 1, 0])
    moved = moved.assign(elevation=("point", [3900.0, 2950.0, 2650.0], moved["elevation"].attrs))
    found = opened("climate", {"projections": moved})
    assert found.points["projection"].tolist() == [2, 1]
    assert found.projection["elevation"].values.tolist() == [2650.0, 2950.0]
    assert found.history["elevation"].values.tolist() == [2700.0, 2900.0]
    far = moved.assign(lat=moved["lat"] + 1)
    with pytest.raises(InputError, match=r"entry 'projections': no climate within max_distance = 20 km"):
        opened("climate", {"projections": far})


@pytest.mark.parametrize("kind", KINDS)
def test_a_glacier_too_far_from_any_climate(opened, kind):
    """0.2 degrees of latitude are 22.2 km; the run file's 20 are km."""
    entry = KINDS[kind]["history"]
    ds = small.everything()[entry]
    ds = ds.assign(lat=ds["lat"] + 0.2)
    if kind == "predictors":
        ds["rgi_id"] = ("glacier", np.array([f"H{i}" for i in range(4)], dtype=object))
    changed = {entry: ds}
    if kind == "climate":
        later = small.everything()["projections"]
        changed["projections"] = later.assign(lat=later["lat"] + 0.2)
    message = rf"entry '{entry}': no climate within max_distance = 20 km of glacier G\d \(22\.\d km\), "
    with pytest.raises(InputError, match=message):
        opened(kind, changed)


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_in_km(opened, kind):
    observed = small.observations()
    far = observed.assign_coords(rgi_id=("glacier", np.array(["X", "Y"], dtype=object)), lat=observed["lat"] + 0.2)
    far = schema.annotate(far)
    with pytest.raises(InputError, match=r"max_distance = 20 km of glacier X \(22\.\d km\), Y"):
        opened(kind, {"smb_observations": far})


@pytest.mark.parametrize("kind", KINDS)
def test_a_wider_limit_accepts_them(opened, kind):
    observed = small.observations()
    far = observed.assign_coords(rgi_id=("glacier", np.array(["X", "Y"], dtype=object)), lat=observed["lat"] + 0.2)
    opened(kind, {"smb_observations": schema.annotate(far)}, forcing={"max_distance": 25.0})


@pytest.mark.parametrize("kind", KINDS)
def test_observations_in_other_years_are_refused(opened, kind):
    observed = small.observations((1980, 1985))
    message = (
        "variable 'mean_elevation' has no hydrological year 2000 .*given: 1980 to 1985"
        if kind == "climate"
        else ("variable 'smb' has no value from 2000 to 2004, the years of the climate")
    )
    with pytest.raises(InputError, match=rf"entry 'smb_observations': {message}"):
        opened(kind, {"smb_observations": observed})


def test_observations_without_a_value(opened):
    observed = small.observations()
    with pytest.raises(InputError, match=r"entry 'smb_observations': variable 'smb' has no value"):
        opened("climate", {"smb_observations": observed.assign(smb=observed["smb"] * np.nan)})


def test_observations_of_one_glacier_twice(opened):
    observed = small.observations().assign_coords(rgi_id=("glacier", np.array(["G0", "G0"], dtype=object)))
    with pytest.raises(InputError, match=r"entry 'smb_observations': rgi_id 'G0' stands 2 times"):
        opened("climate", {"smb_observations": observed})


def test_predictors_that_say_nothing_about_elevation(opened):
    history = small.predictors(small.HISTORY)
    flat = schema.annotate(history.assign(reference_elevation=history["reference_elevation"] * 0 + 2700))
    with pytest.raises(InputError, match=r"entry 'history': no two glaciers of one massif are 50 m apart"):
        opened("predictors", {"history": flat})


def test_the_preflight_reads_no_climate(opened):
    """Only positions, times and elevations, if the store says what its values are: each raises when it is read."""
    import dask.array as da

    def trap(values: np.ndarray) -> np.ndarray:
        raise AssertionError("climate was read")

    for kind in KINDS:
        found = opened(kind)
        replaced = {}
        for name in ("history", "projection"):
            ds = getattr(found, name)
            big = [v for v in ds.data_vars if set(ds[v].dims) & {"time", "hydro_year"}]
            trapped = {v: ds[v].copy(data=da.map_blocks(trap, ds[v].data, dtype="f8")) for v in big}
            replaced[name] = ds.assign(trapped).assign_attrs(value_ranges='{"tas": [200.0, 300.0]}')
            replaced[name].attrs["missing_values"] = 0
        settings = {"title": "t", "catalog": "c", "output": "o", "period": {"start": FIRST, "end": LAST}}
        settings["smb"] = {"recipe": "standard-seasonal"}
        config = Config.model_validate({**settings, "forcing": {**KINDS[kind], "reference_period": small.HISTORY}})
        fields = {**vars(found), **replaced}
        inputs.check_climate(config, inputs.Inputs(**fields))
        fields["history"] = fields["history"].assign_attrs(value_ranges='{"tas": [200.0, 400.0]}')
        if kind == "climate":
            with pytest.raises(InputError, match=r"variable 'tas' is 400 K; allowed: 170 to 335 K"):
                inputs.check_climate(config, inputs.Inputs(**fields))
        with pytest.raises(AssertionError, match="climate was read"):
            replaced["history"]["tas" if kind == "climate" else "cpdd"].compute()
