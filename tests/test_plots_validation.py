"""Figures of a validation: they are drawn from the right numbers, gaps and missing intervals included."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from alpgm_dask import plots
from alpgm_dask.plots.validation import cumulative
from alpgm_dask.schema import InputError

PLOTS = [plots.plot_scatter, plots.plot_cumulative, plots.plot_error_by_magnitude, plots.plot_reliability]


def made(n_glaciers=5, years=range(1990, 2010), scheme="logo", note="", seed=0) -> xr.Dataset:
    """Predictions with an error of standard deviation 0.4 and intervals of the right width."""
    rng, span = np.random.default_rng(seed), np.array(list(years))
    n = n_glaciers * span.size
    observed = rng.normal(-0.8, 0.9, n)
    predicted = observed + rng.normal(0, 0.4, n)
    glacier = np.repeat(np.arange(n_glaciers), span.size)
    ends = {}
    for level, z in {50: 0.674, 80: 1.282, 90: 1.645, 95: 1.96}.items():
        ends |= {f"lower_{level}": predicted - 0.4 * z, f"upper_{level}": predicted + 0.4 * z}
    values = {"observed": observed, "predicted": predicted, **ends}
    return xr.Dataset(
        {name: ("prediction", v) for name, v in values.items()},
        coords={
            "rgi_id": ("prediction", np.array([f"RGI60-11.{g:05d}" for g in glacier], dtype=object)),
            "hydro_year": ("prediction", np.tile(span, n_glaciers)),
            "fold": ("prediction", glacier),
        },
        attrs={
            "scheme": scheme,
            "model": "lasso",
            "protocol": "published" if note else "nested",
            "note": note,
        },
    )


def saved(fig: Figure, path) -> None:
    assert isinstance(fig, Figure)
    plots.save(fig, path, dpi=60)
    assert matplotlib.image.imread(path)[..., :3].std() > 0.01


@pytest.mark.parametrize("plot", PLOTS)
def test_every_figure_is_drawn_and_says_what_it_is_not(plot, tmp_path):
    saved(plot(made()), tmp_path / "a.png")
    note = "epoch chosen on the test fold: not a measure of skill"
    fig = plot(made(note=note))
    assert note in fig.get_suptitle()
    assert note not in plot(made()).get_suptitle()
    saved(fig, tmp_path / "b.png")


def test_scatter_counts_every_prediction_and_shows_the_scores():
    predictions = made()
    ax = plots.plot_scatter(predictions).axes[0]
    assert ax.collections[0].get_array().sum() == 100
    assert ax.get_xlim() == ax.get_ylim()
    error = (predictions["predicted"] - predictions["observed"]).values
    assert f"RMSE {np.sqrt(np.mean(error**2)):.2f} [" in ax.texts[0].get_text()
    assert "one glacier left out" in ax.get_title()


def test_cumulative_sums_are_those_of_the_tested_years():
    predictions = made()
    table = cumulative(predictions)
    own = table[table["glacier"] == "RGI60-11.00002"]
    rows = predictions.isel(prediction=slice(40, 60))
    np.testing.assert_allclose(own["observed"], np.cumsum(rows["observed"].values))
    np.testing.assert_allclose(own["predicted"], np.cumsum(rows["predicted"].values))
    assert (np.diff(own["band"]) > 0).all()


def test_the_band_of_a_glacier_does_not_know_its_own_errors():
    predictions, changed = made(), made()
    changed["predicted"][:20] += 5.0
    before, after = (cumulative(p).query("glacier == 'RGI60-11.00000'") for p in (predictions, changed))
    np.testing.assert_array_equal(before["band"], after["band"])
    assert not np.allclose(before["predicted"], after["predicted"])


def test_the_band_holds_about_nine_of_ten_final_sums():
    """Errors with a part that stays with each glacier, as those of real models have."""
    inside = []
    for seed in range(20):
        predictions = made(30, seed=seed)
        stays = np.random.default_rng(100 + seed).normal(0, 0.3, 30)
        predictions["predicted"] = predictions["predicted"] + np.repeat(stays, 20)
        last = cumulative(predictions).groupby("glacier").tail(1)
        inside += (np.abs(last["predicted"] - last["observed"]) <= last["band"]).tolist()
    assert 0.86 <= np.mean(inside) <= 0.94


def test_a_row_tested_twice_counts_once():
    once = made()
    twice = xr.concat([once, once.assign(predicted=once["predicted"] + 1.0)], "prediction", data_vars="minimal")
    table = cumulative(twice)
    assert len(table) == 100
    np.testing.assert_allclose(table["predicted"] - cumulative(once)["predicted"], np.tile(np.arange(1, 21), 5) * 0.5)


def test_gaps_are_dotted_and_add_nothing(tmp_path):
    predictions = made(3, years=[1990, 1991, 1995, 1996, 2000])
    fig = plots.plot_cumulative(predictions)
    solid = next(line for line in fig.axes[0].lines if line.get_label() == "observed")
    years, sums = (np.asarray(a) for a in solid.get_data())
    assert years.tolist() == list(range(1989, 2001))
    assert np.flatnonzero(np.isnan(sums)).tolist() == [3, 4, 5, 8, 9, 10]
    np.testing.assert_allclose(sums[6], predictions["observed"].values[:3].sum())
    saved(fig, tmp_path / "gaps.png")


def test_many_glaciers_fit_and_the_rest_is_said():
    fig = plots.plot_cumulative(made(70, years=range(2000, 2003)))
    assert sum(ax.get_visible() for ax in fig.axes) == 64
    assert "6 shorter series not shown" in fig.get_suptitle()
    assert "of 70 glaciers" in fig.get_suptitle()
    assert len(plots.plot_cumulative(made(32)).axes) == 32


def test_one_glacier_has_no_band_and_is_drawn(tmp_path):
    one = made(1, scheme="loyo")
    one["fold"] = one["hydro_year"]
    for plot in PLOTS:
        saved(plot(one), tmp_path / "one.png")
    assert cumulative(one)["band"].isna().all()


def test_errors_of_tame_predictions_fall_with_the_observed_balance():
    predictions = made()
    predictions["predicted"] = 0.4 * predictions["observed"]
    ax = plots.plot_error_by_magnitude(predictions).axes[0]
    assert "error changes by -0.60 per m w.e." in ax.get_title()
    assert sum(int(text.get_text()) for text in ax.texts) == 100
    with pytest.raises(InputError, match="width: 0; allowed: positive"):
        plots.plot_error_by_magnitude(predictions, width=0)


def test_reliability_shows_coverage_and_needs_intervals():
    predictions = made(20)
    fig = plots.plot_reliability(predictions)
    found = next(line for line in fig.axes[0].lines if line.get_marker() == "o").get_ydata()
    np.testing.assert_allclose(found, [50, 80, 90, 95], atol=5)
    for name in list(predictions.data_vars):
        if name.startswith(("lower", "upper")):
            predictions[name] = xr.full_like(predictions[name], np.nan)
    with pytest.raises(InputError, match="no intervals"):
        plots.plot_reliability(predictions)
