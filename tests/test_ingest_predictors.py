"""Predictors at glaciers as a kept store: skipped when nothing changed, longer when the climate is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import small_region as small
import xarray as xr
from test_ingest_climate import archive, chunks_of, client, save  # noqa: F401

from alpgm_dask import InputError, cli, forcing, ingest, inputs, store
from alpgm_dask.catalog import open_catalog
from alpgm_dask.config import Config


def seasons(first: int, last: int, members: tuple[str, ...] = (), salt: str = ""):
    """The made-up archive at the glaciers' place, with a season and some weather."""
    given = archive(first, last, members=members, salt=salt)
    climate = given.climate.assign_coords(lon=("point", [7.0, 7.01, 7.03]), lat=("point", [45.0, 45.0, 45.0]))
    warmth = 10 * np.sin(2 * np.pi * (climate["time"].dt.dayofyear - 110) / 365.25)
    return replace(given, climate=climate.drop_vars("massif").assign(tas=(climate["tas"] + 12 + warmth)))


@pytest.fixture
def region(tmp_path, client):  # noqa: F811
    small.write_region(tmp_path, {"glaciers": small.glaciers()})
    save(seasons(1991, 1995), tmp_path, client)
    return tmp_path


def make(folder, **options) -> list[str]:
    said: list[str] = []
    ingest.make_predictors(folder / "catalog.yaml", "climate", "mine", say=said.append, **options)
    return said


def kept(folder) -> xr.Dataset:
    return open_catalog(folder / "catalog.yaml").read("mine")


def test_they_are_those_of_the_lazy_path_and_serve_a_run(region):
    assert make(region) == ["mine: 4 glaciers, 5 years"]
    found, catalog = kept(region), open_catalog(region / "catalog.yaml")
    glaciers, climate = catalog.read("glaciers"), forcing.as_climate(catalog.read("climate"))
    points = forcing.nearest_points(glaciers, climate)
    expected = forcing.annual_predictors(climate, points["point"].values, glaciers["mean_elevation"].values)
    for name in ("cpdd", "winter_snowfall", "snowfall_monthly"):
        np.testing.assert_array_equal(found[name].values, expected[name].values)
    assert float(found["cpdd"].min()) > 10 and "forcing_distance" in found
    config = Config.model_validate(
        {
            "title": "t",
            "catalog": str(region / "catalog.yaml"),
            "output": "o",
            "period": {"start": 1992, "end": 1995},
            "smb": {"recipe": "standard-seasonal"},
            "forcing": {"kind": "predictors", "history": "mine", "reference_period": [1991, 1995]},
        }
    )
    small.write_region(region / "more", {"smb_observations": small.observations((1991, 1995))}, base=region)
    opened = inputs.open_inputs(config.model_copy(update={"catalog": str(region / "more/catalog.yaml")}))
    assert opened.history.sizes["hydro_year"] == 5


def test_unchanged_is_skipped_and_years_are_appended(region, client, tmp_path):  # noqa: F811
    make(region)
    before = chunks_of(region / "mine.zarr")
    assert make(region) == ["mine: unchanged, skipped"]
    save(seasons(1991, 1998), region, client)
    assert make(region) == ["mine: 1996 to 1998 are new"]
    after = chunks_of(region / "mine.zarr")
    assert {name: after[name] for name in before if "/cpdd/" in name} == {
        k: v for k, v in before.items() if "/cpdd/" in k
    }
    grown = kept(region).compute()
    shutil.rmtree(region / "mine.zarr")
    make(region)
    xr.testing.assert_identical(grown.drop_attrs(), kept(region).compute().drop_attrs())
    assert grown["hydro_year"].values.tolist() == list(range(1991, 1999))


def test_a_new_member_is_appended(tmp_path, client):  # noqa: F811
    small.write_region(tmp_path, {"glaciers": small.glaciers()})
    save(seasons(1991, 1992, ("a", "b")), tmp_path, client)
    make(tmp_path)
    save(seasons(1991, 1992, ("a", "b", "c")), tmp_path, client)
    assert make(tmp_path) == ["mine: c to c are new"]
    assert kept(tmp_path)["member"].values.tolist() == ["a", "b", "c"]
    assert (kept(tmp_path)["cpdd"].diff("member") > 0).all()


def test_an_append_that_was_cut_short_is_finished(region, client):  # noqa: F811
    make(region)
    save(seasons(1991, 1998), region, client)
    url = str(region / "mine.zarr")
    part = kept(region).isel(hydro_year=slice(0, 3)).compute().assign_coords(hydro_year=[1996, 1997, 1998]).chunk()
    store.extend(part, url, "hydro_year")
    assert not store.is_complete(url)
    assert make(region) == ["mine: 1996 to 1998 are new"]
    assert kept(region)["cpdd"].notnull().all()


def test_other_settings_or_sources_are_refused_unless_told(region, client):  # noqa: F811
    make(region)
    warm = forcing.Downscaling(lapse_rate=0.008)
    with pytest.raises(InputError, match=r"mine.zarr: made from other climate, glaciers, settings or code"):
        make(region, downscaling=warm)
    make(region, downscaling=warm, overwrite=True)
    save(seasons(1991, 1995, salt="changed"), region, client, overwrite=True)
    with pytest.raises(InputError, match="made from other climate"):
        make(region, downscaling=warm)


def test_from_the_command_line(region, capsys):
    command = ["predictors", str(region / "catalog.yaml"), "--name", "mine", "--workers", "1", "--lapse-rate", "0.007"]
    assert cli.main(command) == 0
    assert "mine: 4 glaciers, 5 years" in capsys.readouterr().out
    assert cli.main(["predictors", str(region / "catalog.yaml"), "--name", "other", "--max-distance", "0.1"]) == 2
    assert "no climate within max_distance = 0.1 km" in capsys.readouterr().err
    assert json.loads(store.attributes(str(region / "mine.zarr"))["made_from"])[0][0] == "1991"
