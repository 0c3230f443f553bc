"""Two elevation models of any kind and CRS: exact where nothing need be resampled, close where it is, or refused."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import small_surveys as small
import xarray as xr
from small_surveys import DATES

from alpgm_dask import packing, raster, schema
from alpgm_dask.convert import elevation
from alpgm_dask.schema import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both surveys, their difference and their mean, as GeoTIFFs."""
    folder = tmp_path_factory.mktemp("surveys")
    for which in ("first", "second", "difference", "surface"):
        small.tif(folder / f"{which}.tif", which)
    return folder


def convert(first, second, outlines=None, **options):
    table = small.outlines() if outlines is None else outlines
    return elevation.convert(table, DATES, first=first, second=second, **options)


def pair(folder) -> tuple[str, str]:
    return str(folder / "first.tif"), str(folder / "second.tif")


def assert_same_glaciers(ours: xr.Dataset, theirs: xr.Dataset, atol: float = 0.0) -> None:
    for rgi_id in small.BOXES:
        a, b = packing.glacier(ours, rgi_id), packing.glacier(theirs, rgi_id)
        for name in packing.ELEVATION_VARIABLES:
            np.testing.assert_allclose(a[name].values, b[name].values, atol=atol, rtol=0, err_msg=f"{rgi_id} {name}")


# -- what comes out -----------------------------------------------------------------------------------------


def test_equal_grids_give_exact_values(folder):
    conversion = convert(*pair(folder))
    ds = small.packed(conversion)
    schema.check(ds, dict.fromkeys(packing.ELEVATION_VARIABLES, ("pixel",)), "here")
    assert (ds.attrs["first_survey"], ds.attrs["second_survey"]) == DATES
    first, t = small.survey("first")
    second, _ = small.survey("second")
    for rgi_id, (west, south, east, north) in small.BOXES.items():
        one = packing.glacier(ds, rgi_id)
        cut = slice(north, south), slice(west, east)
        np.testing.assert_array_equal(one["elevation_change"], (second[cut] - first[cut].astype("f8")).ravel())
        np.testing.assert_array_equal(one["x"].values[0], t.c + (west + 0.5) * t.a)
        np.testing.assert_allclose(one["surface_elevation"], ((first[cut] + second[cut]) / 2.0).ravel(), rtol=1e-6)
        assert one["row_size"] == small.SIZES[rgi_id] and one["epsg"] == small.EPSG and one["pixel_area"] == 400.0
        assert one["area"] == pytest.approx(small.SIZES[rgi_id] * 400.0, rel=2e-3)
        back = raster.to_raster(ds, rgi_id, "elevation_change")
        np.testing.assert_array_equal(back, second[cut] - first[cut])
    report = conversion.report
    assert report.totals["elevation models: pixels with a change"] == 65
    assert report.count("elevation models: surveys: resampled (glaciers)") == 0
    assert (ds["elevation_change"].values[np.isfinite(ds["x"].values)] < 0).all()


def test_difference_and_surface_give_the_same(folder):
    there = {name: folder / f"{name}.tif" for name in ("difference", "surface")}
    ours = small.packed(elevation.convert(small.outlines(), DATES, **there))
    assert_same_glaciers(ours, small.packed(convert(*pair(folder))), atol=1e-3)


@pytest.mark.parametrize(
    ("epsg", "step", "atol"),
    [(32632, 30.0, 2e-3), (32632, 7.0, 2e-3), (32631, 20.0, 2e-3), (3035, 25.0, 2e-3), (4326, 2e-4, 2e-3)],
)
def test_another_grid_is_brought_to_that_of_the_second_survey(folder, tmp_path, epsg, step, atol):
    first = small.tif(tmp_path / "first.tif", "first", epsg, step)
    boxes = {i: box for i, box in small.BOXES.items() if i != "A.3"}
    conversion = convert(first, pair(folder)[1], small.outlines(boxes))
    ds = small.packed(conversion)
    expected = small.thinning(ds["x"].values, ds["y"].values)
    np.testing.assert_allclose(ds["elevation_change"].values, expected, atol=atol)
    assert conversion.report.count("elevation models: surveys: resampled (glaciers)") == 2


def test_a_mosaic_in_degrees_is_brought_to_the_utm_zone(tmp_path):
    files = [small.tif(tmp_path / f"{name}.tif", name, 4326, 2e-4) for name in ("first", "second")]
    ds = small.packed(convert(*files))
    assert set(ds["epsg"].values) == {32632}
    assert 15.0 < float(ds["pixel_width"][0]) < 23.0
    there = np.isfinite(ds["x"].values)
    x, y = ds["x"].values[there], ds["y"].values[there]
    np.testing.assert_allclose(ds["elevation_change"].values[there], small.thinning(x, y), atol=2e-3)
    np.testing.assert_allclose(
        ds["surface_elevation"].values[there], small.plane(x, y) + small.thinning(x, y) / 2, atol=2e-3
    )


