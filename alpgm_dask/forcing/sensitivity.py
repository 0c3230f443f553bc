"""How ready-made predictors change with elevation, estimated from the glaciers of a massif."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.constants import LAPSE_RATE
from alpgm_dask.forcing.predictors import predictor_names

#: K day per m. No day of a year can warm faster with falling elevation than the lapse rate; none cools.
CPDD_BOUNDS = (-LAPSE_RATE * 366, 0.0)
#: kg m-2 per m. Snowfall does not decrease with elevation, and by at most 1.5 kg m-2 per m does it increase: 1.2 times
#: the steepest that SAFRAN and ADAMONT show in any massif of the French Alps, any half-year, 1959 to 2099 (1.27).
SNOWFALL_BOUNDS = (0.0, 1.5)


def elevation_sensitivity(
    predictors: xr.Dataset,
    massif: xr.DataArray | None = None,
    *,
    min_glaciers: int = 8,
    min_separation: float = 50.0,
    max_pairs: int = 20_000,
    lapse_rate: float = LAPSE_RATE,
    where: str = "predictors",
) -> xr.Dataset:
    """Change of each predictor per metre of elevation, per massif and year. Lazy.

    Estimator: Theil-Sen (Sen 1968, doi:10.1080/01621459.1968.10480934), that is the median over pairs of glaciers of
    the same massif of ``(p_j - p_i) / (z_j - z_i)``, z the elevation that the predictors are valid at; pairs closer
    than `min_separation` in elevation do not count. It stands up to the rows that real tables have wrong (a glacier
    that was cut in parts, each with the parts' elevation and the whole's climate), where least squares does not.
    A massif with fewer than `min_glaciers` glaciers, or fewer pairs than glaciers, takes the median over the pairs
    within all massifs. Then bounds: cpdd in CPDD_BOUNDS, snowfall in SNOWFALL_BOUNDS. Temperature is not estimated:
    its sensitivity is ``-lapse_rate``.

    Parameters
    ----------
    predictors
        ([member,] glacier, hydro_year[, month]) with reference_elevation (glacier) or (glacier, hydro_year), m, which
        is loaded; the rest stays lazy.
    massif
        (glacier) label of each glacier's group; `predictors.massif` where None. An empty name is a group of its own
        that always takes the pooled slope.
    min_glaciers, min_separation, max_pairs
        See above; `max_pairs` bounds memory: of more pairs, evenly spread ones are taken.

    Returns
    -------
    Dataset with the variables and dimensions of the predictors, units per m.

    Raises
    ------
    InputError
        No reference_elevation or massif, or no usable pair in any massif: then run without sensitivity.
    """
    names = predictor_names(predictors, where)
    height, labels = _inputs(predictors, massif, where)
    code, pairs, pooled = _massif_pairs(_mean_height(height), labels, min_glaciers, min_separation, max_pairs, where)
    out = xr.Dataset()
    for name in names:
        if name == "tas_monthly":
            out[name] = xr.full_like(predictors[name], -lapse_rate, dtype="float64")
            continue
        bounds = CPDD_BOUNDS if name == "cpdd" else SNOWFALL_BOUNDS
        out[name] = _slopes(predictors[name], height, code, pairs, pooled, min_separation).clip(*bounds)
    for name in names:
        units = schema.VARIABLES[name].units.replace("degC", "K")
        out[name].attrs = {"long_name": f"change of {name} per metre of elevation", "units": f"{units} m-1"}
    return out


def _inputs(predictors: xr.Dataset, massif: xr.DataArray | None, where: str) -> tuple[xr.DataArray, np.ndarray]:
    for name, given in (("reference_elevation", None), ("massif", massif)):
        if given is None and name not in predictors.variables:
            raise schema.InputError(f"{where}: variable '{name}' is missing; needed to estimate a sensitivity")
    labels = schema.texts(predictors["massif"] if massif is None else massif)
    if labels.shape != (predictors.sizes["glacier"],):
        raise schema.InputError(f"{where}: massif has shape {labels.shape}; allowed: ({predictors.sizes['glacier']},)")
    height = predictors["reference_elevation"].astype("float64").load()
    return height.drop_vars([c for c in height.coords if c != "hydro_year"]), labels


def _mean_height(height: xr.DataArray) -> np.ndarray:
    others = [d for d in height.dims if d != "glacier"]
    return height.mean(others).values if others else height.values


def _massif_pairs(
    z: np.ndarray, labels: np.ndarray, min_glaciers: int, min_separation: float, max_pairs: int, where: str
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]], tuple[np.ndarray, np.ndarray]]:
    """Group of each glacier, the pairs that each group's slope is taken from, and the pairs of all groups together."""
    groups, code = np.unique(labels, return_inverse=True)
    code = code.ravel()
    pairs = _pairs(z, code, groups == "", min_separation, max_pairs)
    pooled = _spread(*(np.concatenate(side) for side in zip(*pairs, strict=True)), max_pairs)
    if not pooled[0].size:
        raise schema.InputError(
            f"{where}: no two glaciers of one massif are {min_separation:g} m apart in elevation; "
            "no sensitivity can be estimated: run without it (feedback off)"
        )
    counts = np.bincount(code, minlength=len(groups))
    usable = [n >= min_glaciers and low.size >= n for n, (low, _) in zip(counts, pairs, strict=True)]
    return code, [own if good else pooled for own, good in zip(pairs, usable, strict=True)], pooled


