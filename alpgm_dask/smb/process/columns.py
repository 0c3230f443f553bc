"""Which features the Gaussian process compares, and how: the features of a recipe sorted into groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alpgm_dask.features import RECIPES, needs_regional
from alpgm_dask.kernels.gaussian_process import Term
from alpgm_dask.schema import InputError

SEASONAL = ("cpdd", "winter_snowfall", "summer_snowfall")
TOPOGRAPHY = (
    "mean_elevation",
    "max_elevation",
    "tongue_slope",
    "area",
    "cos_aspect",
    "sin_aspect",
    "cos_aspect_degrees",
)
LOCATION = ("lon", "lat")

#: Sums over months of the regional climate: months of a hydrological year, October is 0.
MONTHS_COMBINED = {
    "tas_monthly": (slice(0, 7), slice(7, 9), slice(8, 11)),
    "snowfall_monthly": (slice(0, 7), slice(8, 11)),
}

#: Area in km2 below which a glacier's size makes no more difference.
LEAST_AREA = 1e-4

#: Length of the similarity of two years' regional climate: a third of a standard deviation of it.
YEAR_LENGTH = 0.3

#: Anomalies of the region's climate in standard deviations enter products bounded by this much, so that products that
#: were learned from some decades stay what they were there when a climate leaves them far behind.
SATURATION = 3.0

_IDENTITY = [Term(("identity",), f"regional {name}") for name in SEASONAL]

#: The terms of the covariance, each with an amplitude of its own; see :class:`.gaussian_process.GaussianProcess`.
TERMS: tuple[Term, ...] = (
    Term((), "constant"),
    Term((), "regional climate"),
    *(Term((), f"deviation {name}") for name in SEASONAL),
    Term((), "deviation tas_monthly"),
    Term((), "deviation snowfall_monthly"),
    Term((), "shape"),
    Term(("place",)),
    Term(("identity",)),
    *_IDENTITY,
    Term(("far",), "own seasonal"),
    Term((), "year"),
    Term(("far",), "year"),
    Term(("near",), "year"),
)

#: First guess of the lengths of each similarity, in standard deviations of the features that it compares.
LENGTHS: dict[str, dict[str, float]] = {
    "place": {"topography": 1.0, "location": 0.3},
    "identity": {"topography": 0.1, "location": 0.1},
    "far": {"topography": 1.5, "location": 0.75},
    "near": {"topography": 0.5, "location": 0.2},
}


def check_recipe(recipe: str | None) -> None:
    """Refuse a recipe without regional climate (InputError)."""
    if recipe is None or not needs_regional(recipe):
        allowed = ", ".join(name for name in RECIPES if needs_regional(name))
        raise InputError(f"recipe: {recipe!r} has no regional climate; allowed for a Gaussian process: {allowed}")


class Columns:
    """The groups of features of a recipe, and how rows become what the covariance compares.

    Parameters
    ----------
    recipe
        a recipe with regional climate.
    names
        its features.

    Raises
    ------
    InputError
        for a recipe without regional climate.
    """

    def __init__(self, recipe: str | None, names: Sequence[str]) -> None:
        check_recipe(recipe)
        at = {name: k for k, name in enumerate(names)}
        self.area = at["area"]
        self.own = [at[f"{name}_anomaly"] for name in SEASONAL]
        self.regional = [at[f"regional_{name}_anomaly"] for name in SEASONAL]
        self.monthly = {}
        for name in MONTHS_COMBINED:
            own = [k for feature, k in at.items() if feature.startswith(f"{name}_anomaly_")]
            whole = [k for feature, k in at.items() if feature.startswith(f"regional_{name}_anomaly_")]
            if own:
                self.monthly[name] = own, whole
        self.topography = [at[name] for name in TOPOGRAPHY if name in at]
        self.location = [at[name] for name in LOCATION]
        named = {*self._groups(np.zeros((1, len(names)))), None, "year", "constant", "regional climate"}
        self.terms = tuple(term for term in TERMS if term.product in named)

    def scale(self, X: np.ndarray) -> None:
        """Learn the mean and the standard deviation of every column of every group from training rows."""
        self.scaling = _scaling(self._groups(X))
        self.scaling |= _scaling({"regional melt": self._melt(self._standardised(X))})

    def rows(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Standardised groups (row, ...) of raw features (row, feature)."""
        out = self._standardised(X)
        parts = [out[f"regional {name}"] for name in (*SEASONAL, "annual_snowfall")]
        if self.monthly:
            mean, spread = self.scaling["regional melt"]
            parts += [out["regional seasons"], (self._melt(out) - mean) / spread]
        out["regional climate"] = np.concatenate(parts, axis=1)
        out["constant"] = np.ones((len(X), 1))
        return out

    def _standardised(self, X: np.ndarray) -> dict[str, np.ndarray]:
        raw = self._groups(X)
        return {name: (values - self.scaling[name][0]) / self.scaling[name][1] for name, values in raw.items()}

    def _melt(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Products of the region's degree-days with its degree-days, winter and summer snowfall, bounded.

        Melt is degree-days times a factor that itself depends on them and on how long snow covers the ice. Only beside
        the months: without them, years left out are predicted worse with these products than without.
        """
        bounded = [SATURATION * np.tanh(rows[f"regional {name}"] / SATURATION) for name in SEASONAL]
        return np.concatenate([bounded[0] * factor for factor in bounded], axis=1)

    def _groups(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Groups (row, ...) of raw features: area as its logarithm, own climate as its deviation from the region's."""
        out = {}
        for name, own, whole in zip(SEASONAL, self.own, self.regional, strict=True):
            out[f"regional {name}"] = X[:, [whole]]
            out[f"deviation {name}"] = X[:, [own]] - X[:, [whole]]
        out["regional annual_snowfall"] = X[:, self.regional[1:]].sum(axis=1, keepdims=True)
        seasons, every_month = [], []
        for name, (own, whole) in self.monthly.items():
            out[f"deviation {name}"] = X[:, own] - X[:, whole]
            seasons += [_mean_of(X, whole[months]) for months in MONTHS_COMBINED[name]]
            every_month.append(X[:, whole])
        if seasons:
            out["regional seasons"] = np.stack(seasons, axis=1)
        topography = X[:, self.topography].copy()
        topography[:, self.topography.index(self.area)] = np.log(np.maximum(X[:, self.area].copy(), LEAST_AREA))
        out["topography"], out["location"] = topography, X[:, self.location]
        out["shape"] = np.concatenate([topography, out["location"]], axis=1)
        out["own seasonal"] = X[:, self.own]
        out["climate"] = np.concatenate([X[:, self.regional], *every_month], axis=1)
        return out


def _mean_of(X: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """(row,) mean of some columns, added one by one: NumPy's own order depends on the shape of what it is given."""
    total = X[:, columns[0]].copy()
    for column in columns[1:]:
        total += X[:, column]
    return total / len(columns)


def _scaling(groups: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation of the columns of each group; 1 where a column is constant."""
    out = {}
    for name, values in groups.items():
        constant = np.ptp(values, axis=0) == 0
        out[name] = values.mean(axis=0), np.where(constant, 1.0, values.std(axis=0))
    return out
