"""The default method: thinning that never decreases downwards, fitted robustly, as smooth as held-out pixels ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline
from scipy.optimize import nnls

from alpgm_dask.delta_h.curve import Curve, UnfitError
from alpgm_dask.delta_h.folds import INNER_FOLDS
from alpgm_dask.delta_h.screening import PLAUSIBLE, nmad, screen

#: Nodes of a function.
NODES = np.linspace(0.0, 1.0, 201)

#: Pieces of the spline, and what its roughness is multiplied with, from supple to stiff.
PIECES = 12
STIFFNESS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

#: Passes that lower the weight of outliers, and Tukey's constant for 95 % efficiency.
PASSES, TUKEY = 5, 4.685

#: Fewest pixels, and least range of elevation in m, of which a function is made.
FEWEST, LEAST_RANGE = 30, 25.0

#: Share of the believed range of elevation that may lie between pixels that were not seen, where they stretch it.
WIDEST_GAP = 0.05

_HATS = BSpline(np.r_[0.0, np.linspace(0.0, 1.0, PIECES + 1), 1.0], np.eye(PIECES + 1), 1)
_RISES = _HATS.antiderivative()


def fit(
    surface_elevation: np.ndarray,
    change: np.ndarray,
    tiles: np.ndarray,
    plausible: tuple[float, float] = PLAUSIBLE,
) -> Curve:
    """One glacier's function on :data:`NODES`.

    The thinning is ``t(z) = c + sum_j b_j I_j(z)`` over normalized elevation z, with I-splines (Ramsay 1988,
    doi:10.1214/ss/1177012761, Eq. 3) and ``b_j >= 0``, by least squares with Tukey's weights and a penalty on the
    differences of neighbouring b; the function is ``max(t, 0) / max(t)``. How strong the penalty is follows from pixels
    in tiles that are left out in turn, within what is given here.

    Parameters
    ----------
    surface_elevation, change
        (pixel,) m; change is negative where the surface sank, NaN where it is not known.
    tiles
        (pixel,) number of the tile that a pixel lies in, see :func:`alpgm_dask.delta_h.folds.tiles`.
    plausible
        lowest and highest change that is believed, m.

    Raises
    ------
    UnfitError
        if too few pixels or too little range of elevation are left, or the surface sank nowhere.
    """
    used = screen(surface_elevation, change, plausible)
    low, high = elevation_range(surface_elevation, change, used, plausible[1])
    place = ((high - surface_elevation[used]) / (high - low)).clip(0.0, 1.0)
    problem = _Problem.weighted(place, -change[used])
    thinning = _rises(NODES) @ problem.solve(_stiffness(problem, tiles[used]))
    if thinning.max() <= 0.0:
        raise UnfitError("no_thinning", f"the surface sank nowhere: {-thinning.max():.1f} m at most")
    return Curve(NODES, thinning.clip(0.0) / thinning.max(), (low, high), used)


def elevation_range(
    surface_elevation: np.ndarray, change: np.ndarray, used: np.ndarray, highest_change: float
) -> tuple[float, float]:
    """Lowest and highest elevation in m of the ice: of pixels that are believed, and of unseen ones beyond them.

    A void has the surface of the survey that saw it; a cloud has lifted one of the two, so that the other lies half the
    change below their mean. Such pixels stretch the range as long as no wide gap parts them from it: a stray
    elevation does not.

    Raises
    ------
    UnfitError
        if there are too few pixels, or all lie at about one elevation.
    """
    if used.sum() < FEWEST:
        raise UnfitError(_why_few(change), f"{used.sum()} of {used.size} pixels are believed; needed: {FEWEST}")
    low, high = float(surface_elevation[used].min()), float(surface_elevation[used].max())
    span = high - low
    if span < LEAST_RANGE:
        raise UnfitError("little_range", f"believed pixels span {span:.0f} m of elevation; needed: {LEAST_RANGE:g} m")
    clouded = change > highest_change
    surface = np.where(clouded, surface_elevation - change / 2.0, surface_elevation)
    unseen = surface[(clouded | ~np.isfinite(change)) & np.isfinite(surface_elevation)]
    gap = max(LEAST_RANGE, WIDEST_GAP * span)
    return -_reach(-low, -unseen, gap), _reach(high, unseen, gap)


def _reach(end: float, elevations: np.ndarray, gap: float) -> float:
    """How far elevations above `end` go on without a gap."""
    above = np.sort(elevations[elevations > end])
    steps = np.diff(above, prepend=end)
    reached = int(np.argmax(steps > gap)) if (steps > gap).any() else above.size
    return float(above[reached - 1]) if reached else end


def _why_few(change: np.ndarray) -> str:
    """Cloud where most of what was seen rose, else few pixels."""
    seen = change[np.isfinite(change)]
    return "cloud" if seen.size >= FEWEST and (seen > 0).mean() > 0.5 else "few_pixels"


def _rises(place: np.ndarray) -> np.ndarray:
    """(place, coefficient) a constant of either sign, and the integrals of hat functions."""
    ones = np.ones((np.size(place), 1))
    return np.hstack([ones, -ones, _RISES(np.asarray(place, dtype="float64"))])


def _roughness() -> np.ndarray:
    differences = np.diff(np.eye(PIECES + 1), axis=0)
    return np.pad(differences.T @ differences, ((2, 0), (2, 0)))


@dataclass(frozen=True)
class _Problem:
    """Weighted least squares of one glacier: pixels, their basis, thinning and weights."""

    basis: np.ndarray
    thinning: np.ndarray
    weights: np.ndarray

    @classmethod
    def weighted(cls, place: np.ndarray, thinning: np.ndarray) -> _Problem:
        """Weights of a fit of middling stiffness, from which pixels far off are left out step by step."""
        problem = cls(_rises(place), thinning.astype("float64"), np.ones(place.size))
        for _ in range(PASSES):
            residual = problem.thinning - problem.basis @ problem.solve(STIFFNESS[len(STIFFNESS) // 2])
            far = np.abs(residual) / (TUKEY * max(nmad(residual), 0.1))
            problem = cls(problem.basis, problem.thinning, (1.0 - far.clip(max=1.0) ** 2) ** 2)
        return problem

    def part(self, chosen: np.ndarray) -> _Problem:
        return _Problem(self.basis[chosen], self.thinning[chosen], self.weights[chosen])

    def normal(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Normal equations: matrix, right-hand side, sum of weights; those of parts add up."""
        weighted = self.basis * self.weights[:, None]
        return weighted.T @ self.basis, weighted.T @ self.thinning, float(self.weights.sum())

    def solve(self, stiffness: float) -> np.ndarray:
        return _solve(*self.normal(), stiffness)


