"""Glaciers on the synthetic relief: where ice flows to, how wide and how thick it is.

Snow is routed down the drainage of the relief: the ice flux is the accumulated balance of all that lies above, and a
glacier ends where melt has used the flux up. A tongue is as wide as its flux asks for. Thickness is that of perfect
plasticity, h = tau / (f * rho * g * sin(alpha)), with the basal stress of a glacier of elevation range dH (km),
tau = 0.5 + 159.8 dH - 43.5 dH**2 kPa (Haeberli and Hoelzle 1995, doi:10.3189/S0260305500015834), shape factor
f = 0.8 (Paterson 1994), and a parabola across.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import ndimage

from alpgm_dask.demo.relief import FLOW_CELL, PIXEL, Relief, fractal

#: m, equilibrium line of each massif for the climate that shaped the glaciers, and how much lower it is facing north.
EQUILIBRIUM = (3020.0, 2990.0, 2910.0, 2900.0)
NORTH_ADVANTAGE = 120.0

#: year-1, m year-1: balance gradient and greatest accumulation; degree: steeper walls hold no snow.
BALANCE_GRADIENT, MOST_ACCUMULATION, STEEPEST = 0.007, 1.3, 48.0

#: cells: a smaller body joins its neighbour, or is dropped where it has none.
SMALLEST_BODY, SMALLEST_GLACIER = 8, 3

#: fine pixels: what the rounding of margins leaves smaller than this is no glacier.
LEAST_PIXELS = 24

#: m, 1: width of a tongue = WIDTH * (flux in m3 year-1) ** WIDTH_EXPONENT, 400 m for 1e6 and 1000 m for 2e7.
WIDTH, WIDTH_EXPONENT = 6.0, 0.3

#: kg m-3 and m s-2, of the plasticity relation only.
ICE_DENSITY, GRAVITY = 900.0, 9.81
SHAPE_FACTOR, LEAST_SLOPE, LEAST_THICKNESS = 0.8, 5.0, 2.0

#: 1. Lowest share of the elevation range over which a glacier thins to its front.
FRONT = 0.15

#: fine pixels per flow cell.
FINE = round(FLOW_CELL / PIXEL)


@dataclass(frozen=True)
class Ice:
    """Ice on the fine grid.

    Attributes
    ----------
    label
        (y, x) number of the glacier, 1 and up; 0: no ice.
    surface, thickness
        (y, x) m, elevation of the surface (ice or rock) and ice thickness (0: no ice).
    flowlines
        glacier number -> (vertex, 2) row and column on the fine grid, top first.
    """

    label: np.ndarray
    surface: np.ndarray
    thickness: np.ndarray
    flowlines: dict[int, np.ndarray]


@njit(cache=True)
def _flux(balance, target, order, cell):
    """(cell,) m3 year-1 of ice that leaves a cell; and (cell,) m, how wide a tongue of that flux is.

    Melt takes from the whole width of the tongue, though it is routed as a line.
    """
    flux, width = np.zeros(balance.size), np.zeros(balance.size)
    for k in range(order.size - 1, -1, -1):
        i = order[k]
        width[i] = WIDTH * flux[i] ** WIDTH_EXPONENT
        across = cell if balance[i] > 0 else max(cell, width[i])
        flux[i] = max(flux[i] + balance[i] * cell * across, 0.0)
        if target[i] != i:
            flux[target[i]] += flux[i]
    return flux, width


@njit(cache=True)
def _widen(z, flux, width, rise, cell):
    """Ice spreads to the cells beside a flux that lie lower than its surface."""
    rows, columns = z.shape
    ice = flux > 0
    for i in range(rows):
        for j in range(columns):
            if flux[i, j] <= 0:
                continue
            half = 0.5 * width[i, j] / cell
            reach = int(half)
            for k in range(max(i - reach, 1), min(i + reach + 1, rows - 1)):
                for m in range(max(j - reach, 1), min(j + reach + 1, columns - 1)):
                    near = (k - i) ** 2 + (m - j) ** 2 <= half * half
                    if near and abs(z[k, m] - z[i, j]) < rise[i, j]:
                        ice[k, m] = True
    return ice


@njit(cache=True)
def _drain(ice, target, order):
    """(cell,) number (1 and up) of the last ice cell that a cell's ice flows through; 0: no ice."""
    label = np.zeros(ice.size, dtype=np.int64)
    for i in order:
        if ice[i]:
            below = target[i]
            label[i] = label[below] if below != i and ice[below] else i + 1
    return label


