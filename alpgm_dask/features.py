"""The features of the SMB models: names, order and units defined once, for training and for the year loop alike.

A recipe is a named list of features. "standard" is ours; "alpgm-1.2" is what the published networks and Lassos were
trained with (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020); "-seasonal" leaves the 24 monthly features out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.constants import KM2
from alpgm_dask.forcing import PREDICTORS, SEASONAL_PREDICTORS, predictor_array

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


@dataclass(frozen=True)
class Feature:
    """One column: its name and unit, and the predictor that it is the anomaly of (None: it is topography)."""

    name: str
    units: str
    predictor: str | None = None


def _anomaly(predictor: str) -> Feature:
    name, month = (predictor, "") if predictor in SEASONAL_PREDICTORS else predictor.rsplit("_", 1)
    suffix = f"_{month}" if month else ""
    return Feature(f"{name}_anomaly{suffix}", schema.VARIABLES[name].units.replace("degC", "K"), predictor)


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
)

#: Features that only the other family of recipes has.
_LEFT_OUT = {"standard": {"cos_aspect_degrees"}, "alpgm-1.2": {"cos_aspect", "sin_aspect"}}

#: Names of the recipes.
RECIPES: tuple[str, ...] = ("standard", "alpgm-1.2", "standard-seasonal", "alpgm-1.2-seasonal")


def recipe_features(recipe: str) -> tuple[Feature, ...]:
    """The features of a recipe, in order.

    >>> [len(recipe_features(recipe)) for recipe in RECIPES]
    [35, 34, 11, 10]

    Raises
    ------
    InputError
        For a recipe that does not exist.
    """
    if recipe not in RECIPES:
        raise schema.InputError(f"recipe {recipe!r} is not known; allowed: {', '.join(RECIPES)}")
    seasonal = recipe.endswith("-seasonal")
    left_out = _LEFT_OUT[recipe.removesuffix("-seasonal")]
    monthly = set(PREDICTORS[len(SEASONAL_PREDICTORS) :])
    return tuple(f for f in FEATURES if f.name not in left_out and not (seasonal and f.predictor in monthly))


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


def feature_matrix(recipe: str, anomalies: np.ndarray, topography: Mapping[str, np.ndarray]) -> np.ndarray:
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

    Returns
    -------
    (..., feature) float64, area in km2.

    Raises
    ------
    InputError
        For an unknown recipe, too few predictors, missing topography.

    >>> topography = dict(mean_elevation=[2900.0], max_elevation=[3500.0], tongue_slope=[15.0], area=[2e6],
    ...                   lon=[6.5], lat=[45.0], aspect=[90.0])
    >>> feature_matrix("alpgm-1.2-seasonal", np.array([[10.0, 20.0, 30.0]]), topography).round(3).tolist()
    [[10.0, 20.0, 30.0, 2900.0, 3500.0, 15.0, 2.0, 6.5, 45.0, -0.448]]
    """
    features = recipe_features(recipe)
    anomalies = np.asarray(anomalies)
    wanted = len(PREDICTORS) if needs_monthly(recipe) else len(SEASONAL_PREDICTORS)
    if anomalies.ndim == 0 or anomalies.shape[-1] not in (3, 27) or anomalies.shape[-1] < wanted:
        raise schema.InputError(f"recipe {recipe!r} needs {wanted} predictors; anomalies have shape {anomalies.shape}")
    missing = [name for name in TOPOGRAPHY if name not in topography]
    if missing:
        raise schema.InputError(f"topography has no '{missing[0]}'; allowed: {', '.join(TOPOGRAPHY)}")
    out = np.empty((*anomalies.shape[:-1], len(features)))
    for column, feature in enumerate(features):
        if feature.predictor is None:
            out[..., column] = _topography_column(feature.name, topography)
        else:
            out[..., column] = anomalies[..., PREDICTORS.index(feature.predictor)]
    return out


