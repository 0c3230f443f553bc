"""Ready-made predictors: rows found in the inventory, combined by area, and everything else counted or refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alpgm_dask.convert import predictors
from alpgm_dask.schema import InputError

YEARS = np.arange(2000, 2003)


def seasonal(glims: list[str], names: list[str], **extra) -> xr.Dataset:
    value = 100.0 * (1 + np.arange(len(glims)))[:, None] + np.zeros(YEARS.size)
    dims = ("glacier", "hydro_year")
    units = {"cpdd": "K day", "winter_snowfall": "kg m-2", "summer_snowfall": "kg m-2"}
    data = {name: (dims, value, {"units": unit}) for name, unit in units.items()}
    coords = {"hydro_year": YEARS, "glims_id": ("glacier", glims), "name": ("glacier", names)}
    return xr.Dataset({**data, **extra}, coords=coords)


@pytest.fixture
def glaciers() -> xr.Dataset:
    n = 3
    return xr.Dataset(
        {"massif": ("glacier", np.array(["Ecrins"] * n, dtype=object))},
        coords={
            "rgi_id": ("glacier", np.array(["A.1", "A.2", "A.3"], dtype=object)),
            "lon": ("glacier", np.arange(n) + 6.0),
            "lat": ("glacier", np.full(n, 45.0)),
        },
    )


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "inventory_year": [2003] * 5 + [2015],
            "glims_id": ["G1", "G1", "G2", "G3", "G4", "G1"],
            "name": ["Blanc 1", "Blanc 2", "Noir", "fragment", "de l'Été", "Blanc"],
            "rgi_id": ["A.1", "A.1", "A.2", "", "A.9", "A.1"],
            "area": [3e6, 1e6, 1e6, 1e4, 1e6, 2e6],
            "mean_elevation": [3000.0, 2600.0, 2900.0, 2800.0, 2500.0, 3100.0],
        }
    )


def save(ds: xr.Dataset, folder, name="p.nc"):
    ds.to_netcdf(folder / name)
    return folder / name


def test_rows_of_one_glacier_are_averaged_by_area(tmp_path, glaciers, rows):
    names = ["Blanc 1", "Blanc 2", "Noir", "fragment", "de l'Ete", "?"]
    path = save(seasonal(["G1", "G1", "G2", "G3", "G4", "G5"], names), tmp_path)
    conversion = predictors.convert(path, glaciers, rows)
    out = conversion.datasets["predictors"]
    assert out["cpdd"].chunks is not None
    assert out["rgi_id"].values.tolist() == ["A.1", "A.2"]
    np.testing.assert_allclose(out["cpdd"].values[:, 0], [(3 * 100 + 200) / 4, 300.0])
    np.testing.assert_allclose(out["reference_elevation"], [2900.0, 2900.0])
    report = conversion.report
    assert report.count("rows that the 2003 inventory does not have") == 1
    assert report.count("rows of no glacier with rasters") == 1
    assert report.count("glaciers that the store lacks") == 1
    assert report.count("glaciers of several rows") == 1
    assert report.totals["rows matched by GLIMS id and plain name"] == 1
    assert out["cpdd"].attrs["units"] == "K day"


def test_repeated_rows_take_repeated_inventory_rows_in_order():
    table = pd.DataFrame({"glims_id": ["G", "G", "H"], "name": ["a", "a", "b"]})
    found, counts = predictors.match_rows(np.array(["G", "G", "G", "H"]), np.array(["a", "a", "a", "z"]), table)
    assert found.tolist() == [0, 1, -1, 2]
    assert counts["GLIMS id, the only row left"] == 1


def test_the_inventory_year_picks_the_rows(tmp_path, glaciers, rows):
    path = save(seasonal(["G1"], ["Blanc"]), tmp_path)
    out = predictors.convert(path, glaciers, rows, inventory_year=2015).datasets["predictors"]
    assert out["reference_elevation"].values.tolist() == [3100.0]
    with pytest.raises(InputError, match=r"inventory year: 1999 .*allowed: \[2003, 2015\]"):
        predictors.convert(path, glaciers, rows, inventory_year=1999)


def test_explicit_ids_need_no_table(tmp_path, glaciers):
    def made(ids):
        ds = seasonal(["", ""], ["", ""]).drop_vars(["glims_id", "name"])
        elevation = ("glacier", [3000.0, 2000.0], {"units": "m"})
        return ds.assign_coords(rgi_id=("glacier", ids)).assign(reference_elevation=elevation)

    out = predictors.convert(save(made(["A.3", "A.1"]), tmp_path, "a.nc"), glaciers).datasets["predictors"]
    assert out["rgi_id"].values.tolist() == ["A.1", "A.3"]
    assert out["reference_elevation"].values.tolist() == [2000.0, 3000.0]
    assert out["cpdd"].values[:, 0].tolist() == [200.0, 100.0]
    with pytest.raises(InputError, match=r"'rgi_id' has 'A.1' more than once"):
        predictors.convert(save(made(["A.1", "A.1"]), tmp_path, "b.nc"), glaciers)
    with pytest.raises(InputError, match=r"'rgi_id' has 1 unknown values, the first: 'X'; allowed"):
        predictors.convert(save(made(["A.1", "X"]), tmp_path, "c.nc"), glaciers)
    with pytest.raises(InputError, match="'reference_elevation' is missing"):
        predictors.convert(save(made(["A.1", "A.2"]).drop_vars("reference_elevation"), tmp_path, "d.nc"), glaciers)


def test_the_strings_of_a_store_are_understood(tmp_path, glaciers, rows):
    from alpgm_dask import store

    store.write(glaciers, str(tmp_path / "g.zarr"))
    stored = store.open_store(str(tmp_path / "g.zarr"))
    path = save(seasonal(["G1"], ["Blanc 1"]), tmp_path)
    there = predictors.convert(path, stored, rows).datasets["predictors"]
    xr.testing.assert_identical(there, predictors.convert(path, glaciers, rows).datasets["predictors"])


def test_refusals(tmp_path, glaciers, rows):
    good = seasonal(["G1"], ["Blanc 1"])
    with pytest.raises(InputError, match=r"no table of inventory rows; allowed"):
        predictors.convert(save(good, tmp_path, "a.nc"), glaciers)
    with pytest.raises(InputError, match="variable 'cpdd' is missing"):
        predictors.convert(save(good.drop_vars("cpdd"), tmp_path, "b.nc"), glaciers, rows)
    wrong = good.copy()
    wrong["cpdd"].attrs["units"] = "degC day"
    with pytest.raises(InputError, match=r"'cpdd' has units 'degC day', allowed: 'K day'"):
        predictors.convert(save(wrong, tmp_path, "c.nc"), glaciers, rows)
    with pytest.raises(InputError, match="none of its 1 rows belongs to a glacier"):
        predictors.convert(save(seasonal(["Z"], ["z"]), tmp_path, "d.nc"), glaciers, rows)
    with pytest.raises(InputError, match="no such file"):
        predictors.convert(tmp_path / "absent.nc", glaciers, rows)


def test_monthly_predictors_are_nan_where_there_are_none(tmp_path, glaciers, rows):
    path = save(seasonal(["G1", "G2"], ["Blanc 1", "Noir"]), tmp_path)
    dims, shape = ("glacier", "hydro_year", "month"), (1, 2, 12)
    monthly = xr.Dataset(
        {
            "tas_monthly": (dims, np.ones(shape), {"units": "degC"}),
            "snowfall_monthly": (dims, np.ones(shape), {"units": "kg m-2"}),
        },
        coords={"glims_id": ("glacier", ["G2"]), "hydro_year": YEARS[:2], "month": np.arange(12)},
    )
    smb = xr.Dataset(coords={"glims_id": ("glacier", ["G2"]), "rgi_id": ("glacier", ["A.2"])})
    file = save(monthly, tmp_path, "m.nc")
    out = predictors.convert(path, glaciers, rows, monthly=file, smb_observations=smb).datasets["predictors"]
    assert out["month"].values.tolist() == list(range(1, 13))
    finite = np.isfinite(out["tas_monthly"].values).all(axis=2)
    assert finite.tolist() == [[False, False, False], [True, True, False]]
    with pytest.raises(InputError, match="not in the order of smb_observations"):
        other = smb.assign_coords(glims_id=("glacier", ["G9"]))
        predictors.convert(path, glaciers, rows, monthly=file, smb_observations=other)
