"""Which four cells of a grid a glacier lies between, and how much each counts."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.forcing.matching import attributes, great_circle, nearest_points, on_sphere, refuse_far

#: Corners of a quadrilateral of cell centres: (row, column) steps from its first one.
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))

#: Newton steps that invert the bilinear map; a parallelogram takes one, any cell of a climate model less than five.
NEWTON_STEPS = 8

#: How far outside of a quadrilateral, in cells, a glacier still counts as inside: rounding on its edge.
TOLERANCE = 1e-9


def climate_points(
    glaciers: xr.Dataset, climate: xr.Dataset, max_distance: float, interpolation: str, *, where: str = "climate"
) -> xr.Dataset:
    """:func:`nearest_points` or :func:`bilinear_points`, as `interpolation` ("nearest", "bilinear") says."""
    choose = nearest_points if interpolation == "nearest" else bilinear_points
    return choose(glaciers, climate, max_distance, where=where)


def bilinear_points(
    glaciers: xr.Dataset, climate: xr.Dataset, max_distance: float = 50e3, *, where: str = "climate"
) -> xr.Dataset:
    """The four cells around each glacier and their weights, on regular, rotated or curvilinear grids.

    A glacier lies between four neighbouring cell centres P00, P01, P10, P11 (row and column):
    ``(1-s)(1-t) P00 + (1-s) t P01 + s (1-t) P10 + s t P11`` is its place in a plane that touches the sphere there
    (longitude times cosine of latitude, latitude). s and t are found by Newton's method; the four factors are the
    weights. On a grid along longitude and latitude this is the usual bilinear interpolation. Outside of the grid, and
    where one of the four is missing (a cell without elevation was left out), the nearest cell counts alone. The border
    where a grid around the globe is cut counts as outside. Positions are loaded; climate values are not.

    Parameters
    ----------
    glaciers
        (glacier): lon, lat (degree); optional rgi_id.
    climate
        (point): lon, lat (degree), grid_row, grid_column: the place of each point in the grid that it was a cell of.
    max_distance
        m, great-circle distance to the nearest cell beyond which a glacier is refused.

    Returns
    -------
    Dataset: point (``glacier``, ``corner``) int64, weight (``glacier``, ``corner``), 1 in sum, forcing_distance
    (``glacier``) m to the nearest cell, interpolated (``glacier``) 1 or, where the nearest cell counts alone, 0.

    Raises
    ------
    InputError
        Naming the first few glaciers that are too far, their distance and the limit; a climate that is no grid; or a
        missing position.
    """
    for name in ("grid_row", "grid_column"):
        if name not in climate.variables:
            raise schema.InputError(
                f"{where}: variable '{name}' is missing; allowed: the points of a grid, or the nearest point instead"
            )
    here, there = attributes(glaciers, "glaciers"), attributes(climate, where)
    row, column = (climate[name].values.astype("int64") for name in ("grid_row", "grid_column"))
    nearest = _nearest(here, there)
    distance = great_circle(here["lon"], here["lat"], there["lon"][nearest], there["lat"][nearest])
    refuse_far(glaciers, distance, max_distance, where)
    point, weight, inside = _between(here, there, row, column, nearest)
    out = xr.Dataset(
        {
            "point": (("glacier", "corner"), point),
            "weight": (("glacier", "corner"), weight),
            "forcing_distance": ("glacier", distance),
            "interpolated": ("glacier", inside.astype("int8")),
        }
    )
    return schema.annotate(out.assign_coords({n: c for n, c in glaciers.coords.items() if c.dims == ("glacier",)}))


def _nearest(here: dict, there: dict) -> np.ndarray:
    """(glacier,) position of the nearest point, over the sphere."""
    from scipy.spatial import cKDTree

    _, nearest = cKDTree(on_sphere(there["lon"], there["lat"])).query(on_sphere(here["lon"], here["lat"]))
    return nearest.astype("int64")


def _between(
    here: dict, there: dict, row: np.ndarray, column: np.ndarray, nearest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(glacier, corner) points and weights; (glacier,) whether they are those of four cells around it.

    The nearest cell is a corner of the four quadrilaterals that are looked at.
    """
    point = np.repeat(nearest[:, None], len(CORNERS), axis=1)
    weight = np.broadcast_to(np.array([1.0, 0.0, 0.0, 0.0]), point.shape).copy()
    inside = np.zeros(nearest.size, dtype=bool)
    find = _finder(row, column)
    for down, right in CORNERS:
        found = np.stack([find(row[nearest] - down + i, column[nearest] - right + j) for i, j in CORNERS], axis=1)
        whole = (found >= 0).all(axis=1) & ~inside
        x = _wrapped(there["lon"][found] - here["lon"][:, None]) * np.cos(np.radians(here["lat"]))[:, None]
        s, t = _inverse_bilinear(x, there["lat"][found] - here["lat"][:, None])
        new = whole & (np.minimum(s, t) >= -TOLERANCE) & (np.maximum(s, t) <= 1.0 + TOLERANCE)
        s, t = np.clip(s[new], 0.0, 1.0), np.clip(t[new], 0.0, 1.0)
        point[new] = found[new]
        weight[new] = np.stack([(1 - s) * (1 - t), (1 - s) * t, s * (1 - t), s * t], axis=1)
        inside |= new
    return point, weight, inside


def _finder(row: np.ndarray, column: np.ndarray):
    """A function from rows and columns to the points there, -1 where there is none."""
    width = column.max() + 3  # a column beyond the last one is none of the next row
    key = row * width + column
    order = np.argsort(key, kind="stable")
    ordered = key[order]

    def find(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        wanted = rows * width + columns
        place = np.minimum(np.searchsorted(ordered, wanted), ordered.size - 1)
        there = (ordered[place] == wanted) & (columns >= 0)
        return np.where(there, order[place], -1)

    return find


def _wrapped(degrees: np.ndarray) -> np.ndarray:
    return (degrees + 180.0) % 360.0 - 180.0


def _inverse_bilinear(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(glacier,) s along rows and t along columns at which corners (glacier, corner) have the mean (0, 0).

    >>> s, t = _inverse_bilinear(np.array([[-1.0, 3.0, -1.0, 3.0]]), np.array([[-1.0, -1.0, 1.0, 1.0]]))
    >>> s.round(12).tolist(), t.round(12).tolist()
    ([0.5], [0.25])
    """
    s, t = np.full(x.shape[0], 0.5), np.full(x.shape[0], 0.5)
    (x0, xt, xs, xst), (y0, yt, ys, yst) = (_terms(values) for values in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(NEWTON_STEPS):
            fx, fy = x0 + xs * s + xt * t + xst * s * t, y0 + ys * s + yt * t + yst * s * t
            ax, bx, ay, by = xs + xst * t, xt + xst * s, ys + yst * t, yt + yst * s
            determinant = ax * by - bx * ay
            s, t = s - (fx * by - bx * fy) / determinant, t - (ax * fy - fx * ay) / determinant
    return s, t


def _terms(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Constant, and what is multiplied by t, s and s t, in the bilinear function through four corners."""
    p00, p01, p10, p11 = values.T
    return p00, p01 - p00, p10 - p00, p11 - p10 - p01 + p00
