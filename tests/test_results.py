"""Totals and tables: who counts, who is left out, and that nothing is computed before it is asked for."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import small_region as small
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask import results
from alpgm_dask.schema import FAILURE, STATUS, InputError

OK, VANISHED, FAILED, NOT_RUN = (STATUS.index(word) for word in ("ok", "vanished", "failed", "not_run"))


def make(status=((OK, OK, VANISHED, FAILED),) * 2) -> xr.Dataset:
    """Two members, four glaciers of 1, 2, 4, 8 km2 and as many km3, three years; halves every year in member b."""
    status = np.array(status, dtype="int8")
    n_members, n = status.shape
    start = 2.0 ** np.arange(n) * 1e6
    decay = np.array([[1.0, 1.0, 1.0], [0.5, 0.25, 0.125]])[:n_members]
    area = start[None, :, None] * decay[:, None, :]
    area[status == VANISHED, -1] = 0.0
    area[status == FAILED, 1:] = np.nan  # it fails in its second year
    area[status == NOT_RUN] = np.nan
    both = ("member", "glacier")
    return xr.Dataset(
        {
            "area": ((*both, "hydro_year"), area),
            "volume": ((*both, "hydro_year"), area * 1e3),
            "status": (both, status),
            "failure": (both, np.where(status == FAILED, FAILURE.index("no_ice"), 0).astype("int8")),
            "initial_area": (both, np.broadcast_to(start, status.shape)),
            "initial_volume": (both, np.broadcast_to(start * 1e3, status.shape)),
            "massif": ("glacier", np.array(["A", "A", "B", ""], dtype=object)[:n]),
            "subregion": ("glacier", np.array(["11-01"] * 4, dtype=object)[:n]),
            "name": ("glacier", np.array(["one", "two", "three", "four"], dtype=object)[:n]),
        },
        coords={
            "hydro_year": [2001, 2002, 2003],
            "rgi_id": ("glacier", np.array([f"G{i}" for i in range(n)], dtype=object)),
            "member": np.array(["a", "b"], dtype=object)[:n_members],
        },
    )


def test_group_is_the_massif_or_the_subregion():
    assert results.group_of(make()).values.tolist() == ["A", "A", "B", "11-01, elsewhere"]
    assert results.group_of(make().drop_vars("massif")).values.tolist() == ["11-01"] * 4
    assert results.group_of(make().drop_vars(["massif", "subregion"])).values.tolist() == ["all"] * 4
    typed = make()
    typed["massif"] = ("glacier", np.array(["A", "A", "B", ""], dtype=np.dtypes.StringDType()))
    assert results.group_of(typed).values.tolist() == ["A", "A", "B", "11-01, elsewhere"]


def test_totals_leave_failed_glaciers_out_in_every_year_and_say_how_much_that_is():
    total = results.regional_totals(make())
    assert total["area"].dims == ("member", "hydro_year")
    assert (total["area"].values / 1e6).tolist() == [[7, 7, 3], [3.5, 1.75, 0.375]]
    assert (total["volume"].values / 1e9).tolist() == [[7, 7, 3], [3.5, 1.75, 0.375]]
    assert (total["failed_area"].values / 1e6).tolist() == [8, 8]


def test_a_glacier_that_fails_under_one_member_counts_under_the_other():
    total = results.regional_totals(make(((OK, OK, OK, OK), (OK, OK, OK, FAILED))))
    assert (total["area"].isel(hydro_year=0).values / 1e6).tolist() == [15, 3.5]
    assert (total["failed_area"].values / 1e6).tolist() == [0, 8]


def test_totals_of_groups_add_up():
    ds = make()
    by = results.group_of(ds)
    groups = results.regional_totals(ds, by)
    assert groups["group"].values.tolist() == ["11-01, elsewhere", "A", "B"]
    assert (groups["area"].sel(member="a", group="B").values / 1e6).tolist() == [4, 4, 0]
    assert (groups["area"].sel(group="11-01, elsewhere").values == 0).all()
    xr.testing.assert_allclose(
        groups.sum("group").transpose(*groups["area"].dims[:0], ...), results.regional_totals(ds)
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([OK, VANISHED, FAILED]), min_size=1, max_size=4), st.data())
def test_groups_always_add_up_to_the_whole(status, data):
    ds = make((tuple(status),))
    labels = data.draw(st.lists(st.sampled_from("xyz"), min_size=len(status), max_size=len(status)))
    groups = results.regional_totals(ds, xr.DataArray(labels, dims="glacier", name="kind"))
    total = results.regional_totals(ds)
    for name in ("area", "volume", "failed_area"):
        np.testing.assert_allclose(groups[name].sum("group").values, total[name].values)
        assert np.isfinite(total[name].values).all()


def test_totals_are_lazy_and_equal_what_is_computed_at_once():
    ds = make()
    lazy = ds.chunk(member=1, glacier=2)
    lazy = lazy.assign({name: ds[name] for name in ("massif", "subregion")})
    with dask.config.set(scheduler=small.no_compute):
        one, groups = results.regional_totals(lazy), results.regional_totals(lazy, results.group_of(lazy))
    assert one["area"].chunks is not None and groups["volume"].chunks is not None
    xr.testing.assert_allclose(one.compute(), results.regional_totals(ds))
    xr.testing.assert_allclose(groups.compute(), results.regional_totals(ds, results.group_of(ds)))


def test_summary_has_a_row_per_group_and_one_for_all():
    table = results.summary(make().chunk(member=1, glacier=2))
    assert table.index.tolist() == ["11-01, elsewhere", "A", "B", "all"]
    assert table["glaciers"].tolist() == [1, 2, 1, 4]
    assert table["area_start"].tolist() == [0, 3, 4, 7]
    assert table["area_end"].tolist() == [0, (3 + 0.375) / 2, 0, (3 + 0.375) / 2]
    assert table["volume_start"].tolist() == [0, 3, 4, 7]
    assert table.loc["all", ["volume_end_low", "volume_end_high"]].tolist() == [0.375, 3]
    assert table["vanished"].tolist() == [0, 0, 1, 1]
    assert table["failed"].tolist() == [1, 0, 0, 1]


def test_summary_counts_means_over_members():
    table = results.summary(make(((OK, OK, OK, OK), (OK, VANISHED, OK, FAILED))))
    assert table.loc["all", ["vanished", "failed"]].tolist() == [0.5, 0.5]


def test_failures_say_who_where_and_why():
    table = results.failures(make(((OK, OK, OK, OK), (OK, OK, OK, FAILED))))
    assert table.to_dict("records") == [
        {"rgi_id": "G3", "name": "four", "member": "b", "reason": "no_ice", "initial_area": 8.0}
    ]
    assert results.failures(make(((OK, OK, OK, OK),))).empty
    assert results.failures(make().drop_vars("name"))["name"].tolist() == ["", ""]


def test_blocks_that_were_never_written_are_counted():
    assert results.not_run(make()) == 0
    assert results.not_run(make(((OK, NOT_RUN, NOT_RUN, OK), (OK, OK, OK, NOT_RUN)))) == 3


def test_text_shows_change_and_the_range_of_members_where_there_is_one():
    text = results.as_text(results.summary(make()))
    lines = text.splitlines()
    assert "range km3" in lines[0] and "0.375..3.000" in lines[-1]
    assert "7.00 -> 1.69" in lines[-1] and "-75.9" in lines[-1]
    empty = next(line for line in lines if line.startswith("11-01"))
    assert "0.00 -> 0.00" in empty and " - " in empty
    assert "nan" not in text
    alone = results.as_text(results.summary(make(((OK, OK, VANISHED, OK),))))
    assert "range" not in alone


@pytest.mark.parametrize("words", [STATUS, FAILURE])
def test_codes_of_a_store_do_not_move(words):
    """Stores of today are read by the package of tomorrow: new words go to the end."""
    first = ("not_run", "ok", "vanished", "failed"), ("none", "no_ice", "ice_not_finite", "forcing_not_finite")
    assert words[:4] in first


# -- against inventories ------------------------------------------------------------------------------------


def inventories() -> xr.Dataset:
    """G1, G0 and G2 in another order: 2, 1 and 4 km2 in 2000; in 2003 1, none and 3 are left; and a stranger."""
    area = np.array([[9.0, 2.0, 1.0], [9.0, 1.0, np.nan], [np.nan, 4.0, 3.0], [7.0, 7.0, 7.0]])
    ids = np.array(["G1", "G0", "G2", "X"], dtype=object)
    return xr.Dataset(
        {"area": (("glacier", "inventory_year"), area * 1e6)},
        coords={"rgi_id": ("glacier", ids), "inventory_year": [1985, 2000, 2003]},
    )


def test_areas_are_compared_glacier_by_glacier():
    table = results.against_inventory(make(((OK, OK, VANISHED, OK),)), inventories())
    assert table.index.tolist() == ["A", "B", "all"]
    assert table["glaciers"].tolist() == [2, 1, 3]
    assert table["inventory_start"].tolist() == [3, 4, 7] and table["inventory_end"].tolist() == [1, 3, 4]
    assert table["simulated_start"].tolist() == [3, 4, 7] and table["simulated_end"].tolist() == [3, 0, 3]
    np.testing.assert_allclose(table["inventory_change"], [-200 / 3, -25, -300 / 7])
    np.testing.assert_allclose(table["simulated_change"], [0, -100, -400 / 7])
    np.testing.assert_allclose(table["difference"], [200 / 3, -75, -100 / 7])


def test_a_glacier_that_failed_under_any_member_is_not_compared():
    table = results.against_inventory(make(((OK, OK, OK, OK), (OK, FAILED, OK, OK))), inventories())
    assert table["glaciers"].tolist() == [1, 1, 2] and table["inventory_start"].tolist() == [1, 4, 5]


def test_inventories_of_other_years_are_refused():
    ds = make().assign_coords(hydro_year=[2002, 2003, 2004])
    with pytest.raises(InputError, match=r"inventories: of \[1985, 2000, 2003\]; needed: 2004, and one before 2002"):
        results.against_inventory(ds, inventories())


def test_a_member_in_which_every_glacier_failed_is_left_out():
    """It would count as no ice, in the mean as in the range."""
    lost = make(((FAILED,) * 4, (OK, OK, VANISHED, FAILED)))
    assert results.members_lost(lost).tolist() == [0]
    table, other = results.summary(lost), results.summary(lost.isel(member=[1]))
    xr.testing.assert_identical(xr.Dataset(table), xr.Dataset(other))
    everything = make(((FAILED,) * 4,) * 2)
    assert results.summary(everything).loc["all", "failed"] == 4
