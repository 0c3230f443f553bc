"""Which function each glacier of a run uses: its own, its massif's mean, its size class's curve, or a flat one."""

from __future__ import annotations

from dataclasses import dataclass

import dask
import dask.array as da
import flox.xarray
import numpy as np
import xarray as xr

from alpgm_dask.delta_h.fitting import QUALITY
from alpgm_dask.delta_h.functions import DEFAULT_SPREAD
from alpgm_dask.delta_h.region import CARRIED
from alpgm_dask.kernels.delta_h import huss2010
from alpgm_dask.schema import DELTA_H_REASON, annotate, texts

_DIMS = ("glacier", "normalized_elevation")
#: Glaciers that are chosen for together: their functions take some 50 MB, and a graph of small parts is slow.
_TOGETHER = 16_384

_CURVES = ("delta_h", "delta_h_spread")
#: What is chosen or kept of the fits, and its type.
_OF_FITS = dict.fromkeys((*_CURVES, *QUALITY), "float64") | dict.fromkeys(("delta_h_source", "delta_h_reason"), "int8")

_FITTED, _NOT_SURVEYED = DELTA_H_REASON.index("fitted"), DELTA_H_REASON.index("not_surveyed")


@dataclass(frozen=True)
class Criteria:
    """What a function of a glacier's own must meet, and the mean of a massif.

    Attributes
    ----------
    least_share
        share of the glacier's pixels that are believed.
    least_signal
        greatest sinking over the spread of the residuals.
    least_functions
        glaciers with functions of their own that a mean, and a spread between glaciers, is made of.
    most_extra
        what its squared error at left-out pixels may exceed that of the size class by: the square of this share of the
        greatest change. Where a size class happens to be right, the fit of a few pixels is a little worse.
    """

    least_share: float = 0.5
    least_signal: float = 0.5
    least_functions: int = 3
    most_extra: float = 0.1


def choose(fits: xr.Dataset, glaciers: xr.Dataset, criteria: Criteria | None = None) -> xr.Dataset:
    """The function that every glacier uses, where it comes from, and why; lazy.

    The first that there is, of: the glacier's own, if it was fitted, enough of the glacier was seen, its signal stands
    out of the residuals, and it predicts tiles that were left out about as well as the curve of the size class; the
    mean of such functions in its massif (in its subregion, where it has no massif); the curve of its size class (Huss
    et al. 2010, doi:10.5194/hess-14-815-2010); a flat one, where its area is not known.

    Parameters
    ----------
    fits
        of :func:`alpgm_dask.delta_h.fit_region`; read more than once, so best from a store.
    glaciers
        those of a run (``glacier``), small, read here: rgi_id, area (m2), and massif and subregion where known.
    criteria
        None: the defaults.

    Returns
    -------
    Dataset (``glacier``, ``normalized_elevation``): delta_h and delta_h_spread (of an own function its standard error;
    of a mean the standard deviation between glaciers; of a size class the root mean square distance of glaciers' own
    functions from theirs; 0.1 where there are too few, and of a flat one). Over ``glacier``: delta_h_source,
    delta_h_reason (why its own, or why not), the figures of the fit, and the glacier's attributes.
    """
    criteria = criteria or Criteria()
    fits = fits.drop_vars([name for name in fits.coords if name not in ("rgi_id", _DIMS[1])])
    judged = fits.assign(delta_h_reason=judge(fits, criteria))
    known = glaciers[[name for name in CARRIED if name in glaciers.variables]].compute()
    common = dask.delayed(_common(judged, criteria))
    row, n = _rows(fits, known), known.sizes["glacier"]
    parts: dict[str, list[da.Array]] = {}
    for part in (slice(start, min(start + _TOGETHER, n)) for start in range(0, n, _TOGETHER)):
        used, place = np.unique(row[part], return_inverse=True)
        theirs = judged[[name for name in _OF_FITS if name in judged]].isel(glacier=used[used >= 0])
        made = dask.delayed(_chosen)(theirs, place - (used < 0).sum(), known.isel(glacier=part), common, criteria)
        for name, dtype in _OF_FITS.items():
            shape = (part.stop - part.start, *([fits.sizes[_DIMS[1]]] if name in _CURVES else []))
            parts.setdefault(name, []).append(da.from_delayed(made[name], shape, dtype))
    out = known.assign({name: (_DIMS[: arrays[0].ndim], da.concatenate(arrays)) for name, arrays in parts.items()})
    out = out.assign_coords({_DIMS[1]: fits[_DIMS[1]].values}).set_coords("rgi_id")
    return annotate(out.assign_attrs(fits.attrs))


