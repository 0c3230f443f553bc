"""A NetCDF of ready-made predictors at glaciers -> one row for each RGI glacier, with the elevation it is valid at."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.convert.conversion import Conversion
from alpgm_dask.convert.inventory import plain_name
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError, annotate

SEASONAL = ("cpdd", "winter_snowfall", "summer_snowfall")
MONTHLY = ("tas_monthly", "snowfall_monthly")


def texts(values: xr.DataArray) -> np.ndarray:
    """Strings as fixed-width ones: a store gives variable-length strings, a NetCDF gives objects."""
    return np.asarray(values).astype(object).astype(str)


def _open(path: Path) -> xr.Dataset:
    if not Path(path).exists():
        raise InputError(f"{path}: there is no such file")
    ds = xr.open_dataset(path, chunks={})
    variables = [name for name in (*SEASONAL, *MONTHLY) if name in ds]
    return ds.chunk({"glacier": -1}) if variables and "glacier" in ds.dims else ds


def _dims(ds: xr.Dataset, name: str) -> tuple[str, ...]:
    member = ("member",) if "member" in ds.dims else ()
    return (*member, "glacier", "hydro_year", *(("month",) if name in MONTHLY else ()))


def match_rows(glims_ids: np.ndarray, names: np.ndarray, rows: pd.DataFrame) -> tuple[np.ndarray, dict[str, int]]:
    """Position in the inventory's rows of each predictor row, -1 for none; and how many were found how.

    By GLIMS id and name (the second row of a pair that occurs twice takes the second), then by GLIMS id and the
    name without accents and articles, then by GLIMS id where one row of it is left.
    """
    glims = rows["glims_id"].astype(str).to_numpy()
    keys = {
        "GLIMS id and name": [(g, str(n).strip()) for g, n in zip(glims, rows["name"], strict=True)],
        "GLIMS id and plain name": [(g, plain_name(n)) for g, n in zip(glims, rows["name"], strict=True)],
        "GLIMS id, the only row left": [(g,) for g in glims],
    }
    wanted = {
        "GLIMS id and name": [(str(g), str(n).strip()) for g, n in zip(glims_ids, names, strict=True)],
        "GLIMS id and plain name": [(str(g), plain_name(n)) for g, n in zip(glims_ids, names, strict=True)],
        "GLIMS id, the only row left": [(str(g),) for g in glims_ids],
    }
    out = np.full(len(glims_ids), -1)
    used: set[int] = set()
    counts = {}
    for how, table in keys.items():
        free = defaultdict(list)
        for position, key in enumerate(table):
            if position not in used:
                free[key].append(position)
        before = len(used)
        for i in np.flatnonzero(out < 0):
            left = free[wanted[how][i]]
            if left and (len(left) == 1 or how != "GLIMS id, the only row left"):
                out[i] = left.pop(0)
                used.add(int(out[i]))
        counts[how] = len(used) - before
    return out, counts


def _weighted(values: np.ndarray, order: np.ndarray, starts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(..., row) -> (..., glacier): weighted mean of consecutive rows after ordering; NaN rows do not count."""
    v = values[..., order]
    finite = np.isfinite(v)
    total = np.add.reduceat(np.where(finite, v * weights, 0.0), starts, axis=-1)
    weight = np.add.reduceat(np.where(finite, weights, 0.0), starts, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, total / weight, np.nan)


def _combine(ds: xr.Dataset, rows: np.ndarray, owner: np.ndarray, weight: np.ndarray) -> xr.Dataset:
    """Rows of `ds` along ``glacier`` -> one for each owner (sorted), lazily."""
    order = rows[np.argsort(owner, kind="stable")]
    owners, starts = np.unique(np.sort(owner), return_index=True)
    weights = weight[np.argsort(owner, kind="stable")]
    out = {}
    for name in (*SEASONAL, *MONTHLY):
        if name in ds:
            out[name] = xr.apply_ufunc(
                _weighted,
                ds[name],
                kwargs={"order": order, "starts": starts, "weights": weights},
                input_core_dims=[["glacier"]],
                output_core_dims=[["glacier"]],
                exclude_dims={"glacier"},
                dask="parallelized",
                output_dtypes=["float64"],
                dask_gufunc_kwargs={"output_sizes": {"glacier": owners.size}},
            ).transpose(*_dims(ds, name))
    coords = {k: v for k, v in ds.coords.items() if "glacier" not in v.dims}
    return xr.Dataset(out, coords=coords).assign_coords(rgi_id=("glacier", owners.astype(object)))


