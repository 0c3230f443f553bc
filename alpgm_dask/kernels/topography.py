"""What a glacier looks like to the mass-balance model: sums over its ice pixels, and the slope of its tongue."""

from __future__ import annotations

import numpy as np
from numba import njit

from alpgm_dask.constants import TONGUE_FRACTION
from alpgm_dask.kernels.reductions import extremes, total

#: Columns of the per-glacier table that the kernels fill.
COLUMNS = ("area", "volume", "mean_elevation", "max_elevation", "min_elevation", "max_thickness", "mass_residual")
AREA, VOLUME, MEAN, HIGH, LOW, THICKEST, RESIDUAL = range(len(COLUMNS))


@njit(cache=True, nogil=True)
def measure(thickness: np.ndarray, surface: np.ndarray, pixel_area: float, row: np.ndarray) -> None:
    """Fill a glacier's row of the table from its ice pixels (pixel,) in m; elevations are NaN where there are none."""
    n = thickness.size
    row[AREA] = n * pixel_area
    if n == 0:
        row[VOLUME], row[THICKEST] = 0.0, 0.0
        row[MEAN], row[HIGH], row[LOW] = np.nan, np.nan, np.nan
        return
    row[VOLUME], row[MEAN] = total(thickness) * pixel_area, total(surface) / n
    row[LOW], row[HIGH] = extremes(surface)
    row[THICKEST] = extremes(thickness)[1]


@njit(cache=True, nogil=True)
def drop_bare(
    thickness: np.ndarray,
    surface: np.ndarray,
    index: np.ndarray,
    start: np.ndarray,
    count: np.ndarray,
    pixel_area: np.ndarray,
    table: np.ndarray,
) -> None:
    """Move the ice pixels of every glacier to the front of its row, in place, and fill the table of the start.

    Parameters
    ----------
    thickness, surface
        (pixel,) m: ice thickness, surface elevation.
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
        k = start[g]
        for i in range(start[g], start[g] + count[g]):
            if thickness[i] > 0.0:
                thickness[k], surface[k], index[k] = thickness[i], surface[i], index[i]
                k += 1
        count[g] = k - start[g]
        measure(thickness[start[g] : k], surface[start[g] : k], pixel_area[g], table[g])
        table[g, RESIDUAL] = 0.0


@njit(cache=True, nogil=True)
def tongue_slopes(
    surface: np.ndarray,
    index: np.ndarray,
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
    surface, index
        (pixel,) m, and where the pixel stood in the block; ice pixels first in every row.
    slope, along
        (pixel,) degree, m (NaN off the flowline), in the order of the block: of the surface at the start, they do not
        change.
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
        pixels, angle = 0, 0.0
        points, s1, z1, ss, sz = 0, 0.0, 0.0, 0.0, 0.0
        for i in range(start[g], start[g] + n):
            if surface[i] <= limit:
                pixels += 1
                angle += slope[index[i]]
                s = along[index[i]]
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
            out[g] = angle / pixels
