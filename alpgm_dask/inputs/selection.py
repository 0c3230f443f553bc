"""Which glaciers of a packed store a run takes."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import packing, schema
from alpgm_dask.config import Glaciers
from alpgm_dask.schema import InputError


def positions(glaciers: xr.Dataset, wanted: Glaciers, where: str) -> np.ndarray:
    """Positions of the glaciers that meet every condition of a run file.

    Raises
    ------
    InputError
        for identifiers that are unknown or stand twice, names that no glacier has, and if none is left.
    """
    ids = schema.texts(glaciers["rgi_id"])
    refuse_twice(ids, where)
    keep = np.ones(ids.size, dtype=bool)
    if wanted.ids:
        keep &= np.isin(ids, wanted.ids)
        unknown = set(wanted.ids) - set(ids.tolist())
        if unknown:
            raise InputError(f"{where}: {packing.unknown_glacier(ids, min(unknown))}")
    for field, name in (("massifs", "massif"), ("subregions", "subregion")):
        keep &= _named(glaciers, name, getattr(wanted, field), f"{where}: glaciers.{field}")
    if wanted.bounding_box is not None:
        west, south, east, north = wanted.bounding_box
        lon, lat = glaciers["lon"].values, glaciers["lat"].values
        keep &= (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
    if not keep.any():
        raise InputError(f"{where}: no glacier meets the conditions {wanted.model_dump(exclude_defaults=True)}")
    return np.flatnonzero(keep)


def refuse_twice(ids: np.ndarray, where: str) -> None:
    """Refuse identifiers that stand more than once (InputError)."""
    unique, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{where}: rgi_id {str(unique[count > 1][0])!r} stands {count.max()} times; allowed: once")


def _named(glaciers: xr.Dataset, name: str, wanted: tuple[str, ...], where: str) -> np.ndarray:
    """(glacier,) whether the glacier carries one of the wanted names; all do if none is wanted."""
    if not wanted:
        return np.ones(glaciers.sizes["glacier"], dtype=bool)
    if name not in glaciers:
        raise InputError(f"{where}: the glaciers have no variable {name!r}")
    values = schema.texts(glaciers[name])
    if wanted == ("any",):
        return values != ""
    known = sorted(set(values) - {""})
    unknown = [w for w in wanted if w not in known]
    if unknown:
        raise InputError(f"{where}: {unknown[0]!r} is no {name}; allowed: any, {', '.join(known)}")
    return np.isin(values, wanted)