def _by_table(
    ds: xr.Dataset, path: Path, rows: pd.DataFrame | None, year: int, report: ConversionReport
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the usable rows, their rgi_id, area and mean elevation, from the inventory's table."""
    if rows is None:
        raise InputError(
            f"{path}: variable 'rgi_id' is missing and there is no table of inventory rows; allowed: rgi_id and "
            "reference_elevation in the file, or a catalog with the entry inventory_rows (alpgm convert alpgm)"
        )
    lacking = [name for name in ("glims_id", "name") if name not in ds.variables]
    if lacking:
        raise InputError(f"{path}: variable '{lacking[0]}' is missing; allowed: rgi_id, or glims_id and name")
    years = sorted(map(int, rows["inventory_year"].unique()))
    if year not in years:
        raise InputError(f"inventory year: {year} is not in the table of inventory rows; allowed: {years}")
    table = rows[rows["inventory_year"] == year].reset_index(drop=True)
    found, counts = match_rows(ds["glims_id"].values, ds["name"].values, table)
    for how, n in counts.items():
        report.totals[f"rows matched by {how}"] = n
    labels = [f"{g} {n}" for g, n in zip(ds["glims_id"].values, ds["name"].values, strict=True)]
    unmatched = np.flatnonzero(found < 0)
    report.add(
        f"rows that the {year} inventory does not have", unmatched.size, "left out", [labels[i] for i in unmatched]
    )
    ids = np.where(found >= 0, table["rgi_id"].astype(str).to_numpy()[found], "")
    nobody = np.flatnonzero((found >= 0) & (ids == ""))
    report.add("rows of no glacier with rasters", nobody.size, "left out", [labels[i] for i in nobody])
    use = np.flatnonzero(ids != "")
    of = table.iloc[found[use]]
    return use, ids[use], of["area"].to_numpy(float), of["mean_elevation"].to_numpy(float)


def _elevation_through(
    rows: pd.DataFrame | None, ids: np.ndarray, survey_years: tuple[int, ...], years: np.ndarray
) -> np.ndarray:
    """(glacier, year) mean elevation, linear between the inventories of `survey_years`, constant before and after."""
    if rows is None:
        raise InputError("elevation years need the table of inventory rows (alpgm convert alpgm)")
    known = rows[rows["inventory_year"].isin(survey_years) & rows["mean_elevation"].notna()]
    weighted = known.assign(weight=known["area"], product=known["area"] * known["mean_elevation"])
    sums = weighted.groupby(["rgi_id", "inventory_year"])[["weight", "product"]].sum()
    mean = (sums["product"] / sums["weight"]).unstack("inventory_year").reindex(ids)
    out = np.full((len(ids), len(years)), np.nan)
    for i, (_, values) in enumerate(mean.iterrows()):
        surveyed = values.dropna()
        if len(surveyed):
            out[i] = np.interp(years, surveyed.index.to_numpy(float), surveyed.to_numpy(float))
    return out


def _explicit(ds: xr.Dataset, path: Path, known: np.ndarray) -> tuple[np.ndarray, ...]:
    ids = texts(ds["rgi_id"])
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{path}: variable 'rgi_id' has {str(unique[counts > 1][0])!r} more than once; allowed: each once"
        )
    unknown = sorted(set(ids) - set(known))
    if unknown:
        raise InputError(
            f"{path}: variable 'rgi_id' has {len(unknown)} unknown values, the first: {str(unknown[0])!r}; allowed: "
            f"the {known.size} identifiers of the glaciers' store"
        )
    schema.check(ds, {"reference_elevation": ("glacier",)}, str(path))
    return np.arange(ids.size), ids, np.ones(ids.size), ds["reference_elevation"].values.astype(float)


def _merge_monthly(
    out: xr.Dataset, path: Path, smb_observations: xr.Dataset | None, report: ConversionReport
) -> xr.Dataset:
    """Monthly predictors of the glaciers with observed SMB, NaN for every other glacier or year."""
    monthly = _open(path)
    schema.check(monthly, {name: _dims(monthly, name) for name in MONTHLY}, str(path))
    if smb_observations is None:
        raise InputError(f"{path}: monthly predictors need the entry smb_observations of the catalog: it has the order")
    glims = texts(smb_observations["glims_id"])
    if not np.array_equal(texts(monthly["glims_id"]), glims):
        raise InputError(f"{path}: variable 'glims_id' is not in the order of smb_observations; allowed: that order")
    if monthly.sizes["month"] != 12:
        raise InputError(f"{path}: dimension 'month' has {monthly.sizes['month']} entries; allowed: 12, October first")
    monthly = monthly[list(MONTHLY)].reset_coords(drop=True).assign_coords(month=np.arange(1, 13))
    ids = texts(smb_observations["rgi_id"])
    place = {rgi_id: i for i, rgi_id in enumerate(ids)}
    index = np.array([place.get(rgi_id, -1) for rgi_id in out["rgi_id"].values])
    if not np.isin(out["hydro_year"].values, monthly["hydro_year"].values).any():
        raise InputError(f"{path}: no hydrological year in common with the seasonal predictors; allowed: at least one")
    known = xr.DataArray(index >= 0, dims="glacier")
    rows = monthly.isel(glacier=np.maximum(index, 0)).where(known).reindex(hydro_year=out["hydro_year"])
    report.totals["glaciers with monthly predictors"] = int((index >= 0).sum())
    absent = sorted(set(ids) - set(out["rgi_id"].values))
    report.add("monthly rows of a glacier without seasonal ones", len(absent), "left out", absent)
    return out.merge(rows.transpose("glacier", "hydro_year", "month"))


