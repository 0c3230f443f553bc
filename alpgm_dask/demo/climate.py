"""Synthetic daily weather at points: one per massif and elevation, past and projected.

A day's temperature is a seasonal cycle, the year's regional deviation (summers vary by about 0.7 K), warming, and
weather that persists for days (first-order autoregression), shared by the massifs but for a part of their own. Days
are wet where a second, persistent Gaussian process passes a threshold; amounts are gamma distributed and grow with
elevation. Wet summer days are cool. What falls is snow below 0 degC, rain above 2 degC, and a linear mix between.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import ndimage, signal, special

from alpgm_dask.constants import LAPSE_RATE, MELTING_POINT
from alpgm_dask.demo.relief import MASSIFS
from alpgm_dask.schema import annotate

#: m, elevations that the climate of a massif is given at.
ELEVATIONS = (2000.0, 2400.0, 2800.0, 3200.0, 3600.0)

#: first and last day, past and future.
HISTORY = ("1958-10-01", "2015-09-30")
FUTURE = ("2015-10-01", "2100-09-30")

#: degC and K: annual mean at sea level, half the annual range, warming since 1980 (K per year), colder massifs.
SEA_LEVEL_MEAN, HALF_RANGE, RECENT_WARMING = 14.8, 8.2, 0.036
MASSIF_TEMPERATURE = (0.0, 0.2, 0.5, 0.3)

#: kg m-2 and 1: annual precipitation at 2,500 m of each massif, and its growth per km.
MASSIF_PRECIPITATION = (1450.0, 1250.0, 1100.0, 1350.0)
PRECIPITATION_GRADIENT = 0.25

#: gcm, rcm, scenario, warming by 2100 against 2015 (K), change of precipitation by 2100 (1), its random stream.
MEMBERS = (
    ("DEMO-GCM-A", "DEMO-RCM-1", "low", 1.4, 0.04, 0),
    ("DEMO-GCM-B", "DEMO-RCM-2", "low", 1.6, -0.02, 1),
    ("DEMO-GCM-A", "DEMO-RCM-1", "high", 3.7, 0.02, 0),
    ("DEMO-GCM-B", "DEMO-RCM-2", "high", 4.3, -0.10, 1),
)

_WET_SHARE = 0.42  # of the days
_GAMMA_SHAPE = 0.75


def points(elevations: np.ndarray, massif: np.ndarray, lon: np.ndarray, lat: np.ndarray) -> xr.Dataset:
    """Where the climate stands for: (``point``) massif, elevation (m), lon, lat, massif by massif.

    Parameters
    ----------
    elevations
        (level,) m.
    massif, lon, lat
        (massif,) names and centres.
    """
    n = len(elevations)
    return xr.Dataset(
        {
            "elevation": ("point", np.tile(np.asarray(elevations, "float64"), len(massif))),
            "massif": ("point", np.repeat(np.asarray(massif, object), n)),
            "lon": ("point", np.repeat(lon, n)),
            "lat": ("point", np.repeat(lat, n)),
        }
    )


def _persistent(rng: np.random.Generator, days: int, columns: int, memory: float) -> np.ndarray:
    """(day, column) first-order autoregression of unit variance; `memory` is its correlation from day to day."""
    shocks = rng.standard_normal((days, columns)) * np.sqrt(1.0 - memory**2)
    return signal.lfilter([1.0], [1.0, -memory], shocks, axis=0)


def _massifs(rng: np.random.Generator, days: int, memory: float, shared: float) -> np.ndarray:
    """(day, massif) persistent noise of unit variance of which a share of the variance is common to all."""
    n = len(MASSIFS)
    both = _persistent(rng, days, n + 1, memory)
    return np.sqrt(shared) * both[:, :1] + np.sqrt(1.0 - shared) * both[:, 1:]


def _yearly(rng: np.random.Generator, time: np.ndarray, months: int = 6) -> np.ndarray:
    """(day,) smooth regional deviation of unit variance: one draw per half year, joined over its borders."""
    month = (time.astype("datetime64[M]") - time[0].astype("datetime64[M]")).astype(int)
    draws = rng.standard_normal(month[-1] // months + 1)
    return ndimage.gaussian_filter1d(draws[month // months], 15.0)


def history_warming(time: np.ndarray) -> np.ndarray:
    """(day,) K, warming against the years before 1980."""
    year = 1970.0 + time.astype("datetime64[D]").astype(float) / 365.25
    return RECENT_WARMING * np.maximum(year - 1980.0, 0.0)


def future_warming(time: np.ndarray, by_2100: float) -> np.ndarray:
    """(day,) K, warming against the years before 1980: a low path levels off, a high one is nearly straight."""
    year = 1970.0 + time.astype("datetime64[D]").astype(float) / 365.25
    at = (year - 2015.75) / (2100.75 - 2015.75)
    bend = 1.6 if by_2100 < 2.5 else 0.1
    path = (1.0 - np.exp(-bend * at)) / (1.0 - np.exp(-bend))
    return RECENT_WARMING * 35.75 + by_2100 * path


def _precipitation(rng: np.random.Generator, wetness: np.ndarray, yearly: np.ndarray, change: np.ndarray) -> np.ndarray:
    """(day, massif) kg m-2 per day at 2,500 m from persistent noise that says when it is wet."""
    wet = wetness + 0.2 * yearly[:, None] > special.ndtri(1.0 - _WET_SHARE)
    amount = rng.gamma(_GAMMA_SHAPE, 1.0 / _GAMMA_SHAPE, size=wetness.shape)
    daily = np.asarray(MASSIF_PRECIPITATION) / 365.25 / _WET_SHARE
    return np.where(wet, amount * daily, 0.0) * (1.0 + 0.10 * yearly + change)[:, None].clip(min=0.3)


def weather(
    place: xr.Dataset, time: np.ndarray, warming: np.ndarray, change: np.ndarray, seed: list[int]
) -> xr.Dataset:
    """Daily weather at points.

    Parameters
    ----------
    place
        from :func:`points`.
    time
        (time,) datetime64, every day.
    warming, change
        (time,) K against the years before 1980; share by which precipitation differs.
    seed
        the random stream.

    Returns
    -------
    Dataset (``time``, ``point``), float32: tas (K), snowfall, rainfall (kg m-2 per day).
    """
    rng = np.random.default_rng(seed)
    days = time.size
    in_year = (
        2.0 * np.pi * ((time - time.astype("datetime64[Y]")).astype("timedelta64[D]").astype(float) - 197.0) / 365.25
    )
    summer = np.cos(in_year)  # 1 in mid July
    wet_year = _yearly(rng, time)
    wetness = _massifs(rng, days, 0.62, 0.8)
    falling = _precipitation(rng, wetness, wet_year, change)
    mood = _massifs(rng, days, 0.80, 0.8)
    base = SEA_LEVEL_MEAN + HALF_RANGE * summer + warming + 0.6 * _yearly(rng, time) + 0.3 * _yearly(rng, time, 24)
    at_sea = base[:, None] + np.asarray(MASSIF_TEMPERATURE) + (3.8 - 0.6 * summer[:, None]) * mood
    at_sea = at_sea - (1.5 * (falling > 0) - 1.5 * _WET_SHARE) * (0.5 + summer[:, None])
    z = place["elevation"].values
    column = np.repeat(np.arange(len(MASSIFS)), _levels(place))
    tas = (at_sea[:, column] - LAPSE_RATE * z).astype("float32")
    pr = falling[:, column] * (1.0 + PRECIPITATION_GRADIENT * (z - 2500.0) / 1000.0)
    snow_share = (1.0 - tas / 2.0).clip(0.0, 1.0)
    snowfall = (pr * snow_share).astype("float32")
    dims = ("time", "point")
    return xr.Dataset(
        {
            "tas": (dims, tas + np.float32(MELTING_POINT)),
            "snowfall": (dims, snowfall),
            "rainfall": (dims, pr.astype("float32") - snowfall),
        },
        coords={"time": time.astype("datetime64[ns]")},
    )


def _days(period: tuple[str, str]) -> np.ndarray:
    return np.arange(np.datetime64(period[0]), np.datetime64(period[1]) + np.timedelta64(1, "D"))


def _levels(place: xr.Dataset) -> int:
    """Points of a massif: they are read together, so they are one chunk."""
    return place.sizes["point"] // len(MASSIFS)


def history(place: xr.Dataset, seed: int) -> xr.Dataset:
    """The past: hydrological years 1959 to 2015, (``time``, ``point``)."""
    time = _days(HISTORY)
    days = weather(place, time, history_warming(time), np.zeros(time.size), [seed, 10])
    out = annotate(xr.merge([days, place]))
    out.attrs["title"] = "Demo Alps: synthetic daily climate"
    return out.chunk(time=-1, point=_levels(place))


def projections(place: xr.Dataset, seed: int) -> xr.Dataset:
    """The future: hydrological years 2016 to 2100, (``member``, ``time``, ``point``), two models, two scenarios.

    The two scenarios of a model share its weather, so that they differ by their forcing only.
    """
    time = _days(FUTURE)
    share = np.linspace(0.0, 1.0, time.size)
    runs = [
        weather(place, time, future_warming(time, warming), change * share, [seed, 20 + stream])
        for _, _, _, warming, change, stream in MEMBERS
    ]
    names = [np.array([m[i] for m in MEMBERS], object) for i in range(3)]
    out = xr.concat(runs, "member").assign_coords(
        member=np.array(["_".join(m[:3]) for m in MEMBERS], object),
        gcm=("member", names[0]),
        rcm=("member", names[1]),
        scenario=("member", names[2]),
    )
    out = annotate(xr.merge([out, place]))
    out.attrs["title"] = "Demo Alps: synthetic daily projections"
    return out.chunk(member=1, time=-1, point=_levels(place))