def judge(fits: xr.Dataset, criteria: Criteria) -> xr.DataArray:
    """(``glacier``) "fitted", or why a fit is not used, as :data:`alpgm_dask.schema.DELTA_H_REASON` numbers it."""
    fitted = fits["delta_h_reason"] == _FITTED
    extra = fits["held_out_error"] ** 2 - fits["class_error"] ** 2
    tests = {
        "few_pixels": ~np.isfinite(fits["held_out_error"]),  # too few to leave any out: nothing proves the function
        "worse_than_size_class": extra > (criteria.most_extra * fits["greatest_change"]) ** 2,
        "no_thinning": -fits["greatest_change"] < criteria.least_signal * fits["residual_spread"],
        "little_coverage": fits["share_covered"] < criteria.least_share,
    }
    out = fits["delta_h_reason"]
    for name, failed in tests.items():
        out = xr.where(fitted & failed, DELTA_H_REASON.index(name), out)
    return out


def _chosen(
    fits: xr.Dataset, place: np.ndarray, glaciers: xr.Dataset, common: xr.Dataset, criteria: Criteria
) -> dict[str, np.ndarray]:
    """What some glaciers use: their fits, which of these is whose (negative: none), and what :func:`_common` gives."""
    surveyed = place >= 0
    found = {
        name: np.full((place.size, *fits[name].shape[1:]), np.nan) for name in _OF_FITS if name != "delta_h_source"
    }
    for name, values in found.items():
        values[surveyed] = fits[name].values[place[surveyed]]
    reason = np.where(surveyed, found["delta_h_reason"], _NOT_SURVEYED).astype("int8")
    own_spread = np.where(np.isfinite(found["delta_h_spread"]), found["delta_h_spread"], DEFAULT_SPREAD)
    area, nodes = glaciers["area"].values.astype("float64"), common[_DIMS[1]].values
    group, listed = _group_positions(glaciers, common)
    enough = listed & (common["count"].values[group] >= criteria.least_functions)
    candidates = [
        (reason == _FITTED, found["delta_h"], own_spread),
        (enough, common["mean"].values[group], common["between"].values[group]),
        (area > 0, huss2010(nodes, area), np.broadcast_to(common["class_spread"].values, own_spread.shape)),
        (np.ones(place.size, dtype=bool), np.ones_like(own_spread), np.full_like(own_spread, DEFAULT_SPREAD)),
    ]
    source = np.argmax([allowed for allowed, _, _ in candidates], axis=0)
    curve, spread = (np.stack([c[k] for c in candidates])[source, np.arange(source.size)] for k in (1, 2))
    chosen = {"delta_h": curve, "delta_h_spread": spread}
    return found | chosen | {"delta_h_source": source.astype("int8"), "delta_h_reason": reason}


def _rows(fits: xr.Dataset, glaciers: xr.Dataset) -> np.ndarray:
    """(glacier,) position of each glacier among the fits, -1 where it is not."""
    place = {rgi_id: i for i, rgi_id in enumerate(texts(fits["rgi_id"]))}
    return np.array([place.get(rgi_id, -1) for rgi_id in texts(glaciers["rgi_id"])])


def group_names(glaciers: xr.Dataset) -> np.ndarray:
    """(glacier,) the massif, else the subregion, "" where neither is known."""
    n = glaciers.sizes["glacier"]
    massif, subregion = (
        texts(glaciers[name]) if name in glaciers.variables else np.full(n, "") for name in ("massif", "subregion")
    )
    return np.where(massif == "", subregion, massif)


def _group_positions(glaciers: xr.Dataset, common: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(glacier,) position of its group among those of the fits, and whether it is there."""
    names, wanted = texts(common["group"]), group_names(glaciers)
    place = np.searchsorted(names, wanted).clip(max=names.size - 1)
    return place, (names[place] == wanted) & (wanted != "")


def _common(fits: xr.Dataset, criteria: Criteria) -> xr.Dataset:
    """What the glaciers without functions of their own share; small, lazy.

    Over ``group``: count of own functions, mean and between (their standard deviation); class_spread (all over
    ``normalized_elevation``, but for the count).
    """
    own = fits["delta_h_reason"] == _FITTED
    names, place = np.unique(group_names(fits), return_inverse=True)
    group = xr.DataArray(place, dims="glacier", name="group")
    kept = fits[["delta_h"]].where(own).drop_vars("rgi_id")

    def reduced(func: str) -> xr.DataArray:
        expected = np.arange(names.size)
        return flox.xarray.xarray_reduce(kept, group, func=func, expected_groups=expected)["delta_h"]

    mean = reduced("nanmean")
    theirs = xr.DataArray(huss2010(fits[_DIMS[1]].values, fits["area"].values), dims=_DIMS)
    distance = ((fits["delta_h"] - theirs) ** 2).where(own).mean("glacier") ** 0.5
    out = xr.Dataset(
        {
            "count": reduced("count").isel({_DIMS[1]: 0}, drop=True),
            "mean": mean / mean.max(_DIMS[1]),
            "between": reduced("nanstd"),
            "class_spread": xr.where(own.sum() >= criteria.least_functions, distance, DEFAULT_SPREAD),
        }
    )
    return out.assign_coords(group=names).transpose("group", _DIMS[1])
