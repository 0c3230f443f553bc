"""Functions of a region: fitted block by block, chosen with a reason, used by a run, kept in a catalog, drawn."""

from __future__ import annotations

import re

import dask
import numpy as np
import pytest
import xarray as xr
from small_region import attributes_loaded, no_compute

from alpgm_dask import catalog, delta_h, evolution, packing, plots, store, surveys
from alpgm_dask.cli import main
from alpgm_dask.demo.elevations import thinning_pattern
from alpgm_dask.ingest import make_delta_h
from alpgm_dask.kernels.delta_h import huss2010
from alpgm_dask.schema import DELTA_H_REASON, DELTA_H_SOURCE, InputError

OWN = DELTA_H_SOURCE.index("own")


@pytest.fixture(scope="module")
def demo_surveys(demo_catalog):
    return catalog.open_catalog(demo_catalog).read("elevation_models")


@pytest.fixture(scope="module")
def demo_fits(demo_surveys):
    return delta_h.fit_region(demo_surveys).compute(scheduler="synchronous")


# -- fitting ------------------------------------------------------------------------------------------------


def test_building_the_graphs_computes_nothing(demo_surveys, demo_fits):
    ready, known = attributes_loaded(demo_surveys), demo_surveys.drop_dims("pixel").compute()
    with dask.config.set(scheduler=no_compute):
        fits = delta_h.fit_region(ready)
        assert fits["delta_h"].chunks[0] == demo_surveys["rgi_id"].chunks[0]
        lazy = {name: demo_fits[name].chunk(glacier=16) for name in ("delta_h", "delta_h_spread", "held_out_error")}
        chosen = delta_h.choose(demo_fits.assign(lazy), known)
        assert chosen["delta_h"].chunks is not None


def test_the_law_of_the_demo_is_found_much_closer_than_by_size_classes(demo_surveys, demo_fits):
    true = thinning_pattern(delta_h.NODES[None], demo_surveys["thinning_exponent"].values[:, None])
    errors = np.sqrt(np.mean((demo_fits["delta_h"].values - true) ** 2, axis=1))
    of_classes = np.sqrt(np.mean((huss2010(delta_h.NODES, demo_surveys["area"].values) - true) ** 2, axis=1))
    assert np.median(errors) < 0.03 and np.median(errors) < 0.3 * np.median(of_classes)
    off = np.abs(demo_fits["greatest_change"] / demo_surveys["terminus_change"].values - 1)
    assert float(off.median()) < 0.05
    within = np.abs(demo_fits["delta_h"].values - true) <= 2 * demo_fits["delta_h_spread"].values + 1e-3
    assert within.mean() > 0.7


def test_a_block_changes_no_bit(demo_surveys, demo_fits):
    some = packing.select(demo_surveys, np.array([5, 0, 17, 60]), target_pixels=1000)
    again = delta_h.fit_region(some).compute(scheduler="synchronous").set_xindex("rgi_id")
    whole = demo_fits.set_xindex("rgi_id").sel(rgi_id=again["rgi_id"].values)
    for name in ("delta_h", "delta_h_spread", *delta_h.QUALITY):
        np.testing.assert_array_equal(again[name].values, whole[name].values, err_msg=name)


def test_one_glacier_of_a_region_is_the_function_of_its_arrays(demo_surveys, demo_fits):
    one = packing.glacier(demo_surveys, str(demo_surveys["rgi_id"].values[3])).compute()
    alone = delta_h.fit(
        one["surface_elevation"], one["elevation_change"], x=one["x"].values, y=one["y"].values, area=float(one["area"])
    )
    for name in ("delta_h", "held_out_error", "class_error"):
        np.testing.assert_array_equal(alone[name].values, demo_fits[name].isel(glacier=3).values)


def test_what_is_no_survey_is_refused(demo_surveys):
    with pytest.raises(InputError, match="method 'spline' is unknown; allowed: monotone, published"):
        delta_h.fit_region(demo_surveys, method="spline")
    with pytest.raises(InputError, match=r"surveys: variable 'elevation_change' is missing"):
        delta_h.fit_region(demo_surveys.drop_vars("elevation_change"))
    feet = demo_surveys.assign(elevation_change=demo_surveys["elevation_change"].assign_attrs(units="ft"))
    with pytest.raises(InputError, match=r"'elevation_change' has units 'ft', allowed: 'm'"):
        delta_h.fit_region(feet)


