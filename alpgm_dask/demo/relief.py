"""Synthetic mountains: massifs lifted by tectonics and cut by rivers, so that valleys join as real ones do.

The land is the near-steady state of the stream power law (Howard 1994, doi:10.1029/94WR00757)

    dz/dt = U - K * A**m * s

with z the elevation, U the uplift (one hump per massif), A the drainage area and s the slope to the steepest lower
neighbour, solved implicitly from the sea upwards (Braun and Willett 2013, doi:10.1016/j.geomorph.2012.10.008) on
grids that are refined from 800 m to 100 m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import ndimage

#: EPSG code and upper left corner (m) of the region: UTM 32N, around 45 N 7 E.
EPSG = 32632
CORNER = (322_000.0, 5_006_000.0)

#: m, cell of the relief and of everything that flows on it, and of the rasters that are handed out.
FLOW_CELL = 100.0
PIXEL = 25.0

#: rows and columns of the relief, and of the rasters.
SHAPE = (384, 480)
FINE_SHAPE = (1536, 1920)

#: m. Floor of the valleys and the highest summit.
LOWEST, HIGHEST = 700.0, 4150.0

#: shares and metres: how much of the land is broad shoulders, how high these lie, and how rough the rock is.
BROAD, HYPSOMETRY, ROUGHNESS = 0.33, 0.85, 75.0

#: m. Jitter of the elevations that decide where water and ice go.
UNREST = 8.0

#: name; centre (share of rows, columns), half axes (m) along and across, strike (degree), height (1), of each massif.
MASSIFS = (
    ("Aiguilles Blanches", 0.27, 0.25, 13_500.0, 6_500.0, 35.0, 1.00),
    ("Grand Arpent", 0.27, 0.76, 11_000.0, 5_500.0, -25.0, 0.88),
    ("Haute Dorane", 0.76, 0.30, 12_000.0, 5_000.0, -15.0, 0.86),
    ("Bois Noirs", 0.74, 0.77, 11_000.0, 5_500.0, 50.0, 0.94),
)

# Stream power with m = 0.45: the usual concavity of mountain rivers. Time is in steps; K sets the relief's texture
# only, because the elevations are rescaled at the end.
_EXPONENT = 0.45
_ERODIBILITY = 0.08


@dataclass(frozen=True)
class Relief:
    """The land on the flow grid.

    Attributes
    ----------
    elevation
        (y, x) m, float64, drained: every cell has a lower neighbour or lies on the border.
    massif
        (y, x) position in :data:`MASSIFS` of the massif that a cell belongs to.
    receiver, distance
        (cell,) the cell that a cell drains to (itself on the border) and how far away it is, m.
    order
        (cell,) cells from the lowest to the highest.
    """

    elevation: np.ndarray
    massif: np.ndarray
    receiver: np.ndarray
    distance: np.ndarray
    order: np.ndarray


@njit(cache=True)
def receivers(z, cell):
    """Steepest lower one of the eight neighbours of every cell: (cell,) its position and distance."""
    rows, columns = z.shape
    target = np.arange(rows * columns)
    distance = np.full(rows * columns, cell)
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            best = 0.0
            for di in range(-1, 2):
                for dj in range(-1, 2):
                    step = cell * np.sqrt(di * di + dj * dj)
                    if step > 0 and (z[i, j] - z[i + di, j + dj]) / step > best:
                        best = (z[i, j] - z[i + di, j + dj]) / step
                        target[i * columns + j] = (i + di) * columns + j + dj
                        distance[i * columns + j] = step
    return target, distance


@njit(cache=True)
def accumulate(amount, target, order, floor):
    """(cell,) `amount` summed downstream; a sum below `floor` is passed on as `floor`."""
    out = amount.copy()
    for k in range(order.size - 1, -1, -1):
        i = order[k]
        out[i] = max(out[i], floor)
        if target[i] != i:
            out[target[i]] += out[i]
    return out


@njit(cache=True)
def _erode(z, uplift, area, target, distance, order, erodibility, exponent):
    """One implicit step of the stream power law, in place, from the lowest cell to the highest."""
    for k in range(order.size):
        i = order[k]
        if target[i] != i:
            factor = erodibility[i] * area[i] ** exponent / distance[i]
            z[i] = (z[i] + uplift[i] + factor * z[target[i]]) / (1.0 + factor)
        else:
            z[i] += uplift[i]


def _humps(shape: tuple[int, int], cell: float) -> np.ndarray:
    """(massif, y, x) height of each massif's hump, 0 to 1."""
    y, x = np.meshgrid(np.arange(shape[0]) * cell, np.arange(shape[1]) * cell, indexing="ij")
    out = []
    for _, row, column, along, across, strike, height in MASSIFS:
        dy, dx = y - row * shape[0] * cell, x - column * shape[1] * cell
        turn = np.deg2rad(strike)
        u = (dx * np.cos(turn) - dy * np.sin(turn)) / along
        v = (dx * np.sin(turn) + dy * np.cos(turn)) / across
        out.append(height * np.exp(-((u**2 + v**2) ** 1.3)))
    return np.stack(out)


