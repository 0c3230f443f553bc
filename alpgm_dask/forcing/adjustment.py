"""Projections adjusted to a reanalysis by quantile delta mapping, with xsdba.

Of each quantile of a model's climate the bias is taken away that this quantile has over a common period, and the change
that the model gives it since is kept (Cannon, Sobie and Murdock 2015, doi:10.1175/JCLI-D-14-00754.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import xarray as xr

from alpgm_dask.forcing.calendar import hydro_year, whole_years
from alpgm_dask.forcing.contract import amounts, as_climate, time_step
from alpgm_dask.forcing.quantile_mapping import Axis, Plan, adjust_block
from alpgm_dask.schema import InputError

#: Fewest hydrological years of a common period.
MIN_YEARS = 10
#: Points of a block: all of its steps are in memory at once.
BLOCK_POINTS = 64
#: Farthest that a point of the projection may lie from that of the reanalysis.
_NEAR = {"lon": 1e-3, "lat": 1e-3, "elevation": 1.0}
_GOLDEN = (5**0.5 - 1) / 2

#: What may be adjusted by itself.
GROUPS = ("month", "season", "year")


def quantile_delta_mapping(
    projection: xr.Dataset,
    history: xr.Dataset,
    *,
    period: tuple[int, int],
    quantiles: int | Sequence[float] = 50,
    group: str = "month",
    window: int = 30,
    step: int = 10,
    where: tuple[str, str] = ("projection", "history"),
) -> xr.Dataset:
    """Members of a projection, adjusted to a reanalysis at the same points; lazy.

    Temperature is shifted, ``T + Q_h(p) - Q_m(p)``, precipitation multiplied, ``P * Q_h(p) / Q_m(p)`` (Cannon et al.
    2015): Q_h and Q_m are quantiles of the reanalysis and of the model over the common period, and p is the rank of a
    value among those of its own time. That time is the common period for years within it, so that they come out
    distributed as the reanalysis is, and for others `window` years about each `step` years.

    Total precipitation is adjusted, and the share of snow in it stays the model's: downscaling to a glacier parts
    daily snow from rain anew. A dry step (less than 0.05 kg m-2) stays dry. Where the model has too many wet steps, the
    smallest amounts become zero; where it has too few, they stay too few, and the smallest amounts of the reanalysis
    are missing from the sum. Factors are 10 at most.

    Parameters
    ----------
    projection
        climate ([``member``,] ``time``, ``point``), as :func:`.as_climate` takes it, daily or monthly, any calendar;
        each member by itself. Missing values stay missing.
    history
        climate (``time``, ``point``) of the reanalysis: the same points and steps; its calendar may be another.
    period
        first and last hydrological year of the common period, ten years or more.
    quantiles
        how many, evenly spaced, or which ones, between 0 and 1; linear between them, constant beyond.
    group
        "month", "season" or "year": what is adjusted by itself.
    window, step
        years among which a value is ranked, and years that are ranked together.
    where
        files or stores of the two, for messages.

    Returns
    -------
    The projection with other values: same dimensions, chunks, variables and types. One task holds all steps of one
    member at 64 points.

    Raises
    ------
    InputError
        if xsdba is not installed, a setting is none of those above, one of the two does not cover the common period by
        whole hydrological years, or points or steps differ; when computed, if a member has no value in the period.
    """
    levels = _checked_settings(quantiles, group, window, step)
    check_adjustable(period)
    projection, history = as_climate(projection, where[0]), as_climate(history, where[1])
    _check_pair(projection, history, period, where)
    model, truth = _axis(projection["time"], group), _axis(history["time"], group)
    windows = _windows((int(model.year[0]), int(model.year[-1])), period, window, step)

    def adjusted(name: str, of_model: xr.DataArray, of_truth: xr.DataArray, multiply: bool) -> xr.DataArray:
        plan = Plan(name, where[0], model, truth, period, windows, levels, multiply)
        return _adjusted(of_model, of_truth, plan)

    out = {"tas": adjusted("tas", projection["tas"], history["tas"], False)}
    names = amounts(projection, where[0])
    total, true_total = _total(projection, where[0]), _total(history, where[1])
    scaled = adjusted("precipitation", total, true_total, True)
    if len(names) == 1:
        out[names[0]] = scaled
    else:
        # dry steps are divided by nothing and stay zero; missing ones stay missing
        factor = xr.where(total > 0.0, scaled / total.where(total > 0.0), total)
        out |= {name: (projection[name] * factor).astype(projection[name].dtype) for name in names}
    out = {name: values.assign_attrs(projection[name].attrs) for name, values in out.items()}
    note = f"quantile delta mapping (Cannon et al. 2015) to {where[1]} over {period[0]}-{period[1]}, by {group}"
    return projection.assign(out).assign_attrs(adjustment=note)


# -- what is refused ----------------------------------------------------------------------------------------


def check_adjustable(period: tuple[int, int], where: str = "quantile delta mapping") -> None:
    """Refuse a common period that is too short for quantiles, and an installation without the library (InputError)."""
    if period[1] - period[0] + 1 < MIN_YEARS:
        raise InputError(
            f"{where}: the common period is {period[0]}-{period[1]}; allowed: {MIN_YEARS} hydrological years or more"
        )
    if find_spec("xsdba") is None:
        raise InputError("quantile delta mapping needs the package xsdba; install the extra 'adjust'")


def _checked_settings(quantiles: int | Sequence[float], group: str, window: int, step: int) -> np.ndarray:
    """The quantiles as numbers, after all settings were looked at."""
    if group not in GROUPS:
        raise InputError(f"group is {group!r}; allowed: {', '.join(GROUPS)}")
    if not 1 <= step <= window:
        raise InputError(f"step is {step} and window {window} years; allowed: 1 <= step <= window")
    count = int(quantiles) if isinstance(quantiles, int | np.integer) else 0
    levels = (np.arange(count) + 0.5) / count if count else np.atleast_1d(np.asarray(quantiles, dtype="float64"))
    if levels.size < 2 or not np.all(np.diff(levels) > 0.0) or levels[0] < 0.0 or levels[-1] > 1.0:
        raise InputError(f"quantiles are {quantiles}; allowed: 2 or more, or a rising series of numbers from 0 to 1")
    return levels


def _check_pair(projection: xr.Dataset, history: xr.Dataset, period: tuple[int, int], where: tuple[str, str]) -> None:
    steps = [time_step(ds, text) for ds, text in zip((projection, history), where, strict=True)]
    if steps[0] != steps[1]:
        raise InputError(f"{where[0]} is {steps[0]} and {where[1]} {steps[1]}; allowed: the same steps")
    if "member" in history.dims:
        raise InputError(f"{where[1]}: dimension 'member' in the reanalysis; allowed: (time, point)")
    years = [whole_years(ds["time"]) for ds in (projection, history)]
    for text, here in zip(where, years, strict=True):
        if not here.size or here[0] > period[0] or here[-1] < period[1]:
            covers = [f"{n[0]}-{n[-1]}" if n.size else "no year" for n in years]
            raise InputError(
                f"{text} does not cover the common period {period[0]}-{period[1]}; whole hydrological years: "
                f"{where[0]} {covers[0]}, {where[1]} {covers[1]}"
            )
    sizes = projection.sizes["point"], history.sizes["point"]
    if sizes[0] != sizes[1]:
        raise InputError(f"{where[0]} has {sizes[0]} points and {where[1]} {sizes[1]}; allowed: the same points")
    for name, near in _NEAR.items():
        ours, theirs = projection[name].values, history[name].values
        far = np.flatnonzero(~(np.abs(ours - theirs) <= near))
        if far.size:
            raise InputError(
                f"{where[0]}: variable '{name}' of point {far[0]} is {ours[far[0]]:g}, in {where[1]} "
                f"{theirs[far[0]]:g} ({far.size} such points); allowed: the same points in the same order"
            )


# -- the graph ----------------------------------------------------------------------------------------------


def _total(climate: xr.Dataset, where: str) -> xr.DataArray:
    first, *others = (climate[name] for name in amounts(climate, where))
    return sum(others, first)


def _axis(time: xr.DataArray, group: str) -> Axis:
    year, month, day = (np.asarray(values) for values in (time.dt.year, time.dt.month, time.dt.day))
    groups = {"month": month, "season": month % 12 // 3, "year": np.zeros_like(month)}[group]
    # a sequence that fills (0, 1) evenly, by the date: it neither depends on other points nor on the order of work
    lot = np.modf((year * 372.0 + month * 31.0 + day) * _GOLDEN)[0]
    return Axis(hydro_year(time).values.astype("int32"), groups.astype("int8"), (0.001 + 0.998 * lot).astype("float32"))


def _windows(
    years: tuple[int, int], period: tuple[int, int], window: int, step: int
) -> tuple[tuple[int, int, int, int], ...]:
    """Blocks of years and the years that each is ranked among: the common period by itself, others in windows.

    >>> _windows((1981, 2035), (1986, 2015), 30, 10)[:3]
    ((1981, 1985, 1981, 2010), (1986, 2015, 1986, 2015), (2016, 2025, 2006, 2035))
    """
    first, last = years
    starts = [*range(first, period[0], step), period[0], *range(period[1] + 1, last + 1, step)]
    out = []
    for start, following in zip(starts, [*starts[1:], last + 1], strict=True):
        end = following - 1
        if start == period[0]:
            out.append((start, end, *period))
            continue
        begin = max(min(start - (window - step) // 2, last - window + 1), first)
        out.append((start, end, begin, min(begin + window - 1, last)))
    return tuple(out)


def _adjusted(model: xr.DataArray, truth: xr.DataArray, plan: Plan) -> xr.DataArray:
    """One variable: a task for each member and block of points, in the chunks that it had."""
    dims, chunks = model.dims, dict(zip(model.dims, model.chunks, strict=True)) if model.chunks else None
    model, truth = (_coordless(values) for values in (model, truth))
    if chunks is not None:
        blocks = {"point": min(BLOCK_POINTS, max(chunks["point"])), "time": -1}
        model = model.chunk(blocks | ({"member": 1} if "member" in dims else {}))
        truth = truth.chunk(blocks)
    out = xr.apply_ufunc(
        adjust_block,
        model,
        truth.rename(time="true_time"),
        kwargs={"plan": plan},
        input_core_dims=[["time"], ["true_time"]],
        output_core_dims=[["time"]],
        dask="parallelized",
        output_dtypes=[model.dtype],
    ).transpose(*dims)
    return out.chunk(chunks) if chunks is not None else out


def _coordless(values: xr.DataArray) -> xr.DataArray:
    """Without coordinates, so that nothing is aligned; the two were compared before."""
    return values.drop_vars(list(values.coords))
