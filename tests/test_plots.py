"""Figures: they are drawn from the right numbers, lazily until drawn, and whatever the results lack."""

from __future__ import annotations

import dask
import dask.array as da
import geopandas
import matplotlib.image
import numpy as np
import pytest
import shapely
import xarray as xr
from matplotlib.figure import Figure

from alpgm_dask import plots
from alpgm_dask.schema import STATUS, InputError

YEARS = np.arange(2016, 2021)
OK, VANISHED, FAILED = (STATUS.index(s) for s in ("ok", "vanished", "failed"))


@pytest.fixture
def results() -> xr.Dataset:
    """Two scenarios of two members, three glaciers: one shrinks, one vanishes, one fails."""
    n_members, n_years = 4, YEARS.size
    initial_area = np.broadcast_to([4e6, 1e6, 2e6], (n_members, 3))
    initial_volume = np.broadcast_to([200e6, 30e6, 80e6], (n_members, 3))
    rate = np.array([0.95, 0.94, 0.85, 0.84])[:, None]
    left = rate ** np.arange(1, n_years + 1)  # (member, year)
    share = np.stack([left, np.where(YEARS < 2018, left, 0.0), np.full_like(left, np.nan)], axis=1)
    second = np.where(YEARS <= 2018, -2.0, np.nan) + 0.0 * left
    smb = np.stack([np.full_like(left, -1.0), second, np.full_like(left, np.nan)], axis=1)
    full, each = ("member", "glacier", "hydro_year"), ("member", "glacier")
    ds = xr.Dataset(
        {
            "area": (full, initial_area[..., None] * share),
            "volume": (full, initial_volume[..., None] * share),
            "smb": (full, smb),
            "smb_spread": (full, np.full_like(smb, 0.3)),
            "initial_area": (each, initial_area),
            "initial_volume": (each, initial_volume),
            "status": (each, np.tile(np.int8([OK, VANISHED, FAILED]), (n_members, 1))),
        },
        coords={
            "rgi_id": ("glacier", np.array(["a", "b", "c"], object)),
            "lon": ("glacier", [6.9, 7.0, 7.1]),
            "lat": ("glacier", [45.0, 45.1, 45.2]),
            "hydro_year": YEARS,
            "member": np.array(["1", "2", "3", "4"], object),
            "scenario": ("member", np.array(["low", "low", "high", "high"], object)),
        },
    )
    return ds.chunk(member=1, glacier=2)


def _saved(fig: Figure, path) -> np.ndarray:
    """The picture as it is on disk; it must not be empty."""
    assert isinstance(fig, Figure)
    assert plots.save(fig, path) == path
    picture = matplotlib.image.imread(path)
    assert picture[..., :3].std() > 0.01
    return picture


def test_regional_series_leaves_failed_glaciers_out(results):
    series = plots.regional_series(results)
    assert series["hydro_year"].values.tolist() == [2015, *YEARS]
    np.testing.assert_allclose(series["volume"].values[:, 0], 230e6)
    np.testing.assert_allclose(series["area"].values[0, 1], 5e6 * 0.95)
    np.testing.assert_allclose(series["volume"].values[2, -1], 200e6 * 0.85**5)


def test_regional_balance_is_weighted_by_area_at_the_start_of_the_year(results):
    balance = plots.regional_balance(results)
    assert balance["smb"].values[0, 0] == pytest.approx((4 * -1.0 + 1 * -2.0) / 5)
    assert balance["smb"].values[0, 4] == pytest.approx(-1.0)  # only the first glacier is left
    np.testing.assert_allclose(balance["smb_spread"].values, 0.3)


def test_regional_balance_is_missing_once_no_ice_is_left(results):
    gone = results.isel(glacier=[1])
    assert np.isnan(plots.regional_balance(gone)["smb"].values[:, -1]).all()
    assert isinstance(plots.plot_smb(gone), Figure)


def test_remaining_share(results):
    share = plots.remaining_share(results)
    np.testing.assert_allclose(share.values[0], [0.95**5, 0.0, np.nan])
    np.testing.assert_allclose(plots.remaining_share(results, 2016).values[0], [0.95, 0.95, np.nan])
    with pytest.raises(InputError, match="year is 2050; allowed: 2016 to 2020"):
        plots.plot_remaining_ice(results, 2050)


def test_region_figure_draws_the_sums(results, tmp_path):
    fig = plots.plot_region(results)
    volume, area = fig.axes
    means = [line for line in volume.lines if line.get_linewidth() == 2.0]
    assert len(means) == 2
    series = plots.regional_series(results)["volume"].values / 1e9
    np.testing.assert_allclose(means[0].get_ydata(), series[:2].mean(axis=0))
    np.testing.assert_allclose(means[1].get_ydata(), series[2:].mean(axis=0))
    assert "km³" in volume.get_ylabel()
    assert "km²" in area.get_ylabel()
    assert "0.23 km³ in 2015" in volume.get_title()
    (share,) = volume.child_axes
    assert share.get_ylabel() == "share of 2015 (%)"
    _saved(fig, tmp_path / "deeper" / "region.png")


def test_remaining_ice_figure_shows_every_glacier(results, tmp_path):
    outline = shapely.box(7.05, 45.15, 7.15, 45.25)
    outlines = geopandas.GeoDataFrame({"rgi_id": ["c"]}, geometry=[outline], crs=4326).to_crs(32632)
    fig = plots.plot_remaining_ice(results, outlines=outlines)
    panels = [ax for ax in fig.axes if ax.get_title()]
    assert len(panels) == 2
    assert panels[0].get_title().startswith("low, 2020: 1 of 2 glaciers gone")
    shown = sum(len(c.get_offsets()) for c in panels[0].collections[1:4])
    assert shown == 3
    _saved(fig, tmp_path / "map.png")


