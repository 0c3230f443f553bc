"""An ALPGM checkout: matching rules on made-up inventories, and the real data where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_convert_rasters import run_serially

from alpgm_dask import packing, raster
from alpgm_dask.convert import alpgm, alpgm_elevation, alpgm_tables, inventory
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError

SUBSET = [f"RGI60-11.{n}" for n in ("00353", "01450", "02822", "03638", "03642", "03643", "03680", "03681", "03651")]


@pytest.fixture
def matcher() -> inventory.Matcher:
    """Two outlines that share an id, and a third 20 km away."""
    import geopandas as gpd
    import shapely

    boxes = [shapely.box(x, 5e6, x + 1000, 5e6 + 1000) for x in (300000, 302000, 320000)]
    frame = gpd.GeoDataFrame(
        {
            "glims_id": ["G1", "G1", "G3"],
            "name": ["de la Selle 1", "de la Selle 2", "du Lac"],
            "area": [1e6, 5e5, 1e6],
            "massif_safran": [15, 15, 16],
        },
        geometry=boxes,
        crs=inventory.PLANE,
    )
    return inventory.Matcher(frame)


def row(x: float, name: str, glims_id: str, area: float = 9.0, massif: int = 15, year: int = 2015) -> pd.DataFrame:
    import shapely

    point = inventory.reproject(shapely.Point(x, 5e6 + 500), inventory.PLANE, 4326)
    values = {"glims_id": glims_id, "name": name, "area": area, "lon": point.x, "lat": point.y}
    return pd.DataFrame([{**values, "massif_safran": massif, "inventory_year": year}])


@pytest.mark.parametrize(
    ("given", "outline", "how"),
    [
        (row(300500, "Selle_1", "G1"), 0, "GLIMS id and name"),
        (row(302500, "Selle", "G1"), 1, "GLIMS id, nearest of several"),
        (row(320500, "Petit Lac", "G3", massif=16), 2, "GLIMS id"),
        (row(302500, "de la Selle 2", "G9", area=5e5, year=2003), 1, "name and area"),
        (row(302500, "?", "G1", area=5e5, year=2003), 1, "GLIMS id and area"),
        (row(303000, "la Selle 1", "G9"), 0, "name"),
        (row(301200, "?", "G9"), 0, "nearest"),
        (row(301200, "?", "G9", massif=16), -1, "none"),
        (row(310000, "?", "G1"), -1, "none"),
        (row(321200, "?", "", massif=0), 2, "nearest"),
    ],
)
def test_rows_are_matched_in_the_stated_order(matcher, given, outline, how):
    found = matcher.match(given).iloc[0]
    assert (found["outline"], found["matched_by"]) == (outline, how)


def test_tables_are_read_in_either_encoding(tmp_path):
    for encoding in ("utf-8", "latin-1"):
        (tmp_path / encoding).write_text("Nom;x\nSelle supérieure;1\n", encoding=encoding)
        table, found = inventory.read_table(tmp_path / encoding)
        assert (table["Nom"][0], found) == ("Selle supérieure", encoding)
    with pytest.raises(InputError, match="no such file"):
        inventory.read_table(tmp_path / "absent.csv")


def test_flowlines_go_to_the_outline_they_lie_in(matcher):
    import geopandas as gpd
    import shapely

    ys = (5e6 + 100, 5e6 + 900)
    lines = [shapely.LineString([(x, ys[0]), (x, ys[1])]) for x in (302500, 300500, 340000)]
    flowlines = gpd.GeoDataFrame({"GLIMS_ID": ["G1", "G1", "G3"]}, geometry=lines, crs=inventory.PLANE)
    found, counts = inventory.assign_flowlines(matcher.outlines, flowlines)
    assert found == [lines[1], lines[0], None]
    assert counts == {"by GLIMS id": 0, "by location": 2, "without": 1, "unused": 1}


def test_inventories_sum_areas_and_weigh_elevations():
    rows = pd.DataFrame(
        {
            "rgi_id": ["A", "A", "A", ""],
            "inventory_year": [2003, 2015, 2015, 2015],
            "area": [4e6, 3e6, 1e6, 9e6],
            "mean_elevation": [3000.0, 3000.0, 2600.0, 0.0],
            "max_elevation": [3500.0, 3500.0, 2700.0, 0.0],
        }
    )
    ds = alpgm_tables.inventories(rows, ["A", "B"])
    np.testing.assert_array_equal(ds["area"].values[0], [np.nan, np.nan, 4e6, 4e6])
    assert ds["mean_elevation"].sel(inventory_year=2015).values[0] == 2900.0
    assert ds["max_elevation"].sel(inventory_year=2015).values[0] == 3500.0
    assert np.isnan(ds["area"].values[1]).all()


def test_delta_h_comes_on_the_common_grid_and_a_shared_id_gives_it_to_each(tmp_path):
    folder = tmp_path / "delta_h_param"
    folder.mkdir()
    for glims_id, n in (("G1", 3), ("G2", 2), ("G9", 2)):
        np.savetxt(folder / f"{glims_id}_DEM.csv", np.linspace(1, 0, n))
        np.savetxt(folder / f"{glims_id}_dh.csv", np.linspace(1, 0, n) ** 2)
    report = ConversionReport("x")
    ds = alpgm_tables.delta_h_functions(tmp_path, {"G1": ["A.2", "A.1"], "G2": ["A.3"]}, report)
    assert ds["rgi_id"].values.tolist() == ["A.1", "A.2", "A.3"]
    assert ds["delta_h"].dims == ("glacier", "normalized_elevation") and ds.sizes["normalized_elevation"] == 201
    # linear between the nodes as published: (0, 0), (0.5, 0.25), (1, 1), and (0, 0), (1, 1)
    at = ds["delta_h"].sel(normalized_elevation=[0.0, 0.25, 0.5, 0.75, 1.0], method="nearest")
    np.testing.assert_allclose(at[0], [0.0, 0.125, 0.25, 0.625, 1.0])
    np.testing.assert_allclose(at[2], [0.0, 0.25, 0.5, 0.75, 1.0])
    assert report.count("delta-h functions of a GLIMS id that no glacier has") == 1
    assert report.count("delta-h functions of a GLIMS id of several glaciers") == 1
    (folder / "G2_dh.csv").unlink()
    with pytest.raises(InputError, match=r"G2_DEM\.csv: variable 'delta_h' is missing"):
        alpgm_tables.delta_h_functions(tmp_path, {}, report)


def test_clips_go_to_the_outline_of_their_id_or_of_the_greatest_overlap(matcher):
    import geopandas as gpd
    import shapely

    def box(x: float, width: float) -> shapely.Polygon:
        return shapely.box(x, 5e6, x + width, 5e6 + 1000)

    shapes = {
        "own": ("G3", box(320100, 300)),  # once in both tables
        "most": ("G1", box(302100, 800)),  # an id of two outlines
        "less": ("G8", box(302100, 500)),
        "wrong": ("G9", box(300100, 700)),
        "far": ("G7", box(340000, 100)),
    }
    ids, geometry = zip(*shapes.values(), strict=True)
    table = {"glims_id": ids, "name": list(shapes)}
    features = gpd.GeoDataFrame(table, geometry=list(geometry), crs=inventory.PLANE)
    outlines = matcher.outlines.assign(rgi_id=["R.0", "R.1", "R.2"])
    found = alpgm_elevation.match_features(features, outlines)
    assert [m and (m.outline, m.how) for m in found] == [
        *((2, "GLIMS id"), (1, "overlap"), (1, "overlap"), (0, "overlap"), None),
    ]
    report = ConversionReport("x")
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        claims = alpgm_elevation._claims(features.iloc[order].reset_index(drop=True), outlines, report)
        assert {i: told["name"] for i, told in claims.items()} == {"R.0": "wrong", "R.1": "most", "R.2": "own"}
    assert report.count("elevation models: clips of a glacier that has a larger one") == 1
    assert report.count("elevation models: clips of no glacier with rasters") == 1


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(InputError, match="allowed: a checkout"):
        alpgm.convert(tmp_path)


@pytest.fixture(scope="module")
def subset(shared):
    return alpgm.convert(shared / "data" / "alpgm", only=SUBSET, target_pixels=80_000)


def test_real_faults_are_counted(subset):
    report = subset.report
    assert report.count("thickness: negative (pixels)") == 970
    assert report.count("thickness: noise (pixels)") == 24
    assert report.count("surface: no CRS (files)") == 8
    assert report.count("surface: resampled to the thickness grid (files)") == 1
    assert report.count("surface: missing or odd under ice (pixels)") == 3
    assert report.count("pixel area not 625 m2 (glaciers)") == 2
    assert report.count("outline features") == 686
    assert report.count("outline features without RGI number") == 93
    assert report.count("outline features that repeat an RGI number") == 26
    assert report.count("rasters clipped to the 2003 outline (files)") == 591
    assert report.count("inventory rows that are part of another row") == 2
    assert report.count("glaciers without a French outline, mostly inside one") == 1
    assert report.count("tables that are latin-1, not UTF-8") == 1
    assert report.count("rasters more than 5 % off the list's area") == 1
    assert report.count("SMB_bias_correction.csv: glaciers without rasters") == 16


def test_real_subset_to_store_and_back(subset, shared, tmp_path):
    import rioxarray

    ds = run_serially(subset, str(tmp_path / "glaciers.zarr"))
    assert len(packing.blocks(ds)) > 1
    folder = shared / "data/alpgm/glacier_data/glacier_rasters/glacier_thickness"
    for number in ("01450", "03651"):
        original = rioxarray.open_rasterio(folder / f"thickness_tif/RGI60-11.{number}_thickness.tif")[0]
        values = original.values
        back = raster.to_raster(ds, f"RGI60-11.{number}")
        assert back.rio.transform().almost_equals(original.rio.transform())
        np.testing.assert_array_equal(np.nan_to_num(back.values), np.where((values > 0) & (values <= 550), values, 0))
    ds = ds.load()
    tete = packing.glacier(ds, "RGI60-11.03651")
    assert tete["massif"].item() == "Mont Blanc"
    assert 0 < tete["inside_outline"].values.mean() < 1
    line = np.isfinite(tete["flowline_distance"].values)
    top = tete["surface_elevation"].values[line][np.argmin(tete["flowline_distance"].values[line])]
    assert top > tete["surface_elevation"].values[line].mean()


def test_mer_de_glace_is_resampled_bilinearly(subset, shared):
    import rasterio

    path = shared / "data/alpgm/glacier_data/glacier_rasters/glacier_thickness/dem_tif/dem_03643.asc.tif"
    with rasterio.open(path) as file:
        dem = file.read(1).astype(float)
    order = subset.glaciers.plan.order
    number = subset.glaciers.attributes["rgi_id"].values.tolist().index("RGI60-11.03643")
    block = int(np.flatnonzero(order == number)[0]) // subset.glaciers.plan.block_glaciers
    pixels = subset.glaciers.read_block(block)
    start = int(subset.glaciers.plan.row_start[np.flatnonzero(order == number)[0]]) % subset.glaciers.plan.block_pixels
    x, y, z = (pixels[name].values[start + 1000] for name in ("x", "y", "surface_elevation"))
    column, line = (x - file.transform.c) / 25 - 0.5, (file.transform.f - y) / 25 - 0.5
    i, j = int(np.floor(line)), int(np.floor(column))
    fy, fx = line - i, column - j
    weights = np.outer([1 - fy, fy], [1 - fx, fx])
    assert z == pytest.approx((dem[i : i + 2, j : j + 2] * weights).sum(), abs=0.5)


def test_observations_have_what_the_training_had(subset, shared):
    smb = subset.datasets["smb_observations"]
    trained = np.load(shared / "data/safran_glaciers/training_matrix.npz")
    matrix = trained["X"]
    assert len(set(smb["rgi_id"].values)) == 32
    assert smb["glims_id"].values.tolist() == trained["glims_id"].tolist()
    for name, column in (("max_elevation", 4), ("tongue_slope", 5), ("lon", 7), ("lat", 8)):
        np.testing.assert_array_equal(smb[name].values, matrix[:, 0, column])
    np.testing.assert_allclose(np.cos(smb["aspect"].values), matrix[:, 0, 9])
    np.testing.assert_array_equal(smb["smb"].values, trained["y_head"])
    # four glaciers whose tables were edited after the training: Saint Sorlin, Mer de Glace, Argentiere, Sarennes
    kept = np.setdiff1d(np.arange(32), [0, 2, 30, 31])
    assert np.abs(smb["mean_elevation"].values - matrix[:, :, 3])[kept].max() < 20.0
    assert np.abs(smb["mean_elevation"].values - matrix[:, :, 3])[:, 44][kept].max() < 1e-6
    assert np.abs(smb["area"].values / 1e6 - matrix[:, :, 6])[kept].max() < 0.12


def test_a_wrong_pair_of_ids_is_matched_by_name_and_area(subset):
    smb = subset.datasets["smb_observations"]
    selle = smb["name"].values.tolist().index("de la Selle")
    assert smb["rgi_id"].values[selle] == "RGI60-11.03680"
    areas = subset.datasets["inventories"].set_index(glacier="rgi_id")["area"] / 1e6
    np.testing.assert_allclose(areas.sel(glacier="RGI60-11.03680", inventory_year=2003), 1.8968)
    np.testing.assert_allclose(areas.sel(glacier="RGI60-11.03643", inventory_year=2003), 31.85)


def test_real_elevation_models_keep_the_values_of_their_clips(subset, shared):
    import rasterio
    import small_surveys

    report = subset.report
    assert report.count("elevation models: clips with an outline of 2015") == 91
    assert report.count("elevation models: clips of a glacier that has a larger one") == 7
    assert report.count("elevation models: clips of no glacier with rasters") == 0
    assert report.count("elevation models: surveys: resampled (glaciers)") == 0
    ds = small_surveys.packed(subset)
    assert (ds.attrs["first_survey"], ds.attrs["second_survey"]) == ("1979", "2011")
    # three clips carry the id of Argentiere: two lie on it, the larger one is its own
    assert packing.glacier(ds, "RGI60-11.03638")["name"].item() == "d'Argentiere"
    mer = packing.glacier(ds, "RGI60-11.03643")
    assert (mer["name"].item(), mer["massif"].item()) == ("Mer de Glace 1", "Mont Blanc")
    folder = shared / "data/alpgm/glacier_data/glacier_rasters"
    read = {}
    for kind, name in (("dh", "elevation_change"), ("DEM", "surface_elevation")):
        with rasterio.open(folder / f"{kind}_2015/{kind}_Glacier_Mer de Glace 1.tif") as file:
            read[name] = file.read(1, masked=True).filled(np.nan)
    there = np.isfinite(read["elevation_change"]) | np.isfinite(read["surface_elevation"])
    for name, values in read.items():
        np.testing.assert_array_equal(mer[name].values, values[there])
    assert mer["area"].item() / 1e6 == pytest.approx(28.0, abs=5.0)


def test_unknown_identifiers_are_refused(shared):
    with pytest.raises(InputError, match=r"unknown \['RGI60-11.99999'\]"):
        alpgm.convert(shared / "data" / "alpgm", only=["RGI60-11.99999"])


@pytest.mark.slow
def test_totals_of_the_whole_checkout(shared: Path):
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        conversion = alpgm.convert(shared / "data" / "alpgm", mapper=pool.map)
        blocks = range(conversion.glaciers.plan.n_blocks)
        readers = [conversion.glaciers.read_block.part(b) for b in blocks]
        sums = list(pool.map(_block_sums, readers, blocks))
    totals = conversion.report.totals
    assert totals["glaciers"] == 3927
    assert totals["French glaciers"] == 567
    assert totals["area (km2)"] == pytest.approx(2104.0, rel=0.005)
    assert totals["volume (km3)"] == pytest.approx(130.0, rel=0.005)
    assert sum(n for n, _ in sums) == totals["ice pixels"]
    attributes = conversion.glaciers.attributes
    assert np.isfinite(attributes["aspect"]).all()
    assert set(np.unique(attributes["epsg"])) == {32630, 32631, 32632, 32633, 32634}
    assert conversion.outlines["rgi_id"].tolist() == attributes["rgi_id"].values.tolist()
    regions = xr.DataArray(attributes["subregion"].values.astype(str)).to_series().value_counts()
    assert regions.to_dict() == {"11-01 Alps": 3892, "11-02 Southeast Europe": 35}


def _block_sums(reader, block: int) -> tuple[int, float]:
    pixels = reader(block)
    return int((pixels["ice_thickness"] > 0).sum()), float(pixels["ice_thickness"].sum())
