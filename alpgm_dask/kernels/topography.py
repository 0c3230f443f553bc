"""What a glacier looks like to the mass-balance model: sums over its ice pixels, and the slope of its tongue."""

from __future__ import annotations

import numpy as np
from numba import njit

from alpgm_dask.constants import TONGUE_FRACTION

#: Columns of the per-glacier table that the kernels fill.
COLUMNS = ("area", "volume", "mean_elevation", "max_elevation", "min_elevation", "max_thickness", "mass_residual")
AREA, VOLUME, MEAN, HIGH, LOW, THICKEST, RESIDUAL = range(len(COLUMNS))


@njit(cache=True, nogil=True)
def drop_bare(
    thickness: np.ndarray,
    surface: np.ndarray,
    slope: np.ndarray,
    along: np.ndarray,
    index: np.ndarray,
    start: np.ndarray,
    count: np.ndarray,
    pixel_area: np.ndarray,
    table: np.ndarray,
) -> None:
    """Move the ice pixels of every glacier to the front of its row, in place, and fill the table of the start.

    Parameters
    ----------
    thickness, surface, slope, along
        (pixel,) m, m, degree, m: ice thickness, surface elevation, surface slope, distance along the flowline.
    index
        (pixel,) where the pixel stood in the block.
    start, count
        (glacier,) first pixel and number of pixels; `count` becomes the number of ice pixels.
    pixel_area
        (glacier,) m2.
    table
        (glacier, column) filled.
    """
    for g in range(start.size):
        first = start[g]
        k = first
        total_h = 0.0
        total_e = 0.0
        high, low, thickest = -np.inf, np.inf, 0.0
        for i in range(first, first + count[g]):
            h = thickness[i]
            if h > 0.0:
                e = surface[i]
                thickness[k], surface[k], slope[k], along[k], index[k] = h, e, slope[i], along[i], index[i]
                k += 1
                total_h += h
                total_e += e
                high, low, thickest = max(high, e), min(low, e), max(thickest, h)
        count[g] = k - first
        table[g, AREA] = count[g] * pixel_area[g]
        table[g, VOLUME] = total_h * pixel_area[g]
        table[g, MEAN] = total_e / count[g] if count[g] else np.nan
        table[g, HIGH], table[g, LOW], table[g, THICKEST] = high, low, thickest
        table[g, RESIDUAL] = 0.0


@njit(cache=True, nogil=True)
def tongue_slopes(
    surface: np.ndarray,
    slope: np.ndarray,
    along: np.ndarray,
    start: np.ndarray,
    count: np.ndarray,
    table: np.ndarray,
    out: np.ndarray,
) -> None:
    """Slope in degrees of the lowermost fifth of every glacier's elevation range.

    Where at least three pixels of the flowline lie in that fifth: the angle of the least-squares line of elevation
    over distance along the flowline. Elsewhere: the mean slope of the fifth's pixels.

    Parameters
    ----------
    surface, slope, along
        (pixel,) m, degree, m (NaN off the flowline), ice pixels first in every row.
    start, count
        (glacier,) first pixel and number of ice pixels.
    table
        (glacier, column) with highest and lowest elevation.
    out
        (glacier,) filled; NaN where there is no ice.
    """
    for g in range(start.size):
        n = count[g]
        if n == 0:
            out[g] = np.nan
            continue
        low = table[g, LOW]
        limit = low + TONGUE_FRACTION * (table[g, HIGH] - low)
        pixels, total = 0, 0.0
        points, s1, z1, ss, sz = 0, 0.0, 0.0, 0.0, 0.0
        for i in range(start[g], start[g] + n):
            if surface[i] <= limit:
                pixels += 1
                total += slope[i]
                s = along[i]
                if s == s:  # not NaN: on the flowline
                    z = surface[i] - low
                    points += 1
                    s1 += s
                    z1 += z
                    ss += s * s
                    sz += s * z
        variance = ss - s1 * s1 / points if points else 0.0
        if points >= 3 and variance > 0.0:
            out[g] = np.degrees(np.arctan(abs((sz - s1 * z1 / points) / variance)))
        else:
            out[g] = total / pixels