def _balance(land: Relief) -> np.ndarray:
    """(y, x) m year-1 balance of a snow surface on the relief."""
    smooth = ndimage.gaussian_filter(land.elevation, 1.5)
    down_y, down_x = np.gradient(-smooth, FLOW_CELL)
    slope = np.hypot(down_y, down_x)
    northness = -down_y / np.maximum(slope, 1e-6) * np.minimum(slope / 0.3, 1.0)
    line = np.asarray(EQUILIBRIUM)[land.massif] - NORTH_ADVANTAGE * northness
    gain = np.minimum(BALANCE_GRADIENT * (land.elevation - line), MOST_ACCUMULATION)
    return np.where(np.degrees(np.arctan(slope)) > STEEPEST, np.minimum(gain, 0.0), gain)


def _join_slivers(label: np.ndarray) -> np.ndarray:
    """Give bodies that are too small to the neighbour they touch most; drop what stays tiny."""
    out = label.copy()
    found = ndimage.find_objects(label)
    numbers, size = np.unique(label[label > 0], return_counts=True)
    for number in numbers[(size < SMALLEST_BODY)]:
        part = out[tuple(slice(s.start - 1, s.stop + 1) for s in found[number - 1])]
        here = part == number
        ring = ndimage.binary_dilation(here, np.ones((3, 3))) & ~here
        beside, touching = np.unique(part[ring & (part > 0)], return_counts=True)
        if beside.size:
            part[here] = beside[touching.argmax()]
        elif here.sum() < SMALLEST_GLACIER:
            part[here] = 0
    return out


def _close_holes(ice: np.ndarray) -> np.ndarray:
    """Ice covers rock islands of a few cells."""
    holes, n = ndimage.label(~ice)
    size = np.bincount(holes.ravel(), minlength=n + 1)
    return ice | ((size < SMALLEST_BODY)[holes] & ~ice)


def bodies(land: Relief) -> np.ndarray:
    """(y, x) number of the glacier on the flow grid, 0 where there is no ice; the numbers have gaps."""
    z = land.elevation
    flux, width = _flux(_balance(land).ravel(), land.receiver, land.order, FLOW_CELL)
    flux, width = flux.reshape(z.shape), width.reshape(z.shape)
    ice = _close_holes(_widen(z, flux, width, 25.0 + 0.12 * width, FLOW_CELL))
    label = _drain(ice.ravel(), land.receiver, land.order)
    _, label = np.unique(label, return_inverse=True)
    return _join_slivers(label.reshape(z.shape))


def flowline(land: Relief, here: np.ndarray) -> np.ndarray:
    """(vertex, 2) row and column of the longest way down through a glacier, top first, on the flow grid.

    Parameters
    ----------
    here
        (y, x) whether a cell is the glacier's.
    """
    inside = np.flatnonzero(here.ravel())
    inside = inside[np.argsort(land.elevation.ravel()[inside], kind="stable")]
    length = dict.fromkeys(inside.tolist(), 0.0)
    donor: dict[int, int] = {}
    for i in inside[::-1].tolist():
        below = int(land.receiver[i])
        if below in length and below != i and length[i] + land.distance[i] > length[below]:
            length[below], donor[below] = length[i] + land.distance[i], i
    at = max(length, key=length.__getitem__)
    way = [at]
    while at in donor:
        at = donor[at]
        way.append(at)
    return np.stack(np.unravel_index(way[::-1], here.shape), axis=1)


def _smooth_under_ice(surface: np.ndarray, ice: np.ndarray) -> np.ndarray:
    """Ice evens out the land: relaxed towards its own mean over 3 cells, the rock around held."""
    out = surface.copy()
    for _ in range(12):
        out[ice] = ndimage.gaussian_filter(out, 1.0)[ice]
    return out


def _refine(coarse: np.ndarray, order: int) -> np.ndarray:
    return ndimage.zoom(coarse, FINE, order=order, mode="nearest", grid_mode=True)


