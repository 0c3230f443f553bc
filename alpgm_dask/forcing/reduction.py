"""Some years of climate at some glaciers -> predictors: what one task does, on plain arrays, grouped by flox."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alpgm_dask.forcing.downscaling import Downscaling
from alpgm_dask.forcing.places import at_places
from alpgm_dask.kernels.climate import step_fields

#: Columns of a reduction without months, then those with 12 each.
COLUMNS = ("cpdd", "winter_snowfall", "summer_snowfall", "winter_rainfall", "summer_rainfall")
MONTHLY_COLUMNS = ("tas_monthly", "snowfall_monthly")
N_COLUMNS = len(COLUMNS) + 12 * len(MONTHLY_COLUMNS)

#: Bytes of one variable at the glaciers that are looked at in one go; four such arrays are alive.
BYTES_AT_ONCE = 2000000


@dataclass(frozen=True)
class Reduction:
    """How steps are reduced to predictors.

    Attributes
    ----------
    zero
        what `tas` says at 0 degC.
    step
        "daily" or "monthly".
    downscaling
        settings.
    """

    zero: float
    step: str
    downscaling: Downscaling

    def __call__(
        self,
        tas: np.ndarray,
        rainfall: np.ndarray,
        snowfall: np.ndarray | None,
        code: np.ndarray,
        days: np.ndarray,
        point: np.ndarray,
        weight: np.ndarray | None,
        drop: np.ndarray,
    ) -> np.ndarray:
        """Predictors of whole hydrological years.

        Parameters
        ----------
        tas, rainfall, snowfall
            (member, time, point); without snowfall all that falls is given as rain.
        code, days
            (time,) months since October of hydrological year 0; length of each step.
        point, weight
            (glacier[, corner]) rows along point, and their weights if there are corners.
        drop
            (glacier, year) or (glacier, 1), m: elevation of the climate - elevation of the glacier.

        Returns
        -------
        (member, glacier, year, column) float64, see :data:`COLUMNS` and :data:`MONTHLY_COLUMNS`.
        """
        month, year = code % 12, (code - code[0]) // 12
        out = np.empty((tas.shape[0], point.shape[0], year[-1] + 1, N_COLUMNS))
        some = max(1, BYTES_AT_ONCE // (8 * code.size))
        fields = np.empty((4, some, code.size))
        year = year if drop.shape[1] > 1 else np.zeros_like(year)
        used, column = np.unique(point, return_inverse=True)
        column = column.reshape(point.shape)
        for member in range(tas.shape[0]):
            # a point's steps side by side, as the kernel reads them
            rows = [None if x is None else np.ascontiguousarray(x[member].T[used]) for x in (tas, snowfall, rainfall)]
            rows[1] = np.zeros_like(rows[2]) if snowfall is None else rows[1]
            for first in range(0, point.shape[0], some):
                part = slice(first, first + some)
                place, here = column[part], rows
                if weight is not None:
                    here = [at_places(x, place, weight[part]) for x in rows]
                    place = np.arange(place.shape[0])
                made = fields[:, : place.shape[0]]
                step_fields(*here, month, year, days, place, drop[part], *self._numbers(), made)
                out[member, part] = _columns(*_month_sums(made, code))
        return out

    def _numbers(self) -> tuple:
        """Settings as the kernel takes them."""
        how = self.downscaling
        ramp, spread = how.ramp(self.step), how.spread(self.step)
        return self.zero, how.lapse_rates, how.precipitation_gradient, *ramp, spread, how.phase == "conserving"


def _month_sums(fields: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(field, row, year, month) sums of (field, row, step), and the (year, month) number of steps; grouped by flox."""
    from flox import groupby_reduce

    months = np.arange(code[0], code[-1] + 1)
    # the engine is named: which one is the default depends on what else is installed, and so would the last bit
    sums, _ = groupby_reduce(fields, code, func="sum", expected_groups=months, engine="flox")
    count = np.bincount(code - code[0], minlength=months.size).astype("float64")
    return sums.reshape(*fields.shape[:2], -1, 12), count.reshape(-1, 12)


def _columns(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(row, year, column) from the sums of temperature, warmth, snow and rain over months."""
    t, heat, snow, rain = sums
    out = np.empty((*t.shape[:2], N_COLUMNS))
    out[..., 0] = heat.sum(axis=-1)
    for first, amount in ((1, snow), (3, rain)):
        out[..., first] = amount[..., :6].sum(axis=-1)
        out[..., first + 1] = amount[..., 6:].sum(axis=-1)
    out[..., 5:17] = t / count
    out[..., 17:] = snow
    return out