def test_clips_and_mosaics_and_patterns_give_the_same(folder, tmp_path):
    whole = small.packed(convert(*pair(folder)))
    where = [small.clips(tmp_path / name, name) for name in ("first", "second")]
    assert_same_glaciers(small.packed(convert(*where)), whole)
    assert_same_glaciers(small.packed(convert(f"{where[0]}/{{id}}.tif", pair(folder)[1])), whole)


def test_clips_in_degrees_keep_their_values(tmp_path):
    values = np.array([[-1.5, -2.25, np.nan], [-3.0, -9999.0, -0.125]], "float32")
    surface = np.array([[3000.5, 0.0, 0.0], [2999.0, 2998.0, 2990.25]], "float32")
    transform = small.Affine(5e-4, 0, 6.9, 0, -4e-4, 45.9)
    job = elevation.GlacierSurveys(
        "A.1",
        small.write_tif(tmp_path / "dh.tif", values, transform, epsg=4326, nodata=-9999.0),
        small.write_tif(tmp_path / "dem.tif", surface, transform, epsg=4326, nodata=0.0),
    )
    from alpgm_dask.convert.elevation.surveys import read_surveys

    pixels, faults = read_surveys(job, elevation.Method(difference=True, clips=True))
    np.testing.assert_array_equal(pixels["elevation_change"], np.float32([-1.5, -2.25, -3.0, np.nan, -0.125]))
    np.testing.assert_array_equal(pixels["surface_elevation"], np.float32([3000.5, np.nan, 2999, 2998, 2990.25]))
    assert faults["change: missing (pixels)"] == faults["surface: missing (pixels)"] == 1
    assert pixels["epsg"] == 32632
    # 5e-4 degrees of longitude at 45.9 N are 38.8 m, 4e-4 of latitude 44.5 m
    assert pixels["pixel_area"].item() == pytest.approx(38.8 * 44.5, rel=0.01)
    assert np.hypot(*(np.diff(pixels[name].values[:2])[0] for name in "xy")) == pytest.approx(38.8, rel=0.01)


@pytest.mark.parametrize("south_up", [False, True])
def test_zarr_and_geotiff_give_the_same(folder, tmp_path, south_up):
    where = [small.zarr(tmp_path / f"{name}.zarr", name, south_up=south_up) for name in ("first", "second")]
    assert_same_glaciers(small.packed(convert(*where)), small.packed(convert(*pair(folder))))


def test_a_group_and_a_netcdf_file_are_read(folder, tmp_path):
    small.zarr(tmp_path / "all.zarr/first", "first")
    xr.open_zarr(tmp_path / "all.zarr/first", consolidated=False).load().to_netcdf(tmp_path / "first.nc")
    whole = small.packed(convert(*pair(folder)))
    for first in (tmp_path / "all.zarr/first", tmp_path / "first.nc"):
        assert_same_glaciers(small.packed(convert(first, pair(folder)[1])), whole)


def test_a_glacier_does_not_depend_on_its_block(folder):
    jobs = convert(*pair(folder)).packed["elevation_models"].read_block.jobs
    from alpgm_dask.convert.elevation.converting import pack_surveys
    from alpgm_dask.convert.report import ConversionReport

    def at(target: int, numbers=(0, 1, 2), mapper=map) -> xr.Dataset:
        from alpgm_dask.convert.conversion import Conversion

        chosen, report = [jobs[i] for i in numbers], ConversionReport("x")
        source = pack_surveys(chosen, elevation.Method(), {}, DATES, report, target_pixels=target, mapper=mapper)
        return small.packed(Conversion(report, packed={"elevation_models": pickle.loads(pickle.dumps(source))}))

    def sent(function, items):
        return [pickle.loads(pickle.dumps(function))(item) for item in items]

    one, three = at(1000), at(10, mapper=sent)
    assert (len(packing.blocks(one)), len(packing.blocks(three))) == (1, 3)
    assert_same_glaciers(one, three)
    alone = at(1000, numbers=(2,))
    np.testing.assert_array_equal(alone["elevation_change"], packing.glacier(one, "A.3")["elevation_change"])


