"""How climate of a point is brought to a glacier: lapse rate, precipitation gradient, phase, degree-days of a month."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alpgm_dask.constants import LAPSE_RATE
from alpgm_dask.schema import InputError

#: What becomes of the snow of a step that is warm at the glacier.
PHASES = ("conserving", "alpgm-1.2")

#: degC: (all snow below, all rain above) where the user sets neither. Of days: ALPGM's threshold at the melting point.
#: Of months: least squares against the snow sums of daily climate, see tests/test_monthly.py.
RAMPS = {"daily": (0.0, 0.0), "monthly": (-5.0, 6.0)}

#: K, standard deviation of daily temperatures within a month: least squares against degree-days of daily climate, see
#: tests/test_monthly.py.
DAILY_SPREAD = 4.0

#: What settings may be: K m-1 (from inversions to twice dry air), 1 per m, degC, K.
LAPSE_RATE_BOUNDS = (-0.01, 0.02)
GRADIENT_BOUNDS = (-0.01, 0.01)
THRESHOLD_BOUNDS = (-20.0, 20.0)
SPREAD_BOUNDS = (0.1, 15.0)


@dataclass(frozen=True)
class Downscaling:
    """How climate at elevation z_p is brought to a glacier at elevation z; the defaults are ALPGM's.

    ``T = T_p + (z_p - z) * lapse_rate`` and amounts ``* max(0, 1 + precipitation_gradient * (z - z_p))``.
    The share of snow in what falls is 1 below `all_snow_below`, 0 above `all_rain_above`, and linear between; where
    both are equal, a step at exactly that temperature keeps the phases that it was given.

    Attributes
    ----------
    lapse_rate
        K m-1, decrease of temperature with elevation: one value, or twelve, October first.
    precipitation_gradient
        1 per m, increase with elevation relative to the precipitation at the point.
    all_snow_below, all_rain_above
        degC; None, both of them: as the time step has it, see :data:`RAMPS`.
    daily_spread
        K, standard deviation of daily temperatures within a month; for monthly climate only (Calov and Greve 2005).
    phase
        what becomes of given snow where it is too warm for it: rain ("conserving"), or nothing ("alpgm-1.2": Bolibar
        et al. 2020, doi:10.5194/tc-14-565-2020, as coded). It changes rainfall, never snowfall.

    Raises
    ------
    InputError
        for a value out of bounds, naming it, or one threshold without the other.

    >>> Downscaling().ramp("daily"), Downscaling(all_snow_below=0.0, all_rain_above=2.0).ramp("monthly")
    ((0.0, 0.0), (0.0, 2.0))
    """

    lapse_rate: float | tuple[float, ...] = LAPSE_RATE
    precipitation_gradient: float = 0.0
    all_snow_below: float | None = None
    all_rain_above: float | None = None
    daily_spread: float = DAILY_SPREAD
    phase: str = "conserving"

    def __post_init__(self) -> None:
        if not np.isscalar(self.lapse_rate):
            object.__setattr__(self, "lapse_rate", tuple(float(rate) for rate in self.lapse_rate))
            if len(self.lapse_rate) != 12:
                raise InputError(f"lapse_rate has {len(self.lapse_rate)} values; allowed: 1, or 12 with October first")
        if self.phase not in PHASES:
            raise InputError(f"phase {self.phase!r} is not known; allowed: {', '.join(PHASES)}")
        for rate in np.atleast_1d(self.lapse_rate):
            _refuse_outside("lapse_rate", rate, LAPSE_RATE_BOUNDS, "K m-1")
        if np.mean(self.lapse_rate) < 0.0:
            raise InputError(f"lapse_rate is {self.lapse_rate} K m-1; allowed: positive, the decrease with elevation")
        _refuse_outside("precipitation_gradient", self.precipitation_gradient, GRADIENT_BOUNDS, "m-1")
        _refuse_outside("daily_spread", self.daily_spread, SPREAD_BOUNDS, "K")
        self._check_thresholds()

    def _check_thresholds(self) -> None:
        low, high = self.all_snow_below, self.all_rain_above
        if (low is None) != (high is None):
            raise InputError(f"all_snow_below is {low}, all_rain_above is {high}; allowed: both, or neither")
        if low is None or high is None:
            return
        _refuse_outside("all_snow_below", low, THRESHOLD_BOUNDS, "degC")
        _refuse_outside("all_rain_above", high, THRESHOLD_BOUNDS, "degC")
        if low > high:
            raise InputError(f"all_snow_below is {low} degC; allowed: not above all_rain_above, which is {high} degC")

    @property
    def lapse_rates(self) -> np.ndarray:
        """(month,) K m-1, October first."""
        return np.broadcast_to(np.asarray(self.lapse_rate, dtype="float64"), 12).copy()

    def ramp(self, step: str) -> tuple[float, float]:
        """(all snow below, all rain above) in degC for "daily" or "monthly" climate."""
        if self.all_snow_below is None or self.all_rain_above is None:
            return RAMPS[step]
        return float(self.all_snow_below), float(self.all_rain_above)

    def spread(self, step: str) -> float:
        """K, what degree-days of one step are integrated over: 0 for days."""
        return float(self.daily_spread) if step == "monthly" else 0.0


def _refuse_outside(name: str, value: float, bounds: tuple[float, float], units: str) -> None:
    if not bounds[0] <= float(value) <= bounds[1]:
        raise InputError(f"{name} is {value} {units}; allowed: {bounds[0]:g} to {bounds[1]:g} {units}")
