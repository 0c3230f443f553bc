"""One year of thinning: the mass balance of a glacier spread over its pixels by its delta-h function."""

from __future__ import annotations

import numpy as np
from numba import njit

from alpgm_dask.constants import CONVERSION_DENSITY, WATER_DENSITY
from alpgm_dask.kernels.delta_h import nearest_node
from alpgm_dask.kernels.topography import AREA, HIGH, LOW, MEAN, RESIDUAL, THICKEST, VOLUME


@njit(cache=True, nogil=True)
def _weights(surface, high, low, nodes, values, n_nodes, out):
    """Delta-h value of every pixel, and their sum."""
    span = high - low
    total = 0.0
    for i in range(surface.size):
        at = (high - surface[i]) / span if span > 0.0 else 0.0
        node = nearest_node(nodes, n_nodes, at) if span > 0.0 else 0
        out[i] = values[node]
        total += values[node]
    return total


@njit(cache=True, nogil=True)
def _loss_per_weight(thickness, weights, request, total):
    """The loss f at weight 1 for which ``sum(min(h, f w))`` is the request.

    The sum is concave, rising and piecewise linear in f: Newton's method from the left meets the root in finitely many
    steps, each of which empties at least one more pixel.
    """
    loss = request / total
    while True:
        given, open_weight, used_up = 0.0, 0.0, False
        for i in range(thickness.size):
            want = loss * weights[i]
            if want < thickness[i]:
                given += want
                open_weight += weights[i]
            else:
                given += thickness[i]
                used_up = True
        deficit = request - given
        if not used_up or open_weight == 0.0 or deficit <= 1e-13 * request:
            return loss, open_weight
        loss += deficit / open_weight


@njit(cache=True, nogil=True)
def _conserving_loss(thickness, weights, request, total):
    """As above; where pixels of weight above 0 have not ice enough, those of weight 0 give the rest evenly."""
    loss, open_weight = _loss_per_weight(thickness, weights, request, total)
    if open_weight > 0.0:
        return loss
    spared, held = 0, 0.0
    for i in range(thickness.size):
        if weights[i] > 0.0:
            held += thickness[i]
            weights[i] = np.inf
        else:
            spared += 1
            weights[i] = 1.0
    if spared == 0 or request <= held:
        return loss
    return _loss_per_weight(thickness, weights, request, request * spared / (request - held))[0]


@njit(cache=True, nogil=True)
def thin(
    thickness: np.ndarray,
    surface: np.ndarray,
    slope: np.ndarray,
    along: np.ndarray,
    index: np.ndarray,
    start: np.ndarray,
    count: np.ndarray,
    active: np.ndarray,
    smb: np.ndarray,
    pixel_area: np.ndarray,
    nodes: np.ndarray,
    values: np.ndarray,
    n_nodes: np.ndarray,
    flat_below_area: float,
    mass_conserving: bool,
    table: np.ndarray,
) -> None:
    """Advance every active glacier of a block by one year, in place.

    Bolibar et al. (2020), doi:10.5194/tc-14-565-2020, after Huss et al. (2010), doi:10.5194/hess-14-815-2010, Eq. 2:
    ``f = smb n a rho_w / (rho sum(d a))``, ``h += f d``, cut at 0. Below `flat_below_area`, and where the function is
    zero throughout, d is 1. What a cut pixel could not give is taken from pixels that still have ice (the same f for
    all of them, larger than the one above), or forgotten as in ALPGM if not `mass_conserving`.

    Parameters
    ----------
    thickness, surface, slope, along, index
        (pixel,) state, ice pixels first in each glacier's row; a pixel that loses its ice leaves the row.
    start, count
        (glacier,) first pixel, number of ice pixels (updated).
    active
        (glacier,) whether the glacier takes part.
    smb
        (glacier,) m w.e. of this year.
    pixel_area
        (glacier,) m2.
    nodes, values, n_nodes
        (glacier, node), (glacier, node), (glacier,): normalized elevation, delta-h, number of nodes that count.
    flat_below_area
        m2.
    mass_conserving
        see above.
    table
        (glacier, column) read and filled: see :mod:`alpgm_dask.kernels.topography`; mass_residual in kg is what was
        asked for and could not be given.
    """
    weights_of = np.ones(max(1, count.max()))
    for g in range(start.size):
        n = count[g]
        if not active[g] or n == 0:
            continue
        row = slice(start[g], start[g] + n)
        h, e = thickness[row], surface[row]
        weights = weights_of[:n]
        area = n * pixel_area[g]
        total = 0.0
        if area >= flat_below_area:
            total = _weights(e, table[g, HIGH], table[g, LOW], nodes[g], values[g], n_nodes[g], weights)
        if total == 0.0:
            weights[:] = 1.0
            total = float(n)
        asked = smb[g] * n * WATER_DENSITY / CONVERSION_DENSITY  # m of ice, summed over pixels
        change = asked / total
        if asked < 0.0 and mass_conserving:
            change = -_conserving_loss(h, weights, -asked, total)
        count[g] = _apply(h, e, slope[row], along[row], index[row], weights, change, asked, pixel_area[g], table[g])


@njit(cache=True, nogil=True)
def _apply(h, e, slope, along, index, weights, change, asked, pixel_area, row):
    """Change thickness and surface, move what still has ice to the front, fill the table; the number of ice pixels."""
    k, given, total_h, total_e = 0, 0.0, 0.0, 0.0
    high, low, thickest = -np.inf, np.inf, 0.0
    for i in range(h.size):
        delta = change * weights[i]
        left = h[i] + delta
        if left > 0.0:
            above = e[i] + delta
            h[k], e[k], slope[k], along[k], index[k] = left, above, slope[i], along[i], index[i]
            k += 1
            given += delta
            total_h += left
            total_e += above
            high, low, thickest = max(high, above), min(low, above), max(thickest, left)
        else:
            given -= h[i]
    row[AREA] = k * pixel_area
    row[VOLUME] = total_h * pixel_area
    row[MEAN] = total_e / k if k else np.nan
    row[HIGH], row[LOW], row[THICKEST] = (high, low, thickest) if k else (np.nan, np.nan, 0.0)
    row[RESIDUAL] = (given - asked) * pixel_area * CONVERSION_DENSITY
    return k


@njit(cache=True, nogil=True)
def scatter(thickness: np.ndarray, index: np.ndarray, start: np.ndarray, count: np.ndarray, out: np.ndarray) -> None:
    """Thickness of the ice pixels at their places in the block; `out` (pixel,) is filled where there is ice."""
    for g in range(start.size):
        for i in range(start[g], start[g] + count[g]):
            out[index[i]] = thickness[i]