def _pairs(
    z: np.ndarray, code: np.ndarray, nameless: np.ndarray, min_separation: float, max_pairs: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each group, positions of the lower and the upper glacier of each pair."""
    out = []
    for group, no_name in enumerate(nameless):
        members = np.flatnonzero((code == group) & np.isfinite(z))
        members = members[np.argsort(z[members], kind="stable")]
        low, high = np.triu_indices(0 if no_name else members.size, 1)
        low, high = members[low], members[high]
        apart = z[high] - z[low] >= min_separation
        out.append(_spread(low[apart], high[apart], max_pairs))
    return out


def _spread(low: np.ndarray, high: np.ndarray, max_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `max_pairs` of the pairs, evenly spread; always the same ones."""
    if low.size <= max_pairs:
        return low, high
    kept = np.linspace(0, low.size - 1, max_pairs).astype(int)
    return low[kept], high[kept]


def _slopes(predictor: xr.DataArray, height: xr.DataArray, code, pairs, pooled, min_separation: float) -> xr.DataArray:
    """The massif's slope at every glacier, shaped like the predictor; all glaciers in one chunk to find it."""

    def kernel(p: np.ndarray, z: np.ndarray) -> np.ndarray:
        out = np.empty(p.shape)
        together = theil_sen(p, z, *pooled, min_separation)
        for group, own in enumerate(pairs):
            slope = together if own is pooled else theil_sen(p, z, *own, min_separation)
            out[..., code == group] = slope[..., None]
        return out

    slopes = xr.apply_ufunc(
        kernel,
        predictor.chunk(glacier=-1) if predictor.chunks else predictor,
        height,
        input_core_dims=[["glacier"], ["glacier"]],
        output_core_dims=[["glacier"]],
        dask="parallelized",
        output_dtypes=["float64"],
    )
    return slopes.transpose(*predictor.dims)


def theil_sen(p: np.ndarray, z: np.ndarray, low: np.ndarray, high: np.ndarray, min_separation: float) -> np.ndarray:
    """Median slope over pairs along the last axis; missing where no pair is left.

    >>> theil_sen(np.array([0.0, 1.0, 9.0]), np.array([0.0, 10.0, 20.0]), np.array([0, 0, 1]), np.array([1, 2, 2]), 5.0)
    array(0.45)
    """
    rise = z[..., high] - z[..., low]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(rise >= min_separation, (p[..., high] - p[..., low]) / rise, np.nan)
    slope = np.sort(slope, axis=-1)
    count = np.isfinite(slope).sum(axis=-1)
    middle = [np.maximum(count - 1, 0) // 2, np.minimum(count // 2, slope.shape[-1] - 1)]
    low_mid, high_mid = (np.take_along_axis(slope, m[..., None], axis=-1)[..., 0] for m in middle)
    return np.where(count > 0, 0.5 * (low_mid + high_mid), np.nan)