def _rows_of_store(
    ds: xr.Dataset, path: Path, glaciers: xr.Dataset, found: tuple[np.ndarray, ...], report: ConversionReport
) -> xr.Dataset:
    """One row for each glacier of the store, with its elevation, massif and location."""
    known = texts(glaciers["rgi_id"])
    strange = sorted(set(found[1]) - set(known))
    report.add("glaciers that the store lacks", len(strange), "left out", strange)
    here = np.isin(found[1], known)
    use, ids, area, elevation = (values[here] for values in found)
    if use.size == 0:
        raise InputError(f"{path}: none of its {ds.sizes['glacier']} rows belongs to a glacier of the store")
    several = pd.Series(ids).value_counts()
    several = several[several > 1]
    report.add("glaciers of several rows", several.size, "mean weighted by area", several.index.tolist())
    out = _combine(ds, use, ids, area)
    reference = [np.average(elevation[ids == i], weights=area[ids == i]) for i in out["rgi_id"].values]
    where = pd.Index(known).get_indexer(texts(out["rgi_id"]))
    out["reference_elevation"] = ("glacier", np.array(reference))
    out["massif"] = ("glacier", texts(glaciers["massif"])[where].astype(object))
    return out.assign_coords({name: ("glacier", glaciers[name].values[where]) for name in ("lon", "lat")})


def convert(
    path: Path,
    glaciers: xr.Dataset,
    rows: pd.DataFrame | None = None,
    *,
    inventory_year: int = 2003,
    elevation_years: tuple[int, ...] = (),
    monthly: Path | None = None,
    smb_observations: xr.Dataset | None = None,
) -> Conversion:
    """Predictors (cpdd, winter_snowfall, summer_snowfall[, monthly ones]) with one row for each RGI glacier.

    Parameters
    ----------
    path
        NetCDF with dimensions ([member,] glacier, hydro_year[, month]). With ``rgi_id`` and ``reference_elevation`` it
        needs no table; with ``glims_id`` and ``name`` its rows are found in `rows`, and several rows of one glacier
        become their mean weighted by area.
    glaciers
        the packed store: rgi_id, massif, lon, lat of each glacier.
    rows
        the table ``inventory_rows`` of an ALPGM conversion.
    inventory_year
        the inventory that the file's rows come from; its mean elevation is the reference elevation.
    elevation_years
        inventories that the elevation of the predictors follows through time, linearly in between (ALPGM made its
        SAFRAN predictors at such elevations); none: the elevation of `inventory_year` in every year.
    monthly, smb_observations
        NetCDF of monthly predictors in the order of the glaciers with observed SMB, and those.

    Returns
    -------
    Conversion whose dataset ``predictors`` is lazy.

    Raises
    ------
    InputError
        naming file, variable, value and what is allowed.
    """
    ds = _open(path)
    present = [name for name in (*SEASONAL, *MONTHLY) if name in ds or name in SEASONAL]
    schema.check(ds, {name: _dims(ds, name) for name in present}, str(path))
    report = ConversionReport(f"predictors {path}")
    known = texts(glaciers["rgi_id"])
    if "rgi_id" in ds.variables:
        use, ids, area, elevation = _explicit(ds, path, known)
    else:
        use, ids, area, elevation = _by_table(ds, path, rows, inventory_year, report)
    out = _rows_of_store(ds, path, glaciers, (use, ids, area, elevation), report)
    if elevation_years:
        through = _elevation_through(rows, texts(out["rgi_id"]), elevation_years, out["hydro_year"].values)
        out["reference_elevation"] = (("glacier", "hydro_year"), through)
    if monthly is not None:
        out = _merge_monthly(out, monthly, smb_observations, report)
    without = known.size - out.sizes["glacier"]
    report.totals |= {
        "rows in the file": ds.sizes["glacier"],
        "glaciers": out.sizes["glacier"],
        "first year": int(out["hydro_year"].values[0]),
        "last year": int(out["hydro_year"].values[-1]),
    }
    report.add("glaciers of the store without predictors", without, "no row")
    return Conversion(report, datasets={"predictors": annotate(out)})
