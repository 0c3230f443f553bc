"""Tables of what a run gave: what is left, what failed, and how that compares with inventories."""

from __future__ import annotations

import flox.xarray
import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.constants import KM2, KM3
from alpgm_dask.results.ensemble import as_members
from alpgm_dask.results.totals import group_of, without_lost_members
from alpgm_dask.schema import FAILURE, STATUS, InputError, texts


def summary(results: xr.Dataset) -> pd.DataFrame:
    """One row per massif (or RGI subregion) and one for all: what there was, what is left, what went wrong.

    Means over members, and over the variants of an ensemble, without those in which every glacier failed; the range
    over members of the last year's volume stands beside it. Areas and volumes of failed glaciers are left out at both
    ends, so that the change is that of the others.

    Returns
    -------
    DataFrame, index group: glaciers, area_start, area_end (km2), volume_start, volume_end, volume_end_low,
    volume_end_high (km3), vanished, failed (glaciers, mean over members).
    """
    results = without_lost_members(as_members(results))
    by = group_of(results)
    failed = results["status"] == STATUS.index("failed")
    last = results[["area", "volume"]].isel(hydro_year=-1)
    counted = xr.Dataset(
        {
            "glaciers": xr.ones_like(results["status"], dtype="float64"),
            "area_start": results["initial_area"].where(~failed, 0.0) / KM2,
            "area_end": last["area"].where(~failed, 0.0) / KM2,
            "volume_start": results["initial_volume"].where(~failed, 0.0) / KM3,
            "volume_end": last["volume"].where(~failed, 0.0) / KM3,
            "vanished": (results["status"] == STATUS.index("vanished")).astype("float64"),
            "failed": failed.astype("float64"),
        }
    ).drop_vars([name for name in results.coords if name not in results.dims], errors="ignore")
    groups = flox.xarray.xarray_reduce(
        counted, by, func="sum", expected_groups=np.unique(by.values), fill_value=0.0
    ).compute()
    everything = groups.sum("group").expand_dims(group=["all"])
    table = xr.concat([groups, everything], "group")
    low, high = table["volume_end"].min("member"), table["volume_end"].max("member")
    table = table.mean("member").assign(volume_end_low=low, volume_end_high=high)
    return table.drop_vars("hydro_year", errors="ignore").to_dataframe()


def failures(results: xr.Dataset) -> pd.DataFrame:
    """Failed glaciers with their reason: rgi_id, name, member, reason, initial_area (km2). Empty if there are none."""
    results = as_members(results)
    failure = results["failure"].values
    member, glacier = np.nonzero(results["status"].values == STATUS.index("failed"))
    return pd.DataFrame(
        {
            "rgi_id": texts(results["rgi_id"])[glacier],
            "name": texts(results["name"])[glacier] if "name" in results else "",
            "member": texts(results["member"])[member],
            "reason": [FAILURE[i] for i in failure[member, glacier]],
            "initial_area": results["initial_area"].values[member, glacier] / KM2,
        }
    )


def not_run(results: xr.Dataset) -> int:
    """Glaciers, summed over members, whose block was never written."""
    return int((results["status"] == STATUS.index("not_run")).sum())


def as_text(table: pd.DataFrame) -> str:
    """A :func:`summary` as people read it: change in percent, range of members where there is one."""
    alone = (table["volume_end_low"] == table["volume_end_high"]).all()
    of_members = "" if alone else " (mean)"
    shown = pd.DataFrame(
        {
            "glaciers": table["glaciers"].map("{:.0f}".format),
            "area km2": [f"{a:.2f} -> {b:.2f}" for a, b in zip(table["area_start"], table["area_end"], strict=True)],
            "area %": _percent(table["area_start"], table["area_end"]),
            "volume km3": [
                f"{a:.3f} -> {b:.3f}" for a, b in zip(table["volume_start"], table["volume_end"], strict=True)
            ],
            "volume %": _percent(table["volume_start"], table["volume_end"]),
            "range km3": [
                f"{a:.3f}..{b:.3f}" for a, b in zip(table["volume_end_low"], table["volume_end_high"], strict=True)
            ],
            f"vanished{of_members}": table["vanished"].map("{:g}".format),
            f"failed{of_members}": table["failed"].map("{:g}".format),
        },
        index=table.index,
    )
    if alone:
        shown = shown.drop(columns="range km3")
    return shown.to_string(index_names=False)


def _percent(start: pd.Series, end: pd.Series) -> list[str]:
    return [f"{100 * (b / a - 1):+.1f}" if a > 0 else "-" for a, b in zip(start, end, strict=True)]


def against_inventory(results: xr.Dataset, inventories: xr.Dataset) -> pd.DataFrame:
    """Simulated and observed change of glacier area between two inventories, by massif and in all.

    The later inventory is that of the run's last year, the earlier one the last before its first year. Glaciers count
    that the earlier inventory has; one that the later lacks has area 0 there. Failed glaciers are left out of both.

    Parameters
    ----------
    results
        of one run (``member``, ``glacier``, ``hydro_year``); the mean over members is compared.
    inventories
        area in m2 (``glacier``, ``inventory_year``) and rgi_id.

    Returns
    -------
    DataFrame, index group: glaciers, inventory_start, inventory_end, simulated_start, simulated_end (km2),
    inventory_change, simulated_change (percent), and their difference (percentage points).

    Raises
    ------
    InputError
        if no inventory was made before the run's first year, or none in its last year.
    """
    results = as_members(results)
    years = inventories["inventory_year"].values
    first, last = int(results["hydro_year"][0]), int(results["hydro_year"][-1])
    if last not in years or not (years < first).any():
        raise InputError(f"inventories: of {years.tolist()}; needed: {last}, and one before {first}")
    place = {rgi_id: i for i, rgi_id in enumerate(texts(inventories["rgi_id"]))}
    at = np.array([place.get(rgi_id, -1) for rgi_id in texts(results["rgi_id"])])
    area = inventories["area"].sel(inventory_year=[years[years < first].max(), last]).values / KM2
    start, end = np.where(at >= 0, area[at].T, np.nan)
    failed = (results["status"] == STATUS.index("failed")).any("member").values
    table = pd.DataFrame(
        {
            "glaciers": 1,
            "inventory_start": start,
            "inventory_end": np.nan_to_num(end),
            "simulated_start": results["initial_area"].mean("member").values / KM2,
            "simulated_end": results["area"].isel(hydro_year=-1).mean("member").values / KM2,
        }
    ).assign(group=group_of(results).values)[np.isfinite(start) & ~failed]
    groups = table.groupby("group").sum()
    groups.loc["all"] = groups.sum()
    for kind in ("inventory", "simulated"):
        groups[f"{kind}_change"] = 100 * (groups[f"{kind}_end"] / groups[f"{kind}_start"] - 1)
    return groups.assign(difference=groups["simulated_change"] - groups["inventory_change"])
