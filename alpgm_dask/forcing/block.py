"""The climate of one block of glaciers inside a task: plain arrays, asked once a year at the current elevation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.constants import LAPSE_RATE, MELTING_POINT
from alpgm_dask.forcing.calendar import complete_years, hydro_month, hydro_year, select_years, whole_years
from alpgm_dask.forcing.checks import check_climate, check_points
from alpgm_dask.forcing.predictors import predictor_array
from alpgm_dask.kernels.climate import hydro_year_predictors


@dataclass(frozen=True)
class DailyForcing:
    """Daily climate of a block of glaciers: predictors of a year at whatever elevation they have by then.

    Plain arrays, cheap to send; `predictors` is what the year loop calls.

    Attributes
    ----------
    years
        (year,) hydrological years.
    reference
        (glacier, P) climatology that anomalies are taken from; P = 3 (seasonal) or 27 decides what is returned.
    tas, snowfall, rainfall
        (day, point) daily climate of the points that the block uses (K or degC as `zero` says; kg m-2).
    month, start
        (day,) month 0..11, October first; (year + 1,) position of each year's first day.
    point, point_elevation
        (glacier,) column of each glacier; (point,) elevation, m.
    zero, lapse_rate
        What `tas` says at 0 degC; K m-1.
    """

    years: np.ndarray
    reference: np.ndarray
    tas: np.ndarray
    snowfall: np.ndarray
    rainfall: np.ndarray
    month: np.ndarray
    start: np.ndarray
    point: np.ndarray
    point_elevation: np.ndarray
    zero: float = MELTING_POINT
    lapse_rate: float = LAPSE_RATE

    def predictors(self, k: int, elevation: np.ndarray) -> np.ndarray:
        """Raw predictors (glacier, P) of year index `k` at `elevation` (glacier,) m, in the order of PREDICTORS."""
        days = slice(self.start[k], self.start[k + 1])
        warming = (self.point_elevation[self.point] - np.asarray(elevation, dtype="float64")) * self.lapse_rate
        out = hydro_year_predictors(
            self.tas[days], self.snowfall[days], self.rainfall[days], self.month[days], self.point, warming, self.zero
        )
        return out[:, : self.reference.shape[1]]


def block_forcing_daily(
    climate: xr.Dataset,
    point: xr.DataArray | np.ndarray,
    reference: xr.Dataset,
    *,
    years: Sequence[int] | None = None,
    lapse_rate: float = LAPSE_RATE,
    where: str = "climate",
) -> DailyForcing:
    """The :class:`DailyForcing` of a block: loads the days of `years` at the points that its glaciers use.

    Called inside a task: it computes (single-threaded) what it is given.

    Parameters
    ----------
    climate
        One member of what :func:`annual_predictors` takes: (time, point).
    point
        (glacier) int, position along `climate`'s point dimension.
    reference
        (glacier[, month]) climatology from :func:`reference_climatology`; without its monthly variables the forcing
        returns the 3 seasonal predictors.
    years
        Consecutive hydrological years to cover; all complete ones where None.

    Raises
    ------
    InputError
        As :func:`annual_predictors`, and for years that the climate does not cover.
    """
    if "member" in climate.dims:
        raise schema.InputError(f"{where}: dimension 'member' has {climate.sizes['member']} values; select one first")
    zero = check_climate(climate, where)
    point = np.asarray(point, dtype="int64")
    check_points(xr.DataArray(point, dims="glacier"), climate.sizes["point"], where)
    complete = complete_years(climate["time"], where)
    wanted = complete[select_years(complete, years, where)]
    label = hydro_year(climate["time"]).values
    days = slice(np.searchsorted(label, wanted[0]), np.searchsorted(label, wanted[-1], side="right"))
    used, column = np.unique(point, return_inverse=True)
    block = climate[["tas", "snowfall", "rainfall", "elevation"]].isel(time=days, point=used)
    block = block.compute(scheduler="synchronous").transpose("time", "point")
    return DailyForcing(
        years=wanted,
        reference=predictor_array(reference).transpose("glacier", "predictor").values.astype("float64"),
        **{name: np.ascontiguousarray(block[name].values) for name in ("tas", "snowfall", "rainfall")},
        month=hydro_month(block["time"]).values - 1,
        start=np.searchsorted(label[days], np.append(wanted, wanted[-1] + 1)),
        point=column.astype("int64").ravel(),
        point_elevation=block["elevation"].values.astype("float64"),
        zero=zero,
        lapse_rate=lapse_rate,
    )


def block_forcing_spliced(
    parts: Sequence[xr.Dataset], point: xr.DataArray | np.ndarray, reference: xr.Dataset, years: Sequence[int]
) -> DailyForcing:
    """The :class:`DailyForcing` of a block from climates that follow one another, such as history and projection.

    Each part gives the years that none before it has. Calendars may differ: what is spliced is years, not dates.

    Parameters
    ----------
    parts
        daily climates (``time``, ``point``) at the same points.
    point, reference, years
        as for :func:`block_forcing_daily`.

    Raises
    ------
    InputError
        as :func:`block_forcing_daily`, and for years that no part covers.
    """
    whole, left = None, list(years)
    for number, part in enumerate(parts, 1):
        where = f"climate, part {number}"
        whole_here = whole_years(part["time"])
        here = [year for year in left if whole_here.size and year <= whole_here[-1]]
        if here:
            forcing = block_forcing_daily(part, point, reference, years=here, where=where)
            whole = forcing if whole is None else _joined(whole, forcing)
            left = left[len(here) :]
    if left or whole is None:
        raise schema.InputError(f"climate: no part covers the hydrological years from {left[0] if left else 'none'} on")
    return whole


def _joined(first: DailyForcing, second: DailyForcing) -> DailyForcing:
    """Two climates at the same points, one after the other; the second in the temperature scale of the first."""
    days = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("snowfall", "rainfall")}
    return replace(
        first,
        years=np.concatenate([first.years, second.years]),
        tas=np.concatenate([first.tas, second.tas + (first.zero - second.zero)]),
        month=np.concatenate([first.month, second.month]),
        start=np.concatenate([first.start, second.start[1:] + first.start[-1]]),
        **days,
    )


@dataclass(frozen=True)
class PredictorForcing:
    """Ready-made predictors of a block of glaciers, moved to their current elevation by a sensitivity.

    ``p = base + sensitivity * (elevation - start_elevation)``; degree-days and snowfall are cut at 0. Only the change
    of the simulated surface counts, so that two elevation models that disagree by a constant (the inventory's and the
    simulation's) do not make a climate signal.

    Attributes
    ----------
    years
        (year,) hydrological years.
    reference
        (glacier, P) climatology that anomalies are taken from, P = 3 or 27.
    base, sensitivity
        (year, glacier, P) predictors at the glacier's elevation at the start, and what they change by per metre.
    start_elevation
        (glacier,) m, mean elevation of the simulated surface at the start.
    """

    years: np.ndarray
    reference: np.ndarray
    base: np.ndarray
    sensitivity: np.ndarray
    start_elevation: np.ndarray

    def predictors(self, k: int, elevation: np.ndarray) -> np.ndarray:
        """Raw predictors (glacier, P) of year index `k` at `elevation` (glacier,) m, in the order of PREDICTORS."""
        rise = np.asarray(elevation, dtype="float64") - self.start_elevation
        out = self.base[k] + self.sensitivity[k] * rise[:, None]
        for amounts in (slice(0, 3), slice(15, 27)):
            np.maximum(out[:, amounts], 0.0, out=out[:, amounts])
        return out


def block_forcing_predictors(aligned: xr.Dataset, start_elevation: np.ndarray) -> PredictorForcing:
    """The :class:`PredictorForcing` of a block, from its part of :func:`align_predictors`, one member.

    Called inside a task: it computes (single-threaded) what it is given.

    Parameters
    ----------
    aligned
        predictors, sensitivity (``hydro_year``, ``glacier``, ``predictor``), reference (``glacier``, ``predictor``).
    start_elevation
        (glacier,) m, mean elevation of the simulated surface at the start.
    """
    loaded = aligned.compute(scheduler="synchronous").transpose("hydro_year", "glacier", "predictor")
    return PredictorForcing(
        years=loaded["hydro_year"].values,
        reference=loaded["reference"].values.astype("float64"),
        base=loaded["predictors"].values.astype("float64"),
        sensitivity=loaded["sensitivity"].values.astype("float64"),
        start_elevation=np.asarray(start_elevation, dtype="float64"),
    )
