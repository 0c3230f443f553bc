"""The offset of two elevation models is found on ground without ice, and applied; or the reason why not is told."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import numpy as np
import pytest
import small_surveys as small
from rasterio.transform import Affine

from alpgm_dask import packing
from alpgm_dask.convert import elevation
from alpgm_dask.convert.elevation import coregistration
from alpgm_dask.schema import InputError

#: What the first survey is off by: east, north, up in m.
MISTAKE = (13.0, -7.0, 4.0)
GLACIERS = {"A.1": (90, 110, 110, 90), "A.2": (40, 52, 50, 42)}


def relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mountains of several sizes, in m."""
    u, v = (x - small.X0) / 1000.0, (y - small.Y0) / 1000.0
    waves = [(400.0, 0.7, 0.4, 0.0), (250.0, -0.5, 1.1, 1.0), (120.0, 2.1, -0.9, 2.0), (60.0, 1.3, 2.7, 0.5)]
    return 2800.0 + sum(h * np.sin(2 * np.pi * (a * u + b * v) / 2.0 + p) for h, a, b, p in waves)


def surveys(folder: Path, mistake=MISTAKE, n: int = 200) -> tuple[str, str]:
    """Glaciers sink by 20 m between the surveys; the first one is off."""
    x = small.X0 + (np.arange(n) + 0.5) * small.STEP
    y = small.Y0 - (np.arange(n) + 0.5) * small.STEP
    xx, yy = np.meshgrid(x, y)
    rng = np.random.default_rng(1)
    second = relief(xx, yy) + 0.3 * rng.standard_normal(xx.shape)
    for west, south, east, north in GLACIERS.values():
        second[north:south, west:east] -= 20.0
    # what is at a place in truth is told of a place that is off by the mistake the other way
    first = relief(xx + mistake[0], yy + mistake[1]) - mistake[2] + 0.3 * rng.standard_normal(xx.shape)
    transform = Affine(small.STEP, 0, small.X0, 0, -small.STEP, small.Y0)
    names = {"first": first, "second": second}
    return tuple(small.write_tif(folder / f"{k}.tif", v.astype("float32"), transform) for k, v in names.items())


def test_a_known_offset_is_found_and_taken_out(tmp_path):
    pytest.importorskip("xdem")
    first, second = surveys(tmp_path)
    outlines = small.outlines(GLACIERS)
    plain = small.packed(elevation.convert(outlines, small.DATES, first=first, second=second))
    conversion = elevation.convert(outlines, small.DATES, first=first, second=second, coregister=True)
    ds = small.packed(conversion)
    found = json.loads(ds.attrs["coregistration"])
    np.testing.assert_allclose([found["east"], found["north"], found["up"]], MISTAKE, atol=0.5)
    assert found["nmad_after"] < 1.0 < found["nmad_before"] and found["cells"] > 10_000 and found["cell_size"] == 20.0
    totals = conversion.report.totals
    assert totals["co-registration: east"] == found["east"] and totals["co-registration: nmad_after"] < 1.0
    for rgi_id in GLACIERS:
        change = packing.glacier(ds, rgi_id)["elevation_change"].values
        assert np.median(change) == pytest.approx(-20.0, abs=0.3) and np.std(change) < 1.5
        assert np.std(packing.glacier(plain, rgi_id)["elevation_change"].values) > 2.0


def test_a_large_region_is_looked_at_in_coarser_cells(tmp_path):
    pytest.importorskip("xdem")
    first, second = surveys(tmp_path)
    job = elevation.GlacierSurveys("A.1", first, second)
    shapes = [g.wkb for g in small.outlines(GLACIERS).to_crs(4326).geometry]
    found = coregistration.estimate(job, shapes, cells=10_000)
    assert found.cell_size == pytest.approx(40.0, rel=0.05)
    np.testing.assert_allclose([found.east, found.north, found.up], MISTAKE, atol=1.0)


def test_parts_are_read_as_the_whole_is(tmp_path, monkeypatch):
    from alpgm_dask.convert.elevation.grids import Grid
    from alpgm_dask.convert.elevation.opened import open_raster

    raster = open_raster(surveys(tmp_path)[0], "surface_elevation")
    grid = Grid(Affine(45.0, 0, small.X0, 0, -45.0, small.Y0), (80, 80), raster.crs)
    whole = coregistration._read(raster, raster.crs, grid)
    monkeypatch.setattr(coregistration, "CELLS", 40_000 // 9)
    assert len(list(coregistration._tiles(grid, 20.0))) > 4
    np.testing.assert_allclose(coregistration._read(raster, raster.crs, grid), whole, atol=1e-3)


def test_an_offset_in_another_zone_turns_with_the_north():
    import rasterio

    from alpgm_dask.convert.elevation.grids import Grid, Offset, move

    zone32, zone31 = rasterio.CRS.from_epsg(32632), rasterio.CRS.from_epsg(32631)
    grid = Grid(Affine(20.0, 0, 620_000.0, 0, -20.0, 5_000_000.0), (10, 10), zone31)
    away = Offset(100.0, 0.0, 0.0, zone32).away(grid)
    corner = np.array([[g.transform.c, g.transform.f] for g in (grid, away)])
    there = np.stack(move(*corner.T, zone31, zone32))
    np.testing.assert_allclose(there[:, 1] - there[:, 0], [-100.0, 0.0], atol=0.01)
    assert abs(corner[1, 1] - corner[0, 1]) > 3.0  # meridians meet: east is not east


def test_too_little_ground_is_refused(tmp_path):
    pytest.importorskip("xdem")
    first, second = surveys(tmp_path)
    everything = small.outlines({"A.1": (0, 200, 200, 0)})
    with pytest.raises(InputError, match=r"0 cells of ice-free ground.*; allowed with --coregister: 500 and more"):
        elevation.convert(everything, small.DATES, first=first, second=second, coregister=True)


def test_what_is_to_be_installed_is_told(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "xdem":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    first, second = surveys(tmp_path, n=120)
    with pytest.raises(InputError, match=r"xdem is not installed; allowed: pip install 'alpgm_dask\[coregister\]'"):
        elevation.convert(small.outlines(GLACIERS), small.DATES, first=first, second=second, coregister=True)
