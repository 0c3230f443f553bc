"""One year of thinning: the mass balance of a glacier spread over its pixels by its delta-h function."""

from __future__ import annotations

import numpy as np
from numba import njit

from alpgm_dask.constants import CONVERSION_DENSITY, WATER_DENSITY
from alpgm_dask.kernels.delta_h import nearest_node
from alpgm_dask.kernels.reductions import total
from alpgm_dask.kernels.topography import HIGH, LOW, RESIDUAL, measure


@njit(cache=True, nogil=True)
def _weights(surface, high, low, nodes, values, n_nodes, place, out):
    """Delta-h value of every pixel, and their sum.

    Nodes of published functions are evenly spaced but for rounding: the nearest one follows from a product, except
    close to the middle between two nodes, where :func:`nearest_node` decides. `place` is scratch.
    """
    last = n_nodes - 1
    span = high - low
    if span <= 0.0 or last == 0 or nodes[last] == nodes[0]:
        out[:] = values[0]
        return values[0] * surface.size
    scale = last / (nodes[last] - nodes[0])
    unsure = 1e-9
    for j in range(n_nodes):
        unsure = max(unsure, 2.0 * abs((nodes[j] - nodes[0]) * scale - j))
    slope, origin = scale / span, high * scale / span - nodes[0] * scale
    n_unsure = 0
    for i in range(surface.size):
        at = origin - slope * surface[i]
        node = np.floor(at + 0.5)
        n_unsure += abs(at - node) > 0.5 - unsure
        place[i] = np.int32(node)
    if n_unsure > 0:
        for i in range(surface.size):
            at = origin - slope * surface[i]
            if abs(at - np.floor(at + 0.5)) > 0.5 - unsure:
                place[i] = nearest_node(nodes, n_nodes, (high - surface[i]) / span)
    for i in range(surface.size):
        out[i] = values[min(max(place[i], 0), last)]
    return total(out)


@njit(cache=True, nogil=True)
def _loss_per_weight(thickness, weights, request, weight, thin):
    """The loss f at weight 1 for which ``sum(min(h, f w))`` is the request; and the weight that can still give.

    The sum is concave, rising and piecewise linear in f: Newton's method from the left meets the root in finitely many
    steps, each of which empties at least one more pixel. Only pixels that could be emptied by twice the first guess
    (`thin`, scratch) are looked at again, until a step goes beyond that.
    """
    loss = request / weight
    while True:
        reach = 2.0 * loss
        n_thin, thick_weight = 0, 0.0
        for i in range(thickness.size):
            if reach * weights[i] >= thickness[i]:
                thin[n_thin] = i
                n_thin += 1
            else:
                thick_weight += weights[i]
        while loss <= reach:
            given, open_weight, emptied = loss * thick_weight, thick_weight, False
            for j in range(n_thin):
                i = thin[j]
                want = loss * weights[i]
                if want < thickness[i]:
                    given += want
                    open_weight += weights[i]
                else:
                    given += thickness[i]
                    emptied = True
            deficit = request - given
            if not emptied or open_weight == 0.0 or deficit <= 1e-13 * request:
                return loss, open_weight
            loss += deficit / open_weight


@njit(cache=True, nogil=True)
def _conserving_loss(thickness, weights, request, weight, scratch):
    """As above; where pixels of weight above 0 have not ice enough, those of weight 0 give the rest evenly.

    Then the former are emptied here and now, and weights are 1 for the latter. The loss, the sum of the weights that
    it goes with, and what was taken here.
    """
    loss, open_weight = _loss_per_weight(thickness, weights, request, weight, scratch)
    if open_weight > 0.0:
        return loss, weight, 0.0
    spared, taken = 0, 0.0
    for i in range(thickness.size):
        if weights[i] > 0.0:
            taken += thickness[i]
        else:
            spared += 1
    if spared == 0 or request <= taken:
        return loss, weight, 0.0
    for i in range(thickness.size):
        if weights[i] > 0.0:
            thickness[i], weights[i] = 0.0, 0.0
        else:
            weights[i] = 1.0
    return _loss_per_weight(thickness, weights, request - taken, float(spared), scratch)[0], float(spared), taken


@njit(cache=True, nogil=True)
def thin(
    thickness: np.ndarray,
    surface: np.ndarray,
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
    thickness, surface, index
        (pixel,) m, m, and where the pixel stood in the block: ice pixels first in each glacier's row; a pixel that
        loses its ice leaves the row.
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
    weights_of = np.empty(max(1, count.max()))
    scratch = np.empty(weights_of.size, dtype=np.int32)
    for g in range(start.size):
        n = count[g]
        if not active[g] or n == 0:
            continue
        row = slice(start[g], start[g] + n)
        h, e = thickness[row], surface[row]
        weights = weights_of[:n]
        area = n * pixel_area[g]
        weight = 0.0
        if area >= flat_below_area:
            weight = _weights(e, table[g, HIGH], table[g, LOW], nodes[g], values[g], n_nodes[g], scratch, weights)
        if weight == 0.0:
            weights[:] = 1.0
            weight = float(n)
        asked = smb[g] * n * WATER_DENSITY / CONVERSION_DENSITY  # m of ice, summed over pixels
        change, taken = asked / weight, 0.0
        if asked < 0.0 and mass_conserving:
            loss, weight, taken = _conserving_loss(h, weights, -asked, weight, scratch)
            change = -loss
        emptied = 0
        for i in range(n):
            delta = change * weights[i]
            h[i] += delta
            e[i] += delta
            emptied += h[i] <= 0.0
        gone, gone_weight = 0.0, 0.0
        if emptied > 0:
            gone, gone_weight = _drop_emptied(h, e, index[row], weights, change)
        count[g] = n - emptied
        measure(h[: count[g]], e[: count[g]], pixel_area[g], table[g])
        given = change * (weight - gone_weight) - gone - taken
        table[g, RESIDUAL] = (given - asked) * pixel_area[g] * CONVERSION_DENSITY


@njit(cache=True, nogil=True)
def _drop_emptied(h, e, index, weights, change):
    """Move the pixels that still have ice to the front; what the others had held (m), and their weight."""
    k, held, weight = 0, 0.0, 0.0
    for i in range(h.size):
        if h[i] > 0.0:
            if k < i:
                h[k], e[k], index[k] = h[i], e[i], index[i]
            k += 1
        else:
            held += h[i] - change * weights[i]
            weight += weights[i]
    return held, weight


@njit(cache=True, nogil=True)
def scatter(thickness: np.ndarray, index: np.ndarray, start: np.ndarray, count: np.ndarray, out: np.ndarray) -> None:
    """Thickness of the ice pixels at their places in the block; `out` (pixel,) is filled where there is ice."""
    for g in range(start.size):
        for i in range(start[g], start[g] + count[g]):
            out[index[i]] = thickness[i]
