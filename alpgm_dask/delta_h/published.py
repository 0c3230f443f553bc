"""The method behind ALPGM's published delta-h functions, step by step, with its fixed thresholds and its slips.

Kept for comparison: it reproduces the functions that Bolibar et al. (2020, doi:10.5194/tc-14-565-2020) used for the
French Alps, from the same rasters. Its thresholds in metres belong to those rasters (1979 to 2011, clouds and all): for
other data there is :mod:`alpgm_dask.delta_h.monotone`.
"""

from __future__ import annotations

import numpy as np

from alpgm_dask.delta_h.curve import Curve, UnfitError

#: A glacier is set aside as clouded if more than this share of its pixels seem to have thickened.
CLOUDED_SHARE = 2.0 / 3.0

#: m. What is believed of a change: within the first pair everywhere, and by elevation (from, to, lowest, highest).
BELIEVED = (-130.0, 10.0)
BELIEVED_AT = (
    (2900.0, np.inf, -40.0, np.inf),
    (3400.0, np.inf, -20.0, np.inf),
    (-np.inf, 2500.0, -np.inf, -10.0),
    (-np.inf, 2000.0, -np.inf, -60.0),
)

#: Largest number of kept elevations for which the polynomial has this degree; above all of them it has 6.
DEGREES = ((150, 2), (400, 3), (900, 4))

#: Fewest elevations for which the method is defined.
FEWEST = 20


def fit(surface_elevation: np.ndarray, change: np.ndarray) -> Curve:
    """One glacier's function as ALPGM made it; on its own nodes, the terminus first.

    Parameters
    ----------
    surface_elevation, change
        (pixel,) m, finite: mean elevation of both surveys, and its change (negative: thinning).

    Raises
    ------
    UnfitError
        if the glacier seems to have thickened nearly everywhere (cloud), or too few elevations are left.
    """
    if change.size == 0:
        raise UnfitError("few_pixels", "no pixel was seen in both surveys")
    if (change > 0).mean() > CLOUDED_SHARE:
        raise UnfitError("cloud", f"{(change > 0).mean():.0%} of the pixels seem to have thickened")
    believed = _believed(surface_elevation, change)
    z, h = _by_elevation(surface_elevation[believed], change[believed])
    _enough(z)
    z, h = _trim_ends(z, h)
    _enough(z)
    z, h = _within_envelope(z, h)
    _enough(z)
    fitted = _fitted(z, h)
    low, high = fitted.min(), fitted.max()
    values = np.ones(z.size) if high == low else np.minimum(np.abs((fitted - high) / (low - high)), 1.0)
    nodes = (z[-1] - np.linspace(z[0], z[-1], z.size)) / (z[-1] - z[0])
    return Curve(nodes, values, (float(z[0]), float(z[-1])), believed)


def _enough(z: np.ndarray) -> None:
    if z.size < FEWEST:
        raise UnfitError("few_pixels", f"{z.size} elevations are left after filtering; needed: {FEWEST}")


def _believed(z: np.ndarray, change: np.ndarray) -> np.ndarray:
    kept = (change >= BELIEVED[0]) & (change <= BELIEVED[1])
    for above, below, lowest, highest in BELIEVED_AT:
        there = (z > above) & (z < below)
        kept &= ~there | ((change >= lowest) & (change <= highest))
    return kept


