"""Ensembles of ice thickness and delta-h functions: every variant is the run that it would be alone, to the bit."""

from __future__ import annotations

from dataclasses import replace

import dask
import numpy as np
import pytest
import small_region as small
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_evolution import KEEP, MODEL, WHOLE, YEARS, aligned_forcing, functions, made_region

from alpgm_dask import InputError, evolve, packing, store
from alpgm_dask.delta_h import DEFAULT_SPREAD, functions_for, shifted
from alpgm_dask.evolution import FromPredictors, Prescribed, Settings, assemble, tasks

# -- functions ----------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(arrays("float64", (3, 7), elements=st.floats(0, 1)), st.floats(-3, 3), st.floats(0, 0.5))
def test_a_shifted_function_is_one(curves, shift, spread):
    """From 0 to 1, 1 at most, rising and falling where it did; or zero, which stands for even thinning."""
    got = shifted(curves, spread, shift)
    assert ((got >= 0) & (got <= 1)).all()
    if shift != 0:
        assert np.isin(got.max(axis=1), [0.0, 1.0]).all()
    else:
        assert got is curves
    assert (np.diff(got, axis=1) * np.diff(curves, axis=1) >= 0).all()
    np.testing.assert_array_equal(got[(curves == 0).all(axis=1)], 0.0)


def test_functions_move_by_their_own_spread_where_they_have_one():
    """G1 has a function of its own, 0 at the top and 1 at the terminus; the others go by the default."""
    glaciers, own = small.glaciers(), small.delta_h()
    plain, up = functions_for(glaciers, own), functions_for(glaciers, own, shift=1.0)
    at = plain["rgi_id"].values.tolist().index("G1")
    assert up["delta_h"].values[at, :2].tolist() == [DEFAULT_SPREAD, 1.0] and np.isnan(up["delta_h"][at, 2:]).all()
    others = np.delete(np.arange(4), at)
    want = np.clip(plain["delta_h"].values[others] + DEFAULT_SPREAD, 0, 1)
    np.testing.assert_array_equal(up["delta_h"].values[others], want)
    own["delta_h_spread"] = (("glacier", "node"), np.array([[0.3, np.nan, np.nan]]))
    assert functions_for(glaciers, own, shift=1.0)["delta_h"].values[at, :2].tolist() == [0.3, 1.0]
    down = functions_for(glaciers, own, shift=-2.0)["delta_h"].values[at, :2]
    assert down.tolist() == [0.0, 1.0]  # 1 - 2 x 0.1, which is the largest value
    for name in plain.variables:
        np.testing.assert_array_equal(functions_for(glaciers, own, shift=0.0)[name], plain[name])
    assert functions_for(glaciers, own, shift=1.0)["n_nodes"].values.tolist() == plain["n_nodes"].values.tolist()


# -- the graph ----------------------------------------------------------------------------------------------

FACTORS, SHIFTS = (0.7, 1.0, 1.3), (-1.0, 0.0, 1.0)
NINE = Settings(thickness_factors=FACTORS, delta_h_shifts=SHIFTS)


def test_nine_variants_equal_nine_runs_of_changed_input_to_the_bit():
    """Thickness multiplied in the store, and functions shifted by hand and given as every glacier's own."""
    glaciers = made_region()
    forcing, own = aligned_forcing(glaciers, YEARS), functions(glaciers)
    members = xr.Dataset(coords={"member": ["a", "b"]})
    how = replace(KEEP, flat_below_area=1e4, thickness_years=(2003, 2020))
    options = {"source": FromPredictors(forcing, WHOLE), "members": members}
    together = replace(how, thickness_factors=FACTORS, delta_h_shifts=SHIFTS)
    got = evolve(glaciers, YEARS, settings=together, delta_h=own, **options).compute(scheduler="synchronous")
    assert got["area"].dims == ("member", "thickness_factor", "delta_h_shift", "glacier", "hydro_year")
    assert got["smb_members"].dims[:4] == ("member", "thickness_factor", "delta_h_shift", "smb_member")
    assert got["ice_thickness"].dims[1:] == ("thickness_factor", "delta_h_shift", "thickness_year", "pixel")
    assert got["thickness_factor"].attrs["units"] == got["delta_h_shift"].attrs["units"] == "1"
    for factor in FACTORS:
        scaled = glaciers.assign(ice_thickness=glaciers["ice_thickness"] * np.float32(factor))
        for shift in SHIFTS:
            moved = functions_for(glaciers, own, shift=shift)
            alone = evolve(scaled, YEARS, settings=how, delta_h=moved, **options).compute(scheduler="synchronous")
            one = got.sel(thickness_factor=factor, delta_h_shift=shift)
            for name in alone.data_vars:
                np.testing.assert_array_equal(one[name], alone[name], err_msg=f"{name} {factor} {shift}")
    last = got["volume"].isel(hydro_year=4).sum("glacier")
    assert (last.diff("thickness_factor") > 0).all() and len(np.unique(last)) == last.size