def _refine_labels(label: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Glacier numbers on the fine grid with rounded margins; every pixel goes to the one that covers it most."""
    shape = (label.shape[0] * FINE, label.shape[1] * FINE)
    out, best = np.zeros(shape, dtype=np.int32), np.full(shape, 0.42)
    found = ndimage.find_objects(label)
    for number in numbers:
        box = found[number - 1]
        window = tuple(slice(s.start - 3, s.stop + 3) for s in box)
        cover = (label[window] == number).astype(float)
        cover = ndimage.gaussian_filter(np.kron(cover, np.ones((FINE, FINE))), 0.5 * FINE)
        fine = tuple(slice(s.start * FINE, s.stop * FINE) for s in window)
        more = cover > best[fine]
        out[fine][more] = number
        best[fine][more] = cover[more]
    return out


def basal_stress(elevation_range: np.ndarray) -> np.ndarray:
    """Pa, basal shear stress of a glacier of this elevation range in m (Haeberli and Hoelzle 1995).

    >>> basal_stress(np.array([1000.0, 2000.0])).round(3).tolist()
    [116800.0, 150000.0]
    """
    km = np.asarray(elevation_range) / 1000.0
    return np.where(km > 1.6, 150.0e3, 1.0e3 * (0.5 + 159.8 * km - 43.5 * km**2))


def thickness(label: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """(y, x) m, perfect plasticity along, a parabola across, thin at the front; 0 where `label` is 0."""
    numbers = np.arange(1, label.max() + 1)
    high, low = ndimage.maximum(surface, label, numbers), ndimage.minimum(surface, label, numbers)
    stress = np.concatenate([[0.0], basal_stress(high - low)])[label]
    gy, gx = np.gradient(ndimage.gaussian_filter(surface, 6.0, truncate=2.5), PIXEL)
    # The mean of the slope, not the slope of the mean: a crest is no flat place.
    slope = np.arctan(ndimage.gaussian_filter(np.hypot(gy, gx), 10.0, truncate=2.0)).clip(min=np.deg2rad(LEAST_SLOPE))
    central = stress / (SHAPE_FACTOR * ICE_DENSITY * GRAVITY * np.sin(slope))
    margin = ndimage.distance_transform_edt(label > 0) - 0.5
    half_width = ndimage.uniform_filter(ndimage.maximum_filter(margin, 25), 15).clip(min=2.0)
    across = 1.0 - (1.0 - (margin / half_width).clip(0.0, 1.0)) ** 2
    narrow = (2.0 * half_width * PIXEL / 200.0).clip(max=1.0)
    lowest, ranges = (np.concatenate([[1.0], values])[label] for values in (low, np.maximum(high - low, 1.0)))
    front = np.sqrt(((surface - lowest) / ranges / FRONT).clip(0.04, 1.0))
    return np.where(label > 0, np.maximum(central * across * narrow * front, LEAST_THICKNESS), 0.0)


def _choose(label: np.ndarray, n_glaciers: int) -> np.ndarray:
    """Numbers of `n_glaciers` bodies, evenly over the ranks of size, the largest first among them."""
    numbers, size = np.unique(label[label > 0], return_counts=True)
    ranked = numbers[np.argsort(-size, kind="stable")]
    keep = np.unique(np.linspace(0, ranked.size - 1, min(n_glaciers, ranked.size)).round().astype(int))
    return ranked[keep]


def build(land: Relief, n_glaciers: int, rng: np.random.Generator) -> Ice:
    """The glaciers of a relief, at most `n_glaciers`, numbered from the largest (with gaps), on the fine grid."""
    coarse = bodies(land)
    chosen = _choose(coarse, n_glaciers)
    renumber = np.zeros(coarse.max() + 1, dtype=np.int32)
    renumber[chosen] = np.arange(1, chosen.size + 1)
    coarse = renumber[coarse]
    numbers = np.arange(1, chosen.size + 1)
    label = _refine_labels(coarse, numbers)
    label[np.isin(label, np.flatnonzero(np.bincount(label.ravel()) < LEAST_PIXELS))] = 0
    surface = _refine(_smooth_under_ice(land.elevation, coarse > 0), 3)
    rough = 4.0 * fractal(surface.shape, rng, slope=2.6)
    surface += rough * np.where(label > 0, 0.15, 1.0)
    lines = {int(n): (flowline(land, coarse == n) + 0.5) * FINE for n in np.unique(label[label > 0])}
    return Ice(label, surface, thickness(label, surface), lines)
