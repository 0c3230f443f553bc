"""Runs of four glaciers under climate at points: days or months, nearest or interpolated, adjusted projections."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_region as small
import xarray as xr

from alpgm_dask import InputError, forcing, load_config, pipeline
from alpgm_dask.schema import annotate

RUN = """
title = "four glaciers"
catalog = "catalog.yaml"
output = "{name}"
[period]
start = 2003
end = 2010
[smb]
model = "lasso"
recipe = "standard-seasonal-regional"
settings = {{alphas = 10}}
[forcing]
kind = "climate"
history = "{history}"
projection = "{projection}"
reference_period = [1995, 2004]
{forcing}
[downscaling]
{downscaling}
"""

#: K m-1 of the made-up weather.
LAPSE_RATE = 0.0075


def weather(years: tuple[int, int], *, warmer: float = 0.0, members: int = 0, seed: int = 0) -> xr.Dataset:
    """Days on a grid of 3 x 3 cells around the glaciers, 0.05 degrees apart: a season, weather, snow and rain."""
    time = xr.date_range(f"{years[0] - 1}-10-01", f"{years[1]}-09-30")
    # the days of a date are the same whichever years are asked for
    at = (time - np.datetime64("1990-01-01", "ns")).days.to_numpy()
    noise = np.random.default_rng(seed).normal(size=(12_000, 2))[at]
    row, column = np.divmod(np.arange(9), 3)
    height = 2400.0 + 150.0 * np.arange(9)[[4, 0, 7, 2, 8, 1, 5, 3, 6]]
    season = 9.0 * np.sin(2 * np.pi * (time.dayofyear.to_numpy() - 110) / 365.25)
    tas = 275.0 + season + 3 * noise[:, 0] + 0.03 * at / 365.25
    tas = tas[:, None] - LAPSE_RATE * (height - 2700.0) + 0.1 * column + warmer
    wet = np.maximum(0.0, 6 * noise[:, 1])[:, None] * (1 + 0.05 * row)
    values = {"tas": tas, "snowfall": np.where(tas < 273.15, wet, 0.0), "rainfall": np.where(tas < 273.15, 0.0, wet)}
    out = xr.Dataset({name: (("time", "point"), v.astype("float32")) for name, v in values.items()})
    if members:
        out = out.expand_dims(member=np.array([f"m{i}" for i in range(members)], dtype=object))
        out = out.assign(tas=out["tas"] + xr.DataArray(np.arange(members, dtype="float32"), dims="member"))
    place = {"elevation": height, "lon": 6.97 + 0.05 * column, "lat": 45.05 - 0.05 * row}
    out = out.assign_coords({name: ("point", v) for name, v in place.items()} | {"time": time})
    out = out.assign_coords(grid_row=("point", row), grid_column=("point", column))
    return annotate(out.transpose("member", "time", "point", missing_dims="ignore"))


def monthly(ds: xr.Dataset) -> xr.Dataset:
    """Monthly means and sums of precipitation without phase."""
    wet = (ds["snowfall"] + ds["rainfall"]).rename("pr").resample(time="MS").sum()
    return annotate(xr.Dataset({"tas": ds["tas"].resample(time="MS").mean().astype("float32"), "pr": wet}))


def observations(history: xr.Dataset) -> xr.Dataset:
    """Mass balances that follow the warmth of the summer."""
    observed = small.observations((1995, 2004))
    warmth = history["tas"].mean("point").groupby(forcing.hydro_year(history["time"])).mean().values
    smb = observed["smb"] - xr.DataArray(warmth - warmth.mean(), dims="hydro_year")
    return observed.assign(smb=smb.assign_attrs(units="m year-1"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("region")
    history, later = weather((1995, 2004)), weather((1995, 2010), warmer=5.0, members=2)
    noon = {name: ds.assign_coords(time=ds["time"] + np.timedelta64(12, "h")) for name, ds in
            {"noon_history": history, "noon_later": later}.items()}  # fmt: skip
    months = {"months": monthly(history), "months_later": monthly(later)}
    glaciers = small.glaciers()
    thick = glaciers.assign(ice_thickness=(glaciers["ice_thickness"] * 50).assign_attrs(units="m"))  # none shall vanish
    stores = {"glaciers": thick, "smb_observations": observations(history)}
    small.write_region(folder, {**stores, "history": history, "later": later, **noon, **months})
    return folder


def run(folder: Path, name: str, history="history", projection="later", forcing="", downscaling="") -> xr.Dataset:
    text = RUN.format(name=name, history=history, projection=projection, forcing=forcing, downscaling=downscaling)
    (folder / f"{name}.toml").write_text(text)
    said: list[str] = []
    pipeline.run(load_config(folder / f"{name}.toml"), say=said.append)
    with xr.open_zarr(folder / name / "results.zarr") as results:
        return results.load().assign_attrs(said=said)


@pytest.fixture(scope="module")
def plain(folder):
    return run(folder, "plain")


def test_days_at_cells_of_a_grid(plain, folder):
    assert (plain["status"].values == 1).all()
    assert plain.sizes["member"] == 2
    assert plain["cpdd"].dims == ("member", "glacier", "hydro_year")
    warm = plain["cpdd"].isel(member=1) - plain["cpdd"].isel(member=0)
    assert (warm.sel(hydro_year=slice(2005, None)) > 50).all()  # m1 is a kelvin warmer than m0 ...
    assert (warm.sel(hydro_year=[2003, 2004]) == 0).all()  # ... but the history is that of both
    with xr.open_zarr(folder / "plain/forcing.zarr") as climate:
        assert json.loads(climate.attrs["lapse_rate"]) == [0.006] * 12
        assert (climate["forcing_distance"] < 3e3).all()


def test_a_store_in_another_form_gives_the_same_bits(folder, plain):
    """Stamped at noon: converted lazily, and read as a Dask graph instead of straight from the store."""
    noon = run(folder, "noon", "noon_history", "noon_later")
    for name in ("smb", "cpdd", "winter_snowfall", "volume"):
        np.testing.assert_array_equal(noon[name].values, plain[name].values)


def test_months_give_nearly_the_degree_days_of_their_days(folder, plain):
    months = run(folder, "months", "months", "months_later")
    assert (months["status"].values == 1).all()
    np.testing.assert_allclose(months["cpdd"].values, plain["cpdd"].values, rtol=0.25)
    for half in ("winter_snowfall", "summer_snowfall"):
        assert abs(months[half].mean() / plain[half].mean() - 1) < 0.3


def test_interpolated_between_cells_at_its_own_lapse_rate(folder, plain):
    """With the lapse rate that the weather has, it hardly matters which cells the climate comes from."""
    bilinear = run(folder, "bilinear", forcing='interpolation = "bilinear"', downscaling='lapse_rate = "from_data"')
    with xr.open_zarr(folder / "bilinear/forcing.zarr") as climate:
        assert climate["weight"].dims == ("glacier", "corner")
        np.testing.assert_allclose(climate["weight"].sum("corner"), 1.0)
        np.testing.assert_allclose(json.loads(climate.attrs["lapse_rate"]), LAPSE_RATE, atol=5e-4)
    nearest = run(folder, "nearest", downscaling=f"lapse_rate = {LAPSE_RATE}")
    np.testing.assert_allclose(bilinear["cpdd"].values, nearest["cpdd"].values, rtol=0.06)
    assert np.abs(plain["cpdd"] / nearest["cpdd"] - 1).max() > 0.06  # ... and with another one it does


def test_a_projection_that_is_too_warm_is_adjusted(folder, plain):
    """5 and 6 K too warm in the years that history and projection have in common."""
    ask = 'adjustment = "quantile_delta_mapping"'
    adjusted = run(folder, "adjusted", forcing=ask)
    (line,) = (line for line in adjusted.attrs["said"] if line.startswith("[3/6] adjustment: "))
    assert "1995-2004" in line
    history = plain["cpdd"].sel(hydro_year=[2003, 2004]).mean()
    step = {name: float(ds["cpdd"].sel(hydro_year=slice(2005, None)).mean() / history) for name, ds in
            {"plain": plain, "adjusted": adjusted}.items()}  # fmt: skip
    (line,) = (line for line in plain.attrs["said"] if "takes over" in line)
    assert "temperature steps by +5." in line
    assert step["plain"] > 1.8 and 0.85 < step["adjusted"] < 1.2
    said: list[str] = []
    pipeline.run(load_config(folder / "adjusted.toml"), say=said.append)
    assert [line for line in said if "skipped" in line and "adjustment" in line]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forcing": "max_distance = 0.5"}, r"no climate within max_distance = 0.5 km of glacier G\d"),
        ({"projection": "months_later"}, "entry 'months_later': variable 'time' is monthly; allowed: daily"),
        ({"history": "later"}, "entry 'later': it has 2 members; allowed: a history has none"),
        (
            {"forcing": 'adjustment = "quantile_delta_mapping"\nadjustment_period = [1990, 2004]'},
            "adjustment period: hydrological years 1990 to 2004 are asked for; it covers 1995 to 2004",
        ),
        ({"downscaling": "lapse_rate = 6.0"}, "lapse_rate is 6.0 K m-1; allowed"),
        ({"downscaling": "all_snow_below = 1.0"}, "all_snow_below is 1.0, all_rain_above is None; allowed: both"),
    ],
)
def test_refused_before_work_starts(folder, settings, message):
    with pytest.raises(InputError, match=message):
        run(folder, "refused", **settings)
    assert not (folder / "refused").exists()


def test_a_projection_that_no_year_takes_is_refused(folder):
    text = RUN.format(name="unused", history="history", projection="later", forcing="", downscaling="")
    (folder / "unused.toml").write_text(text.replace("end = 2010", "end = 2004"))
    message = "entry 'later': no year of the run takes it: the history has all years to 2004, and the run ends in 2004"
    with pytest.raises(InputError, match=message):
        pipeline.run(load_config(folder / "unused.toml"), say=lambda line: None)


def test_a_gap_at_an_observed_glacier_is_refused_before_work_starts(folder, tmp_path):
    """The recipe takes the mean climate of all observed glaciers: one missing day would be missing for all."""
    history = weather((1995, 2004))
    points = forcing.nearest_points(small.observations().isel(hydro_year=0), history)["point"].values
    values = history["tas"].values.copy()
    values[1000, points[0]] = np.nan
    gap = history.assign(tas=(("time", "point"), values, history["tas"].attrs))
    path = small.write_region(tmp_path, {"history": gap}, base=folder)
    text = RUN.format(name="gap", history="history", projection="later", forcing="", downscaling="")
    (path.parent / "gap.toml").write_text(text)
    date = str(history["time"].values[1000])[:10]
    with pytest.raises(
        InputError, match=rf"'history': variable 'tas' is missing on {date} \(1 such steps\) at a point"
    ):
        pipeline.run(load_config(path.parent / "gap.toml"), say=lambda line: None)