@pytest.mark.parametrize("kind", ["zarr", "tif"])
def test_only_what_lies_under_a_glacier_is_read(folder, tmp_path, kind):
    """The far corner of the second survey cannot be read, and a glacier elsewhere does not mind."""
    if kind == "zarr":
        second = small.zarr(tmp_path / "second.zarr", "second")
        (tmp_path / "second.zarr/dem/c/3/3").write_bytes(b"broken")
    else:
        second = str(shutil.copy(pair(folder)[1], tmp_path / "second.tif"))
        with open(second, "r+b") as file:
            file.truncate(file.seek(0, 2) - 600)  # the last tile of the file
    near = {i: small.BOXES[i] for i in ("A.1", "A.2")}
    assert small.packed(convert(pair(folder)[0], second, small.outlines(near))).sizes["glacier"] == 2
    corner = small.outlines({"A.9": (50, 60, 60, 50)})
    with pytest.raises((InputError, RuntimeError, ValueError)):
        convert(pair(folder)[0], second, corner)


def test_names_come_from_the_outlines_and_from_what_is_known(folder):
    table = small.outlines(name=["one", "two", "three"], o2region=["11-01", "11-01", None])
    ds = small.packed(convert(*pair(folder), table, known={"A.2": {"name": "Due", "massif": "M"}}))
    told = zip(ds["rgi_id"].values, ds["name"].values, ds["massif"].values, strict=True)
    by_id = {str(i): (str(name), str(massif)) for i, name, massif in told}
    assert by_id == {"A.1": ("one", ""), "A.2": ("Due", "M"), "A.3": ("three", "")}


def test_voids_are_kept_as_missing_and_counted(folder, tmp_path):
    values, transform = small.survey("first")
    values[3, 3:6] = -32768.0
    values[20:25, 20:25] = -32768.0
    first = small.write_tif(tmp_path / "first.tif", values, transform, nodata=-32768.0)
    conversion = convert(first, pair(folder)[1])
    ds, report = small.packed(conversion), conversion.report
    assert report.count("elevation models: change: missing (pixels)") == 28
    assert report.count("elevation models: surface: missing (pixels)") == 0
    assert report.count("elevation models: glaciers without a single change") == 1
    assert np.isnan(packing.glacier(ds, "A.2")["elevation_change"]).all()
    second, _ = small.survey("second")
    np.testing.assert_array_equal(packing.glacier(ds, "A.2")["surface_elevation"], second[20:25, 20:25].ravel())


def test_what_the_surveys_do_not_cover_is_left_out_and_named(folder):
    boxes = small.BOXES | {"B.1": (500, 510, 510, 500), "B.2": (10.1, 10.4, 10.4, 10.1), "B.3": (58, 12, 63, 10)}
    conversion = convert(*pair(folder), small.outlines(boxes))
    ds, report = small.packed(conversion), conversion.report
    assert sorted(ds["rgi_id"].values) == ["A.1", "A.2", "A.3", "B.3"]
    assert report.count("elevation models: glaciers outside of the elevation models") == 1
    assert report.count("elevation models: glaciers no pixel's centre inside the outline") == 1
    assert "B.1" in str(report) and "B.2" in str(report)
    assert np.isfinite(packing.glacier(ds, "B.3")["elevation_change"].values).sum() == 4  # of 10


def test_one_pixel_is_a_glacier(folder):
    ds = small.packed(convert(*pair(folder), small.outlines({"A.1": (5, 6, 6, 5)})))
    assert (ds.sizes["glacier"], int(ds["row_size"][0])) == (1, 1)
    assert np.isfinite(ds["elevation_change"].values[0])


def test_a_raster_without_crs_takes_that_of_its_partner(folder, tmp_path):
    bare = small.write_tif(tmp_path / "first.tif", *small.survey("first"), epsg=None)
    conversion = convert(bare, pair(folder)[1])
    assert conversion.report.count("elevation models: surveys: no CRS (glaciers)") == 3
    assert_same_glaciers(small.packed(conversion), small.packed(convert(*pair(folder))))


# -- refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (("2015", "2000"), "2015, then 2000; allowed: the first before"),
        (("2000-08-20", "2000"), "allowed: the first before"),
        (("2000-13-01", "2011"), "'2000-13-01'; allowed: YYYY-MM-DD"),
        (("summer", "2011"), "'summer'; allowed"),
        (("2000", "20110901"), "'20110901'; allowed"),
    ],
)
def test_dates_are_refused(folder, dates, message):
    first, second = pair(folder)
    with pytest.raises(InputError, match=message):
        elevation.convert(small.outlines(), dates, first=first, second=second)


@pytest.mark.parametrize(
    "given",
    [
        {"first": "a"},
        {},
        {"first": "a", "second": "b", "difference": "c", "surface": "d"},
        {"first": "a", "second": "b", "difference": "c"},
        {"difference": "c", "second": "b"},
    ],
)
def test_rasters_that_are_no_pair_are_refused(given):
    with pytest.raises(InputError, match="allowed: first and second, or difference and surface"):
        elevation.convert(small.outlines(), DATES, **given)


