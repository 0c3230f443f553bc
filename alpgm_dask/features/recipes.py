"""Every feature, in the one order that all recipes keep, and which of them a recipe takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from alpgm_dask import schema
from alpgm_dask.forcing import PREDICTORS, SEASONAL_PREDICTORS


@dataclass(frozen=True)
class Feature:
    """One column: its name and unit, the predictor that it is the anomaly of (None: it is topography), and whether of
    the glacier's own climate or of the region's."""

    name: str
    units: str
    predictor: str | None = None
    regional: bool = False


def _anomaly(predictor: str, regional: bool = False) -> Feature:
    name, month = (predictor, "") if predictor in SEASONAL_PREDICTORS else predictor.rsplit("_", 1)
    full = f"{'regional_' if regional else ''}{name}_anomaly{f'_{month}' if month else ''}"
    return Feature(full, schema.VARIABLES[name].units.replace("degC", "K"), predictor, regional)


#: Every feature, in the order that any recipe keeps. `area` is in km2, as ALPGM's models take it.
FEATURES: tuple[Feature, ...] = (
    *(_anomaly(predictor) for predictor in SEASONAL_PREDICTORS),
    Feature("mean_elevation", "m"),
    Feature("max_elevation", "m"),
    Feature("tongue_slope", "degree"),
    Feature("area", "km2"),
    Feature("lon", "degrees_east"),
    Feature("lat", "degrees_north"),
    Feature("cos_aspect", "1"),
    Feature("sin_aspect", "1"),
    Feature("cos_aspect_degrees", "1"),
    *(_anomaly(predictor) for predictor in PREDICTORS[len(SEASONAL_PREDICTORS) :]),
    *(_anomaly(predictor, regional=True) for predictor in PREDICTORS),
)

#: Features that only the other family of recipes has.
_LEFT_OUT = {"standard": {"cos_aspect_degrees"}, "alpgm-1.2": {"cos_aspect", "sin_aspect"}}

_BASES = ("standard", "alpgm-1.2", "standard-seasonal", "alpgm-1.2-seasonal")

#: Names of the recipes.
RECIPES: tuple[str, ...] = (*_BASES, *(f"{base}-regional" for base in _BASES))


@cache
def recipe_features(recipe: str) -> tuple[Feature, ...]:
    """The features of a recipe, in order.

    >>> [len(recipe_features(recipe)) for recipe in RECIPES]
    [35, 34, 11, 10, 62, 61, 14, 13]

    Raises
    ------
    InputError
        For a recipe that does not exist.
    """
    if recipe not in RECIPES:
        raise schema.InputError(f"recipe {recipe!r} is not known; allowed: {', '.join(RECIPES)}")
    base = recipe.removesuffix("-regional")
    family = base.removesuffix("-seasonal")
    left_out = set(PREDICTORS[len(SEASONAL_PREDICTORS) :]) if family != base else set()
    return tuple(
        f
        for f in FEATURES
        if f.name not in _LEFT_OUT[family] and f.predictor not in left_out and (base != recipe or not f.regional)
    )


def feature_names(recipe: str) -> tuple[str, ...]:
    """Names of the features of a recipe, in order.

    >>> feature_names("alpgm-1.2")[:4], feature_names("alpgm-1.2")[9:11]
    (('cpdd_anomaly', 'winter_snowfall_anomaly', 'summer_snowfall_anomaly', 'mean_elevation'), \
('cos_aspect_degrees', 'tas_monthly_anomaly_oct'))
    """
    return tuple(feature.name for feature in recipe_features(recipe))


def needs_monthly(recipe: str) -> bool:
    """Whether a recipe takes the monthly predictors (27 predictors instead of 3)."""
    return any(f.predictor not in (None, *SEASONAL_PREDICTORS) for f in recipe_features(recipe))


def needs_regional(recipe: str) -> bool:
    """Whether a recipe takes the anomalies of the region's mean climate."""
    return any(f.regional for f in recipe_features(recipe))
