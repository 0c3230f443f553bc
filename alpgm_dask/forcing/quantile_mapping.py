"""Quantile delta mapping of one block in memory, with xsdba.

The steps of a group (a month of the year, say) are mapped by themselves: xsdba is trained on the common period and
adjusts window after window. What it needs and does not do by itself is here: two series of different calendars and
lengths, dry steps that would all share one rank, ratios without bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.schema import InputError

#: Steps with less precipitation (kg m-2) are dry: Cannon et al. (2015) take 0.05 mm.
TRACE = 0.05
#: No amount is multiplied with more: where the model is dry and the reanalysis is not, the ratio has no bound.
MAX_FACTOR = 10.0


@dataclass(frozen=True)
class Axis:
    """Steps of a climate, (time,): hydrological year, group, and a number in (0, 1) that the date alone decides."""

    year: np.ndarray
    group: np.ndarray
    lot: np.ndarray


@dataclass(frozen=True)
class Plan:
    """What a block needs to know beside its values.

    Attributes
    ----------
    name, where
        variable and file, for messages.
    model, truth
        the steps of the two.
    period
        first and last hydrological year in common.
    windows
        (first, last, from, to): years that are adjusted together, and those among which they are ranked.
    quantiles
        (quantile,) between 0 and 1.
    multiply
        precipitation; else temperature, shifted.
    """

    name: str
    where: str
    model: Axis
    truth: Axis
    period: tuple[int, int]
    windows: tuple[tuple[int, int, int, int], ...]
    quantiles: np.ndarray
    multiply: bool


def adjust_block(model: np.ndarray, truth: np.ndarray, plan: Plan) -> np.ndarray:
    """([member,] point, time) values adjusted to `truth` (point, true_time)."""
    given = model.reshape(-1, model.shape[-1]).astype("float64")
    truth = np.tile(truth.astype("float64"), (len(given) // len(truth), 1))
    here, there = (_within(axis.year, plan.period) for axis in (plan.model, plan.truth))
    _refuse_missing(given, truth, here, there, plan)
    values = given
    if plan.multiply:
        values, truth = (_moist(rows, axis) for rows, axis in ((given, plan.model), (truth, plan.truth)))
    out = np.full_like(values, np.nan)
    for group in np.unique(plan.model.group):
        mine = plan.model.group == group
        mapping = _trained(truth[:, there & (plan.truth.group == group)], values[:, here & mine], plan)
        place, wanted = _places(mine, plan)
        ranked = np.where(place >= 0, values[:, place], np.nan)
        adjusted = mapping.adjust(_series(ranked, plan), interp="linear", extrapolation="constant")
        out[:, place[wanted]] = adjusted.transpose("row", "window", "time").values[:, wanted]
    if plan.multiply:
        out[(given < TRACE) | (out < TRACE)] = 0.0
    return out.reshape(model.shape).astype(model.dtype)


def _places(mine: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """(window, n) positions of the steps of a group in each window, -1 where it has fewer, and which are adjusted."""
    found = [np.flatnonzero(mine & _within(plan.model.year, (begin, end))) for _, _, begin, end in plan.windows]
    place = np.full((len(found), max(map(len, found))), -1)
    wanted = np.zeros(place.shape, dtype=bool)
    for i, (steps, (first, last, _, _)) in enumerate(zip(found, plan.windows, strict=True)):
        place[i, : len(steps)] = steps
        wanted[i, : len(steps)] = _within(plan.model.year[steps], (first, last))
    return place, wanted


def _within(years: np.ndarray, period: tuple[int, int]) -> np.ndarray:
    return (years >= period[0]) & (years <= period[1])


def _refuse_missing(model: np.ndarray, truth: np.ndarray, here: np.ndarray, there: np.ndarray, plan: Plan) -> None:
    """A member without values in the common period would come out as missing, and nobody would be told."""
    known = np.isfinite(model[:, here]).any(axis=1) & np.isfinite(truth[:, there]).any(axis=1)
    lost = np.flatnonzero(np.isfinite(model).any(axis=1) & ~known)
    if lost.size:
        raise InputError(
            f"{plan.where}: {plan.name} of a member, or of the reanalysis, has no value in the common period "
            f"{plan.period[0]}-{plan.period[1]} at {lost.size} of its points; allowed: members that cover it"
        )


def _moist(values: np.ndarray, axis: Axis) -> np.ndarray:
    """Dry steps made small and unequal, as Cannon et al. (2015) do, but by their date and not at random.

    Equal values share a rank, which would shift the ranks of all others.
    """
    return np.where(values < TRACE, 0.5 * TRACE * axis.lot, values)


def _trained(truth: np.ndarray, model: np.ndarray, plan: Plan) -> Any:
    """xsdba's mapping of the common period; it wants both of one length, and the rest may be missing."""
    import xsdba

    size = max(truth.shape[1], model.shape[1])
    padded = [np.pad(x, ((0, 0), (0, size - x.shape[1])), constant_values=np.nan) for x in (truth, model)]
    reference, historical = (_series(values, plan) for values in padded)
    kind = "*" if plan.multiply else "+"
    mapping = xsdba.QuantileDeltaMapping.train(
        reference, historical, nquantiles=plan.quantiles, kind=kind, group="time"
    )
    if plan.multiply:
        mapping.set_dataset(mapping.ds.assign(af=mapping.ds["af"].clip(max=MAX_FACTOR)))
    return mapping


def _series(values: np.ndarray, plan: Plan) -> xr.DataArray:
    """(row, [window,] time) as xsdba wants it; its dates are only a count, so calendars need not agree."""
    time = xr.date_range("2000-01-01", periods=values.shape[-1], freq="D")
    dims = ("row", "window", "time") if values.ndim == 3 else ("row", "time")
    return xr.DataArray(values, dims=dims, coords={"time": time}, attrs={"units": "mm" if plan.multiply else "K"})
