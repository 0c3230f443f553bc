"""The demo region: the same from the same seed, like real glaciers in its sizes, and obeying the laws it states."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely

from alpgm_dask import demo, packing, raster, schema
from alpgm_dask.constants import REFERENCE_PERIOD
from alpgm_dask.demo import climate as weather
from alpgm_dask.demo import elevations, ice, relief
from alpgm_dask.forcing import annual_predictors, nearest_points, reference_climatology


@pytest.fixture(scope="module")
def region():
    return demo.region()


def _bytes(region) -> dict[str, bytes]:
    """Every variable of every dataset as bytes."""
    out = {}
    for name, (kind, _) in demo.DEMO_ENTRIES.items():
        if kind == "zarr":
            for variable, values in getattr(region, name).variables.items():
                array = values.values
                key = f"{name}.{variable}"
                out[key] = "\n".join(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes()
    out["outlines"] = b"".join(shapely.to_wkb(region.outlines.geometry.values))
    return out


def _pixels_of(glaciers):
    owner = np.full(glaciers.sizes["pixel"], -1)
    for i, (start, size) in enumerate(zip(glaciers["row_start"].values, glaciers["row_size"].values, strict=True)):
        owner[start : start + size] = i
    return owner


def test_same_seed_same_bytes_and_quickly(region):
    start = time.perf_counter()
    again = demo.region()
    assert time.perf_counter() - start < 10.0
    ours, theirs = _bytes(region), _bytes(again)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_another_seed_is_another_region(region):
    other = demo.region(seed=demo.SEED + 1, n_glaciers=85)
    assert 80 <= other.glaciers.sizes["glacier"] <= 85
    assert not np.array_equal(other.climate["tas"][:50], region.climate["tas"][:50])
    assert other.glaciers["area"].values.max() != region.glaciers["area"].values.max()


def test_refuses_no_glaciers():
    with pytest.raises(schema.InputError, match=r"n_glaciers is 0; allowed: 1 and more"):
        demo.region(n_glaciers=0)


def test_everything_is_small(region):
    total = sum(getattr(region, name).nbytes for name, (kind, _) in demo.DEMO_ENTRIES.items() if kind == "zarr")
    assert total < 150e6


def test_sizes_are_those_of_real_glaciers(region):
    area = region.glaciers["area"].values / 1e6
    assert area.size >= 80
    assert np.mean(area < 0.5) > 0.5
    assert 3 <= np.sum(area > 5.0) <= 15
    assert 15.0 <= area.max() <= 25.0
    assert area.min() > 0.01
    assert np.unique(region.glaciers["massif"].values.astype(str)).size == len(relief.MASSIFS)


def test_volumes_are_near_volume_area_scaling(region):
    """Within a factor of two for the region, V = 0.034 A**1.375 km3 (Bahr et al. 1997, doi:10.1029/97JB01696)."""
    glaciers = region.glaciers
    owner = _pixels_of(glaciers)
    h = np.nan_to_num(glaciers["ice_thickness"].values.astype("float64"))
    volume = np.bincount(owner[owner >= 0], h[owner >= 0]) * 625.0 / 1e9
    expected = 0.034 * (glaciers["area"].values / 1e6) ** 1.375
    assert 0.5 < volume.sum() / expected.sum() < 2.0
    assert 10.0 < volume.sum() / glaciers["area"].values.sum() * 1e9 < 80.0


def test_packed_glaciers_keep_the_rules(region):
    glaciers = region.glaciers
    need = dict.fromkeys(("rgi_id", "lon", "lat", "aspect", "area", "epsg", "pixel_area", "row_start", "row_size"))
    schema.check(glaciers, dict.fromkeys(need, ("glacier",)), "demo")
    schema.check(glaciers, dict.fromkeys(packing.PIXEL_VARIABLES, ("pixel",)), "demo")
    assert len(packing.blocks(glaciers)) >= 3
    owner = _pixels_of(glaciers)
    h = glaciers["ice_thickness"].values
    assert (h[owner >= 0] > 0).all()
    assert np.isnan(h[owner < 0]).all()
    assert np.isfinite(glaciers["surface_elevation"].values[owner >= 0]).all()
    assert (glaciers["inside_outline"].values[owner >= 0] == 1).all()
    place = np.stack([glaciers["x"].values, glaciers["y"].values])[:, owner >= 0]
    assert np.unique(place, axis=1).shape[1] == place.shape[1]  # no two glaciers share a pixel
    np.testing.assert_array_equal(np.bincount(owner[owner >= 0]) * 625.0, glaciers["area"].values)
    along = glaciers["flowline_distance"].values
    assert all(np.isfinite(along[owner == i]).any() for i in range(owner.max() + 1))


def test_flowlines_lead_down(region):
    """Distance along the line and elevation fall together, on the glaciers that are long enough to say so."""
    glaciers = region.glaciers
    owner, along = _pixels_of(glaciers), glaciers["flowline_distance"].values
    surface = glaciers["surface_elevation"].values
    slopes = []
    for i in np.flatnonzero(glaciers["area"].values > 0.3e6):
        line = (owner == i) & np.isfinite(along)
        slopes.append(np.corrcoef(along[line], surface[line])[0, 1])
    assert np.median(slopes) < -0.95
    assert np.max(slopes) < -0.5


def test_outlines_are_the_ice(region):
    glaciers, outlines = region.glaciers, region.outlines
    assert outlines.crs.to_epsg() == 4326
    assert outlines["rgi_id"].tolist() == glaciers["rgi_id"].values.tolist()
    np.testing.assert_allclose(outlines.to_crs(relief.EPSG).area, glaciers["area"].values, rtol=1e-6)
    centre = outlines.to_crs(relief.EPSG).centroid.to_crs(4326)
    np.testing.assert_allclose(centre.x, glaciers["lon"].values, atol=1e-6)
    np.testing.assert_allclose(centre.y, glaciers["lat"].values, atol=1e-6)


def test_a_raster_comes_back(region):
    rgi_id = str(region.glaciers["rgi_id"].values[0])
    h = raster.to_raster(region.glaciers, rgi_id).compute()
    assert h.rio.crs.to_epsg() == relief.EPSG
    assert np.isfinite(h).sum() == region.glaciers["row_size"].values[0]


def test_climate_is_complete(region):
    for ds, first, last in ((region.climate, *weather.HISTORY), (region.projections, *weather.FUTURE)):
        days = ds["time"].values.astype("datetime64[D]")
        assert (days[0], days[-1]) == (np.datetime64(first), np.datetime64(last))
        assert (np.diff(days) == np.timedelta64(1, "D")).all()
        for name in ("tas", "snowfall", "rainfall"):
            assert ds[name].dtype == np.float32
            assert np.isfinite(ds[name].values).all()
        assert float(ds["snowfall"].min()) >= 0.0
        assert float(ds["rainfall"].min()) >= -1e-4
    assert region.climate.sizes["point"] == 20
    assert region.projections["scenario"].values.tolist() == ["low", "low", "high", "high"]
    assert np.unique(region.projections["gcm"].values.astype(str)).size == 2
    need = dict.fromkeys(("tas", "snowfall", "rainfall"), ("time", "point"))
    schema.check(region.climate, need, "demo")


def test_climate_is_alpine(region):
    """Mean temperature and precipitation near 2,800 m, snow in winter, rain in summer, colder higher up."""
    at = region.climate.isel(point=np.flatnonzero(region.climate["elevation"].values == 2800.0))
    celsius = at["tas"].values.mean() - 273.15
    assert -4.0 < celsius < 0.5
    years = 57
    precipitation = (at["snowfall"] + at["rainfall"]).sum("time").values.mean() / years
    assert 900.0 < precipitation < 2000.0
    january, july = (at.sel(time=at["time"].dt.month == m) for m in (1, 7))
    assert january["snowfall"].sum() > 20 * january["rainfall"].sum()
    assert july["rainfall"].sum() > july["snowfall"].sum()
    one = region.climate.isel(point=slice(0, 5))["tas"].mean("time").values
    np.testing.assert_allclose(np.diff(one), -0.006 * 400.0, atol=1e-3)


def test_projections_continue_the_past_and_warm_by_scenario(region):
    past = region.climate["tas"].sel(time=slice("2000-10-01", "2015-09-30")).values.mean()
    early = region.projections["tas"].sel(time=slice("2015-10-01", "2030-09-30")).mean(["time", "point"]).values
    late = region.projections["tas"].sel(time=slice("2085-10-01", "2100-09-30")).mean(["time", "point"]).values
    assert (np.abs(early - past) < 1.0).all()
    warming = late - past
    assert (warming[:2] > 1.0).all()
    assert (warming[:2] < 2.4).all()
    assert (warming[2:] > 3.0).all()
    assert (warming[2:] < 5.0).all()


def test_smb_observations_look_measured(region):
    observed = region.smb_observations
    assert observed.sizes == {"glacier": 25, "hydro_year": 57}
    assert set(observed["rgi_id"].values) <= set(region.glaciers["rgi_id"].values)
    share = np.isfinite(observed["smb"].values).mean()
    assert 0.3 < share < 0.8
    recent = observed["smb"].sel(hydro_year=slice(1990, 2015))
    assert -0.9 < recent.mean().item() < -0.5
    assert 0.7 < observed["smb"].std().item() < 1.1
    error = (observed["smb"] - observed["smb_true"]).values
    assert np.nanstd(error) == pytest.approx(0.25, abs=0.03)
    need = dict.fromkeys(("smb", "mean_elevation", "area"), ("glacier", "hydro_year"))
    schema.check(observed, need, "demo")
    last = observed.isel(hydro_year=-1)
    own = region.glaciers["area"].values[np.isin(region.glaciers["rgi_id"].values, observed["rgi_id"].values)]
    np.testing.assert_allclose(np.sort(last["area"].values), np.sort(own))
    assert (observed["area"].isel(hydro_year=0) > last["area"]).all()


def test_observations_follow_the_law_on_the_models_own_predictors(region):
    """What the model would compute for these glaciers, put into the law, gives the noise-free balance."""
    observed, history = region.smb_observations, region.climate
    point = nearest_points(observed.assign(mean_elevation=observed["mean_elevation"][:, -1]), history)["point"]
    predictors = annual_predictors(history, point, observed["mean_elevation"]).drop_dims("month")
    anomaly = (predictors - reference_climatology(predictors, REFERENCE_PERIOD)).compute()
    law = demo.smb_law(
        *(anomaly[name] for name in ("cpdd", "winter_snowfall", "summer_snowfall")),
        observed["tongue_slope"],
        observed["area"],
    )
    np.testing.assert_allclose(law.transpose("glacier", "hydro_year"), observed["smb_true"], atol=1e-9)


def test_law_is_not_linear():
    def law(c, w=0.0, s=0.0):
        return float(demo.smb_law(c, w, s, 20.0, 1e6))

    cold, warm, hot = law(-300.0), law(300.0), law(1200.0)
    assert (law(0.0) - warm) / 300.0 > 1.3 * (warm - hot) / 900.0  # melt factor falls
    assert cold > law(0.0) > warm > hot
    assert law(0.0, s=100.0) - law(0.0) > law(0.0, w=100.0) - law(0.0)  # albedo, beyond the snow itself
    assert law(600.0, s=100.0) - law(600.0) > law(0.0, s=100.0) - law(0.0)  # and more so when it is warm


def test_elevation_models_hold_the_known_pattern(region):
    models, glaciers = region.elevation_models, region.glaciers
    owner = _pixels_of(glaciers)
    schema.check(models, dict.fromkeys(packing.ELEVATION_VARIABLES, ("pixel",)), "demo")
    change = models["elevation_change"].values.astype("float64")
    surface = glaciers["surface_elevation"].values.astype("float64")
    i = int(np.argmax(glaciers["area"].values))
    here = (owner == i) & np.isfinite(change)
    z = (surface[owner == i].max() - surface[here]) / np.ptp(surface[owner == i])
    known = models["terminus_change"].values[i] * elevations.thinning_pattern(z, models["thinning_exponent"].values[i])
    assert np.median(np.abs(change[here] - known)) < 3.0
    assert (models["terminus_change"].values < 0).all()
    assert models.attrs["first_survey"] < models.attrs["second_survey"]
    assert np.isfinite(models["surface_elevation"].values[owner >= 0]).all()
    assert np.median(np.abs(models["surface_elevation"].values - surface + known.mean() / 2)[owner == i]) < 15.0
    voids = np.isnan(change[owner >= 0]).mean()
    assert 0.0 < voids < 0.05
    assert (np.abs(change[owner >= 0]) > 30.0).mean() > 0.001  # clouds and outliers are there


def test_water_runs_down():
    land = relief.build(np.random.default_rng([demo.SEED, 1]))
    rank = np.empty(land.order.size, dtype=int)
    rank[land.order] = np.arange(land.order.size)
    moves = land.receiver != np.arange(land.receiver.size)
    assert (rank[land.receiver[moves]] < rank[moves]).all()
    inside = np.zeros(relief.SHAPE, dtype=bool)
    inside[1:-1, 1:-1] = True
    assert moves.reshape(relief.SHAPE)[inside].all()  # no pit inside
    label = ice.bodies(land)
    assert 80 < np.unique(label).size < 500