def test_smb_figure(results, tmp_path):
    fig = plots.plot_smb(results)
    assert "m w.e." in fig.axes[0].get_ylabel()
    _saved(fig, tmp_path / "smb.png")


def test_climate_figure(results, tmp_path):
    n = results.sizes["hydro_year"]
    rising = xr.DataArray(np.arange(n) * 10.0, dims="hydro_year")
    names = ("cpdd", "winter_snowfall", "summer_snowfall")
    driven = results.assign(dict.fromkeys(names, results["smb"] * 0 + rising + results["lon"]))
    assert plots.has_climate(driven) and not plots.has_climate(results.drop_vars(names, errors="ignore"))
    assert not plots.has_climate(driven.assign(cpdd=driven["cpdd"] * np.nan))
    change = plots.climate_change(driven)["cpdd"]
    np.testing.assert_allclose(change.values[0], (np.arange(n) - np.arange(min(n, 10)).mean()) * 10.0)
    fig = plots.plot_climate(driven)
    assert fig.axes[0].get_title().split(":")[0] == "Degree-days"
    assert "kg m⁻²" in fig.axes[1].get_ylabel()
    _saved(fig, tmp_path / "climate.png")


def test_strings_as_zarr_gives_them(results):
    """Zarr 3 gives variable-length strings as NumPy's StringDType, which does not cast to fixed width."""
    scenario = results["scenario"].values.astype(np.dtypes.StringDType())
    fig = plots.plot_region(results.assign_coords(scenario=("member", scenario)))
    assert [text.get_text()[:4] for text in fig.axes[0].get_legend().get_texts()] == ["low ", "high"]


@pytest.mark.parametrize("plot", [plots.plot_region, plots.plot_remaining_ice, plots.plot_smb])
def test_one_member_without_scenario(results, plot, tmp_path):
    one = results.isel(member=[0]).drop_vars("scenario")
    _saved(plot(one), tmp_path / "one.png")


@pytest.mark.parametrize("plot", [plots.plot_region, plots.plot_remaining_ice, plots.plot_smb])
def test_one_member_selected(results, plot):
    """As a user selects it, without the dimension; a single unnamed member is called nothing."""
    named = plot(results.isel(member=0))
    assert any("low" in ax.get_title() for ax in named.axes)
    unnamed = plot(results.isel(member=0).drop_vars("scenario"))
    assert not any("member" in ax.get_title() or "()" in ax.get_title() for ax in unnamed.axes)


def test_map_fills_its_panel_and_thousands_of_glaciers_fit(results):
    many = results.compute().isel(glacier=np.tile([0, 1], 2000), member=[0])
    lon = np.linspace(6.0, 14.0, 4000)
    many = many.assign_coords(lon=("glacier", lon), lat=("glacier", 46.0 + np.sin(lon)))
    fig = plots.plot_remaining_ice(many)
    width, height = fig.get_size_inches()
    assert width > 1.5 * height
    ax = fig.axes[0]
    covered = sum(c.get_sizes().sum() for c in ax.collections if len(c.get_offsets()) > 0)
    assert covered < width * height * 72.0**2 / 5.0


@pytest.mark.parametrize("plot", [plots.plot_region, plots.plot_remaining_ice, plots.plot_smb])
def test_all_failed(results, plot, tmp_path):
    failed = results.assign(status=xr.full_like(results["status"], FAILED).compute())
    _saved(plot(failed), tmp_path / "failed.png")


def test_few_computations(results):
    """The graph is computed as a whole, not once per member or year."""
    calls = []

    def counting(dsk, keys, **kwargs):
        calls.append(1)
        return dask.get(dsk, keys, **kwargs)

    with dask.config.set(scheduler=counting):
        plots.plot_region(results)
        plots.plot_smb(results)
        plots.plot_remaining_ice(results)
    assert len(calls) <= 7  # three sums, one of places, three of the names of the scenarios


def test_glacier_figure(tmp_path):
    x, y = 1000.0 + 25.0 * np.arange(40), 5000.0 - 25.0 * np.arange(30)
    distance = np.hypot((x[None] - 1500.0) / 300.0, (y[:, None] - 4640.0) / 200.0)
    h = xr.DataArray(da.from_array(np.where(distance < 1, 120.0 * (1 - distance**2), np.nan)), dims=("y", "x"))
    h = h.assign_coords(x=x, y=y)
    surface = xr.DataArray(3000.0 + 0.4 * (y[:, None] - 4600.0) + 0 * x[None], dims=("y", "x"), coords=h.coords)
    fig = plots.plot_glacier(h, surface, title="Demo")
    cover = np.isfinite(h.values).sum() * 625.0 / 1e6
    assert fig.axes[0].get_title().startswith(f"Demo: {cover:.3g} km² of ice")
    _saved(fig, tmp_path / "glacier.png")
    outlined = plots.plot_glacier(h, outline=shapely.Point(1500.0, 4640.0).buffer(300.0))
    assert outlined.axes[0].lines
    assert "no ice" in plots.plot_glacier(h.where(h > 1000.0)).axes[0].get_title()


def test_pyplot_is_not_needed():
    import subprocess
    import sys

    code = "import sys, alpgm_dask.plots; sys.exit('matplotlib.pyplot' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
