"""An ensemble of climate members and variants of the glaciers: as members, and what each dimension contributes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.constants import KM2, KM3
from alpgm_dask.results.totals import totals_from_start
from alpgm_dask.schema import STATUS, texts

#: Dimension of the results of an ensemble, beside the climate members -> what a value of it is called.
VARIED = {"thickness_factor": "thickness x", "delta_h_shift": "delta-h"}


def name_of_variant(dim: str, value: float) -> str:
    """What an ensemble varies, in words.

    >>> name_of_variant("thickness_factor", 0.7), name_of_variant("delta_h_shift", -1.0)
    ('thickness x 0.7', 'delta-h -1')
    """
    return f"{VARIED[dim]} {value:g}"


def is_ensemble(results: xr.Dataset) -> bool:
    """Whether a run took several variants of its glaciers."""
    return any(dim in results.dims for dim in VARIED)


def as_members(results: xr.Dataset) -> xr.Dataset:
    """Results with one ``member`` for each member and variant of an ensemble, named after both; lazy.

    Other coordinates along ``member``, such as scenario, gcm and rcm, are those of the climate member; thickness_factor
    and delta_h_shift become coordinates along it. Results of no ensemble stay as they are.
    """
    if not is_ensemble(results):
        return results
    varied = [dim for dim in VARIED if dim in results.dims]
    runs = results if "member" in results.dims else results.expand_dims("member")
    names = product(texts(runs["member"]), *([name_of_variant(dim, v) for v in runs[dim].values] for dim in varied))
    stacked = runs.stack(run=["member", *varied], create_index=False).drop_vars("member", errors="ignore")
    stacked = stacked.rename(run="member").transpose("member", ...)
    return stacked.assign_coords(member=np.array([", ".join(words) for words in names], dtype=object))


def ensemble_series(results: xr.Dataset) -> xr.Dataset:
    """:func:`totals_from_start` of every run of an ensemble, over the same glaciers in all: those that failed in none.

    Members under which a variant lost every glacier are left out, if there are others. Lazy but for the status.

    Returns
    -------
    Dataset ([``member``,] [``thickness_factor``,] [``delta_h_shift``,] ``hydro_year``): area (m2), volume (m3).
    """
    lived = results["status"].isin([STATUS.index("ok"), STATUS.index("vanished")]).compute()
    if "member" in lived.dims:
        whole = lived.any("glacier").all([dim for dim in VARIED if dim in lived.dims]).values
        results, lived = (ds.isel(member=whole) if whole.any() else ds for ds in (results, lived))
    return totals_from_start(results, lived.all([dim for dim in lived.dims if dim != "glacier"]))


def contributions(series: xr.Dataset) -> pd.DataFrame:
    """What each dimension of an ensemble contributes to the spread of the last year's area and volume.

    For every value of a dimension, the mean over all others; their range, and their variance as a share of that of all
    runs (first-order indices of a full factorial: they sum to 1 but for what dimensions do together).

    Parameters
    ----------
    series
        :func:`ensemble_series` of an ensemble.

    Returns
    -------
    DataFrame, index: dimensions of more than one value, "together" where there are several, "all"; runs, volume_low,
    volume_high (km3), volume_share, area_low, area_high (km2), area_share.
    """
    last = (series[["volume", "area"]] / xr.Dataset({"volume": KM3, "area": KM2})).isel(hydro_year=-1).compute()
    dims = [str(dim) for dim in last["volume"].dims if last.sizes[dim] > 1]
    parts = {dim: last.mean([other for other in dims if other != dim]) for dim in dims} | {"all": last}
    table = pd.DataFrame({"runs": {name: part["volume"].size for name, part in parts.items()}})
    for name in ("volume", "area"):
        spread = float(last[name].var())
        table[f"{name}_low"] = [float(part[name].min()) for part in parts.values()]
        table[f"{name}_high"] = [float(part[name].max()) for part in parts.values()]
        table[f"{name}_share"] = [float(part[name].var()) / spread if spread > 0 else np.nan for part in parts.values()]
    if len(dims) < 2:
        return table
    shares = ["volume_share", "area_share"]
    table.loc["together", shares] = (1.0 - table.loc[dims, shares].sum(skipna=False)).clip(lower=0.0)
    return table.loc[[*dims, "together", "all"]]


def contributions_as_text(table: pd.DataFrame) -> str:
    """:func:`contributions` as people read them."""

    def text(row: pd.Series, name: str) -> tuple[str, str]:
        low, high, share = (row[f"{name}_{column}"] for column in ("low", "high", "share"))
        return f"{low:.3f}..{high:.3f}" if np.isfinite(low) else "", f"{share:.0%}" if np.isfinite(share) else "-"

    rows = {
        label: [f"{row['runs']:.0f}" if np.isfinite(row["runs"]) else "", *text(row, "volume"), *text(row, "area")]
        for label, row in table.iterrows()
    }
    columns = ["values", "volume km3", "of variance", "area km2", "of variance"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).to_string()