def test_a_glacier_that_cannot_be_fitted_is_a_reason_and_no_crash(demo_surveys):
    start, size = (demo_surveys[name].values[:3] for name in ("row_start", "row_size"))
    change = demo_surveys["elevation_change"].values.copy()
    change[start[0] : start[0] + size[0]] = np.nan
    change[start[1] : start[1] + size[1]] = 90.0
    change[start[2] + 1 : start[2] + size[2]] = np.nan
    broken = demo_surveys.assign(elevation_change=demo_surveys["elevation_change"].copy(data=change))
    fits = delta_h.fit_region(packing.select(broken.chunk(pixel=broken.attrs["block_pixels"]), np.arange(3)))
    fits = fits.compute(scheduler="synchronous")
    reasons = [DELTA_H_REASON[code] for code in fits["delta_h_reason"].values]
    assert reasons == ["not_surveyed", "cloud", "few_pixels"]
    assert np.isnan(fits["delta_h"]).all()


# -- choosing -----------------------------------------------------------------------------------------------


def some_fits(**changed) -> xr.Dataset:
    """Five glaciers of massif A and one of B, all with the function z; good unless `changed` says so."""
    n = 6
    good = {
        "pixels": 100.0,
        "pixels_used": 90.0,
        "share_covered": 0.9,
        "residual_spread": 5.0,
        "held_out_error": 6.0,
        "class_error": 8.0,
        "greatest_change": -30.0,
        "lowest_elevation": 2000.0,
        "highest_elevation": 3000.0,
    }
    out = xr.Dataset(
        {name: ("glacier", np.array(changed.get(name, [value] * n), dtype=float)) for name, value in good.items()},
        coords={"normalized_elevation": [0.0, 0.5, 1.0]},
    )
    out["delta_h"] = (("glacier", "normalized_elevation"), np.tile([0.0, 0.5, 1.0], (n, 1)))
    out["delta_h_spread"] = (("glacier", "normalized_elevation"), np.full((n, 3), 0.05))
    out["delta_h_reason"] = ("glacier", np.array(changed.get("delta_h_reason", [0] * n), dtype="int8"))
    return out.assign(known(n).variables).set_coords("rgi_id").chunk(glacier=2)


def known(n: int, area: float = 1e6) -> xr.Dataset:
    massif = np.array([*"AAAAAB", "A", "C"][:n], dtype=object)
    ids = np.array([f"G{i}" for i in range(n)], dtype=object)
    return xr.Dataset(
        {"rgi_id": ("glacier", ids), "massif": ("glacier", massif), "area": ("glacier", np.full(n, area))}
    )


def words(chosen: xr.Dataset) -> list[tuple[str, str]]:
    codes = zip(chosen["delta_h_source"].values, chosen["delta_h_reason"].values, strict=True)
    return [(DELTA_H_SOURCE[source], DELTA_H_REASON[reason]) for source, reason in codes]


def test_the_first_function_that_may_serve_is_chosen_and_the_reason_kept():
    fits = some_fits(
        share_covered=[0.9, 0.9, 0.9, 0.4, 0.9, 0.9],
        greatest_change=[-30, -30, -30, -30, -2, -30],
        class_error=[8, 8, 8, 8, 8, 5],
    )
    glaciers = known(8)
    glaciers["area"][7] = np.nan
    chosen = delta_h.choose(fits, glaciers).compute(scheduler="synchronous")
    assert words(chosen) == [
        *[("own", "fitted")] * 3,
        ("massif", "little_coverage"),
        ("massif", "no_thinning"),
        ("huss2010", "worse_than_size_class"),  # one glacier of B is no mean
        ("massif", "not_surveyed"),
        ("flat", "not_surveyed"),
    ]
    np.testing.assert_allclose(chosen["delta_h"][3], [0.0, 0.5, 1.0])
    np.testing.assert_allclose(chosen["delta_h"][5], huss2010(np.array([0.0, 0.5, 1.0]), [1e6])[0])
    np.testing.assert_array_equal(chosen["delta_h"][7], [1.0, 1.0, 1.0])
    np.testing.assert_allclose(chosen["delta_h_spread"][0], 0.05)
    np.testing.assert_allclose(chosen["delta_h_spread"][3], 0.0)  # its three glaciers have one function
    np.testing.assert_allclose(
        chosen["delta_h_spread"][5], [0.0, 0.25, 0.0], atol=1e-12
    )  # 0.5, and 0.25 by the size class
    np.testing.assert_allclose(chosen["delta_h_spread"][7], delta_h.DEFAULT_SPREAD)