@pytest.mark.parametrize("unit", ["ft", "cm"])
def test_other_units_are_refused(folder, tmp_path, unit):
    message = f"'surface_elevation' has units '{unit}'; allowed: 'm'"
    with pytest.raises(InputError, match=message):
        convert(small.tif(tmp_path / "first.tif", "first", units=unit), pair(folder)[1])
    with pytest.raises(InputError, match=message):
        convert(small.zarr(tmp_path / "first.zarr", "first", units=unit), pair(folder)[1])


def test_heights_in_feet_of_the_crs_are_refused(tmp_path):
    from alpgm_dask.convert.elevation.opened import open_raster

    path = small.write_tif(tmp_path / "feet.tif", *small.survey("first"), epsg=6349)  # NAD83(2011) + NAVD88 height
    assert open_raster(path, "surface_elevation").crs is not None
    path = small.write_tif(tmp_path / "feet.tif", *small.survey("first"), epsg=8720)  # NAD83 / ... + NAVD88 (ftUS)
    with pytest.raises(InputError, match=r"US survey foot.*; allowed"):
        open_raster(path, "surface_elevation")


def test_no_crs_anywhere_is_refused(tmp_path):
    files = [small.write_tif(tmp_path / f"{n}.tif", *small.survey(n), epsg=None) for n in ("first", "second")]
    with pytest.raises(InputError, match=r"first\.tif and .*second\.tif have no CRS; allowed"):
        convert(*files)
    with pytest.raises(InputError, match="have no CRS"):
        convert(*(small.zarr(tmp_path / f"{n}.zarr", n, crs=False) for n in ("first", "second")))


def test_values_that_are_no_elevations_are_refused(folder, tmp_path):
    values, transform = small.survey("first")
    values[3, 3] = -9999.0
    first = small.write_tif(tmp_path / "first.tif", values, transform)
    with pytest.raises(InputError, match=r"first\.tif: .*'surface_elevation' is -9999 m at 1 pixels of A\.1; allowed"):
        convert(first, pair(folder)[1])
    values[3, 3] = -3.4e38  # nobody's elevation: a fill value that is not declared
    first = small.write_tif(tmp_path / "first.tif", values, transform)
    assert convert(first, pair(folder)[1]).report.count("elevation models: change: missing (pixels)") == 1


def test_all_cloud_and_no_overlap_are_refused(folder, tmp_path):
    values, transform = small.survey("first")
    clouded = small.write_tif(tmp_path / "first.tif", np.full_like(values, -1.0), transform, nodata=-1.0)
    with pytest.raises(InputError, match=r"'elevation_change' is missing at every pixel of all 3 glaciers; allowed"):
        convert(clouded, pair(folder)[1])
    with pytest.raises(InputError, match=r"none of 1 glaciers .*1 outside of the elevation models.*; allowed"):
        convert(*pair(folder), small.outlines({"B.1": (500, 510, 510, 500)}))


def test_files_that_are_not_there_or_not_one_raster_are_refused(folder, tmp_path):
    first, second = pair(folder)
    with pytest.raises(InputError, match=r"absent\.tif: variable 'surface_elevation': no such file; allowed"):
        convert(tmp_path / "absent.tif", second)
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(InputError, match=r"text\.tif: .* cannot be opened"):
        convert(tmp_path / "text.tif", second)
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match="none of 3 outlines has both rasters; allowed"):
        convert(first, tmp_path / "clips")
    both = xr.Dataset({name: (("y", "x"), np.ones((3, 3))) for name in ("a", "b")})
    both.to_zarr(tmp_path / "two.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match=r"the 2-D variables are \['a', 'b'\]; allowed: one"):
        convert(first, tmp_path / "two.zarr")


def test_clips_and_differences_cannot_be_coregistered(folder, tmp_path):
    where = [small.clips(tmp_path / name, name) for name in ("first", "second")]
    with pytest.raises(InputError, match="no ice-free ground; allowed with --coregister: mosaics"):
        convert(*where, coregister=True)
    there = {name: folder / f"{name}.tif" for name in ("difference", "surface")}
    with pytest.raises(InputError, match="--coregister needs both surveys"):
        elevation.convert(small.outlines(), DATES, coregister=True, **there)


def test_outlines_that_are_not_there_are_refused(tmp_path):
    from alpgm_dask.convert.rasters import read_vector

    with pytest.raises(InputError, match=r"nothere\.gpkg: there is no such file"):
        read_vector(tmp_path / "nothere.gpkg")