def _by_elevation(z: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean change at every elevation that occurs, rising; in single precision, on which later ties depend."""
    elevations, place = np.unique(z, return_inverse=True)
    mean = np.bincount(place, weights=change) / np.bincount(place)
    return elevations.astype("float64"), mean.astype("float32").astype("float64")


def _window(n: int) -> int:
    """Number of elevations that are looked at together among n."""
    return n // 20 if n < 70 else n // 35


def _trim_ends(z: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop what contrasts with the other end: little thinning at the terminus, much at the top.

    What goes is not always what was tested, and at the upper end an elevation goes that is one place lower than its
    change: the published functions were made so.
    """
    width = 8 * _window(z.size)
    if width == 0:
        return z, h
    head, tail = h[:width].copy(), h[-width:].copy()
    z, h, k = list(z), list(h), 0
    for a, b in zip(head, tail, strict=True):
        if np.mean(h[len(h) - width :]) - a < 5.0 or a > -10.0:
            del h[k], z[k]
        if abs(np.mean(h[:width]) - b) < 15.0 or b < -25.0:
            p = len(h) - width + k
            del h[p], z[p - 1]
        else:
            k += 1
        if len(h) < FEWEST:
            break
    return np.array(z), np.array(h)


def _weights(h: np.ndarray, q: int, weight: float) -> np.ndarray:
    """What holds the polynomial at its ends: the greatest thinning near the terminus, no change near the top."""
    out = np.ones(h.size)
    out[np.argmin(np.abs(h[:q] + 140.0))] = weight
    if _still(h, q):
        out[(h >= -0.5) & (np.arange(h.size) > 2 * h.size / 3)] = weight
    else:
        out[h.size - q + np.argmin(np.abs(h[-q:]))] = weight
    return out


def _still(h: np.ndarray, q: int) -> bool:
    """Whether the top does not change."""
    return np.count_nonzero(h[-q:] > -2.0) > q / 3


def _polynomial(z: np.ndarray, h: np.ndarray, degree: int, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares, at as many evenly spaced elevations as there are."""
    grid = np.linspace(z[0], z[-1], z.size)
    return np.polynomial.Polynomial.fit(z, h, degree, w=weights)(grid)


def _within_envelope(z: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep what lies between the smoothed upper and lower envelopes of the changes along elevation."""
    n = z.size
    q = n // 10 if n < 60 else n // 25
    trend = _polynomial(z, h, 2, _weights(h, q, 2.0))
    grid = np.linspace(z[0], z[-1], n)
    after = np.searchsorted(grid, z).clip(1, n - 1)
    nearest = np.where(z - grid[after - 1] <= grid[after] - z, after - 1, after)
    above = h >= trend[nearest]
    if above.all() or not above.any():
        raise UnfitError("few_pixels", "all changes lie on one side of their trend")
    index = np.arange(n)
    upper, lower = (np.interp(index, index[side], h[side]) for side in (above, ~above))
    top, bottom = _bounds(h, trend, upper, lower)
    kept = (bottom <= h) & (h <= top)
    return z[kept], h[kept]


def _bounds(h, trend, upper, lower) -> tuple[np.ndarray, np.ndarray]:
    """Running means of both envelopes, and what stands at the ends, where their windows are not full."""
    n = h.size
    m = _window(n) + _window(n) % 2
    half = m // 2
    front, tail = trend[: half - 1], trend[n - half :]
    share = 0.3 if tail.mean() < -10.0 else 1.5

    def last(envelope: np.ndarray) -> float:
        first = envelope[n - m]
        return envelope[n - m + 1] if first == 0.0 else first

    moving = np.count_nonzero(h[n - m :]) >= 2 * m / 3
    above = np.abs(share * tail) + abs(3.0 * last(upper)) if moving else np.zeros(half)
    below = 0.5 * tail + share * last(lower)
    top = np.concatenate([front, _running_mean(upper, m), above])
    return top, np.concatenate([front + 0.6 * lower[0], _running_mean(lower, m), below])


def _running_mean(values: np.ndarray, m: int) -> np.ndarray:
    """Means of m neighbours, added up one after the other: their last bit decides whether a tie is kept."""
    out = np.zeros(values.size - m + 1)
    for t in range(m):
        out += values[t : t + out.size] * (1.0 / m)
    return out


def _fitted(z: np.ndarray, h: np.ndarray) -> np.ndarray:
    """(elevation,) m, from the terminus up: the polynomial, level beyond its extremes, 0 at a top that is still."""
    n = z.size
    degree = next((degree for most, degree in DEGREES if n <= most), 6)
    q = n // 10 if n < 60 else n // 30
    fitted = _polynomial(z, h, degree, _weights(h, q, 10.0))
    if _still(h, q):
        fitted[n - q :] = 0.0
    level = np.flatnonzero(fitted >= -0.5)
    if level.size > 1:
        fitted[level[0] :] = 0.0
    highest = np.argmax(fitted)
    fitted[highest:] = fitted[highest]
    lowest = np.argmin(fitted)
    fitted[:lowest] = fitted[lowest]
    return fitted
