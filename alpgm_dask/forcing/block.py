"""The climate of one block of glaciers inside a task: plain arrays, asked once a year at the current elevation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.forcing.calendar import complete_years, hydro_year, month_codes, select_years, whole_years
from alpgm_dask.forcing.checks import check_climate, check_points, over_glaciers
from alpgm_dask.forcing.contract import step_days
from alpgm_dask.forcing.downscaling import Downscaling
from alpgm_dask.forcing.places import at_places
from alpgm_dask.forcing.predictors import predictor_array
from alpgm_dask.kernels.climate import hydro_year_predictors


@dataclass(frozen=True)
class ClimateForcing:
    """Daily or monthly climate of a block of glaciers: predictors of a year at whatever elevation they have by then.

    Plain arrays, cheap to send; `predictors` is what the year loop calls.

    Attributes
    ----------
    years
        (year,) hydrological years.
    reference
        (glacier, P) climatology that anomalies are taken from; P = 3 (seasonal) or 27 decides what is returned.
    tas, snowfall, rainfall
        (place, step) climate of the points, or of the means of points, that the block uses (K or degC as `zero` says;
        kg m-2 per step). A place's year lies in one piece of memory, which is what makes the kernel fast.
    days
        (step,) length of each step in days.
    start
        (year * 12 + 1,) position of each month's first step.
    place, place_elevation
        (glacier,) row of each glacier; (place,) m.
    zero
        What `tas` says at 0 degC.
    step
        "daily" or "monthly".
    downscaling
        how climate is brought to the glaciers.
    """

    years: np.ndarray
    reference: np.ndarray
    tas: np.ndarray
    snowfall: np.ndarray
    rainfall: np.ndarray
    days: np.ndarray
    start: np.ndarray
    place: np.ndarray
    place_elevation: np.ndarray
    zero: float
    step: str
    downscaling: Downscaling

    def predictors(self, k: int, elevation: np.ndarray) -> np.ndarray:
        """Raw predictors (glacier, P) of year index `k` at `elevation` (glacier,) m, in the order of PREDICTORS."""
        how = self.downscaling
        out = hydro_year_predictors(
            *(self.tas, self.snowfall, self.rainfall),
            *(self.start[12 * k : 12 * k + 13], self.days),
            *(self.place, self.place_elevation[self.place] - np.asarray(elevation, dtype="float64")),
            *(self.zero, how.lapse_rates, how.precipitation_gradient, *how.ramp(self.step), how.spread(self.step)),
        )
        return out[:, : self.reference.shape[1]]


def block_forcing_climate(
    climate: xr.Dataset,
    point: xr.DataArray | np.ndarray,
    reference: xr.Dataset,
    *,
    weight: xr.DataArray | np.ndarray | None = None,
    years: Sequence[int] | None = None,
    downscaling: Downscaling | None = None,
    where: str = "climate",
) -> ClimateForcing:
    """The :class:`ClimateForcing` of a block: loads the steps of `years` at the points that its glaciers use.

    Called inside a task: it computes (single-threaded) what it is given.

    Parameters
    ----------
    climate
        One member of what :func:`annual_predictors` takes: (time, point).
    point
        (glacier) int, position along `climate`'s point dimension; or (glacier, corner), with weights.
    reference
        (glacier[, month]) climatology from :func:`reference_climatology`; without its monthly variables the forcing
        returns the 3 seasonal predictors.
    weight
        (glacier, corner): the weighted means are made here, once.
    years
        Consecutive hydrological years to cover; all complete ones where None.
    downscaling
        settings; None: ALPGM's.

    Raises
    ------
    InputError
        As :func:`annual_predictors`, and for years that the climate does not cover.
    """
    if "member" in climate.dims:
        raise schema.InputError(f"{where}: dimension 'member' has {climate.sizes['member']} values; select one first")
    zero, step, wet = check_climate(climate, where)
    point, weight = over_glaciers(point), over_glaciers(weight)
    check_points(point, weight, climate.sizes["point"])
    point, weight = point.values, None if weight is None else weight.values
    complete = complete_years(climate["time"], where)
    wanted = complete[select_years(complete, years, where)]
    label = hydro_year(climate["time"]).values
    part = slice(np.searchsorted(label, wanted[0]), np.searchsorted(label, wanted[-1], side="right"))
    used, column = np.unique(point, return_inverse=True)
    column = column.reshape(point.shape)
    some = climate[["tas", *wet, "elevation"]].isel(time=part, point=used)
    elevation = some["elevation"].values.astype("float64")[:, None]
    if weight is not None:
        elevation = at_places(elevation, column, weight)
    loaded = {name: _loaded(some[name], column, weight) for name in ("tas", *wet)}
    rainfall = loaded[wet[-1]]
    code = month_codes(some["time"])
    return ClimateForcing(
        years=wanted,
        reference=predictor_array(reference).transpose("glacier", "predictor").values.astype("float64"),
        tas=loaded["tas"],
        snowfall=loaded["snowfall"] if "snowfall" in wet else np.zeros_like(rainfall),
        rainfall=rainfall,
        days=step_days(some["time"]).values if step == "monthly" else np.ones(code.size),
        start=np.searchsorted(code, np.arange(code[0], code[-1] + 2)),
        place=np.arange(point.shape[0]) if weight is not None else column,
        place_elevation=elevation[:, 0],
        zero=zero,
        step=step,
        downscaling=downscaling or Downscaling(),
    )


def _loaded(values: xr.DataArray, column: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """(place, step) of lazy values; a place is a point, or a glacier's mean of corners."""
    # turned after it is read: a lazy transposition would fetch every value by its own index
    rows = np.ascontiguousarray(values.compute(scheduler="synchronous").transpose("point", "time").values)
    return rows if weight is None else at_places(rows, column, weight)


