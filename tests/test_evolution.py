"""Blocks x members: equal to one glacier alone to the last bit, equal to the original, lazy, and nothing is lost."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from test_geometry import assert_equals_oracle

from alpgm_dask import InputError, evolve, evolve_geometry, packing, raster
from alpgm_dask.evolution import FromPredictors, Model, Prescribed, Settings, clipped_elevation, tasks
from alpgm_dask.features import feature_matrix
from alpgm_dask.schema import FAILURE, STATUS

NODES = np.linspace(1.0, 0.0, 11)


def made_region(n=12, seed=0, target_pixels=300, flowline=True):
    """Packed glaciers of 1 to 200 pixels of 100 m on a slope, some with a flowline."""
    rng = np.random.default_rng(seed)
    pixels, attributes = [], []
    for i in range(n):
        rows, columns = rng.integers(1, 15, 2)
        y, x = 5e6 - 100.0 * np.arange(rows) - 50, 3e5 + 5e4 * i + 100.0 * np.arange(columns) + 50
        coords = {"y": y, "x": x}
        h = xr.DataArray(rng.gamma(1.5, 20.0, (rows, columns)).astype("float32"), coords, ("y", "x"))
        e = xr.DataArray((2500 + 30.0 * np.arange(rows)[:, None] + rng.uniform(0, 20, (rows, columns))), coords)
        import shapely

        line = shapely.LineString([(x[0], y[0]), (x[0], y[-1] - 1)]) if flowline and i % 2 else None
        one = raster.glacier_pixels(h.rio.write_crs(32632), e.astype("float32"), flowline=line)
        pixels.append(one)
        attributes.append(one.drop_dims("pixel").drop_vars("spatial_ref", errors="ignore"))
    table = xr.concat(attributes, "glacier")
    table = table.assign_coords(rgi_id=("glacier", np.array([f"g{i:02d}" for i in range(n)], dtype=object)))
    for name, low, high in (("lon", 6.0, 7.0), ("lat", 45.0, 46.0), ("aspect", 0.0, 360.0)):
        table[name] = ("glacier", rng.uniform(low, high, n))
    table["massif"] = ("glacier", np.array(["A", "B"] * n, dtype=object)[:n])
    return packing.pack(table, pixels, target_pixels)


def functions(glaciers, kind="square"):
    """Own functions of every second glacier."""
    ids = glaciers["rgi_id"].values[::2]
    values = np.tile(NODES**2, (ids.size, 1))
    nodes = np.tile(NODES, (ids.size, 1))
    return xr.Dataset(
        {"delta_h": (("glacier", "node"), values), "normalized_elevation": (("glacier", "node"), nodes)},
        coords={"rgi_id": ("glacier", ids)},
    )


def aligned_forcing(glaciers, years, members=2, seed=1):
    """Predictors as :func:`alpgm_dask.forcing.align_predictors` gives them."""
    rng = np.random.default_rng(seed)
    shape = (members, len(years), glaciers.sizes["glacier"], 3)
    level = np.array([800.0, 1500.0, 400.0])
    base = level * rng.uniform(0.7, 1.4, shape)
    slope = np.broadcast_to([-0.8, 0.2, 0.3], shape)
    dims = ("member", "hydro_year", "glacier", "predictor")
    return xr.Dataset(
        {
            "predictors": (dims, base),
            "sensitivity": (dims, slope),
            "reference": (("glacier", "predictor"), np.tile(level, (shape[2], 1))),
            "start_elevation": ("glacier", np.zeros(shape[2])),
            "forcing_distance": ("glacier", np.zeros(shape[2])),
            "regional_anomaly": (("member", "hydro_year", "predictor"), rng.normal(0, 200.0, (members, len(years), 3))),
        },
        coords={"hydro_year": list(years)},
    )


class Melt:
    """Two models: mass balance falls with degree-days, one of them by more; and rises with winter snow."""

    def __call__(self, features):
        first = -1.5 - 0.002 * features[:, 0] + 0.001 * features[:, 1] + 1e-4 * (features[:, 3] - 2600)
        return np.stack([first, first - 0.2])


class Many:
    """Twenty models that also see the region's climate, and differ in more digits than a mean keeps."""

    def __call__(self, features):
        scale = np.linspace(0.7, 1.3, 20)[:, None]
        return Melt()(features)[0] * scale - 0.001 * features[:, 11] / scale


#: Every feature's range in training, so narrow that some of a glacier's are outside of it in some years.
LOW = np.array([-150.0, -250.0, -150.0, 2510, 2540, 5, 0.01, 6.1, 45.1, -0.9, -0.9, -150, -250, -150])
HIGH = np.array([150.0, 250.0, 150.0, 2800, 2990, 20, 1.5, 6.9, 45.9, 0.9, 0.9, 150, 250, 150])

