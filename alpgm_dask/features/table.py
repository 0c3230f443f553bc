"""Features of labelled, lazy arrays, and the table that models are trained on."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import schema
from alpgm_dask.features.matrix import TOPOGRAPHY, feature_matrix
from alpgm_dask.features.recipes import needs_regional, recipe_features
from alpgm_dask.forcing import predictor_array, regional_anomaly


def feature_table(
    predictors: xr.Dataset,
    reference: xr.Dataset,
    topography: xr.Dataset,
    recipe: str,
    regional: xr.DataArray | None = None,
) -> xr.DataArray:
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
    regional
        ([member,] hydro_year, predictor) anomalies of the region's mean climate
        (:func:`alpgm_dask.forcing.regional_anomaly`), for recipes that take them.

    Returns
    -------
    DataArray ([member,] glacier, hydro_year, feature), float64, with coordinate `feature` and its `units`.

    Raises
    ------
    InputError
        As :func:`feature_matrix`; glaciers that differ between the inputs; a year that topography or the regional
        anomalies lack.
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
    columns = [_aligned(topography[name], anomalies, "topography") for name in TOPOGRAPHY]
    climate = [anomalies]
    if needs_regional(recipe) and regional is not None:
        # under another name: the region may have other predictors than the glacier
        climate.append(_aligned(regional, anomalies, "regional anomalies").rename(predictor="of_region"))

    def rows(*arrays: np.ndarray) -> np.ndarray:
        own, *region = arrays[: len(climate)]
        return feature_matrix(recipe, own, dict(zip(TOPOGRAPHY, arrays[len(climate) :], strict=True)), *region)

    table = xr.apply_ufunc(
        rows,
        *(array.chunk({array.dims[-1]: -1}) if array.chunks else array for array in climate),
        *columns,
        input_core_dims=[*[[array.dims[-1]] for array in climate], *[[]] * len(columns)],
        output_core_dims=[["feature"]],
        dask="parallelized",
        output_dtypes=["float64"],
        dask_gufunc_kwargs={"output_sizes": {"feature": len(features)}},
    )
    return table.rename("features").assign_coords(
        feature=[f.name for f in features],
        feature_units=("feature", [f.units for f in features]),
    )


def _aligned(variable: xr.DataArray, anomalies: xr.DataArray, where: str) -> xr.DataArray:
    """A variable over the years of the anomalies, without coordinates that could conflict."""
    if "hydro_year" in variable.dims:
        absent = np.setdiff1d(anomalies["hydro_year"].values, variable["hydro_year"].values)
        if absent.size:
            raise schema.InputError(f"{where}: '{variable.name}' has no hydrological year {absent[0]}")
        variable = variable.sel(hydro_year=anomalies["hydro_year"])
    return variable.drop_vars([c for c in variable.coords if c not in ("hydro_year", "member")])


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

    The observations are loaded, to know which there are. Regional anomalies, where the recipe takes them, are means
    over all glaciers of `predictors`, observed in that year or not.

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
    regional = regional_anomaly(predictors, reference) if needs_regional(recipe) else None
    table = feature_table(predictors.sel(hydro_year=years), reference, topography, recipe, regional)
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