@dataclass(frozen=True)
class SplicedForcing:
    """Climates of a block that follow one another, each at its own elevation, in its own calendar.

    Attributes
    ----------
    parts
        the climates, in the order of their years; anomalies of all are taken from the first one's reference.
    """

    parts: tuple[ClimateForcing, ...]

    @property
    def years(self) -> np.ndarray:
        """(year,) hydrological years of all parts."""
        return np.concatenate([part.years for part in self.parts])

    @property
    def reference(self) -> np.ndarray:
        """(glacier, P) climatology."""
        return self.parts[0].reference

    def predictors(self, k: int, elevation: np.ndarray) -> np.ndarray:
        """Raw predictors (glacier, P) of year index `k` at `elevation` (glacier,) m, in the order of PREDICTORS."""
        for part in self.parts:
            if k < part.years.size:
                return part.predictors(k, elevation)
            k -= part.years.size
        raise IndexError(f"year {k} after the last one")


def block_forcing_spliced(
    parts: Sequence[xr.Dataset],
    point: xr.DataArray | np.ndarray,
    reference: xr.Dataset,
    years: Sequence[int],
    *,
    weight: xr.DataArray | np.ndarray | None = None,
    downscaling: Downscaling | None = None,
) -> SplicedForcing:
    """The forcing of a block from climates that follow one another, such as history and projection.

    Each part gives the years that none before it has. Calendars may differ: what is spliced is years, not dates.

    Parameters
    ----------
    parts
        climates (``time``, ``point``) of the same places, all of days or all of months; elevations may differ.
    point, reference, years, weight, downscaling
        as for :func:`block_forcing_climate`.

    Raises
    ------
    InputError
        as :func:`block_forcing_climate`, for years that no part covers, and for days beside months.
    """
    found: list[ClimateForcing] = []
    left = list(years)
    for number, part in enumerate(parts, 1):
        where = f"climate, part {number}"
        whole = whole_years(part["time"])
        here = [year for year in left if whole.size and year <= whole[-1]]
        if here:
            found.append(
                block_forcing_climate(
                    part, point, reference, weight=weight, years=here, downscaling=downscaling, where=where
                )
            )
            left = left[len(here) :]
            if found[-1].step != found[0].step:
                given = f"its steps are {found[-1].step}, those before {found[0].step}"
                raise schema.InputError(f"{where}: {given}; allowed: the same")
    if left or not found:
        raise schema.InputError(f"climate: no part covers the hydrological years from {left[0] if left else 'none'} on")
    return SplicedForcing(tuple(found))


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
