"""ALPGM's corrections to geodetic balances: what its two tables hold, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.convert.inventory import read_table
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError, annotate

_FOLDER = Path("smb/smb_validation")
#: Entry -> its table. The second one, which ALPGM takes for projections, has the smallest factors raised.
TABLES = {"geodetic": "SMB_bias_correction.csv", "geodetic_projections": "SMB_bias_correction_projections.csv"}

#: Name of the store's variable -> column of the tables.
_COLUMNS = {"geodetic_factor": "bias_correction_perc", "geodetic_offset": "bias_correction"}

_ABOUT = {
    "geodetic_factor": "geodetic balance over simulated mean; multiplies negative annual balances",
    "geodetic_offset": "geodetic balance minus simulated mean",
    "geodetic_balance": "geodetic balance that factor and offset follow from: offset * factor / (factor - 1)",
    "simulated_smb": "simulated mean that factor and offset follow from: offset / (factor - 1)",
}


def geodetic(data: Path, rgi_ids: Mapping[int, str], report: ConversionReport) -> dict[str, xr.Dataset]:
    """ALPGM's factors per glacier (``glacier``), as the entries ``geodetic`` and ``geodetic_projections``.

    The tables hold, for glaciers of more than 1 km2 without SMB of their own, geodetic balances (ASTER, 2000-2016,
    Davaze et al. 2020, doi:10.3389/feart.2020.00149, rescaled by ALPGM to the mean of the areas of 2003 and 2015)
    against ALPGM's reconstruction (mean of 2001-2015), as difference (``bias_correction``) and as ratio
    (``bias_correction_perc``). Both means follow from the two.

    Parameters
    ----------
    data
        the folder ``glacier_data``.
    rgi_ids
        RGI number -> identifier of the glaciers that have rasters.
    report
        where faults are counted.

    Raises
    ------
    InputError
        if a table or one of its columns is missing.
    """
    tables = {entry: _rows(data / _FOLDER / name, rgi_ids, report) for entry, name in TABLES.items()}
    first, later = tables.values()
    report.totals["geodetic corrections (glaciers)"] = len(first)
    both = first.index.intersection(later.index)
    alone = first.index.symmetric_difference(later.index)
    report.add("geodetic corrections in one of the two tables only", len(alone), "kept in that one", alone)
    other = both[~np.isclose(first.loc[both, "geodetic_factor"], later.loc[both, "geodetic_factor"], rtol=1e-6)]
    cases = [f"{i} {first.geodetic_factor[i]:.3f}, not {later.geodetic_factor[i]:.3f}" for i in other]
    report.add("geodetic factors that are others for projections", len(other), "each table is an entry", cases)
    more = first.index[first["geodetic_factor"] > 1]
    report.add("geodetic factors above 1: losses are made larger", len(more), "kept", more)
    return {entry: _dataset(rows, first, TABLES[entry]) for entry, rows in tables.items()}


def _rows(path: Path, rgi_ids: Mapping[int, str], report: ConversionReport) -> pd.DataFrame:
    """Factor and offset by rgi_id, without rows that cannot serve."""
    table, _ = read_table(path)
    missing = [name for name in ("ID", "Name", *_COLUMNS.values()) if name not in table]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; given: {', '.join(table.columns)}")
    rows = pd.DataFrame({name: table[column].astype(float) for name, column in _COLUMNS.items()})
    rows["rgi_id"] = [rgi_ids.get(int(number), "") if np.isfinite(number) else "" for number in table["ID"]]
    usable = np.isfinite(rows[list(_COLUMNS)]).all(axis=1) & (rows["geodetic_factor"] > 0)
    faults = {
        "glaciers without rasters": rows["rgi_id"] == "",
        "rows that repeat a glacier": (rows["rgi_id"] != "") & rows["rgi_id"].duplicated(),
        "factors that are no positive numbers": ~usable,
    }
    for what, bad in faults.items():
        report.add(f"{path.name}: {what}", int(bad.sum()), "left out", table["Name"][bad])
    return rows[~np.logical_or.reduce(list(faults.values()))].set_index("rgi_id").sort_index()


def _dataset(rows: pd.DataFrame, source: pd.DataFrame, name: str) -> xr.Dataset:
    """The rows as a dataset; the two means come from `source`, whose factors nobody raised."""
    origin = source.reindex(rows.index)
    ds = xr.Dataset({column: ("glacier", rows[column].to_numpy()) for column in _COLUMNS})
    with np.errstate(divide="ignore", invalid="ignore"):
        simulated = (origin["geodetic_offset"] / (origin["geodetic_factor"] - 1)).to_numpy()
    ds["geodetic_balance"] = ("glacier", simulated * origin["geodetic_factor"].to_numpy())
    ds["simulated_smb"] = ("glacier", simulated)
    ds = annotate(ds.assign_coords(rgi_id=("glacier", rows.index.to_numpy(dtype=object))))
    for variable, text in _ABOUT.items():
        ds[variable].attrs["comment"] = text
    return ds.assign_attrs(table=name, surveys="ASTER 2000-2016", simulation="ALPGM 1.2, mean of 2001-2015")
