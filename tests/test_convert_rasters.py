"""A folder of rasters: every fault of thickness, surface and outlines, on rasters of a few pixels."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import Affine

from alpgm_dask import packing, raster, store
from alpgm_dask.convert import rasters
from alpgm_dask.convert.cleaning import RasterPair, Rules, clean_thickness, read_pair
from alpgm_dask.convert.conversion import Conversion
from alpgm_dask.convert.readers import ice_polygons, read_glacier, scan, surface_aspect
from alpgm_dask.schema import InputError

ORIGIN = (330000.0, 5080000.0)


def write(path: Path, values: np.ndarray, *, epsg: int | None = 32632, shift: float = 0.0, nodata=None, step=25.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(step, 0.0, ORIGIN[0] + shift, 0.0, -step, ORIGIN[1] - shift)
    profile = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1}
    crs = None if epsg is None else rasterio.CRS.from_epsg(epsg)
    profile |= {"dtype": values.dtype.name, "transform": transform, "crs": crs, "nodata": nodata}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)


def ice(rows: int = 5, columns: int = 6, thickness: float = 20.0) -> np.ndarray:
    out = np.zeros((rows, columns), "float32")
    out[1:-1, 1:-1] = thickness
    return out


def slope(rows: int = 5, columns: int = 6) -> np.ndarray:
    """A surface that falls 10 m from row to row, to the south."""
    return np.repeat((3000 - 10 * np.arange(rows, dtype="float32"))[:, None], columns, axis=1)


def pair(folder: Path, thickness=None, surface=None, rgi_id="RGI60-11.00001", thick=None, surf=None) -> RasterPair:
    h, e = folder / f"h/{rgi_id}.tif", folder / f"e/{rgi_id}.tif"
    write(h, ice() if thickness is None else thickness, **(thick or {}))
    write(e, slope() if surface is None else surface, **(surf or {}))
    return RasterPair(rgi_id, str(h), str(e))


def outlines(folder: Path, ids: list[str], **columns) -> Path:
    import geopandas as gpd
    import shapely

    box = shapely.box(ORIGIN[0] + 25, ORIGIN[1] - 100, ORIGIN[0] + 75, ORIGIN[1] - 25)
    frame = gpd.GeoDataFrame({"rgi_id": ids, **columns}, geometry=[box] * len(ids), crs=32632)
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_file(folder / "outlines.gpkg")
    return folder / "outlines.gpkg"


def run_serially(conversion: Conversion, url: str) -> xr.Dataset:
    """What the pipeline does on a cluster, one block after the other."""
    source = conversion.glaciers
    store.prime(packing.template(source.attributes, source.plan), url)
    primed = packing.blocks(xr.open_zarr(url, consolidated=False))
    for block in primed:
        reader = pickle.loads(pickle.dumps(source.read_block.part(block.index)))
        store.write_block(reader(block.index), url, {"pixel": block.pixels})
    store.finish(url)
    return store.open_store(url)


def test_clean_thickness_counts_each_fault_once():
    given = np.array([[5.0, -1.0, np.nan, 600.0, -9999.0, np.inf, 0.0]], "float32")
    cleaned, faults = clean_thickness(given, -9999.0, 550.0)
    assert cleaned.tolist() == [[5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    assert faults["thickness: negative (pixels)"] == 1
    assert faults["thickness: not finite (pixels)"] == 2
    assert faults["thickness: noise (pixels)"] == 1
    assert faults["thickness: nodata (pixels)"] == 1


def test_thick_ice_is_kept_without_the_rule():
    cleaned, faults = clean_thickness(np.array([[600.0]], "float32"), None, None)
    assert cleaned[0, 0] == 600.0
    assert faults["thickness: noise (pixels)"] == 0


def test_surface_without_crs_takes_that_of_the_thickness(tmp_path):
    thickness, surface, faults = read_pair(pair(tmp_path, surf={"epsg": None}), Rules())
    assert thickness.rio.crs.to_epsg() == surface.rio.crs.to_epsg() == 32632
    assert faults["surface: no CRS (files)"] == 1
    np.testing.assert_array_equal(surface.values, slope())


def test_half_a_pixel_is_refused_or_resampled_bilinearly(tmp_path):
    shifted = pair(tmp_path, surf={"shift": 12.5})
    with pytest.raises(InputError, match=r"surface_elevation.*another grid.*17\.68 m apart.*allowed"):
        read_pair(shifted, Rules())
    thickness, surface, faults = read_pair(shifted, Rules(resample=True, fill_surface=True))
    assert surface.shape == thickness.shape
    assert faults["surface: resampled to the thickness grid (files)"] == 1
    # the surface file's rows lie half a pixel further south, where the slope is 5 m lower
    np.testing.assert_allclose(surface.values[1:-1, 1:-1], slope()[1:-1, 1:-1] + 5.0, atol=1e-3)


def test_a_tiny_difference_of_origins_is_the_same_grid(tmp_path):
    _, _, faults = read_pair(pair(tmp_path, surf={"shift": 1e-4}), Rules())
    assert faults["surface: resampled to the thickness grid (files)"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thick": {"epsg": None}}, r"h/.*'ice_thickness' has no CRS; allowed"),
        ({"thick": {"epsg": 4326}}, r"'ice_thickness' has the CRS EPSG:4326; allowed: a projected CRS"),
        ({"surf": {"epsg": 32631}}, r"e/.*'surface_elevation' has the CRS EPSG:32631; allowed: EPSG:32632"),
        ({"surface": slope(7, 6)}, r"'surface_elevation' lies on another grid"),
        ({"surface": np.full((5, 6), np.nan, "float32")}, r"missing under ice at 12 pixels; allowed"),
        ({"surface": np.full((5, 6), 30000.0, "float32")}, r"missing under ice at 12 pixels; allowed"),
    ],
)
def test_refusals_name_file_variable_and_what_is_allowed(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_pair(pair(tmp_path, **change), Rules())


def test_a_hole_in_the_surface_is_filled_where_the_rules_say_so(tmp_path):
    surface = slope()
    surface[2, 2] = -9999.0
    holed = pair(tmp_path, surface=surface, surf={"nodata": -9999.0})
    with pytest.raises(InputError, match="missing under ice at 1 pixels"):
        read_pair(holed, Rules())
    _, filled, faults = read_pair(holed, Rules(fill_surface=True))
    assert faults["surface: missing or odd under ice (pixels)"] == 1
    assert filled.values[2, 2] == pytest.approx(2980.0, abs=5.0)


def test_a_surface_that_ends_at_the_ice_still_has_slopes(tmp_path):
    surface = np.where(ice() > 0, slope(), np.nan).astype("float32")
    one = pair(tmp_path, surface=surface)
    pixels = read_glacier(one, *read_pair(one, Rules())[:2])
    assert np.isfinite(pixels["surface_slope"]).all()


def test_aspect_is_clockwise_from_north_and_circular(tmp_path):
    thickness, surface, _ = read_pair(pair(tmp_path), Rules())
    assert surface_aspect(surface, thickness.values > 0) == pytest.approx(180.0)
    eastward = surface.copy(data=np.repeat((100 - 10 * np.arange(6.0))[None, :], 5, axis=0))
    assert surface_aspect(eastward, thickness.values > 0) == pytest.approx(90.0)
    assert np.isnan(surface_aspect(surface * 0.0 + 5.0, thickness.values > 0))


def test_ice_polygons_have_the_area_of_the_ice(tmp_path):
    import geopandas as gpd

    values = ice()
    values[2, 3] = 0.0
    thickness, _, _ = read_pair(pair(tmp_path, thickness=values), Rules())
    outline = gpd.GeoSeries([ice_polygons(thickness)], crs=4326).to_crs(32632)
    assert outline.is_valid.all()
    assert outline.area[0] == pytest.approx(11 * 625.0, rel=1e-6)


def test_scan_agrees_with_the_pixels_and_does_not_stop_at_a_refusal(tmp_path):
    good = pair(tmp_path)
    empty = pair(tmp_path, thickness=ice(thickness=0.0), rgi_id="empty")
    bad = pair(tmp_path, rgi_id="bad", thick={"epsg": None})
    records = scan([good, empty, bad], Rules())
    assert [bool(r.skipped) for r in records] == [False, True, False]
    assert "no CRS" in records[2].refused
    pixels = read_glacier(good, *read_pair(good, Rules())[:2])
    assert records[0].attributes["row_size"] == pixels.sizes["pixel"] == 12
    assert records[0].attributes["volume"] == 12 * 625.0 * 20.0
    assert records[0].attributes["mean_elevation"] == pytest.approx(2980.0)


def test_folder_to_store(tmp_path):
    ids = ["A.1", "A.2", "A.3"]
    for i, rgi_id in enumerate(ids):
        pair(tmp_path, thickness=ice(thickness=10.0 * (i + 1)), rgi_id=rgi_id)
    pair(tmp_path, thickness=ice(thickness=0.0), rgi_id="A.4")
    shapes = outlines(tmp_path, [*ids, "A.4"], glac_name=["a", "b", None, "d"], src_date=["2003-08-01"] * 4)
    conversion = rasters.convert(shapes, tmp_path / "h", tmp_path / "e", target_pixels=24)
    ds = run_serially(conversion, str(tmp_path / "glaciers.zarr"))
    assert sorted(ds["rgi_id"].values.tolist()) == ids
    assert len(packing.blocks(ds)) == 2
    assert conversion.report.count("glaciers without ice") == 1
    assert conversion.report.totals["volume (km3)"] == pytest.approx(12 * 625 * 60 / 1e9, abs=1e-4)
    back = raster.to_raster(ds, "A.2").values
    np.testing.assert_array_equal(np.nan_to_num(back), ice(thickness=20.0))
    assert raster.to_raster(ds, "A.2", "inside_outline").values.sum() == 6
    assert conversion.outlines["rgi_id"].tolist() == ids
    assert set(ds["inventory_year"].values) == {2003}
    assert "A.4" in str(conversion.report)


def test_a_block_does_not_depend_on_the_order_of_the_scan(tmp_path):
    for i in range(4):
        pair(tmp_path, thickness=ice(thickness=1.0 + i), rgi_id=f"A.{i}")
    shapes = outlines(tmp_path, [f"A.{i}" for i in range(4)])
    here = rasters.convert(shapes, tmp_path / "h", tmp_path / "e")

    def sent(function, items):
        return [pickle.loads(pickle.dumps(function))(item) for item in items]

    there = rasters.convert(shapes, tmp_path / "h", tmp_path / "e", mapper=sent)
    xr.testing.assert_identical(here.glaciers.read_block(0), there.glaciers.read_block(0))
    xr.testing.assert_identical(here.glaciers.attributes, there.glaciers.attributes)


def test_mosaic_is_cut_out_and_resampled(tmp_path):
    pair(tmp_path, rgi_id="A.1")
    write(tmp_path / "mosaic.tif", slope(40, 40), shift=-112.5)
    conversion = rasters.convert(outlines(tmp_path, ["A.1"]), tmp_path / "h", tmp_path / "mosaic.tif")
    pixels = conversion.glaciers.read_block(0)
    # 112.5 m further north-west: 4.5 rows of 10 m
    np.testing.assert_allclose(pixels["surface_elevation"].values[:4], 3000 - 10 * (1 + 4.5), atol=1e-2)


def test_flowline_runs_from_the_top(tmp_path):
    import geopandas as gpd
    import shapely

    pair(tmp_path, rgi_id="A.1")
    x = ORIGIN[0] + 62.5
    upward = shapely.LineString([(x, ORIGIN[1] - 112.0), (x, ORIGIN[1] - 26.0)])
    gpd.GeoDataFrame({"rgi_id": ["A.1"]}, geometry=[upward], crs=32632).to_file(tmp_path / "lines.gpkg")
    shapes = outlines(tmp_path, ["A.1"])
    conversion = rasters.convert(shapes, tmp_path / "h", tmp_path / "e", flowlines=tmp_path / "lines.gpkg")
    pixels = conversion.glaciers.read_block(0)
    on = np.isfinite(pixels["flowline_distance"].values)
    assert on.sum() == 3
    top_down = np.argsort(-pixels["surface_elevation"].values[on])
    assert (np.diff(pixels["flowline_distance"].values[on][top_down]) > 0).all()


def test_refusals_of_a_folder(tmp_path):
    pair(tmp_path, rgi_id="A.1")
    h, e = tmp_path / "h", tmp_path / "e"
    with pytest.raises(InputError, match=r"outlines\.gpkg: column 'rgi_id' has 'A.1' more than once; allowed"):
        rasters.convert(outlines(tmp_path / "twice", ["A.1", "A.1"]), h, e)
    with pytest.raises(InputError, match=r"'ice_thickness': no file for 1 of 2 outlines, the first: A\.2; allowed"):
        rasters.convert(outlines(tmp_path / "more", ["A.1", "A.2"]), h, e)
    skipped = rasters.convert(outlines(tmp_path / "more", ["A.1", "A.2"]), h, e, skip_missing=True)
    assert skipped.report.count("outlines without rasters") == 1
    with pytest.raises(InputError, match="no column 'name'"):
        rasters.convert(outlines(tmp_path / "more", ["A.1"]), h, e, id_column="name")
    with pytest.raises(InputError, match="no such folder"):
        rasters.convert(outlines(tmp_path / "more", ["A.1"]), tmp_path / "absent", e)
    write(h / "A.1_again.tif", ice())
    with pytest.raises(InputError, match=r"2 files of A\.1"):
        rasters.convert(outlines(tmp_path / "one", ["A.1"]), h, e)


def test_no_ice_at_all_is_refused(tmp_path):
    pair(tmp_path, thickness=ice(thickness=0.0), rgi_id="A.1")
    with pytest.raises(InputError, match="above 0 m in none of 1 rasters: no ice"):
        rasters.convert(outlines(tmp_path, ["A.1"]), tmp_path / "h", tmp_path / "e")


def test_the_first_refusal_is_told_and_the_rest_counted(tmp_path):
    for rgi_id in ("A.1", "A.2"):
        pair(tmp_path, rgi_id=rgi_id, surf={"epsg": 32631})
    with pytest.raises(InputError, match=r"A\.1\.tif.*allowed: EPSG:32632.*and 1 more glaciers are refused"):
        rasters.convert(outlines(tmp_path, ["A.1", "A.2"]), tmp_path / "h", tmp_path / "e")