def fractal(shape: tuple[int, int], rng: np.random.Generator, slope: float = 2.2) -> np.ndarray:
    """(y, x) noise of unit variance whose power falls with wavenumber k as k**-slope."""
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    k = np.hypot(ky, kx)
    k[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * k ** (-slope / 2), s=shape)
    return noise / noise.std()


def _resample(z: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return ndimage.zoom(z, (shape[0] / z.shape[0], shape[1] / z.shape[1]), order=1, mode="nearest", grid_mode=True)


def _evolve(z: np.ndarray, cell: float, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Uplift and erosion for some steps; the strength of the rock varies from place to place."""
    # Without some unrest in what decides their way, rivers would run along the eight directions of the grid.
    uplift = 8.0 * (0.06 + _humps(z.shape, cell).max(axis=0))
    uplift[[0, -1], :] = uplift[:, [0, -1]] = 0.0
    rock = _ERODIBILITY * np.exp(0.4 * fractal(z.shape, rng))
    cells = np.full(z.size, cell**2)
    unrest = 0.08 * cell * rng.standard_normal(z.size)
    flat = _fill(z, 0.5).ravel()
    for step in range(steps):
        ways = (flat + unrest).reshape(z.shape)
        if step % 10 == 0:
            ways = _fill(ways, 0.02)
        target, distance = receivers(ways, cell)
        order = np.argsort(ways.ravel(), kind="stable")
        area = accumulate(cells, target, order, 0.0)
        _erode(flat, uplift.ravel(), area, target, distance, order, rock.ravel(), _EXPONENT)
    return flat.reshape(z.shape)


@njit(cache=True)
def _fill(z, rise):
    """Planchon and Darboux (2002, doi:10.1016/S0341-8162(01)00164-3): water off the top until nothing changes."""
    rows, columns = z.shape
    w = np.full(z.shape, np.inf)
    w[0], w[-1], w[:, 0], w[:, -1] = z[0], z[-1], z[:, 0], z[:, -1]
    changed = True
    sweep = 0
    while changed:
        changed = False
        for a in range(1, rows - 1):
            i = a if sweep % 2 == 0 else rows - 1 - a
            for b in range(1, columns - 1):
                j = b if sweep % 4 < 2 else columns - 1 - b
                if w[i, j] > z[i, j]:
                    low = np.inf
                    for di in range(-1, 2):
                        for dj in range(-1, 2):
                            if di != 0 or dj != 0:
                                low = min(low, w[i + di, j + dj])
                    new = max(z[i, j], low + rise)
                    if new < w[i, j]:
                        w[i, j] = new
                        changed = True
        sweep += 1
    return w


def build(rng: np.random.Generator) -> Relief:
    """The land: stream power on finer and finer grids, valleys widened as ice does, scaled to alpine heights."""
    z = None
    for factor, steps in ((8, 100), (4, 50), (2, 25)):
        shape, cell = (SHAPE[0] // factor, SHAPE[1] // factor), FLOW_CELL * factor
        z = 5.0 * rng.random(shape) if z is None else _resample(z, shape) + 5.0 * rng.random(shape)
        z = _evolve(z, cell, steps, rng)
    z = ndimage.gaussian_filter(_resample(z, SHAPE), 1.0)
    z = (1.0 - BROAD) * z + BROAD * ndimage.gaussian_filter(z, 15.0)
    z = LOWEST + (HIGHEST - LOWEST) * (z / z.max()) ** HYPSOMETRY
    height = ((z - LOWEST) / 1500.0).clip(0.0, 1.0)
    z = _fill(z + ROUGHNESS * height * fractal(SHAPE, rng, slope=3.0), 0.02)
    ways = _fill(z + UNREST * rng.standard_normal(SHAPE), 0.02)
    target, distance = receivers(ways, FLOW_CELL)
    massif = _humps(SHAPE, FLOW_CELL).argmax(axis=0)
    return Relief(z, massif, target, distance, np.argsort(ways.ravel(), kind="stable"))