def feature_table(predictors: xr.Dataset, reference: xr.Dataset, topography: xr.Dataset, recipe: str) -> xr.DataArray:
    """Features of every glacier and year: :func:`feature_matrix` over labelled, lazy arrays.

    Only identifiers (rgi_id) are loaded, to see that the inputs have the same glaciers.

    Parameters
    ----------
    predictors
        ([member,] glacier, hydro_year[, month]).
    reference
        ([member,] glacier[, month]), from :func:`alpgm_dask.forcing.reference_climatology`.
    topography
        mean_elevation, max_elevation, tongue_slope, area (m2), lon, lat, aspect, each (glacier) or
        (glacier, hydro_year). Glaciers in the order of `predictors`.

    Returns
    -------
    DataArray ([member,] glacier, hydro_year, feature), float64, with coordinate `feature` and its `units`.

    Raises
    ------
    InputError
        As :func:`feature_matrix`; glaciers that differ between the inputs; a year that topography lacks.
    """
    features = recipe_features(recipe)
    _same_glaciers(predictors, reference, "reference")
    _same_glaciers(predictors, topography, "topography")
    missing = [name for name in TOPOGRAPHY if name not in topography.variables]
    if missing:
        raise schema.InputError(f"topography has no '{missing[0]}'; allowed: {', '.join(TOPOGRAPHY)}")
    # bare of coordinates: xarray would compare lazy ones, that is compute them
    climatology = predictor_array(reference)
    climatology = climatology.drop_vars([c for c in climatology.coords if c not in climatology.dims])
    anomalies = predictor_array(predictors) - climatology
    columns = [_aligned(topography[name], anomalies) for name in TOPOGRAPHY]
    table = xr.apply_ufunc(
        lambda values, *parts: feature_matrix(recipe, values, dict(zip(TOPOGRAPHY, parts, strict=True))),
        anomalies.chunk(predictor=-1) if anomalies.chunks else anomalies,
        *columns,
        input_core_dims=[["predictor"], *[[]] * len(columns)],
        output_core_dims=[["feature"]],
        dask="parallelized",
        output_dtypes=["float64"],
        dask_gufunc_kwargs={"output_sizes": {"feature": len(features)}},
    )
    return table.rename("features").assign_coords(
        feature=[f.name for f in features],
        feature_units=("feature", [f.units for f in features]),
    )


def _aligned(variable: xr.DataArray, anomalies: xr.DataArray) -> xr.DataArray:
    """One topographic variable over the years of the anomalies, without coordinates that could conflict."""
    if "hydro_year" in variable.dims:
        absent = np.setdiff1d(anomalies["hydro_year"].values, variable["hydro_year"].values)
        if absent.size:
            raise schema.InputError(f"topography: '{variable.name}' has no hydrological year {absent[0]}")
        variable = variable.sel(hydro_year=anomalies["hydro_year"])
    return variable.drop_vars([c for c in variable.coords if c != "hydro_year"])


def _same_glaciers(a: xr.Dataset, b: xr.Dataset, what: str) -> None:
    if a.sizes["glacier"] != b.sizes["glacier"]:
        raise schema.InputError(f"{what} has {b.sizes['glacier']} glaciers, the predictors {a.sizes['glacier']}")
    if "rgi_id" in a.variables and "rgi_id" in b.variables:
        differ = np.flatnonzero(schema.texts(a["rgi_id"]) != schema.texts(b["rgi_id"]))
        if differ.size:
            i = differ[0]
            given, other = a["rgi_id"].values[i], b["rgi_id"].values[i]
            raise schema.InputError(f"glacier {i} is {given} in the predictors and {other} in the {what}; same order")


def training_table(
    predictors: xr.Dataset, reference: xr.Dataset, topography: xr.Dataset, smb: xr.DataArray, recipe: str
) -> xr.Dataset:
    """Features and observed SMB, one sample per glacier and year with an observation. Lazy in the features.

    The observations are loaded, to know which there are.

    Parameters
    ----------
    predictors, reference, topography, recipe
        As :func:`feature_table`, without members.
    smb
        (glacier, hydro_year) m w.e. per year, NaN where not observed; the glaciers of `predictors`; only years that
        both have enter.

    Returns
    -------
    Dataset (sample, feature): features, smb (sample); coordinates feature, glacier_index (position of the glacier),
    hydro_year, and, where `predictors` or `topography` have them, rgi_id and massif (sample).

    Raises
    ------
    InputError
        As :func:`feature_table`; no observation in the years of the predictors.
    """
    _same_glaciers(predictors, smb.to_dataset(name="smb"), "smb")
    years = np.intersect1d(predictors["hydro_year"].values, smb["hydro_year"].values)
    observed = smb.sel(hydro_year=years).transpose("glacier", "hydro_year").values.astype("float64")
    glacier, year = np.nonzero(np.isfinite(observed))
    if not glacier.size:
        raise schema.InputError("smb has no value in the years of the predictors; allowed: at least one observation")
    table = feature_table(predictors.sel(hydro_year=years), reference, topography, recipe)
    table = table.transpose("glacier", "hydro_year", "feature").drop_vars(["rgi_id", "massif"], errors="ignore")
    index = {"glacier": xr.DataArray(glacier, dims="sample"), "hydro_year": xr.DataArray(year, dims="sample")}
    picked = table.isel(index)
    out = xr.Dataset({"features": picked.drop_vars([c for c in picked.coords if "sample" in picked[c].dims])})
    out["smb"] = ("sample", observed[glacier, year], schema.VARIABLES["smb"].attrs())
    out = out.assign_coords(glacier_index=("sample", glacier), hydro_year=("sample", years[year]))
    for name in ("rgi_id", "massif"):
        source = predictors if name in predictors.variables else topography
        if name in source.variables:
            out = out.assign_coords({name: ("sample", source[name].values[glacier])})
    out.attrs["recipe"] = recipe
    return out