def _solve(matrix: np.ndarray, right: np.ndarray, weight: float, stiffness: float) -> np.ndarray:
    """Coefficients of 0 or more that make the penalised sum of squares least."""
    matrix = matrix + weight * (stiffness * _roughness() + 1e-8 * np.eye(len(right)))
    root = np.linalg.cholesky(matrix)
    return nnls(root.T, np.linalg.solve(root, right))[0]


def _stiffness(problem: _Problem, tiles: np.ndarray) -> float:
    """The stiffness under which tiles that were left out are predicted best."""
    labels = _coarse(tiles)
    parts = [problem.part(labels == label) for label in range(int(labels.max()) + 1)]
    if len(parts) < 2:
        return STIFFNESS[-1]
    equations = [part.normal() for part in parts]
    whole = [sum(terms) for terms in zip(*equations, strict=True)]
    errors = [sum(_error(part, whole, own, s) for part, own in zip(parts, equations, strict=True)) for s in STIFFNESS]
    return STIFFNESS[int(np.argmin(errors))]


def _coarse(tiles: np.ndarray) -> np.ndarray:
    """Tiles dealt anew into a few folds of whole tiles, numbered from 0 without a gap."""
    _, numbered = np.unique(tiles, return_inverse=True)
    return numbered % INNER_FOLDS


def _error(part: _Problem, whole: Sequence, own: Sequence, stiffness: float) -> float:
    without = [a - b for a, b in zip(whole, own, strict=True)]
    residual = part.thinning - part.basis @ _solve(*without, stiffness)
    return float(np.sum(part.weights * residual**2))