MODEL = Model("standard-seasonal", Melt())
WHOLE = Model("standard-seasonal-regional", Many(), low=LOW, high=HIGH).corrected({"g01": 0.5, "g04": 1.2})
KEEP = Settings(smb_members=20, extrapolation=True)
YEARS = np.arange(2001, 2031)


def by_id(results):
    return results.set_index(glacier="rgi_id").sortby("glacier")


def assert_same_bits(a, b):
    for name in a.data_vars:
        if "pixel" not in a[name].dims and name not in ("row_start", "delta_h_source"):
            np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


class Refusal(Exception):
    pass


def refuse(*_, **__):
    raise Refusal("something was computed")


@pytest.fixture(scope="module")
def client():
    from alpgm_dask import connect

    with connect(workers=2, memory="2GB") as client:
        yield client


def test_building_the_graph_computes_nothing(tmp_path):
    from alpgm_dask import store

    store.write(made_region(), str(tmp_path / "g.zarr"))
    glaciers = store.open_store(str(tmp_path / "g.zarr"))
    forcing = aligned_forcing(glaciers, YEARS).chunk(glacier=4)
    with dask.config.set(scheduler=refuse):
        members = xr.Dataset(coords={"member": ["a", "b"]})
        lazy = evolve(glaciers, YEARS, FromPredictors(forcing, MODEL), members=members)
        with pytest.raises(Refusal):
            lazy["area"].compute()
    assert lazy["area"].dims == ("member", "glacier", "hydro_year")
    assert lazy["area"].chunks[1] == tuple(b.glaciers.stop - b.glaciers.start for b in packing.blocks(glaciers))


def test_block_path_equals_one_glacier_alone_to_the_last_bit():
    glaciers = made_region()
    smb = np.random.default_rng(3).normal(-1.0, 0.8, YEARS.size)
    got = evolve(glaciers, YEARS, Prescribed(smb), delta_h=functions(glaciers)).compute(scheduler="synchronous")
    for i, rgi_id in enumerate(glaciers["rgi_id"].values):
        one = packing.glacier(glaciers, rgi_id)
        from alpgm_dask.delta_h import functions_for

        own = functions_for(glaciers[["rgi_id", "area"]].isel(glacier=[i]), functions(glaciers))
        n = int(own["n_nodes"][0])
        alone = evolve_geometry(
            one["ice_thickness"], one["surface_elevation"], smb,
            own["normalized_elevation"].values[0, :n], own["delta_h"].values[0, :n], float(one["pixel_area"]),
        )  # fmt: skip
        for name in ("area", "volume", "mean_elevation", "max_thickness", "mass_residual"):
            np.testing.assert_array_equal(got[name][0, i], alone[name], err_msg=f"{rgi_id} {name}")


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(50, 2000), st.integers(50, 2000), st.randoms())
def test_neighbours_blocks_and_members_change_no_bit(seed, some, other, random):
    one = made_region(seed=seed, target_pixels=some)
    forcing = aligned_forcing(one, YEARS, members=3, seed=seed)
    forcing = forcing.assign_coords(rgi_id=one["rgi_id"])
    chosen = sorted(random.sample(range(12), 7))
    two = packing.select(made_region(seed=seed, target_pixels=other), np.array(chosen), other)
    position = [list(one["rgi_id"].values).index(i) for i in two["rgi_id"].values]
    order = random.sample(range(3), 3)
    abc = np.array(list("abc"))
    members, others = (xr.Dataset(coords={"member": names}) for names in (abc, abc[order]))
    a = evolve(one, YEARS, FromPredictors(forcing, WHOLE), members=members, settings=KEEP)
    there = forcing.isel(glacier=position, member=order).drop_vars("rgi_id")
    b = evolve(two, YEARS, FromPredictors(there, WHOLE), members=others, settings=KEEP)
    a, b = by_id(a.compute(scheduler="synchronous")), by_id(b.compute(scheduler="synchronous"))
    assert_same_bits(a.sel(glacier=b["glacier"].values, member=b["member"].values), b)


def test_workers_change_no_bit(client):
    glaciers = made_region(n=20, target_pixels=200)
    forcing = aligned_forcing(glaciers, YEARS)
    members = xr.Dataset(coords={"member": ["a", "b"]})
    options = {"members": members, "delta_h": functions(glaciers), "settings": KEEP}
    lazy = evolve(glaciers, YEARS, FromPredictors(forcing, WHOLE), **options)
    here = lazy.compute(scheduler="synchronous")
    there = client.compute(lazy).result()
    assert_same_bits(here, there)


