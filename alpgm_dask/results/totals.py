"""Sums over the glaciers of a region or of its parts, and which members and glaciers count in them."""

from __future__ import annotations

import flox.xarray
import numpy as np
import xarray as xr

from alpgm_dask.schema import STATUS, texts


def group_of(results: xr.Dataset) -> xr.DataArray:
    """(``glacier``) the massif of each glacier; its RGI subregion (elsewhere in it, if some have a massif) without."""
    massif = texts(results["massif"]) if "massif" in results else np.full(results.sizes["glacier"], "")
    subregion = texts(results["subregion"]) if "subregion" in results else np.full(massif.size, "all")
    elsewhere = [f"{name}, elsewhere" for name in subregion] if (massif != "").any() else subregion
    return xr.DataArray(np.where(massif == "", elsewhere, massif), dims="glacier", name="group")


def members_lost(results: xr.Dataset) -> np.ndarray:
    """Positions of the members in which every glacier failed: they say nothing of the ice that is left."""
    return np.flatnonzero((results["status"] == STATUS.index("failed")).all("glacier").values)


def without_lost_members(results: xr.Dataset) -> xr.Dataset:
    """Results without the members in which every glacier failed, if there are others."""
    lost = members_lost(results)
    if lost.size in (0, results.sizes["member"]):
        return results
    return results.isel(member=np.setdiff1d(np.arange(results.sizes["member"]), lost))


def regional_totals(results: xr.Dataset, by: xr.DataArray | None = None) -> xr.Dataset:
    """Area and volume of the region, or of groups of glaciers, year by year; lazy.

    Parameters
    ----------
    results
        results of a run (``member``, ``glacier``, ``hydro_year``); dimensions of an ensemble are kept.
    by
        (``glacier``) labels; None: one total.

    Returns
    -------
    Dataset ([``group``,] ``member``, ``hydro_year``): area (m2), volume (m3), and failed_area (``member``): the
    initial area of glaciers that failed, which the totals leave out in every year.
    """
    failed = results["status"] == STATUS.index("failed")
    totals = results[["area", "volume"]].where(~failed, 0.0)
    totals["failed_area"] = results["initial_area"].where(failed, 0.0)
    if by is None:
        return totals.sum("glacier")
    return flox.xarray.xarray_reduce(
        totals, by.rename("group"), func="sum", expected_groups=np.unique(by.values), fill_value=0.0
    )


def totals_from_start(results: xr.Dataset, counted: xr.DataArray) -> xr.Dataset:
    """Area (m2) and volume (m3) of the region from the year before the first, which holds the initial state; lazy.

    Parameters
    ----------
    results
        results of a run, of an ensemble or not.
    counted
        (..., ``glacier``) whether a glacier is part of the sums.
    """
    first = int(results["hydro_year"].values[0]) - 1
    start = results[["initial_area", "initial_volume"]].rename(initial_area="area", initial_volume="volume")
    parts = [start.expand_dims(hydro_year=[first]), results[["area", "volume"]]]
    sums = [part.where(counted, 0.0).sum("glacier") for part in parts]
    return xr.concat(sums, "hydro_year").transpose(..., "hydro_year")
