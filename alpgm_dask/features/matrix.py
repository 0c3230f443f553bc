"""From anomalies and topography to the columns of a recipe: plain arrays, for training and for the year loop alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from alpgm_dask import schema
from alpgm_dask.constants import KM2
from alpgm_dask.features.recipes import needs_monthly, recipe_features
from alpgm_dask.forcing import PREDICTORS, SEASONAL_PREDICTORS

#: Topography that a feature matrix is made of, as the stores have it.
TOPOGRAPHY = {
    "mean_elevation": "m",
    "max_elevation": "m",
    "tongue_slope": "degree",
    "area": "m2",
    "lon": "degrees_east",
    "lat": "degrees_north",
    "aspect": "degree",
}


def _topography_column(name: str, topography: Mapping[str, np.ndarray]) -> np.ndarray:
    if name == "area":
        return np.asarray(topography["area"], dtype="float64") / KM2
    if name == "cos_aspect":
        return np.cos(np.radians(topography["aspect"]))
    if name == "sin_aspect":
        return np.sin(np.radians(topography["aspect"]))
    if name == "cos_aspect_degrees":
        # ALPGM takes the cosine of the number of degrees of the 8-sector aspect; its models know nothing else
        return np.cos(np.round(np.asarray(topography["aspect"], dtype="float64") / 45.0) % 8 * 45.0)
    return np.asarray(topography[name], dtype="float64")


@cache
def _climate_columns(recipe: str, regional: bool) -> tuple[list[int], list[int]]:
    """Columns of a recipe's anomalies, own or regional, and where these stand in PREDICTORS."""
    found = [(i, f.predictor) for i, f in enumerate(recipe_features(recipe)) if f.predictor and f.regional == regional]
    return [i for i, _ in found], [PREDICTORS.index(name) for _, name in found]


def feature_matrix(
    recipe: str, anomalies: np.ndarray, topography: Mapping[str, np.ndarray], regional: np.ndarray | None = None
) -> np.ndarray:
    """The features of a recipe as one array; row by row, so a row never depends on the others.

    Parameters
    ----------
    recipe
        One of RECIPES.
    anomalies
        (..., P): anomalies of the predictors in the order of :data:`alpgm_dask.forcing.PREDICTORS`, P = 3 or 27; more
        than the recipe needs is fine.
    topography
        mean_elevation, max_elevation (m), tongue_slope (degree), area (m2), lon, lat, aspect (degree), each (...) or
        broadcasting to it.
    regional
        (..., P) or broadcasting to it: anomalies of the region's mean climate, see
        :func:`alpgm_dask.forcing.regional_anomaly`; only recipes with them (:func:`needs_regional`) look at it.

    Returns
    -------
    (..., feature) float64, area in km2.

    Raises
    ------
    InputError
        For an unknown recipe, too few predictors, missing topography, no regional anomalies where they are needed.

    >>> topography = dict(mean_elevation=[2900.0], max_elevation=[3500.0], tongue_slope=[15.0], area=[2e6],
    ...                   lon=[6.5], lat=[45.0], aspect=[90.0])
    >>> feature_matrix("alpgm-1.2-seasonal", np.array([[10.0, 20.0, 30.0]]), topography).round(3).tolist()
    [[10.0, 20.0, 30.0, 2900.0, 3500.0, 15.0, 2.0, 6.5, 45.0, -0.448]]
    """
    features = recipe_features(recipe)
    anomalies = _checked(recipe, anomalies, "anomalies")
    missing = [name for name in TOPOGRAPHY if name not in topography]
    if missing:
        raise schema.InputError(f"topography has no '{missing[0]}'; allowed: {', '.join(TOPOGRAPHY)}")
    out = np.empty((*anomalies.shape[:-1], len(features)))
    for column, feature in enumerate(features):
        if feature.predictor is None:
            out[..., column] = _topography_column(feature.name, topography)
    for values, of_region in ((anomalies, False), (regional, True)):
        columns, places = _climate_columns(recipe, of_region)
        if columns:
            out[..., columns] = _checked(recipe, values, "regional anomalies")[..., places]
    return out


def _checked(recipe: str, anomalies: np.ndarray | None, what: str) -> np.ndarray:
    """Anomalies as an array with all predictors that the recipe takes."""
    wanted, given = len(PREDICTORS) if needs_monthly(recipe) else len(SEASONAL_PREDICTORS), np.shape(anomalies)
    if anomalies is None or not given or given[-1] not in (3, 27) or given[-1] < wanted:
        raise schema.InputError(f"recipe {recipe!r} needs {wanted} predictors; {what} have shape {given}")
    return np.asarray(anomalies)