def test_a_function_that_nothing_proves_is_not_used():
    errors = [6, np.nan, 6, 6, 6, 6]
    chosen = delta_h.choose(some_fits(held_out_error=errors), known(6)).compute(scheduler="synchronous")
    assert words(chosen)[1] == ("massif", "few_pixels")


def test_an_unfitted_reason_goes_through_and_order_does_not_matter():
    cloud = DELTA_H_REASON.index("cloud")
    fits = some_fits(delta_h_reason=[0, 0, 0, 0, cloud, 0])
    order = np.array([4, 5, 0, 3, 2, 1])
    forth = delta_h.choose(fits, known(6)).compute(scheduler="synchronous")
    back = delta_h.choose(fits, known(6).isel(glacier=order)).compute(scheduler="synchronous")
    assert words(forth)[4] == ("massif", "cloud")
    xr.testing.assert_identical(forth.isel(glacier=order), back)


# -- what a run asks ----------------------------------------------------------------------------------------


def test_a_common_grid_serves_as_nodes_do_and_carries_spread_and_source():
    chosen = delta_h.choose(some_fits(), known(7)).compute(scheduler="synchronous")
    found = delta_h.functions_for(known(7), chosen)
    assert found["delta_h_source"].values.tolist() == ["own"] * 6 + ["massif"]
    at_end = int(found["n_nodes"][0]) - 1
    assert at_end == 2 and found["delta_h"].values[0, :3].tolist() == [0.0, 0.5, 1.0]
    nodes = chosen.rename(normalized_elevation="node").drop_vars("node")
    grid = np.tile([0.0, 0.5, 1.0], (7, 1))
    nodes = nodes.assign(normalized_elevation=(("glacier", "node"), grid))
    for shift in (0.0, 1.0, -2.0):
        one, other = (delta_h.functions_for(known(7), own, shift=shift) for own in (chosen, nodes))
        np.testing.assert_array_equal(one["delta_h"], other["delta_h"])
    moved = delta_h.functions_for(known(7), chosen, shift=2.0)["delta_h"].values[0, :3]
    np.testing.assert_allclose(moved, [0.1, 0.6, 1.0])


def test_a_store_of_functions_is_used_by_evolution_as_it_is(demo_catalog, demo_surveys, demo_fits, tmp_path):
    glaciers = catalog.open_catalog(demo_catalog).read("glaciers")
    few = packing.select(glaciers, np.arange(4))
    url = str(tmp_path / "delta_h.zarr")
    with dask.config.set(scheduler="synchronous"):
        found = surveys.save_functions(demo_surveys, few.drop_dims("pixel"), url)
        years = np.arange(2016, 2021)
        by_store, by_class = (
            evolution.evolve(few, years, evolution.Prescribed(np.full(5, -1.0)), delta_h=own)["volume"].values
            for own in (found, None)
        )
    own = int((found["delta_h_source"] == OWN).sum())
    assert own >= 3 and surveys.outcome(found).startswith(f"{own} own")
    assert store.exists(surveys.fits_of(url)) and np.isfinite(by_store).all()
    assert not np.array_equal(by_store, by_class) or (few["area"].values < 5e5).all()


# -- kept in a catalog, and drawn ---------------------------------------------------------------------------