def test_what_is_taken_as_it_is_gives_no_dimension():
    glaciers = made_region(n=4)
    source = Prescribed(np.full(YEARS.size, -1.0))
    plain = evolve(glaciers, YEARS, source).compute()
    assert plain["area"].dims == ("member", "glacier", "hydro_year") and "thickness_factor" not in plain.coords
    thin = evolve(glaciers, YEARS, source, settings=Settings(thickness_factors=(0.7,))).compute()
    assert thin["status"].dims == ("member", "thickness_factor", "glacier")
    both = evolve(glaciers, YEARS, source, settings=Settings(delta_h_shifts=(1.0, 0.0))).compute()
    assert both["delta_h_shift"].values.tolist() == [1.0, 0.0]
    for name in plain.data_vars:
        np.testing.assert_array_equal(both.sel(delta_h_shift=0.0)[name], plain[name], err_msg=str(name))


def test_half_the_ice_is_half_the_volume_under_the_same_surface():
    glaciers = made_region(n=6)
    how = Settings(thickness_factors=(0.5, 1.0))
    got = evolve(glaciers, YEARS[:1], Prescribed(np.zeros(1)), settings=how).compute().isel(member=0, hydro_year=0)
    half, whole = (got.isel(thickness_factor=i) for i in (0, 1))
    np.testing.assert_array_equal(half["initial_volume"], whole["initial_volume"] / 2)
    for name in ("initial_area", "mean_elevation", "max_elevation", "tongue_slope"):
        np.testing.assert_array_equal(half[name], whole[name])


def test_an_ensemble_is_built_without_computing(tmp_path):
    store.write(made_region(), str(tmp_path / "g.zarr"))
    glaciers = store.open_store(str(tmp_path / "g.zarr"))
    forcing = aligned_forcing(glaciers, YEARS).chunk(glacier=4)
    members = xr.Dataset(coords={"member": ["a", "b"], "scenario": ("member", ["low", "high"])})
    with dask.config.set(scheduler=small.no_compute):
        lazy = evolve(glaciers, YEARS, FromPredictors(forcing, MODEL), members=members, settings=NINE)
    n = len(packing.blocks(glaciers))
    assert lazy["status"].data.numblocks == (2, 3, 3, n)
    made = tasks(glaciers, YEARS, FromPredictors(forcing, MODEL), settings=NINE, n_members=2)
    assert set(made) == set(np.ndindex(2, 3, 3, n))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thickness_factors": (1.0, 0.0)}, r"thickness_factors: \[1.0, 0.0\]; allowed: .* each once and above 0"),
        ({"thickness_factors": ()}, "one value or more"),
        ({"delta_h_shifts": (1.0, 1.0)}, "each once and finite"),
        ({"delta_h_shifts": (np.nan,)}, "each once and finite"),
    ],
)
def test_values_that_are_none_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Settings(**options)


def test_a_store_is_primed_as_the_graph_would_be():
    """Dimensions, chunks, types and attributes of what tasks fill, with and without an ensemble."""
    glaciers = made_region(n=6)
    members = xr.Dataset(coords={"member": ["a", "b"]})
    source = FromPredictors(aligned_forcing(glaciers, YEARS), WHOLE)
    for how in (replace(KEEP, thickness_years=(2003,)), NINE):
        graph = assemble(glaciers, YEARS, members, how, tasks(glaciers, YEARS, source, settings=how, n_members=2))
        empty = assemble(glaciers, YEARS, members, how)
        assert list(empty.variables) == list(graph.variables) and empty.attrs == graph.attrs
        for name, variable in graph.variables.items():
            same = ("dims", "dtype", "chunks", "attrs")
            assert [str(getattr(empty[name], a)) for a in same] == [str(getattr(variable, a)) for a in same], name
