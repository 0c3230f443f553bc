"""Ensembles as people read them: every run as a member, and what each dimension contributes to the spread."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import small_region as small
import xarray as xr
from matplotlib.figure import Figure
from test_results import FAILED, OK, inventories, make

from alpgm_dask import plots, results
from alpgm_dask.schema import STATUS

FACTORS, SHIFTS = (0.7, 1.0), (-1.0, 1.0)
#: What is added to the volume (km3) and area (km2) of glacier G0 in the last year: by member, factor and shift.
ADDED = ([0.0, 2.0], [0.0, 4.0], [1.0, 1.0])


def ensemble(**changed) -> xr.Dataset:
    """The two members of :func:`test_results.make`, each as four variants that differ as :data:`ADDED` says."""
    one = make(((OK,) * 4,) * 2).assign_coords(scenario=("member", np.array(["low", "high"], dtype=object)))
    each = xr.DataArray(np.ones((2, 2)), {"thickness_factor": list(FACTORS), "delta_h_shift": list(SHIFTS)})
    names = ("area", "volume", "initial_area", "initial_volume")
    out = one.assign({name: one[name] * each for name in names})
    out = out.assign({name: (one[name] * each).astype("int8") for name in ("status", "failure")})
    out = out.transpose("member", "thickness_factor", "delta_h_shift", "glacier", "hydro_year")
    added = np.add.outer(np.add.outer(*ADDED[:2]), ADDED[2])
    for name, unit in (("area", 1e6), ("volume", 1e9)):
        values = out[name].values
        values[..., -1] = 0.0
        values[..., 0, -1] = added * unit
        out[name] = out[name].dims, values
    return out.assign(changed)


def by_hand(ds: xr.Dataset) -> xr.Dataset:
    """Its runs one after the other, each given its name."""
    parts = []
    for member in ds["member"].values:
        for factor in FACTORS:
            for shift in SHIFTS:
                part = ds.sel(member=[member], thickness_factor=factor, delta_h_shift=shift, drop=True)
                name = f"{member}, thickness x {factor:g}, delta-h {shift:g}"
                parts.append(part.assign_coords(member=np.array([name], dtype=object)))
    return xr.concat(parts, "member", data_vars="minimal", coords="minimal", compat="override")


def test_every_run_is_a_member_and_keeps_its_scenario():
    lazy = ensemble().chunk(member=1, thickness_factor=1, delta_h_shift=1, glacier=2)
    with dask.config.set(scheduler=small.no_compute):
        got = results.as_members(lazy)
    assert got["area"].dims == ("member", "glacier", "hydro_year") and got["area"].chunks is not None
    assert got["member"].values[1] == "a, thickness x 0.7, delta-h 1" and got.sizes["member"] == 8
    assert got["scenario"].values.tolist() == ["low"] * 4 + ["high"] * 4
    assert got["thickness_factor"].dims == ("member",) and got["thickness_factor"].values[:3].tolist() == [0.7, 0.7, 1]
    want = by_hand(ensemble())
    xr.testing.assert_equal(got.drop_vars(["thickness_factor", "delta_h_shift"]).compute()[list(want)], want)
    assert results.as_members(got) is got


def test_a_selected_member_or_variant_is_a_member_too():
    ds = ensemble()
    one = results.as_members(ds.sel(member="b"))
    assert one["member"].values[0] == "b, thickness x 0.7, delta-h -1" and one.sizes["member"] == 4
    assert results.as_members(ds.isel(thickness_factor=0))["member"].values[0] == "a, delta-h -1"
    assert results.as_members(ds.isel(thickness_factor=0, delta_h_shift=0)).sizes["member"] == 2


def test_tables_of_an_ensemble_are_those_of_its_runs():
    ds = ensemble()
    ds["status"][0, 1, 0, 2] = FAILED
    ds["status"][1, 0, 0] = FAILED
    runs = by_hand(ds)
    table = results.summary(ds.chunk(member=1, thickness_factor=1, glacier=2))
    xr.testing.assert_identical(xr.Dataset(table), xr.Dataset(results.summary(runs)))
    # the run that lost all is left out: of 1, 1, 5, 5 and 3, 7, 7 the mean
    assert table.loc["all", "volume_end"] == pytest.approx(29 / 7) and table.loc["all", "volume_end_high"] == 7
    assert results.failures(ds).to_dict("records") == results.failures(runs).to_dict("records")
    assert len(results.failures(ds)) == 5
    got, want = (results.against_inventory(each, inventories()) for each in (ensemble(), by_hand(ensemble())))
    xr.testing.assert_identical(xr.Dataset(got), xr.Dataset(want))
    totals = results.regional_totals(ds)
    assert totals["volume"].dims == ("member", "thickness_factor", "delta_h_shift", "hydro_year")


def test_what_each_dimension_contributes():
    """Volumes 1, 5, 3, 7 twice: variance 1 by member, 4 by thickness, none by delta-h and none by both."""
    table = results.contributions(results.ensemble_series(ensemble().chunk(member=1, glacier=2)))
    assert table.index.tolist() == ["member", "thickness_factor", "delta_h_shift", "together", "all"]
    for name in ("volume", "area"):
        np.testing.assert_allclose(table[f"{name}_share"], [0.2, 0.8, 0, 0, 1], atol=1e-12)
        np.testing.assert_allclose(table[f"{name}_low"], [3, 2, 4, np.nan, 1])
        np.testing.assert_allclose(table[f"{name}_high"], [5, 6, 4, np.nan, 7])
    text = results.contributions_as_text(table)
    assert "thickness_factor      2  2.000..6.000" in text and "80%" in text and "nan" not in text


def test_what_dimensions_do_together_is_said():
    """1 where both are large and 0 elsewhere: variance 3/16, of which each explains a third by itself."""
    ds = ensemble().isel(member=[0])
    ds["volume"][..., 0, -1] = np.array([[[0.0, 0.0], [0.0, 1e9]]])
    table = results.contributions(results.ensemble_series(ds))
    assert table.index.tolist() == ["thickness_factor", "delta_h_shift", "together", "all"]
    np.testing.assert_allclose(table["volume_share"], [1 / 3, 1 / 3, 1 / 3, 1])
    ds["volume"][..., -1] = 0.0
    text = results.contributions_as_text(results.contributions(results.ensemble_series(ds)))
    assert "-" in text and "nan" not in text
    alone = results.contributions(results.ensemble_series(ds.isel(delta_h_shift=[0])))
    assert alone.index.tolist() == ["thickness_factor", "all"]


def test_runs_are_compared_over_the_glaciers_that_failed_in_none():
    """A member that a variant lost is left out of all variants: sums of other glaciers would count as spread."""
    ds = ensemble()
    ds["status"][0, 1, 0, 0] = FAILED
    start = results.ensemble_series(ds)["volume"].isel(hydro_year=0)
    np.testing.assert_allclose(start, 14e9)  # all but the first glacier, of 1 km3
    ds["status"][1, 0, 0] = FAILED
    assert results.ensemble_series(ds)["member"].values.tolist() == ["a"]
    everything = ensemble()
    everything["status"][:] = STATUS.index("failed")
    assert float(results.ensemble_series(everything)["volume"].max()) == 0.0


def driven(ds: xr.Dataset) -> xr.Dataset:
    """With mass balance, climate and places, as a picture needs them."""
    names = ("smb", "smb_spread", "cpdd", "winter_snowfall", "summer_snowfall")
    out = ds.assign(dict.fromkeys(names, xr.full_like(ds["area"], 1.0)))
    return out.assign_coords(lon=("glacier", 7 + 0.1 * np.arange(4)), lat=("glacier", 45 + 0.1 * np.arange(4)))


@pytest.mark.parametrize("plot", [plots.plot_region, plots.plot_remaining_ice, plots.plot_smb, plots.plot_climate])
def test_pictures_take_runs_as_members(plot):
    fig = plot(driven(ensemble()).chunk(member=1, thickness_factor=1, glacier=2))
    legends = [text.get_text() for ax in fig.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    assert isinstance(fig, Figure)
    assert plot is plots.plot_remaining_ice or "low (mean and range of 4)" in legends


def test_fan_of_every_dimension(tmp_path):
    fig = plots.plot_ensemble(ensemble().chunk(member=1, thickness_factor=1, glacier=2))
    assert [ax.get_title().split(":")[0] for ax in fig.axes] == ["member", "thickness factor", "delta-h shift"]
    assert fig.axes[1].get_title() == "thickness factor: 2 to 6 km³ in 2003, 80% of the variance"
    lines = {line.get_label(): line.get_ydata() for line in fig.axes[1].lines}
    assert lines["thickness x 0.7"][-1] == 2.0 and lines["thickness x 1"][-1] == 6.0
    assert lines["thickness x 1"][0] == 15.0 and fig.axes[1].lines[0].get_xdata()[0] == 2000
    assert plots.save(fig, tmp_path / "ensemble.png").stat().st_size > 10_000
    parts = [ensemble().assign_coords(member=[f"{i}a", f"{i}b"]) for i in range(5)]
    many = xr.concat(parts, "member", data_vars="minimal", coords="minimal", compat="override")
    member = plots.plot_ensemble(many).axes[0]
    assert [text.get_text() for text in member.get_legend().get_texts()] == ["range of all runs", "low", "high"]
    alone = plots.plot_ensemble(ensemble().isel(member=0, delta_h_shift=[0], thickness_factor=[0]))
    assert len(alone.axes) == 1