def oracle_region(files, target_pixels):
    """The oracle's glaciers of one case as a packed dataset, with their functions."""
    pixels, attributes, own = [], [], []
    for path in files:
        z = np.load(path)
        ice = ~z["thk0_mask"] & (z["thk0_data"] > 0)
        size = np.sqrt(float(z["pixel_area"]) * 1e6)
        coords = {"y": 5e6 - size * (np.arange(ice.shape[0]) + 0.5), "x": 3e5 + size * (np.arange(ice.shape[1]) + 0.5)}
        h = xr.DataArray(np.where(ice, z["thk0_data"], 0.0), coords, ("y", "x")).rio.write_crs(32632)
        one = raster.glacier_pixels(h, xr.DataArray(z["dem0"].astype("float64"), coords, ("y", "x")))
        pixels.append(one)
        attributes.append(one.drop_dims("pixel").drop_vars("spatial_ref", errors="ignore"))
        own.append((z["dh_dem"], z["dh_dh"]))
    ids = np.array([str(int(np.load(path)["rgi"])) for path in files], dtype=object)
    table = xr.concat(attributes, "glacier").assign_coords(rgi_id=("glacier", ids))
    for name in ("lon", "lat", "aspect"):
        table[name] = ("glacier", np.zeros(ids.size))
    width = max(nodes.size for nodes, _ in own)
    pad = [[np.pad(v, (0, width - v.size), constant_values=np.nan) for v in pair] for pair in own]
    functions = xr.Dataset(
        {
            "normalized_elevation": (("glacier", "node"), np.stack([p[0] for p in pad])),
            "delta_h": (("glacier", "node"), np.stack([p[1] for p in pad])),
        },
        coords={"rgi_id": ("glacier", ids)},
    )
    return packing.pack(table, pixels, target_pixels), functions


@pytest.mark.real
@pytest.mark.parametrize("case", [1, 2, 3])
def test_oracle_through_blocks_and_workers(geometry_oracle, client, case):
    files = [path for path in geometry_oracle if path.name.startswith(f"case{case}_")]
    assert len(files) == 29
    glaciers, own = oracle_region(files, 30_000)
    assert len(packing.blocks(glaciers)) > 2
    smb = max((np.load(path)["smb"] for path in files), key=len)
    years = np.arange(1, smb.size + 1)
    lengths = sorted({np.load(path)["area"].size for path in files})
    how = Settings(mass_conserving=False, thickness_years=tuple(lengths))
    lazy = evolve(glaciers, years, Prescribed(smb), settings=how, delta_h=own)
    got = client.compute(lazy).result()
    for path in files:
        z = np.load(path)
        n = z["area"].size
        one = packing.glacier(got, path.stem.split("_")[1]).isel(member=0).sel(thickness_year=n)
        ice = ~z["thk0_mask"] & (z["thk0_data"] > 0)
        assert_equals_oracle(z, ice, float(z["pixel_area"]) * 1e6, one.isel(hydro_year=slice(0, n)), path.name)


def test_vanished_and_failed_are_a_status_and_touch_nobody_else():
    glaciers = made_region(n=8)
    forcing = aligned_forcing(glaciers, YEARS, members=1)
    good = evolve(glaciers, YEARS, FromPredictors(forcing, MODEL)).compute()
    forcing["predictors"][0, 10, 3, 0] = np.nan
    broken = glaciers.copy()
    h = broken["ice_thickness"].values.copy()
    h[int(broken["row_start"][5])] = np.nan
    broken["ice_thickness"] = ("pixel", h)
    inside = np.ones(h.size, dtype="int8")
    start, size = int(broken["row_start"][6]), int(broken["row_size"][6])
    inside[start : start + size] = 0
    broken["inside_outline"] = ("pixel", inside)
    broken = broken.chunk(pixel=int(broken.attrs["block_pixels"]))
    how = Settings(clip_to_outline=True)
    got = evolve(broken, YEARS, FromPredictors(forcing, MODEL), settings=how).compute()
    status, failure = got["status"].values[0], got["failure"].values[0]
    assert [STATUS[s] for s in status[[3, 5, 6]]] == ["failed"] * 3
    assert [FAILURE[f] for f in failure[[3, 5, 6]]] == ["forcing_not_finite", "ice_not_finite", "no_ice"]
    np.testing.assert_array_equal(got["area"][0, 3, :10], good["area"][0, 3, :10])
    assert np.isnan(got["area"][0, 3, 10:]).all()
    others = [0, 1, 2, 4, 7]
    np.testing.assert_array_equal(got["volume"][0, others], good["volume"][0, others])
    gone = good["status"].values[0] == STATUS.index("vanished")
    assert gone.any()
    assert (good["volume"].values[0, gone, -1] == 0).all()
    assert np.isnan(good["smb"].values[0, gone, -1]).all()
    assert (good["vanished_year"].values[0, gone] > 2000).all()
    assert (good["vanished_year"].values[0, ~gone] == 0).all()


