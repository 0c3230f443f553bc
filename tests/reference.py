"""The geometry of one year, written slowly and plainly: what the kernels are held against."""

from __future__ import annotations

import numpy as np

RHO = 850.0


def delta_h_at(normalized: np.ndarray, nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Value at the nearest node, the first of two equally near."""
    return np.array([values[np.argmin(np.abs(nodes - z))] for z in normalized])


def alpgm_year(h, e, smb, nodes, values, pixel_area, *, flat_below_area=0.5e6):
    """ALPGM's year in plain vectorised NumPy: (h, e) of all pixels; what a thin pixel cannot give is forgotten."""
    ice = h > 0
    n = np.count_nonzero(ice)
    if n == 0:
        return h, e
    d = np.ones(n)
    if n * pixel_area >= flat_below_area and values.any():
        surface = e[ice]
        top, bottom = surface.max(), surface.min()
        z = (top - surface) / (top - bottom)
        rising = nodes[::-1]
        after = np.searchsorted(rising, z).clip(1, rising.size - 1)
        nearest = np.where(z - rising[after - 1] < rising[after] - z, after - 1, after)
        d = values[::-1][nearest]
    change = np.zeros(h.size)
    change[ice] = smb * n * 1000.0 / (RHO * d.sum()) * d
    new = np.maximum(h + change, 0.0)
    return new, np.where(new > 0, e + change, e)


def one_year(h, e, smb, nodes, values, pixel_area, *, mass_conserving, flat_below_area):
    """(h, e, residual in kg) after one year; h is 0 where the ice is gone. Mass is conserved by bisection."""
    ice = h > 0
    n = ice.sum()
    if n == 0:
        return h, e, 0.0
    d = np.ones(n)
    if n * pixel_area >= flat_below_area:
        top, bottom = e[ice].max(), e[ice].min()
        z = (top - e[ice]) / (top - bottom) if top > bottom else np.zeros(n)
        d = delta_h_at(z, nodes, values)
        if d.sum() == 0:
            d = np.ones(n)
    asked = smb * n * 1000.0 / RHO
    change = asked / d.sum() * d
    if asked < 0 and mass_conserving:
        change = -conserving_loss(h[ice], d, -asked)
    new = np.maximum(h[ice] + change, 0.0)
    given = (new - h[ice]).sum()
    out_h, out_e = np.zeros(h.size), e.copy()
    out_h[ice] = new
    out_e[ice] = e[ice] + np.where(new > 0, change, 0.0)
    return out_h, out_e, (given - asked) * pixel_area * RHO


def conserving_loss(h, d, request):
    """Loss of every pixel, ``min(h, f d)`` with f such that it sums to the request; then evenly where d is 0."""
    if request >= h.sum():
        return h.copy()
    weighted = d > 0
    if request > h[weighted].sum():
        rest = request - h[weighted].sum()
        loss = h.copy()
        loss[~weighted] = conserving_loss(h[~weighted], np.ones((~weighted).sum()), rest)
        return loss
    low, high = 0.0, (h[weighted] / d[weighted]).max()
    for _ in range(200):
        middle = (low + high) / 2
        if np.minimum(h, middle * d).sum() < request:
            low = middle
        else:
            high = middle
    return np.minimum(h, high * d)


def evolve(h, e, smb, nodes, values, pixel_area, *, mass_conserving=True, flat_below_area=0.5e6):
    """Area, volume, mean elevation, greatest thickness and residual at the end of each year, and the final h."""
    rows = []
    h, e = np.asarray(h, "float64"), np.asarray(e, "float64")
    for balance in smb:
        h, e, residual = one_year(
            h, e, balance, nodes, values, pixel_area, mass_conserving=mass_conserving, flat_below_area=flat_below_area
        )
        ice = h > 0
        mean = e[ice].mean() if ice.any() else np.nan
        rows.append((ice.sum() * pixel_area, h.sum() * pixel_area, mean, h.max(), residual))
    return np.array(rows), h
