"""Packing: every glacier once, in blocks that are chunks, and back out unchanged."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import small_region as small
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask import packing
from alpgm_dask.schema import InputError

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=30)
TARGET = st.integers(1, 200)


def pixels_of(number: int, size: int) -> xr.Dataset:
    """Pixels that say which glacier they are of: 1000 * number + 0, 1, 2, ..."""
    values = 1000 * number + np.arange(size)
    wrap = {"int8": number % 100}
    return xr.Dataset(
        {
            name: ("pixel", np.full(size, wrap[t]).astype(t) if t in wrap else values.astype(t))
            for name, t in packing.PIXEL_VARIABLES.items()
        }
    )


def packed(sizes: list[int], target: int) -> xr.Dataset:
    ids = np.array([f"RGI60-11.{i:05d}" for i in range(len(sizes))], dtype=object)
    attributes = xr.Dataset({"area": ("glacier", np.array(sizes) * 625.0)}, coords={"rgi_id": ("glacier", ids)})
    return packing.pack(attributes, [pixels_of(i, n) for i, n in enumerate(sizes)], target)


def assert_whole(ds: xr.Dataset, sizes: list[int], numbers: list[int]) -> None:
    """Every glacier of `numbers` has its own pixels in every variable, and nothing else is there."""
    ds = ds.compute()
    assert sorted(ds["rgi_id"].values) == sorted(f"RGI60-11.{i:05d}" for i in numbers)
    for i in numbers:
        one, expected = packing.glacier(ds, f"RGI60-11.{i:05d}"), pixels_of(i, sizes[i])
        assert one["area"] == sizes[i] * 625.0
        for name in packing.PIXEL_VARIABLES:
            np.testing.assert_array_equal(one[name].values, expected[name].values, err_msg=name)
    padding = np.ones(ds.sizes["pixel"], dtype=bool)
    for start, size in zip(ds["row_start"].values, ds["row_size"].values, strict=True):
        padding[start : start + size] = False
    assert np.isnan(ds["ice_thickness"].values[padding]).all()
    assert (ds["inside_outline"].values[padding] == 0).all()


# -- the plan -----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(SIZES, TARGET)
def test_plan_deals_every_glacier_once_into_balanced_blocks(sizes, target):
    plan = packing.plan_blocks(np.array(sizes), target)
    assert sorted(plan.order) == list(range(len(sizes)))
    assert plan.row_size.tolist() == [sizes[g] for g in plan.order]
    dealt = np.concatenate([plan.members(b) for b in range(plan.n_blocks)])
    assert dealt.tolist() == plan.order.tolist()
    counts = [plan.members(b).size for b in range(plan.n_blocks)]
    assert all(n == plan.block_glaciers for n in counts[:-1]) and 0 < counts[-1] <= plan.block_glaciers
    first = plan.row_start[:: plan.block_glaciers]
    assert first.tolist() == [b * plan.block_pixels for b in range(plan.n_blocks)]
    for b in range(plan.n_blocks):
        rows = slice(b * plan.block_glaciers, (b + 1) * plan.block_glaciers)
        start, size = plan.row_start[rows], plan.row_size[rows]
        assert (start[1:] == start[:-1] + size[:-1]).all()
        assert start[-1] + size[-1] <= (b + 1) * plan.block_pixels
        assert (np.diff(plan.members(b)) > 0).all()


@settings(max_examples=200, deadline=None)
@given(SIZES, TARGET)
def test_blocks_are_balanced_in_pixels(sizes, target):
    plan = packing.plan_blocks(np.array(sizes), target)
    assert plan.block_pixels <= sum(sizes) / plan.n_blocks + max(sizes)


def test_plan_of_numbers_in_the_head():
    plan = packing.plan_blocks(np.array([9, 1, 1, 9, 5, 5]), target_pixels=10)
    assert plan.n_blocks == 3 and plan.block_glaciers == 2 and plan.block_pixels == 10
    assert sorted(sorted(plan.members(b).tolist()) for b in range(3)) == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("sizes", [[], [3, 0, 2]])
def test_a_glacier_without_pixels_is_refused(sizes):
    with pytest.raises(InputError, match=r"row_size: every glacier needs at least one pixel, given \["):
        packing.plan_blocks(np.array(sizes, dtype=int))


# -- packed, selected, back ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SIZES, TARGET)
def test_pack_keeps_every_pixel(sizes, target):
    ds = packed(sizes, target)
    assert_whole(ds, sizes, list(range(len(sizes))))
    found = packing.blocks(ds)
    assert [b.pixels.start for b in found] == [sum(ds.chunks["pixel"][:i]) for i in range(len(found))]
    assert [b.glaciers.start for b in found] == [sum(ds.chunks["glacier"][:i]) for i in range(len(found))]
    assert len(set(ds.chunks["pixel"])) == 1


@settings(max_examples=40, deadline=None)
@given(SIZES, TARGET, TARGET, st.data())
def test_selection_keeps_every_pixel(sizes, target, target_again, data):
    ds = packed(sizes, target)
    positions = data.draw(st.permutations(range(len(sizes))))[: data.draw(st.integers(1, len(sizes)))]
    numbers = [int(ds["rgi_id"].values[p][-5:]) for p in positions]
    chosen = packing.select(ds, np.array(positions), target_again)
    assert_whole(chosen, sizes, numbers)
    again = packing.select(chosen, np.arange(len(numbers))[::-1], target)
    assert_whole(again, sizes, numbers)


def test_selection_of_all_is_the_same_object():
    ds = packed([3, 1, 2], 4)
    assert packing.select(ds, np.arange(3)) is ds
    assert packing.select(ds, np.array([2, 1, 0])) is not ds


def test_selection_reads_attributes_and_no_pixels():
    ds = small.attributes_loaded(packed([3, 1, 2, 5], 6))
    with dask.config.set(scheduler=small.no_compute):
        chosen = packing.select(ds, np.array([0, 2]), 5)
        one = packing.glacier(chosen, str(chosen["rgi_id"].values[0]))
    assert all(chosen[name].chunks is not None for name in packing.PIXEL_VARIABLES)
    assert one["ice_thickness"].chunks is not None
    assert chosen["area"].chunks is None
    assert chosen.attrs["block_pixels"] == chosen.chunks["pixel"][0]


def test_units_and_ragged_layout_are_stated():
    ds = packed([3, 1], 4)
    assert ds["ice_thickness"].attrs["units"] == "m"
    assert ds["row_size"].attrs["sample_dimension"] == "pixel"
    assert {name: str(ds[name].dtype) for name in packing.PIXEL_VARIABLES} == packing.PIXEL_VARIABLES


def test_template_is_lazy_and_has_the_shape_of_what_is_packed():
    sizes = [3, 1, 2]
    plan = packing.plan_blocks(np.array(sizes), 3)
    ids = np.array(["a", "b", "c"], dtype=object)
    with dask.config.set(scheduler=small.no_compute):
        out = packing.template(xr.Dataset(coords={"rgi_id": ("glacier", ids)}), plan)
    assert out.sizes["pixel"] == plan.n_blocks * plan.block_pixels
    assert out["rgi_id"].values.tolist() == [ids[g] for g in plan.order]
    assert out.chunks["pixel"] == (plan.block_pixels,) * plan.n_blocks


def test_other_variables_are_packed_and_selected_as_well():
    sizes, variables = [3, 1, 2], packing.ELEVATION_VARIABLES
    ids = np.array(["a", "b", "c"], dtype=object)
    values = [1000.0 * i + np.arange(n) for i, n in enumerate(sizes)]
    pixels = [xr.Dataset({name: ("pixel", v.astype(t)) for name, t in variables.items()}) for v in values]
    ds = packing.pack(xr.Dataset(coords={"rgi_id": ("glacier", ids)}), pixels, 3, variables)
    chosen = packing.select(ds.assign_attrs(first_survey="1979"), np.array([2, 0]), 3)
    assert {str(name) for name, v in chosen.data_vars.items() if v.dims == ("pixel",)} == set(variables)
    assert chosen["elevation_change"].dtype == "float32" and chosen["elevation_change"].attrs["units"] == "m"
    assert chosen.attrs["first_survey"] == "1979"
    np.testing.assert_array_equal(packing.glacier(chosen, "c")["elevation_change"], values[2])


# -- refused ------------------------------------------------------------------------------------------------


def test_unknown_glacier_gives_the_nearest_identifiers():
    ds = packed([1, 2, 3], 10)
    with pytest.raises(InputError, match=r"rgi_id: unknown glacier 'RGI60-11.0002'.*RGI60-11.00002"):
        packing.glacier(ds, "RGI60-11.0002")


def test_what_is_not_packed_is_refused():
    ds = packed([1, 2], 10)
    for key in ("block_glaciers", "block_pixels"):
        broken = ds.assign_attrs()
        broken.attrs = {k: v for k, v in ds.attrs.items() if k != key}
        with pytest.raises(InputError, match=f"attribute '{key}' is missing: not a packed store"):
            packing.blocks(broken)