def test_mean_and_spread_of_the_models():
    glaciers = made_region(n=3)
    got = evolve(glaciers, YEARS, FromPredictors(aligned_forcing(glaciers, YEARS, 1), MODEL)).compute()
    spread = got["smb_spread"].values[0]
    np.testing.assert_allclose(spread[np.isfinite(spread)], 0.1, atol=1e-12)


def test_every_member_of_the_models_is_kept_where_asked_for():
    glaciers = made_region(n=5)
    forcing = aligned_forcing(glaciers, YEARS, 2)
    members = xr.Dataset(coords={"member": ["a", "b"]})
    got = evolve(glaciers, YEARS, FromPredictors(forcing, WHOLE), members=members, settings=KEEP).compute()
    each = got["smb_members"]
    assert each.dims == ("member", "smb_member", "glacier", "hydro_year") and each.dtype == np.float32
    assert each.sizes["smb_member"] == 20 and got["smb_member"].values.tolist() == list(range(20))
    np.testing.assert_allclose(each.mean("smb_member"), got["smb"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(each.std("smb_member"), got["smb_spread"], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(each).any("smb_member"), np.isnan(got["smb"]))
    without = evolve(glaciers, YEARS, FromPredictors(forcing, WHOLE), members=members)
    assert not {"smb_members", "smb_member", "extrapolation"} & set(without.variables)
    assert_same_bits(without.compute(), got)
    with pytest.raises(InputError, match="smb_members: 3 are to be kept; the model has 20"):
        evolve(glaciers, YEARS, FromPredictors(forcing, WHOLE), settings=Settings(smb_members=3)).compute()


def test_extrapolation_counts_features_outside_of_the_training_range():
    """In the first year, whose topography is that of the start, by hand; never of a glacier that is gone."""
    glaciers = made_region(n=12)
    forcing = aligned_forcing(glaciers, YEARS, 1)
    forcing["predictors"] = forcing["predictors"] + xr.DataArray([600.0, 0, 0], dims="predictor")
    got = evolve(glaciers, YEARS, FromPredictors(forcing, WHOLE), settings=KEEP).compute()
    flag = got["extrapolation"]
    assert flag.dtype == np.uint8 and flag.max() > 3 and flag.attrs["units"] == "1"
    start = evolve(glaciers, YEARS[:1], Prescribed(np.zeros(1))).compute().isel(member=0, hydro_year=0)
    topography = {name: start[name].values for name in ("mean_elevation", "max_elevation", "tongue_slope", "area")}
    topography |= {name: glaciers[name].values for name in ("lon", "lat", "aspect")}
    anomalies = forcing["predictors"].values[0, 0] - forcing["reference"].values
    rows = feature_matrix(WHOLE.recipe, anomalies, topography, forcing["regional_anomaly"].values[0, 0])
    np.testing.assert_array_equal(flag[0, :, 0], ((rows < LOW) | (rows > HIGH)).sum(axis=1))
    wide = Model(WHOLE.recipe, WHOLE.predict, low=LOW - 1e9, high=HIGH + 1e9)
    none = evolve(glaciers, YEARS, FromPredictors(forcing, wide), settings=KEEP).compute()
    assert (none["extrapolation"] == 0).all()
    gone = (got["vanished_year"].values[0] > 0) & (got["vanished_year"].values[0] < YEARS[-1])
    assert gone.any() and (flag.values[0, gone, -1] == 0).all()


def test_the_regions_climate_reaches_every_glacier_and_its_absence_is_refused():
    glaciers, plain = made_region(n=4), Model(WHOLE.recipe, WHOLE.predict)
    forcing = aligned_forcing(glaciers, YEARS, 1)
    warmer = forcing.copy()
    warmer["regional_anomaly"] = forcing["regional_anomaly"] + xr.DataArray([100.0, 0, 0], dims="predictor")
    base, other = (evolve(glaciers, YEARS[:1], FromPredictors(f, plain)).compute() for f in (forcing, warmer))
    np.testing.assert_allclose(other["smb"] - base["smb"], -np.mean(0.1 / np.linspace(0.7, 1.3, 20)))
    with pytest.raises(InputError, match="'regional_anomaly' is missing; recipe 'standard-seasonal-regional' needs it"):
        evolve(glaciers, YEARS, FromPredictors(forcing.drop_vars("regional_anomaly"), WHOLE)).compute()


def test_losses_of_every_member_are_scaled_before_their_mean():
    """In the first year, in which geometry is the same: members below 0 by the glacier's factor, others not at all."""
    glaciers = made_region(n=6)
    forcing = aligned_forcing(glaciers, YEARS[:1], 1)
    plain = Model(WHOLE.recipe, WHOLE.predict)
    off = evolve(glaciers, YEARS[:1], FromPredictors(forcing, plain), settings=Settings(smb_members=20)).compute()
    factors = {"g01": 0.5, "g04": 1.2, "elsewhere": 9.0}
    on = evolve(
        glaciers, YEARS[:1], FromPredictors(forcing, plain.corrected(factors)), settings=Settings(smb_members=20)
    ).compute()
    scale = np.array([factors.get(i, 1.0) for i in glaciers["rgi_id"].values])
    want = off["smb_members"].values[0, :, :, 0]
    want = np.where(want < 0, want * scale, want)
    assert (want < 0).any() and (scale != 1).sum() == 2
    np.testing.assert_allclose(on["smb_members"].values[0, :, :, 0], want, rtol=1e-6)
    np.testing.assert_allclose(on["smb"].values[0, :, 0], want.mean(axis=0), rtol=1e-6)


def test_elevation_feedback_makes_thinning_faster_and_can_be_off():
    glaciers = made_region(n=6, seed=4)
    forcing = aligned_forcing(glaciers, YEARS, 1)
    on = evolve(glaciers, YEARS, FromPredictors(forcing, MODEL)).compute()
    off = evolve(glaciers, YEARS, FromPredictors(forcing, Model(MODEL.recipe, MODEL.predict, False))).compute()
    np.testing.assert_array_equal(off["cpdd"].values[0, :, 0], on["cpdd"].values[0, :, 0])
    np.testing.assert_array_equal(off["cpdd"].values[0, :, 1], forcing["predictors"].values[0, 1, :, 0])
    sunk = on["mean_elevation"][0, :, 0] < off["mean_elevation"][0, :, 0] + 1e-9
    assert sunk.all()
    assert not np.array_equal(on["cpdd"].values[0, :, 5], off["cpdd"].values[0, :, 5])


def test_thickness_is_kept_at_chosen_years_and_becomes_a_raster():
    glaciers = made_region(n=4)
    how = Settings(thickness_years=(2005, 2010))
    got = evolve(glaciers, YEARS, Prescribed(np.full(YEARS.size, -0.85)), settings=how, fallback="flat").compute()
    image = raster.to_raster(got, "g02")
    assert image.dims == ("member", "thickness_year", "y", "x")
    before = raster.to_raster(glaciers, "g02")
    expected = np.where(before > 5.0, before - 5.0, np.nan)
    flat = float(glaciers["area"][2]) < 0.5e6
    assert flat
    conserved = np.nansum(image[0, 0]) * 1e4
    assert conserved == pytest.approx(float(got["volume"][0, 2, 4]))
    thin = np.nanmin(before) > 5.0
    if thin:
        np.testing.assert_allclose(image[0, 0], expected, atol=1e-5)


def test_bad_years_are_refused():
    glaciers = made_region(n=2)
    with pytest.raises(InputError, match="consecutive years"):
        tasks(glaciers, np.array([2001, 2003]), Prescribed(np.zeros(2)))
    with pytest.raises(InputError, match=r"thickness_years: \[1999\]"):
        tasks(glaciers, YEARS, Prescribed(np.zeros(30)), settings=Settings(thickness_years=(1999,)))
    with pytest.raises(InputError, match="fallback 'nonsense' is unknown"):
        evolve(glaciers, YEARS, Prescribed(np.zeros(30)), fallback="nonsense").compute()


def test_clipped_elevation_is_that_of_the_ice_inside():
    glaciers = made_region(n=5)
    inside = (glaciers["surface_elevation"].values > 2600).astype("int8")
    glaciers["inside_outline"] = ("pixel", inside)
    glaciers = glaciers.chunk(pixel=int(glaciers.attrs["block_pixels"]))
    with dask.config.set(scheduler=refuse):
        lazy = clipped_elevation(glaciers)
    for i, rgi_id in enumerate(glaciers["rgi_id"].values):
        one = packing.glacier(glaciers, rgi_id)
        surface = one["surface_elevation"].values.astype("float64")
        expected = surface[surface > 2600].mean() if (surface > 2600).any() else np.nan
        np.testing.assert_allclose(lazy.values[i], expected)