def test_alpgm_delta_h_keeps_functions_in_a_catalog(demo_catalog, tmp_path, capsys):
    figures = tmp_path / "figures"
    assert main(["delta-h", str(demo_catalog), "--name", "fitted", "--figures", str(figures), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    own = int(re.search(r"fitted: (\d+) own", said)[1])
    assert own >= 110
    assert len(list(figures.glob("*.png"))) == 5  # a map, and four massifs
    opened = catalog.open_catalog(demo_catalog)
    found = opened.read("fitted")
    assert found.sizes == {"glacier": 119, "normalized_elevation": 201}
    assert np.isfinite(found["delta_h_spread"].values).all()
    lines: list[str] = []
    make_delta_h(demo_catalog, "fitted", say=lines.append)
    assert lines[0] == "fitted: unchanged, skipped"
    with pytest.raises(InputError, match="made from other surveys, glaciers, settings or code; allowed: --overwrite"):
        make_delta_h(demo_catalog, "fitted", method="published", say=lines.append)
    before = store.attributes(str(demo_catalog.parent / "fitted.zarr"))
    with pytest.raises(InputError, match=r"plausible: \(20, -160\); allowed: a negative and a positive number"):
        make_delta_h(demo_catalog, "fitted", plausible=(20, -160), overwrite=True, say=lines.append)
    assert store.attributes(str(demo_catalog.parent / "fitted.zarr")) == before
    with pytest.raises(InputError, match="--name 'glaciers' is what they are made of"):
        make_delta_h(demo_catalog, "glaciers", say=lines.append)


def test_surveys_alone_are_enough_for_their_own_glaciers(demo_surveys, tmp_path):
    few = packing.select(demo_surveys, np.arange(3)).compute(scheduler="synchronous")
    store.write(few.chunk(pixel=few.attrs["block_pixels"]), str(tmp_path / "elevation_models.zarr"))
    path = tmp_path / "catalog.yaml"
    catalog.write_catalog(path, {"elevation_models": catalog.Entry("zarr", "{CATALOG_DIR}/elevation_models.zarr")})
    with dask.config.set(scheduler="synchronous"):
        make_delta_h(path, "functions", say=lambda line: None)
    found = catalog.open_catalog(path).read("functions")
    assert found["rgi_id"].values.tolist() == few["rgi_id"].values.tolist()


def test_massifs_of_like_names_have_pages_of_their_own(demo_surveys, demo_fits, tmp_path):
    glaciers = demo_surveys.drop_dims("pixel").compute().isel(glacier=slice(0, 4))
    glaciers["massif"] = ("glacier", np.array(["Mont Blanc", "Mont-Blanc", "sources", ""], dtype=object))
    glaciers["subregion"] = ("glacier", np.array([""] * 4, dtype=object))
    chosen = delta_h.choose(demo_fits, glaciers).compute(scheduler="synchronous")
    paths = surveys.draw_functions(demo_surveys, chosen, tmp_path)
    assert sorted(p.stem for p in paths) == ["elsewhere", "mont_blanc", "mont_blanc_2", "sources", "sources_2"]
    assert all(path.exists() for path in paths)


def test_a_clouded_glacier_is_drawn_on_the_scale_of_ice(demo_surveys, demo_fits):
    chosen = delta_h.choose(demo_fits, demo_surveys.drop_dims("pixel")).compute(scheduler="synchronous")
    unfit = chosen.isel(glacier=[0]).assign(greatest_change=("glacier", [np.nan]))
    clouded = demo_surveys.assign(elevation_change=demo_surveys["elevation_change"] + 3000.0)
    page = plots.plot_delta_h(clouded, unfit)
    curve = page.axes[0].lines[1].get_ydata()
    low, high = page.axes[0].get_ylim()
    assert -100.0 < low < curve.min() <= curve.max() < high < 100.0


def test_pages_show_one_panel_for_each_glacier_and_the_map_says_how_many(demo_surveys, demo_fits):
    chosen = delta_h.choose(demo_fits.chunk(glacier=64), demo_surveys.drop_dims("pixel"))
    chosen = chosen.compute(scheduler="synchronous").isel(glacier=slice(0, 7))
    page = plots.plot_delta_h(demo_surveys, chosen, "Somewhere")
    assert sum(ax.axison for ax in page.axes) == 7
    assert "Somewhere: elevation change from 2000-08-20 to 2015-09-10" in page.get_suptitle()
    legend = plots.plot_delta_h_sources(chosen).axes[0].get_legend()
    counts = [int(re.search(r"\((\d+),", text.get_text())[1]) for text in legend.get_texts()]
    assert legend.get_texts()[0].get_text().startswith("own function (") and sum(counts) == 7
